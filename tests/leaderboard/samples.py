"""Records and texts that several tests of the pages use."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from metabench.leaderboard.board import boards
from metabench.leaderboard.curated import Overlap
from metabench.leaderboard.entries import Entry, file_name
from metabench.leaderboard.markdown_page import board_markdown
from metabench.leaderboard.published import Published
from metabench.records.schema import Record
from tests.record_factory import make_record

FLOOR: dict[str, Any] = {
    "algorithm__name": "chance",
    "backbone__name": "pixels",
    "backbone__params": {},
    "training": None,
}


def markdown_of(*records: Record, overlaps: tuple[Overlap, ...] = (), claims: tuple[Published, ...] = ()) -> str:
    """Return the page of records of one dataset."""
    entries = [Entry(record, file_name(record)) for record in records]
    (board,) = boards(entries, claims, {}, overlaps)
    return board_markdown(board)


def hostile_records(text: str, name: str = "omniglot") -> list[Record]:
    """Records with a stranger's text wherever a record takes text that a page shows."""
    return [
        make_record(
            dataset__name=name,
            algorithm__params={"p": text, "bn": text},
            algorithm__setting=text[:200],
            backbone__trained_on=text[:200] or "x",
            backbone__params={text[:200]: 1},
            dataset__digest=text[:200],
            dataset__params={"p": text},
            protocol__params__p=text,
            precision=text[:200] or "x",
            training={"checkpoint": text[:200] or "x"},
        )
    ]


PIECES = (
    *(
        "|",
        "`",
        "``",
        "\n",
        "\r",
        "\t",
        "#",
        "*",
        "_",
        "~~",
        "\\",
        "\\|",
        "'",
        '"',
        "=",
        "---",
        "$x$",
        ":smile:",
        "{{x}}",
    ),
    *("<script>alert(1)</script>", "</td>", "<!--", "-->", "&lt;", "&#60;", "\u202e", "\x00", "\x1b[31m"),
    *("[x](//e)", "![i](//e)", "[^1]", "https://e.example", "www.e.example", "a@b.cd"),
)
TEXTS: st.SearchStrategy[str] = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from([*PIECES, "<img src=x onerror=y>", "    ", "\u2028"]), max_size=8).map("".join),
).map(lambda text: text.encode("utf-8", "ignore").decode())
"""Texts that a record can hold, rich in characters that Markdown and HTML give a meaning."""
