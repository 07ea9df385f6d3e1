from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabench.plotting.svg import (
    Picture,
    coordinate,
    escape_xml,
    group,
    label,
    line,
    polyline,
    shorten,
    shorten_names,
    tag,
    width_of,
)

SVG = "{http://www.w3.org/2000/svg}"


def test_a_file_is_well_formed_and_has_its_style() -> None:
    picture = Picture(100, 50, "a < b", "c & d", label(1, 2, "x"))
    root = ET.fromstring(picture.file())
    assert root.tag == f"{SVG}svg"
    assert root.get("viewBox") == "-16 -16 132 82"
    assert root.find(f"{SVG}title").text == "a < b"
    assert root.find(f"{SVG}desc").text == "c & d"
    style = root.find(f"{SVG}style").text
    assert not re.search(r"--|var\(|@media", style)  # which converters do not know
    assert ".mb .s1 .c{stroke:#d55e00}" in style and ".mb .backdrop{fill:#fff}" in style
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", picture.file())


def test_inside_a_page_it_leaves_the_style_to_the_page_and_has_its_own_ids() -> None:
    text = Picture(100, 50, "t", "d", "").inline("f7")
    assert "<style" not in text
    assert 'aria-labelledby="f7-t f7-d"' in text
    assert 'id="f7-t"' in text
    assert 'id="f7-d"' in text


@given(st.text(max_size=40))
def test_any_text_is_text(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    drawn = tag("svg", group(label(0, 0, text) + line(0, 0, 1, 1, text), text), data=text)
    root = ET.fromstring(drawn)
    assert [child.tag for child in root.iter()] == ["svg", "g", "title", "text", "line"] or not text
    shown = "".join(c if c.isprintable() else " " for c in text)
    assert root.find("g/text").text == (shown or None)
    assert root.get("data") == shown


def test_controls_and_direction_marks_are_not_kept() -> None:
    assert escape_xml("a\u202eb\x00c\nd") == "a b c d"


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (-0.001, "0"), (12.345, "12.35"), (100, "100"), (0.1, "0.1")])
def test_coordinates_are_short(value: float, text: str) -> None:
    assert coordinate(value) == text


def test_a_path_goes_through_its_points() -> None:
    assert polyline([(0, 0), (1.5, 2)], "rule") == '<path class="rule" d="M0 0L1.5 2"/>'
    assert polyline([(0, 0), (1, 2)], "rule", closed=True).endswith('Z"/>')


def test_a_long_name_is_cut_to_its_room() -> None:
    assert shorten("short", 100) == "short"
    cut = shorten("a very long name of an algorithm", 80)
    assert cut.endswith("…")
    assert width_of(cut) <= 80


def test_cut_names_stay_different_where_their_last_parts_are() -> None:
    names = [f"a very long name of an algorithm, steps={steps}" for steps in (1, 10)] + ["b"]
    short = shorten_names(names, 140)
    assert len(set(short.values())) == 3
    assert short[names[0]].endswith("…, steps=1") and short[names[1]].endswith("…, steps=10") and short["b"] == "b"
    assert all(width_of(text) <= 140 for text in short.values())
