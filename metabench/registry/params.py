"""Parameters of a plugin, with their defaults and choices."""

from __future__ import annotations

from dataclasses import dataclass

Value = int | float | bool | str
"""A parameter value: anything that JSON holds without nesting."""


@dataclass(frozen=True)
class Param:
    """One parameter: its default (whose type is that of the parameter), one line about it, its choices."""

    name: str
    default: Value
    doc: str
    choices: tuple[Value, ...] = ()
    is_local_path: bool = False
    """It is a path on the user's machine, of which records hold only the last part."""
    scoring: bool = False
    """It plays no part in training: runs that differ in it share their weights."""
    omit_default: bool = False
    """Keys and records leave it out at its default. For a parameter added to a plugin that had records, with
    the earlier behaviour as its default: earlier records stay valid."""
