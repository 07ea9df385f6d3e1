from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from jinja2 import UndefinedError
from selenium.webdriver.common.keys import Keys

from metabench.leaderboard import Leaderboard
from metabench.leaderboard.board import Board, boards
from metabench.leaderboard.entries import Column, Entry, file_name
from metabench.leaderboard.html_page import html_page, template_environment
from metabench.leaderboard.published import Published
from metabench.records.schema import Record
from tests.browser import Browser, browser, missing
from tests.leaderboard.samples import FLOOR, TEXTS, hostile_records
from tests.record_factory import changed, make_record

VOID = {"meta", "br", "link", "img", "input", "hr"}
CLAIM = Published("protonet", "conv4", "omniglot", Column("", 5, 1), 99.9, 0.05, "99.9", "A & B 2017", "paper")


def _boards(*records: Record, claims: tuple[Published, ...] = ()) -> list[Board]:
    return boards([Entry(record, file_name(record)) for record in records], claims, {}, ())


def _several() -> list[dict[str, Any]]:
    """Three rows, one of them a floor, in two columns of one way."""
    found = []
    for shot in (1, 5):
        cell = {"protocol__params__shot": shot}
        found.append(make_record((74, 75, 73, 75) * 20, **cell, training__shot=shot))
        found.append(make_record((70, 66, 70, 72) * 20, algorithm__name="second", **cell, training__shot=shot))
        found.append(make_record((15, 16, 14, 15) * 20, **FLOOR, **cell))
    return found


class Reader(HTMLParser):
    """Checks that elements are closed in order, and keeps tags, attributes, ids, references and text."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.shape: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[tuple[str, str]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, tuple(sorted(name for name, _ in attributes))))
        self.values += [(name, value or "") for name, value in attributes]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, tuple(sorted(name for name, _ in attributes))))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] not in ("style", "script"):
            self.words.append(data)


def _read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.stack == []
    return reader


def test_the_page_is_whole_and_refers_to_nothing_outside() -> None:
    reader = _read(html_page(_boards(*_several(), claims=(CLAIM,)), []))
    ids = [value for name, value in reader.values if name == "id"]
    assert len(ids) == len(set(ids))
    for name, value in reader.values:
        if name in ("href", "src"):
            assert value.startswith(("#", "records/")), value
            assert not value.startswith("#") or value[1:] in ids
        if name == "aria-labelledby":
            assert all(word in ids for word in value.split())
    assert not [name for name, _ in reader.values if name.startswith("on") or name in ("style", "src")]


def test_the_same_records_give_the_same_bytes_in_any_order() -> None:
    records = _several()
    assert html_page(_boards(*records), []) == html_page(_boards(*records[::-1]), [])


def test_what_the_table_shows() -> None:
    words = _read(html_page(_boards(*_several(), claims=(CLAIM,)), [])).words
    text = "\n".join(words)
    for shown in ("99.00", "± 0.25", "paper 99.9, \u22120.90", "▼", "floor", "second", "5-way 5-shot", "80, seed 0"):
        assert shown in text, shown
    pictures = ["Accuracy and its intervals", "Mean rank over episodes", "Accuracy over shots"]
    assert [title for title in pictures if title in text] == pictures
    assert "Accuracy against time" not in text  # the records do not tell


def test_a_single_episode_has_no_rank_and_sorts_as_no_value() -> None:
    page = html_page(_boards(make_record((75,), algorithm__name="once"), make_record((70, 71) * 20)), [])
    assert 'title="rank -">-</span>' in page
    (cell,) = re.findall(r'<td[^>]*>(?:(?!</td>).)*title="rank -"', page)
    assert 'data-v=""' in cell


def test_copies_are_marked_and_explained() -> None:
    copied = changed(make_record(), provenance={"copies": {"between_classes": 3}})
    words = _read(html_page(_boards(copied), [])).words
    assert "†" in " ".join(words) and any("; copies: 3 in another class" in word for word in words)
    assert any("† marks test data that hold an item more than once" in word for word in words)
    assert "†" not in html_page(_boards(make_record()), [])


def test_where_the_links_lead_is_up_to_the_caller(tmp_path: Path) -> None:
    page = html_page(_boards(make_record()), [], "../a b/")
    assert 'href="../a%20b/records/protonet-omniglot-5w1s-' in page


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS)
def test_strings_of_a_record_are_text_in_html(text: str) -> None:
    safe, hostile = (_read(html_page(_boards(*hostile_records(words, "z"), *_several()), [])) for words in ("x", text))
    # An empty or cut text may leave out a line of small print, but no text adds an element or an attribute.
    trim = [[tag for tag in reader.shape if tag[0] not in ("small", "br")] for reader in (safe, hostile)]
    assert trim[0] == trim[1]
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", "".join(hostile.words))


@settings(max_examples=20)
@given(TEXTS)
def test_sources_are_text_in_html(text: str) -> None:
    shapes = []
    for words in ("x", " ".join(text.split()) or "x"):
        claim = Published("protonet", "conv4", "omniglot", Column("", 5, 1), 98.8, 0.05, "98.8", words, "paper")
        reader = _read(html_page(_boards(make_record(), claims=(claim,)), []))
        shapes.append([tag for tag in reader.shape if tag[0] != "br"])
    assert shapes[0] == shapes[1]


HOSTILE = (
    "<script>alert(1)</script>",
    "\"' onload='x",
    "{{ 7 * 7 }}{% raw %}",
    "</style><b>",
    "&lt;",
    "a\x1b[31m\u202eb",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_shown_as_they_are(text: str) -> None:
    reader = _read(html_page(_boards(*hostile_records(text, "z")), []))
    shown = "".join(reader.words)
    assert text.replace("\x1b", " ").replace("\u202e", " ") in shown
    assert [tag for tag, _ in reader.shape].count("script") == 1
    assert "b" not in [tag for tag, _ in reader.shape]
    assert not [name for name, _ in reader.values if name.startswith("on")]


def test_templates_escape_every_value_and_refuse_what_is_missing() -> None:
    environment = template_environment()
    assert environment.autoescape is True
    for name in environment.list_templates(extensions=["j2"]):
        source, *_ = environment.loader.get_source(environment, name)
        assert not re.search(r"\|\s*safe|autoescape|Markup", source), name
    assert environment.from_string('<p title="{{ x }}">{{ x }}</p>').render(x="<'\"\x07>") == (
        '<p title="&lt;&#x27;&quot; &gt;">&lt;&#x27;&quot; &gt;</p>'
    )
    assert environment.from_string("{{ x|lines }}").render(x="<b>\n\n&") == "&lt;b&gt;<br>&amp;"
    with pytest.raises(UndefinedError, match="'nothing' is undefined"):
        environment.from_string("{{ nothing }}").render()
    with pytest.raises(TypeError, match="cannot show None"):
        environment.from_string("{{ x }}").render(x=None)


def test_the_layout_of_a_template_is_not_in_the_page() -> None:
    source = "<ul>\n  {% for x in xs %}\n    <li>two\n      words</li>\n\n  {% endfor %}\n</ul>\n"
    assert template_environment().from_string(source).render(xs="ab") == (
        "<ul><li>two words</li>\n<li>two words</li>\n</ul>"
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("board")
    board = Leaderboard(folder)
    board.add([*_several(), *hostile_records("<b>bold</b>", "z")])
    board.build()
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def chromium(page: str) -> Iterator[Browser]:
    with browser() as driver:
        yield driver


_NAMES = "return [...document.querySelector('table.sortable').tBodies[0].rows].map(r => r.cells[0].dataset.v)"
_SORTS = "return [...document.querySelectorAll('table.sortable')[0].tHead.rows[0].cells].map(c => c.ariaSort)"


def test_columns_are_sorted_with_the_keyboard(page: str, chromium: Browser) -> None:
    chromium.set_screen(1280, 800)
    chromium.get(page)
    assert chromium.execute_script(_NAMES) == ["protonet", "second", "chance"]
    assert chromium.execute_script(_SORTS)[:3] == [None, "descending", None]
    focus = "document.querySelectorAll('table.sortable')[0].tHead.rows[0].cells[{}].querySelector('button').focus()"
    chromium.execute_script(focus.format(1))
    chromium.press(Keys.ENTER)
    assert chromium.execute_script(_NAMES) == ["chance", "second", "protonet"]
    assert chromium.execute_script(_SORTS)[:3] == [None, "ascending", None]
    chromium.press(Keys.TAB, Keys.SPACE)
    assert chromium.execute_script(_NAMES) == ["protonet", "second", "chance"]
    assert chromium.execute_script(_SORTS)[:3] == [None, None, "descending"]
    chromium.execute_script(focus.format(0))
    chromium.press(Keys.SPACE)
    assert chromium.execute_script(_NAMES) == ["chance", "protonet", "second"]


def test_the_security_policy_lets_the_page_through_and_nothing_else(page: str, chromium: Browser) -> None:
    chromium.get(page)
    chromium.complaints()
    chromium.get(page)
    assert chromium.complaints() == []
    assert chromium.execute_script("return document.querySelectorAll('th button').length") > 8
    assert chromium.execute_script("return document.getElementsByTagName('b').length") == 0
    chromium.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)"
    )
    assert chromium.execute_script("return window.ran === undefined")
    resources = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert chromium.execute_script(resources) == []


def test_the_page_is_read_without_scripts(page: str, chromium: Browser) -> None:
    chromium.set_screen(1280, 800, scripts=False)
    try:
        chromium.get(page)
        shown = chromium.execute_cdp_cmd("DOMSnapshot.captureSnapshot", {"computedStyles": []})
        assert "protonet" in shown["strings"]
        assert "BUTTON" not in shown["strings"]
    finally:
        chromium.set_screen(1280, 800)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_every_screen_and_can_be_read(page: str, chromium: Browser, width: int, dark: bool) -> None:
    chromium.set_screen(width, 800, dark)
    chromium.get(page)
    assert chromium.execute_script("return document.documentElement.scrollWidth") == width
    assert chromium.execute_script(f"return Math.min(...[...document.querySelectorAll('body *')].map({_FONT}))") >= 11
    assert chromium.execute_script(_CONTRAST) >= 4.5


_FONT = "e => parseFloat(getComputedStyle(e).fontSize)"
_CONTRAST = """
const light = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }
};
let least = 21;
const every = "p, td, th, small, a, summary, figcaption, .rank, .tag, .mark, .mb text";
for (const element of document.querySelectorAll(every)) {
  const style = getComputedStyle(element);
  const front = element.closest("svg") && element.tagName === "text" ? style.fill : style.color;
  const [a, b] = [light(front), light(behind(element))].sort((x, y) => y - x);
  least = Math.min(least, (a + 0.05) / (b + 0.05));
}
return least;
"""
