"""Tables as text: for a terminal, aligned by the width of what it shows, or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

_GAP = "  "
_MORE = 2
"""Columns that a header is wider than its text."""


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Return a left-aligned table whose cells are clean text of one line.

    Args:
        header: of each column.
        rows: of cells, as many as there are columns.
        markdown: as Markdown, else for a terminal, with a line of dashes under the header.
    """
    if markdown:
        from tabulate import tabulate

        return tabulate(rows, headers=list(header), tablefmt="github", disable_numparse=True)
    lines = [[text.strip() for text in line] for line in (header, *rows)]
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    widths = [max(width, display_width(text) + _MORE) for width, text in zip(widths, lines[0], strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(aligned(line, widths) for line in lines)


def aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    """Return texts beside each other, each filled up to its width in columns of a terminal."""
    padded = (text + " " * (width - display_width(text)) for text, width in zip(texts, widths, strict=True))
    return _GAP.join(padded).rstrip()


def display_width(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for 字 or 🔥, none for an accent of its own.

    >>> [display_width(text) for text in ("plain", "日本語", "ring🔥", "n\\u0303andu\\u0301")]
    [5, 6, 6, 5]
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # which only other letters need

    return cell_len(text)
