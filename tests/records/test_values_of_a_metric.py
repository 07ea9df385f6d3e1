"""Values of a metric: records, tables, comparisons, seeds, ranks and pages get unit and direction right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench.comparison.pairs import compare_all, rank_over_datasets
from metabench.comparison.seed_groups import over_seeds
from metabench.leaderboard.folder import Leaderboard
from metabench.records.record import Record, RecordError, build_record, read_record, write_record
from metabench.records.scores import metric_as_plain
from metabench.registry.metric import Metric
from metabench.reports.comparison_tables import comparison_text
from metabench.reports.frames import load_results
from metabench.reports.rows import rows_from_records, to_frame
from metabench.reports.run_tables import run_csv, run_json, run_text
from metabench.statistics.class_jackknife import class_level
from metabench.statistics.dataset_ranking import rank_methods
from metabench.statistics.pairwise_tests import compare_runs
from metabench.statistics.student_t import t_quantile
from tests.record_factory import decoded, make_inputs, make_record, plain_of

MSE = Metric("mse", "", higher_is_better=False, digits=3)
RANDOM = np.random.default_rng(0)
VALUES = RANDOM.gamma(2.0, 0.2, 200)
PROTOCOL = {"name": "regression", "version": 1, "params": {"shot": 5, "query": 15}}


def valued(values: Any = VALUES, metric: Metric = MSE, classes: Any = None, **changes: Any) -> Record:
    """Return a record of values."""
    values = [float(value) for value in values]
    inputs = make_inputs(evaluation__episodes=len(values), protocol=PROTOCOL, **changes)
    scores = {"n_query": 15, "values": values, "metric": metric_as_plain(metric)}
    return build_record(inputs, "ok", scores={**scores, "episodes_digest": "cd" * 32, "classes": classes})


def test_a_record_of_values_survives_the_file(tmp_path: Path) -> None:
    record = valued()
    write_record(tmp_path / "r.json", record)
    assert read_record(tmp_path / "r.json") == record
    summary = record.summary
    assert summary.mean == record.summary_fields["mse"] == pytest.approx(VALUES.mean(), abs=1e-6)
    assert summary.ci95 == pytest.approx(t_quantile(199, 0.95) * VALUES.std(ddof=1) / 200**0.5, abs=1e-6)
    assert (summary.interval, summary.open95, "accuracy" in record.summary_fields) == ("closed-t", None, False)


def test_values_that_do_not_vary_have_no_interval() -> None:
    summary = valued([0.25] * 40).summary
    assert (summary.mean, summary.sd, summary.ci95) == (0.25, 0.0, None)
    assert (summary.interval, summary.note) == ("none", "no variance")


def test_the_open_interval_of_values_comes_from_the_sums_of_their_classes() -> None:
    owner = np.arange(200) % 40  # each episode is of one function
    totals = np.bincount(owner, VALUES)
    classes = {"episodes": [5] * 40, "totals": totals.tolist()}
    found = class_level(VALUES, np.full(40, 5), totals)
    assert valued(classes=classes).summary.open95 == pytest.approx(
        t_quantile(found.df, 0.95) * found.standard_error, abs=1e-6
    )
    classes["totals"][0] += 0.5
    with pytest.raises(RecordError, match="does not add up"):
        valued(classes=classes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.update(values=[1.0, float("inf")]), r"^\$\.scores\.values\[1\] is Infinity, which is not a JSON"),
        (
            lambda s: s.update(values=[1.0, float("nan")]),
            r"^\$\.scores\.values\[1\] is NaN, which is not a JSON",
        ),
        (lambda s: s.update(values=[1.0, 1e31]), r"^\$\.scores\.values\[1\]: expected `float` <= 1e\+?30"),
        (lambda s: s.update(values=[1.0, "2"]), r"^\$\.scores\.values\[1\]: expected `int \| float`, got `str`"),
        (lambda s: s.update(values=[True, 1.0]), r"^\$\.scores\.values\[0\]: expected `int \| float`, got `bool`"),
        (lambda s: s.pop("metric"), r"^\$\.scores\.metric must stand beside values"),
        (lambda s: s.update(correct=[1, 2]), r"^\$\.scores must have either correct or values"),
        (lambda s: s["metric"].update(name="accuracy"), r"^\$\.scores\.metric\.name is the name of something else"),
        (lambda s: s["metric"].update(name="ci95"), r"^\$\.scores\.metric\.name is the name of something else"),
        (lambda s: s["metric"].update(name="<b>"), r"^\$\.scores\.metric\.name: expected `str` matching regex"),
        (lambda s: s["metric"].update(higher_is_better=1), r"^\$\.scores\.metric\.higher_is_better: expected `bool`"),
        (lambda s: s["metric"].update(unit="\n"), r"^\$\.scores\.metric\.unit: expected `str` matching regex"),
        (lambda s: s["metric"].update(digits=99), r"^\$\.scores\.metric\.digits: expected `int` <= 9"),
        (lambda s: s.update(n_query=[15, 15, 15]), r"^\$\.scores\.n_query is not a list of 2, one for each episode"),
        (lambda s: s.update(n_query=[15, 0]), r"^\$\.scores\.n_query\[1\]: expected `int` >= 1"),
        (lambda s: s.update(metric="mse"), r"^\$\.scores\.metric: expected `object \| null`, got `str`"),
    ],
)
def test_a_forged_record_of_values_is_refused(edit: Any, message: str) -> None:
    plain = plain_of(valued([0.5, 0.25]))
    edit(plain["scores"])
    with pytest.raises(RecordError, match=message):
        decoded(plain)


def test_counts_may_be_out_of_different_numbers() -> None:
    scores = {"n_query": [10, 20, 40], "correct": [5, 15, 40], "episodes_digest": "cd" * 32, "classes": None}
    record = build_record(make_inputs(evaluation__episodes=3), "ok", scores=scores)
    assert record.score == pytest.approx((50 + 75 + 100) / 3, abs=1e-6)
    scores["correct"] = [5, 21, 40]
    with pytest.raises(RecordError, match=r"\$.scores.correct\[1\] is more than the queries of its episode"):
        build_record(make_inputs(evaluation__episodes=3), "ok", scores=scores)
    full = {**scores, "correct": [10, 20, 40]}
    summary = build_record(make_inputs(evaluation__episodes=3), "ok", scores=full).summary
    assert (summary.interval, summary.note) == ("clopper-pearson", "at ceiling")
    assert 100 - summary.ci95 == pytest.approx(100 * 0.025 ** (1 / 70), abs=1e-5)


def test_tables_show_the_metric_and_its_digits(tmp_path: Path) -> None:
    rows = rows_from_records([valued()])
    assert run_text(rows).splitlines()[0].split()[-1] == "mse"
    assert f"{VALUES.mean():.3f} ± " in run_text(rows, markdown=True)
    assert "%" not in run_text(rows).splitlines()[2]
    both = run_text(rows_from_records([valued(), make_record()]))
    assert both.splitlines()[0].split()[-1] == "score"
    assert " mse" in both
    assert " accuracy (%)" in both
    frame = to_frame(rows)
    assert (frame["metric"][0], frame["accuracy"].isna()[0]) == ("mse", True)
    assert frame["score"][0] == pytest.approx(VALUES.mean(), abs=1e-6)
    assert '"metric": "mse"' in run_json(rows)
    (tmp_path / "t.csv").write_text(run_csv(rows))
    assert ",mse," in (tmp_path / "t.csv").read_text()


def test_lower_is_better_in_a_comparison() -> None:
    good, bad = valued(VALUES, algorithm__name="good"), valued(VALUES + 0.1 + 0.01 * RANDOM.random(200))
    found = compare_runs(good.run, bad.run)
    assert found.mean == pytest.approx(-0.105, abs=0.01)
    assert (found.method, found.a_beats_b) == ("paired-t", 1.0)
    (pair,) = compare_all([good, bad], min_diff=0.05)
    assert pair.verdict == "different and at least 0.05 mse"
    text = comparison_text([pair], [])
    assert "A - B (mse)" in text
    assert "%)" not in text.splitlines()[0]
    with pytest.raises(ValueError, match="mse and accuracy cannot be compared"):
        compare_runs(good.run, make_record(tuple([70, 71] * 100)).run)


def test_lower_is_better_in_ranks_over_datasets() -> None:
    table = np.array([[0.1, 0.5], [0.2, 0.4], [0.1, 0.1]])
    found = rank_methods(table, higher_is_better=False)
    assert found.mean_ranks == pytest.approx((7 / 6, 11 / 6))
    assert (found.pairs[0].wins, found.pairs[0].ties, found.pairs[0].losses) == (2, 1, 0)
    assert found.pairs[0].mean == pytest.approx(-0.2)
    records = [
        valued(VALUES + shift, dataset__name=data, algorithm__name=name)
        for data in ("one", "two")
        for name, shift in (("good", 0.0), ("bad", 0.1))
    ]
    (standing,) = rank_over_datasets(compare_all(records))
    assert dict(zip(standing.methods, standing.ranking.mean_ranks, strict=True)) == {"good": 1.0, "bad": 2.0}
    assert "mse over 2 datasets" in comparison_text(compare_all(records), [standing])


def test_seeds_of_values_are_summarised_in_their_unit() -> None:
    runs = [valued(VALUES + shift, training__seed=seed) for seed, shift in enumerate((0.0, 0.1, 0.2))]
    (group,) = over_seeds(runs)
    assert group.score == pytest.approx(VALUES.mean() + 0.1, abs=1e-6)
    assert group.seed_sd == pytest.approx(0.1, abs=1e-6)
    assert group.total95 > 0.1


def test_a_leaderboard_ranks_by_the_direction_and_mixes_no_metrics(tmp_path: Path) -> None:
    board = Leaderboard(tmp_path / "board")
    noise = 0.01 * RANDOM.random((2, 200))
    good = valued(VALUES + noise[0], algorithm__name="good")
    bad = valued(VALUES + 0.2 + noise[1], algorithm__name="bad")
    other = valued(VALUES[:100], Metric("auroc", "", True, 3), algorithm__name="third")
    ten = {**PROTOCOL, "params": {"shot": 10, "query": 15}}
    plain = plain_of(good)
    inputs = {**plain["inputs"], "protocol": ten}
    more = build_record(inputs, "ok", scores={**plain["scores"], "episodes_digest": "ef" * 32})
    board.add([good, bad, other, more, make_record()])
    (found,) = board.contents().boards()
    (section,) = found.sections
    assert [cell.title for cell in section.cells] == [
        "5-way 1-shot", "regression 5-shot, auroc", "regression 5-shot, mse", "regression 10-shot, mse",
    ]  # fmt: skip
    mse = section.cells[2]
    places = {row.first.inputs.algorithm.name: section.ranks[row.identity, mse].place
              for row in section.rows if mse in row.cells}  # fmt: skip
    assert places == {"good": 1, "bad": 2}
    board.build()
    page = (board.folder / "omniglot.md").read_text()
    assert f"{(VALUES + noise[0]).mean():.3f} ± " in page
    assert "Mse: lower is better." in page
    assert "Accuracy in percent." in page
    header, *lines = (board.folder / "omniglot.csv").read_text().splitlines()
    assert ",metric,score," in header
    assert sum(",mse," in line for line in lines) == 3
    assert board.stale() == []


def test_episodes_come_out_with_their_scores(tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", valued())
    write_record(tmp_path / "b.json", make_record())
    frame = load_results(tmp_path, per="episode")
    assert len(frame) == 204
    assert frame.groupby("metric", observed=True)["score"].count().to_dict() == {"accuracy": 4, "mse": 200}
    assert frame["accuracy"].count() == frame["correct"].count() == 4
