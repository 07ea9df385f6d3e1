from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tabulate import tabulate

from metabench.cli.main import main
from metabench.cli.rendering import columns
from metabench.reports.text_table import (
    Notes,
    Table,
    csv_text,
    display_width,
    json_text,
    markdown_table,
    report_text,
    terminal_columns,
    terminal_table,
)
from tests.photos import make_folder

WORDS = ("plain", "日本語", "中文 字", "ring🔥", "ñandú", unicodedata.normalize("NFD", "ñandú"))


def starts(line: str) -> list[int]:
    """Where the cells after the first begin on the screen: behind two spaces."""
    return [display_width(line[: place + 2]) for place in range(len(line) - 2) if line[place : place + 3] == "  |"]


@pytest.mark.parametrize("make", [terminal_table, columns])
def test_aligned_by_what_is_shown(make) -> None:
    lines = make(("class", "|value"), [(word, "|1") for word in WORDS]).splitlines()
    places = {tuple(starts(line)) for line in lines if "|" in line}
    assert len(places) == 1
    assert places != {()}


def test_columns_that_are_too_wide_go_on_in_further_lines() -> None:
    header, rows = ("name", "a", "b"), [("x", "one two three four five six seven", "日本語 " * 6), ("y" * 30, "", "z")]
    assert terminal_columns(header, rows).count("\n") == 2
    assert terminal_columns(header, rows, 200) == terminal_columns(header, rows)
    assert terminal_columns(header, rows, 80).splitlines() == [
        "name                            a                        b",
        "x                               one two three four five  日本語 日本語 日本語",
        "                                six seven                日本語 日本語 日本語",
        f"{'y' * 30}                           z",
    ]
    assert terminal_columns(header, rows, 10) == terminal_columns(header, rows, 60)  # a column keeps some width


def test_widths() -> None:
    assert [display_width(word) for word in WORDS] == [5, 6, 7, 6, 5, 5]


CELLS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=9)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_as_tabulate_does_it_where_every_letter_takes_one_column(lines: list[list[str]]) -> None:
    header, *rows = [[text.strip() for text in line] for line in lines]
    want = tabulate(rows, headers=header, tablefmt="simple", disable_numparse=True)
    if rows:
        assert terminal_table(header, rows).splitlines() == [line.rstrip() for line in want.splitlines()]


TABLE = Table(("name_a", "b"), [("x|y_z", "<b>"), ("\x1b[31m", "1")])


def test_a_report_is_cleaned_for_a_terminal() -> None:
    text = report_text(["head_ing", TABLE, Notes(["one", "two\x07"]), Notes([])])
    assert text == (
        "head_ing\n\n"
        "name_a    b\n"
        "--------  ---\n"
        "x|y_z     <b>\n"
        "[31m      1\n\n"
        "one\ntwo "
    )  # fmt: skip


def test_a_report_is_escaped_in_markdown() -> None:
    assert report_text(["head_ing", TABLE, Notes(["one", "two*"])], markdown=True) == (
        "head\\_ing\n\n"
        "| name\\_a   | b         |\n"
        "|-----------|-----------|\n"
        "| x\\|y\\_z   | &lt;b&gt; |\n"
        "| \\[31m     | 1         |\n\n"
        "one\n\ntwo\\*"
    )
    assert report_text([Table(("name_a",), [("a_b",)], plain_header=True)], markdown=True).splitlines() == [
        "| name_a   |", "|----------|", "| a\\_b     |",
    ]  # fmt: skip


def test_a_markdown_table_without_padding_keeps_its_lines_when_a_cell_grows() -> None:
    short, long = (markdown_table(("a", "b"), [("1", cell), ("2", "x")], aligned=False) for cell in ("y", "y" * 9))
    assert short == "| a | b |\n| --- | --- |\n| 1 | y |\n| 2 | x |"
    assert sum(a != b for a, b in zip(short.splitlines(), long.splitlines(), strict=True)) == 1


def test_csv_runs_no_formula_and_json_holds_no_nan() -> None:
    assert csv_text(("a", "b"), [{"a": "=1+1", "b": None, "more": 0}, {"a": "x,y", "b": -1.5}]) == (
        'a,b\n\'=1+1,\n"x,y",-1.5\n'
    )
    assert json.loads(json_text({"é": [1, None], "path": Path("x")})) == {"é": [1, None], "path": "x"}
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text({"a": float("nan")})


def test_tables_of_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of labels, of runs and of classes, in whatever script."""
    root = make_folder(tmp_path / "写真", {"日本語": 4, "ring🔥": 4, "plain": 4})
    home = ["--home", str(tmp_path / "home")]
    words = ["run", "--dataset", f"folder:{root}", "--algo", "nearest-mean", "--ways", "3", "--episodes", "20"]
    assert main([*words, "--set", "data.size=12", "--quiet", *home]) == 0
    table = capsys.readouterr().out.splitlines()
    column = table[0].index("way")
    assert display_width(table[2][: table[2].index(" 3 ") + 1]) == column
    assert main(["list", "runs", "--json", *home]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert main(["worst", record["key"], "--quiet", *home]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("class "))
    column = lines[head].index("accuracy")
    for line in lines[head + 2 : head + 5]:
        cut = next(n for n in range(len(line)) if display_width(line[:n]) == column)
        assert line[cut].isdigit() and line[cut - 1] == " "
