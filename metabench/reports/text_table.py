"""The one renderer of tables: the same rows as terminal text, Markdown, CSV or JSON.

Reports give plain strings. What is shown to people is cleaned here: control characters go, and in Markdown every
character with a meaning is escaped. CSV cells that a spreadsheet would run as a formula are made inert.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from metabench.utils.text import csv_safe, escape_markdown, printable

_GAP = "  "
_NARROWEST = 20
"""Width below which a column is not made narrower, however narrow the terminal."""
_HEADER_PADDING = 2
"""Columns that a header is wider than its text, above a line of dashes."""


@dataclass(frozen=True)
class Table:
    """A header and rows of plain text.

    Attributes:
        header: one text for each column.
        rows: as many cells each as there are columns.
        plain_header: the header holds names of metabench itself, such as ``episode_seed``, which are not escaped.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    plain_header: bool = False


@dataclass(frozen=True)
class Notes:
    """Lines of small print: lines of one block in a terminal, a paragraph each in Markdown."""

    lines: Sequence[str]


ReportBlock = str | Table | Notes
"""A part of a report; a string is a heading or a paragraph of one line."""


def report_text(blocks: Iterable[ReportBlock], markdown: bool = False) -> str:
    """Return a report for people, with an empty line between its blocks; blocks without content are left out."""
    return "\n\n".join(filter(None, (_block_text(block, markdown) for block in blocks)))


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return CSV text; a text cell that a spreadsheet would run as a formula gets a leading apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([csv_safe(row[name]) for name in columns])
    return out.getvalue()


def json_text(document: Any) -> str:
    """Return an indented JSON document; values that JSON does not know are written as their text.

    Raises:
        ValueError: a number that is infinite or not a number.
    """
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, default=str)


def terminal_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a left-aligned table of clean texts with a line of dashes under its header."""
    lines = [[text.strip() for text in line] for line in (header, *rows)]
    widths = _widths(lines)
    widths = [max(width, display_width(text) + _HEADER_PADDING) for width, text in zip(widths, lines[0], strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(_aligned(line, widths) for line in lines)


def terminal_columns(header: Sequence[str], rows: Iterable[Sequence[str]], width: int = 0) -> str:
    """Return clean texts as left-aligned columns under their header, without a line between.

    Args:
        header: one text for each column.
        rows: as many cells each as there are columns.
        width: of the terminal: texts of the widest columns go on in further lines; words are not broken. 0: as wide as
            the texts are.
    """
    lines = [header, *rows]
    if width:
        room, wanted = width - len(_GAP) * (len(header) - 1), _widths(lines)
        cap = max(wanted)
        while cap > _NARROWEST and sum(min(cap, column) for column in wanted) > room:
            cap -= 1
        wrapped = [[_wrapped(text, cap) for text in line] for line in lines]
        lines = [texts for cells in wrapped for texts in zip_longest(*cells, fillvalue="")]
    widths = _widths(lines)
    return "\n".join(_aligned(line, widths) for line in lines)


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines that are at most as wide; a word that is wider has a line of its own."""
    if display_width(text) <= width:
        return [text]
    lines = [""]
    for word in text.split():
        line = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and display_width(line) > width:
            lines.append(word)
        else:
            lines[-1] = line
    return lines


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], aligned: bool = True) -> str:
    """Return a Markdown table of cells that are Markdown already.

    Args:
        aligned: fill cells up to the width of their column; else one longer cell does not change every line.
    """
    if aligned:
        from tabulate import tabulate

        return tabulate(rows, headers=list(header), tablefmt="github", disable_numparse=True)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def display_width(text: str) -> int:
    r"""Return how many columns of a terminal a text takes: two for 字 or 🔥, none for an accent of its own.

    >>> [display_width(text) for text in ("plain", "日本語", "ring🔥", "n\u0303andu\u0301")]
    [5, 6, 6, 5]
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # which only other letters need

    return cell_len(text)


def _block_text(block: ReportBlock, markdown: bool) -> str:
    clean: Callable[[str], str] = escape_markdown if markdown else printable
    if isinstance(block, str):
        return clean(block)
    if isinstance(block, Notes):
        return ("\n\n" if markdown else "\n").join(map(clean, block.lines))
    header = list(block.header) if block.plain_header else [clean(text) for text in block.header]
    rows = [[clean(text) for text in row] for row in block.rows]
    return markdown_table(header, rows) if markdown else terminal_table(header, rows)


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(display_width, column)) for column in zip(*lines, strict=True)]


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    padded = (text + " " * (width - display_width(text)) for text, width in zip(texts, widths, strict=True))
    return _GAP.join(padded).rstrip()
