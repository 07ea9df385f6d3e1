"""The picture of a comparison, and the option that writes it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.comparison.pairs import compare_all, rank_over_datasets
from metabench.plotting.comparison_plot import comparison_picture
from metabench.records.record import write_record
from metabench.records.schema import Record
from tests.comparison.test_pairs import _record
from tests.record_factory import make_record


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter() if element.tag.endswith("}text")]


def _classes(svg: str) -> list[str]:
    return [element.get("class") or "" for element in ET.fromstring(svg).iter()]


def test_every_pair_has_its_difference_and_p() -> None:
    found = compare_all([_record("a"), _record("b", 2.0), _record("c", -3.0)])
    picture = comparison_picture(found, [])
    texts = _texts(picture.file())
    assert {"omniglot, 5-way 1-shot", "a - b", "a - c", "b - c"} <= set(texts)
    for pair in found:
        assert f"{pair.difference.mean:+.2f}" in texts
    assert texts.count("p <0.001") == 3
    assert _classes(picture.file()).count("closed") == 3
    assert "zone" not in _classes(picture.file())


def test_what_would_not_matter_is_shaded() -> None:
    picture = comparison_picture(compare_all([_record("a"), _record("b", 2.0)]), [], 0.5)
    assert _classes(picture.file()).count("zone") == 1
    assert any("grey: less than 0.5" in text for text in _texts(picture.file()))


def test_datasets_have_a_panel_each_and_their_mean_ranks_one() -> None:
    records = [_record(name, shift, data) for data in ("one", "two", "three") for name, shift in (("a", 0), ("b", 3))]
    found = compare_all(records)
    texts = _texts(comparison_picture(found, rank_over_datasets(found)).file())
    assert {"one, 5-way 1-shot", "two, 5-way 1-shot", "mean rank over 3 datasets, 5-way 1-shot"} <= set(texts)


def _files(folder: Path, *records: Record) -> list[str]:
    names = []
    for number, record in enumerate(records):
        write_record(folder / f"r{number}.json", record)
        names.append(str(folder / f"r{number}.json"))
    return names


def test_the_command_writes_the_same_bytes_and_keeps_stdout_for_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", *_files(tmp_path, _record("a"), _record("b", 1.0)), "--json"]
    assert main(words) == 0
    table = capsys.readouterr().out
    target = tmp_path / "a.svg"
    assert main([*words, "--plot", str(target)]) == 0
    output = capsys.readouterr()
    assert (output.out, output.err) == (table, f"wrote {target}\n")
    assert json.loads(output.out)["pairs"]
    first = target.read_bytes()
    assert main([*words, "--plot", str(target)]) == 0
    assert target.read_bytes() == first


def test_a_picture_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = _files(tmp_path, _record("a"), _record("b"))
    assert main(["compare", *files, "--plot", str(tmp_path / "no" / "a.svg")]) == 2
    assert "not found" in capsys.readouterr().err


def test_the_same_answers_are_drawn_at_zero(tmp_path: Path) -> None:
    same = make_record((70, 71, 72, 73) * 10), make_record((70, 71, 72, 73) * 10, algorithm__name="twin")
    assert main(["compare", *_files(tmp_path, *same), "--plot", str(tmp_path / "a.svg")]) == 0
    texts = _texts((tmp_path / "a.svg").read_text(encoding="utf-8"))
    assert {"+0.00", "p 1.000"} <= set(texts)
