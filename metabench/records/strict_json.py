"""Strict JSON: what a parser lets through and an honest file never holds, with the path where it stands."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

import msgspec

from metabench.utils.text import printable

MAX_DEPTH = 12
MAX_VALUES = 200_000
"""Values and keys of a document; a row of numbers, however long, counts as one."""
MAX_STRING = 20_000
MAX_KEY = 200
LONGEST_FAULT = 200

_SPACE = r"[ \t\n\r]*+"
_TOKEN = re.compile(
    rf"""{_SPACE}(?:"(?P<key>[^"\\]*+)"{_SPACE}:|(?P<text>"(?:[^"\\]|\\.)*+"){_SPACE}(?P<colon>:?)"""
    rf"""|(?P<row>\[[-+0-9.eE, \t\n\rNaInfity]*+\])|(?P<opening>[{{\[])|(?P<closing>[}}\]])"""
    rf"""|(?P<word>[^\s"{{}}\[\]:,]++)){_SPACE}(?P<comma>,?)""",
    re.DOTALL,
)
"""One key, text, row of numbers, bracket, or bare word (number, true, null), with the comma after it."""
_FEW_DIGITS = 18
"""An integer of so many digits has less than 64 bits."""
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")


class JsonFault(ValueError):
    """A document is not acceptable JSON.

    Attributes:
        path: where, as ``$.scores.correct[3]``; ``$`` where that is not known.
        fault: a clause without a subject, as in ``is not a finite number``.
    """

    def __init__(self, path: str, fault: str) -> None:
        super().__init__(f"{path} {fault}")
        self.path, self.fault = path, fault


@dataclass(slots=True)
class _Level:
    """An object or list that is open while the document is read; `key` is that of the value that comes next."""

    is_object: bool
    keys: set[str]
    key: str = ""
    index: int = 0

    @property
    def step(self) -> str:
        if not self.is_object:
            return f"[{self.index}]"
        return f".{self.key}" if _PLAIN_KEY.fullmatch(self.key) else f"[{json.dumps(self.key[:40])}]"


def check_json(text: str) -> None:
    """Refuse repeated keys, deep nesting, and numbers that are not finite or longer than 64 bits.

    Time and memory are linear in the text, whatever it holds. Grammar is only checked as far as this needs, and so are
    numbers in rows of nothing but numbers, whose bounds are a matter of their type: decode the text afterwards.

    Raises:
        JsonFault: with the path of the first fault.
    """
    _Reader().read(text)


class _Reader:
    def __init__(self) -> None:
        self._levels: list[_Level] = []

    def read(self, text: str) -> None:
        end = 0
        scanner = _TOKEN.scanner(text)  # type: ignore[attr-defined]  # typeshed lacks it
        for count, token in enumerate(iter(scanner.match, None), 1):
            end = token.end()
            key, string, colon, row, opening, _, word, comma = token.groups()
            if key is not None:
                self._enter_key(key)
            elif word is not None:
                if len(word) > _FEW_DIGITS or not word.isdecimal():
                    self._refuse(_word_fault(word))
            elif opening is not None:
                self._open(opening)
            elif string is not None:
                self._read_string(string, bool(colon))
            elif row is not None:
                self._read_row(row)
            elif self._levels:
                self._levels.pop()
            if comma and self._levels:
                self._levels[-1].index += 1
            if count > MAX_VALUES:
                self._refuse(f"is beyond the {MAX_VALUES:,} values that a document may have")
        if end < len(text.rstrip()):
            raise JsonFault("$", f"is not JSON (at character {end})")

    def _refuse(self, fault: str, more: str = "") -> None:
        if fault:
            raise JsonFault("$" + "".join(level.step for level in self._levels) + more, fault)

    def _open(self, bracket: str) -> None:
        if len(self._levels) == MAX_DEPTH:
            self._refuse(f"is nested deeper than {MAX_DEPTH} levels")
        self._levels.append(_Level(bracket == "{", set()))

    def _enter_key(self, key: str) -> None:
        if not self._levels:
            return
        level = self._levels[-1]
        level.key = key
        if key in level.keys:
            self._refuse("is there twice")
        if len(key) > MAX_KEY:
            self._refuse(f"is a key longer than {MAX_KEY} characters")
        level.keys.add(key)

    def _read_string(self, string: str, is_key: bool) -> None:
        value = string[1:-1]
        if "\\" in string:
            try:
                value = json.loads(string, strict=False)
            except ValueError:
                self._refuse("is not JSON (a bad escape)")
            if any("\ud800" <= character <= "\udfff" for character in value):
                self._refuse("is text that is not Unicode")
        if is_key:
            self._enter_key(value)
        elif len(value) > MAX_STRING:
            self._refuse(f"is longer than {MAX_STRING:,} characters")

    def _read_row(self, row: str) -> None:
        if len(self._levels) == MAX_DEPTH:
            self._refuse(f"is nested deeper than {MAX_DEPTH} levels")
        if "N" in row or "I" in row:
            for index, word in enumerate(row[1:-1].split(",")):
                self._refuse(_word_fault(word.strip()), f"[{index}]")


def _word_fault(word: str) -> str:
    """Return what is wrong with a bare word as a number; '' where nothing is, or it is no number at all."""
    if word.lstrip("-") in ("NaN", "Infinity"):
        return f"is {word}, which is not a JSON number"
    if word[:1] not in tuple("-0123456789"):
        return ""
    if word.lstrip("-").isdecimal():
        return "" if len(word) < 19 or (len(word) < 30 and abs(int(word)) < 2**64) else "is an integer beyond 64 bits"
    try:
        return "" if math.isfinite(float(word)) else "is not a finite number"
    except ValueError:
        return ""


def type_fault(problem: msgspec.ValidationError) -> str:
    """Return what msgspec says with the path first, as in ``$.scores.correct[3]: expected `int`, got `float```."""
    what, _, place = printable(str(problem)).rpartition(" - at ")
    if not what:
        what, place = place, "$"
    is_key = place.startswith("`key` in ")
    path = place.removeprefix("`key` in ").strip("`")
    return f"{path}: {what[0].lower()}{what[1:LONGEST_FAULT]}{' as the key' if is_key else ''}"
