from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from metabench.records.record import build_record
from metabench.reports.rows import RUN_COLUMNS, rows_from_records, to_frame
from metabench.reports.run_tables import ALWAYS, needed_columns, run_csv, run_json, run_text
from metabench.reports.score_text import score_text
from metabench.reports.text_table import csv_text
from metabench.utils.atomic_files import write_atomic
from metabench.utils.text import escape_markdown, printable
from tests.record_factory import make_inputs, make_record

FAILED = build_record(
    make_inputs(protocol__params__shot=5), "failed", error={"type": "RuntimeError", "message": "a|b\n\x1b[31mred"}
)


def test_a_row_says_what_was_measured_and_how() -> None:
    record = make_record(algorithm__params={"b": 2, "a": "x"})
    (row,) = rows_from_records([record], {record.key})
    assert tuple(sorted(row)) == tuple(sorted(RUN_COLUMNS))
    assert row["accuracy"] == pytest.approx(98.666667)
    assert row["ci95"] == record.summary.ci95
    expected = {"algorithm": "protonet", "backbone": "conv4", "dataset": "omniglot", "way": 5, "shot": 1}
    expected |= {"query": 15, "episodes": 4, "seed": 7, "status": "ok", "key": record.key, "cached": True}
    expected |= {"params": "a=x, b=2", "backbone_params": "channels=64", "note": "few episodes"}
    assert {name: row[name] for name in expected} == expected


def test_a_failed_row_has_a_reason_and_no_number() -> None:
    (row,) = rows_from_records([FAILED])
    assert (row["accuracy"], row["ci95"], row["status"], row["cached"]) == (None, None, "failed", False)
    assert row["note"].startswith("RuntimeError: a|b")
    header = run_text([row]).splitlines()[0]
    assert header.split()[-1] == "score"  # of which metric, nothing says


def test_rows_that_differ_in_data_protocol_or_training_are_told_apart() -> None:
    drawn = {"name": "dirichlet", "version": 1, "params": {"way": 5, "shot": 1, "query": 15, "alpha": 2.0, "beta": 1}}
    records = [
        make_record(
            dataset__params={"fold": fold, "size": 28}, protocol={**drawn, "params": {**drawn["params"], **more}}
        )
        for fold, more in ((1, {}), (2, {}), (1, {"alpha": 0.5}))
    ]
    records.append(make_record(dataset__params={"fold": 1, "size": 28}, protocol=drawn, training__episodes=50))
    records.append(make_record(algorithm__name="chance", dataset__params={"size": 9}, training=None))
    rows = rows_from_records(records)
    assert [row["protocol_params"] for row in rows[1:3]] == ["alpha=2.0, beta=1", "alpha=0.5, beta=1"]
    assert rows[0]["dataset_params"] == "fold=1, size=28" and rows[0]["training"].startswith("episodes=100, lr=0.001")
    needed = needed_columns(rows, (*ALWAYS, "seed"))
    assert needed == {
        "dataset_params": ["fold=1", "fold=2", "fold=1", "fold=1", ""],
        "protocol_params": ["alpha=2.0", "", "alpha=0.5", "alpha=2.0", ""],
        "training": ["episodes=100", "", "", "episodes=50", ""],
    }
    header, *_ = run_text(rows).splitlines()
    assert header.split()[-5:] == [*needed, "accuracy", "(%)"]
    assert "dataset_params" not in run_text(rows[:1])


def test_an_open_interval_of_a_run_that_stopped_by_its_own_is_explained() -> None:
    (row,) = rows_from_records([make_record()])
    said = "where the run stopped by its interval, open ± does not allow for that"
    assert said in run_text([{**row, "interval": "anytime-bernstein", "open95": 1.0}])
    assert said not in run_text([{**row, "interval": "closed-t", "open95": 1.0}])


def test_the_terminal_table() -> None:
    records = [make_record((75, 74) * 1000), make_record((74, 74) * 1000, protocol__params__shot=5)]
    assert run_text(rows_from_records(records[:1])) == (
        "algorithm    backbone    dataset    way    shot    accuracy (%)\n"
        "-----------  ----------  ---------  -----  ------  --------------\n"
        "protonet     conv4       omniglot   5      1       99.33 ± 0.03\n"
        "\n"
        "±: 95 % Student-t interval over 2,000 episodes (closed: covers this test set only, not new classes or images)"
    )
    both = run_text(rows_from_records(records))
    assert "98.67 ± 0.06 (no variance)" in both
    assert "Clopper-Pearson interval over all queries" in both
    assert "Student-t interval over 2,000 episodes" in both


def test_each_interval_says_what_it_speaks_of() -> None:
    classes = {"episodes": [10, 10, 10, 10, 10, 10], "correct": [740, 735, 735, 740, 730, 740]}
    opened = make_record((75, 74, 73, 72, 75, 73) * 2, classes=classes)
    apart = make_record((75, 74, 73, 72), evaluation__sampling="open")
    text = run_text(rows_from_records([opened, apart]))
    assert f"(open ± {opened.summary.open95:.2f})" in text
    assert "over 12 episodes (closed" in text
    assert "over 4 episodes that share no image" in text
    assert "open ±: 95 % interval for new classes and new examples" in text
    assert "sampling" in text.splitlines()[0]
    rule = {"half_width": 5.0, "bound": "bernstein", "tightest": 100}
    stopped = make_record((75, 74) * 2, evaluation__stop=rule)
    assert "empirical Bernstein" in run_text(rows_from_records([stopped]))


def test_columns_appear_where_they_tell_rows_apart() -> None:
    records = [make_record(), make_record(training__seed=8), make_record((75, 70), precision="bfloat16")]
    text = run_text(rows_from_records(records))
    header = text.splitlines()[0].split()
    assert header == [
        "algorithm", "backbone", "dataset", "way", "shot", "episodes", "seed", "precision", "accuracy", "(%)",
    ]  # fmt: skip
    assert "interval over the episodes (closed" in text


def test_what_is_transductive_says_so_even_where_all_rows_are() -> None:
    text = run_text(rows_from_records([make_record(algorithm__setting="transductive")]))
    assert "  setting  " in text.splitlines()[0] and "  transductive  " in text.splitlines()[2]
    assert "\ntransductive: the queries of an episode help each other" in text
    text = run_text(rows_from_records([make_record()]))
    assert "setting" not in text and "ductive" not in text


def test_failures_and_control_characters_in_the_terminal() -> None:
    text = run_text(rows_from_records([FAILED]))
    assert "failed: RuntimeError: a|b  [31mred" in text
    assert "\x1b" not in text
    assert "±" not in text
    long = build_record(make_inputs(), "skipped", error={"type": "X", "message": "y" * 5000})
    assert max(map(len, run_text(rows_from_records([long])).splitlines())) <= 2000


def test_no_rows_make_an_empty_table() -> None:
    assert "algorithm" in run_text([])
    assert "algorithm" in run_text([], markdown=True)
    assert json.loads(run_json([])) == {"rows": [], "seeds": []}
    assert len(to_frame([])) == 0


def test_markdown_escapes_its_cells() -> None:
    records = [FAILED, make_record(algorithm__name="a|b`<img src=x onerror=alert(1)>")]
    lines = run_text(rows_from_records(records), markdown=True).splitlines()
    assert len(lines) == 6
    assert "a\\|b  \\[31mred" in lines[2]
    assert "a\\|b\\`&lt;img src=x onerror=alert(1)&gt;" in lines[3]
    assert all(line.replace("\\|", "").count("|") == 7 for line in lines[:4])


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("[x](http://evil)", r"\[x\](http&#58;//evil)"),
        ("a\nb\r\tc", "a b  c"),
        ("&amp; *b* _c_ ~d~ \\", r"&amp;amp; \*b\* \_c\_ \~d\~ \\"),
        ("www.evil.example me@evil", "www&#46;evil.example me&#64;evil"),
        ("-->", "--&gt;"),
    ],
)
def test_escape(text: str, safe: str) -> None:
    assert escape_markdown(text) == safe


def test_printable_keeps_letters_of_any_script() -> None:
    assert printable("Gödel 漢字\u202e\x00") == "Gödel 漢字  "


@pytest.mark.parametrize(
    ("accuracy", "ci95", "text"),
    [
        (98.2149, 0.0811, "98.21 ± 0.08"),
        (50.0, None, "50.00"),
        (100.0, 0.0049, "100.00 ± 0.005"),
        (100.0, 0.0002, "100.00 ± 0.0002"),
        (100.0, 0.00001, "100.00 ± <0.0001"),
    ],
)
def test_a_width_never_prints_as_zero(accuracy: float, ci95: float | None, text: str) -> None:
    assert score_text(accuracy, ci95) == text


def test_the_open_width_stands_behind_the_closed_one() -> None:
    assert score_text(98.2149, 0.0811, 0.314) == "98.21 ± 0.08 (open ± 0.31)"
    assert score_text(98.2149, None, 0.314) == "98.21 (open ± 0.31)"


def test_csv_is_written_whole_and_reads_back(tmp_path: Path) -> None:
    rows = rows_from_records([make_record(), FAILED])
    write_atomic(tmp_path / "out" / "table.csv", run_csv(rows))
    assert b"\r" not in (tmp_path / "out" / "table.csv").read_bytes()
    with (tmp_path / "out" / "table.csv").open(newline="", encoding="utf-8") as stream:
        first, second = csv.DictReader(stream)
    assert float(first["accuracy"]) == rows[0]["accuracy"]
    assert (second["accuracy"], second["note"]) == ("", rows[1]["note"])
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["table.csv"]


def test_csv_cells_are_no_formulas() -> None:
    assert csv_text(["a", "b"], [{"a": "=1+1", "b": -1.5}, {"a": "-x", "b": "-0.5"}]) == ("a,b\n'=1+1,-1.5\n'-x,-0.5\n")


def test_the_frame_keeps_types() -> None:
    frame = to_frame(rows_from_records([make_record(), FAILED, make_record(training=None)]))
    assert tuple(frame.columns) == RUN_COLUMNS
    assert frame["seed"].dtype == "Int64"
    assert frame["accuracy"].isna().tolist() == [False, True, False]
    assert frame["seed"].isna().tolist() == [False, False, True]


def test_json_is_one_document() -> None:
    rows = rows_from_records([make_record(), FAILED])
    plain = [{**row, "metric": row["metric"] and row["metric"].name} for row in rows]
    assert [row["metric"] for row in plain] == ["accuracy", None]
    assert json.loads(run_json(rows, [{"seeds": [0]}])) == {"rows": plain, "seeds": [{"seeds": [0]}]}


def test_a_pre_trained_backbone_says_on_what() -> None:
    records = [make_record(), make_record(backbone__name="net", backbone__trained_on="imagenet-1k")]
    rows = rows_from_records(records)
    assert [row["trained_on"] for row in rows] == ["", "imagenet-1k"]
    text = run_text(rows)
    assert "net + imagenet-1k" in text and "conv4 +" not in text
    assert "+: the backbone was trained on these data before" in text
    assert "+:" not in run_text(rows[:1])


def test_a_long_reason_stands_once_and_whole_below_the_table() -> None:
    reason = "the training loss is not a number; " * 5 + "try a lower --set train.lr"
    rows = rows_from_records(
        [
            build_record(make_inputs(training__seed=seed), "failed", error={"type": "Diverged", "message": reason})
            for seed in (0, 1)
        ]
    )
    text = run_text(rows)
    assert text.count(f"failed: Diverged: {reason}") == 1 and "…" not in text
    assert text.count("failed: Diverged, see below") == 2
    assert "try a lower" in run_text(rows, markdown=True)
