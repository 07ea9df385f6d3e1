"""Errors a user can fix. Each carries the exit code of the command line and says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 30
"""A message lists at most so many names, where a command lists them all."""


class MetabenchError(Exception):
    """Something went wrong while working; exit code 1."""

    exit_code = 1


class UsageError(MetabenchError):
    """The request itself is wrong (an unknown name, a bad value); exit code 2."""

    exit_code = 2

    def __str__(self) -> str:
        """Return the message in one line, whatever text of the user's it quotes."""
        return "".join(letter if letter.isprintable() else " " for letter in super().__str__())


class MissingError(MetabenchError):
    """Something needed is not here (data, a dependency, a plugin, a device); exit code 3."""

    exit_code = 3


class NothingMeasured(MetabenchError):
    """The request was fine but no result came out of it; exit code 4."""

    exit_code = 4


def did_you_mean(name: str, known: Iterable[str], listed_by: str = "") -> str:
    """Return ``"; did you mean 'protonet'?"`` for a near miss, else the list of what is known.

    Args:
        listed_by: the command that lists them, which a long list is replaced by.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    if listed_by and len(names) > MOST_LISTED:
        return f"; see '{listed_by}'"
    return f"; known: {', '.join(names)}" if names else ""
