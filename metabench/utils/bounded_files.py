"""Read files that others may have written, within limits: a mistaken or hostile file costs an error, not the memory."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from metabench.errors import UsageError

TABLE_BYTES = 256 << 20
"""For tables and lists: three million rows of 80 characters."""
SOURCE_BYTES = 4 << 20
"""For what people write by hand: suites, curated claims, plugins."""
NOTE_BYTES = 16 << 20
"""For what is noted beside caches: the places of 50,000 folders."""
_LONG_KEY = re.compile(r"""(?<![\w."'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""", re.ASCII)
"""A dotted key of many parts: tomllib takes memory quadratic in their number."""


def read_bounded(path: Path, limit: int, error: type[Exception] = UsageError) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes.

    Raises:
        OSError: the file cannot be opened or read.
        error: it is larger, or a pipe or device, whose reading may never end; one line that names the file.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as stream:
            is_regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)  # not by path, which may be replaced
            content = stream.read(limit + 1) if is_regular else b""  # not by size, which may change
    except OSError as cause:
        if cause.errno != errno.ENXIO:  # which sockets and absent devices give
            raise
        is_regular = False
    if not is_regular:
        raise error(f"cannot read {path}: it is a pipe or device. Pass a regular file.")
    if len(content) > limit:
        raise error(f"cannot read {path}: it is larger than {limit} bytes. Check that it is the right file.")
    return content


def _open_at_once(path: str, flags: int) -> int:
    """Return a descriptor, also of a pipe without a writer, which an ordinary open would wait for."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file of at most `SOURCE_BYTES`.

    Raises:
        OSError: the file cannot be opened or read. UsageError: it is too large, or a pipe or device.
        ValueError: it is not UTF-8, not TOML or nested too deeply.
    """
    text = read_bounded(path, SOURCE_BYTES).decode()
    if _LONG_KEY.search(text):
        raise ValueError("a key has more than 32 parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; ValueError where it is none, or is nested too deeply for the parser."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_cached_json(path: Path, limit: int = NOTE_BYTES) -> Any:
    """Return the value of a JSON file of a cache; None where it is missing, damaged or larger than `limit` bytes."""
    try:
        return parse_json(read_bounded(path, limit, ValueError))
    except (OSError, ValueError):
        return None
