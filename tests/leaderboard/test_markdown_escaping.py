from __future__ import annotations

import datetime
import re
from html.parser import HTMLParser

from hypothesis import HealthCheck, given, settings
from markdown_it import MarkdownIt

from metabench.leaderboard.board import boards
from metabench.leaderboard.curated import Invalidated
from metabench.leaderboard.entries import Column, Entry, file_name
from metabench.leaderboard.markdown_page import board_markdown
from metabench.leaderboard.published import Published
from tests.leaderboard.samples import TEXTS, hostile_records, markdown_of
from tests.record_factory import make_record


class _Shape(HTMLParser):
    """The tags of a document with their attributes, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(sorted(name for name, _ in attributes))))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _shape(markdown: str) -> list[tuple[str, tuple[str, ...]]]:
    renderer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    parser = _Shape()
    parser.feed(renderer.render(markdown))
    parser.close()
    return [tag for tag in parser.tags if tag[0] != "br"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS)
def test_strings_of_a_record_are_text_in_markdown(text: str) -> None:
    safe, hostile = markdown_of(*hostile_records("x")), markdown_of(*hostile_records(text))
    assert hostile.count("\n") >= safe.count("\n")  # explanations are wrapped; a title may not be
    assert _shape(hostile) == _shape(safe)
    assert not re.search(r"(?<![&#\w])(https?|ftp)://|(?<!&)\bwww\.|\w@\w", hostile.replace("(records/", ""))


@settings(max_examples=30)
@given(TEXTS)
def test_reasons_and_sources_are_text_in_markdown(text: str) -> None:
    reason = " ".join(text.split()) or "x"
    record = make_record()
    shapes = []
    for words in ("x", reason):
        claim = Published("protonet", "conv4", "omniglot", Column("", 5, 1), 98.8, 0.05, "98.8", words, "paper")
        invalid = {record.key: Invalidated(record.key, words, datetime.date(2026, 11, 24))}
        (found,) = boards([Entry(record, file_name(record))], [claim], invalid, ())
        shapes.append(_shape(board_markdown(found)))
    assert shapes[0] == shapes[1]
