"""Parameters of a plugin, with their defaults and what they may be."""

from __future__ import annotations

from dataclasses import dataclass

Value = int | float | bool | str
"""A parameter value: what JSON can hold without nesting."""


@dataclass(frozen=True)
class Param:
    """One parameter: its default (whose type is the parameter's type), one line about it, its choices."""

    name: str
    default: Value
    doc: str
    choices: tuple[Value, ...] = ()
    is_local_path: bool = False
    """It is a path on the user's machine: records hold its last part and nothing of where that is."""
    omit_default: bool = False
    """It came to a plugin that had records: at its default, which does what was done before, keys and records leave
    it out, so that those of before stay true."""
