"""Text of messages and tables: plurals, short digests, and escaping for terminals, Markdown and CSV."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_DIGITS = 12


def pluralise(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, as in ``1 image``, ``1,000 images`` and ``2 classes``.

    Args:
        plural: of `noun`, where it does not follow the rules for "-s", "-es" and "-ies".
    """
    return f"{number:,} {noun if number == 1 else plural or _plural(noun)}"


def size_text(count: int) -> str:
    """Return a number of bytes as text, as in ``4 GiB``, ``64 MiB`` and ``1,999 bytes``."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= size and count % size == 0:
            return f"{count // size:,} {unit}"
    return pluralise(count, "byte")


def is_or_are(number: int) -> str:
    """Return the verb that goes with a count: "is" or "are"."""
    return "is" if number == 1 else "are"


def has_or_have(number: int) -> str:
    """Return the verb that goes with a count: "has" or "have"."""
    return "has" if number == 1 else "have"


def short_digest(digest: str) -> str:
    """Return the first 12 digits of a hexadecimal digest, for sentences."""
    return digest[:_DIGITS]


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")) and noun != "epoch":
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return f"{noun[:-1]}ies"
    return f"{noun}s"


_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def printable(text: str) -> str:
    """Return `text` on one line, without control characters (a record must not steer a terminal)."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def plain_line(text: str) -> str:
    """Return `text` on one line, runs of spaces and line ends as one space.

    Raises:
        ValueError: it has control characters.
    """
    for character in text:
        if not (character.isprintable() or character in "\t\n\r" or unicodedata.category(character) == "Zs"):
            raise ValueError(f"has the control character U+{ord(character):04X}")
    return " ".join(text.split())


def escape_markdown(text: str) -> str:
    """Return `text` as one line of Markdown without effect: no cells, tags or links."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~])", r"\\\1", text)
    return text.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def csv_safe(value: Any) -> Any:
    """Return a value for a CSV file; a text that a spreadsheet would run as a formula gets an apostrophe."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
