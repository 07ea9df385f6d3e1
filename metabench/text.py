"""Words of messages: counts with the right plural, and digests short enough to read."""

from __future__ import annotations

_DIGITS = 12


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, as in ``1 image``, ``1,000 images`` and ``2 classes``.

    Args:
        plural: of `noun`, where it does not follow the rules for "-s", "-es" and "-ies".
    """
    return f"{number:,} {noun if number == 1 else plural or _plural(noun)}"


def are(number: int) -> str:
    """Return the verb that goes with a count: "is" or "are"."""
    return "is" if number == 1 else "are"


def have(number: int) -> str:
    """Return the verb that goes with a count: "has" or "have"."""
    return "has" if number == 1 else "have"


def short_digest(digest: str) -> str:
    """Return the first 12 of the digits of a hexadecimal digest: what sentences hold."""
    return digest[:_DIGITS]


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return f"{noun[:-1]}ies"
    return f"{noun}s"
