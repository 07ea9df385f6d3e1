"""Records against each other, as pairs and over datasets."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from metabench.comparison.labels import labelled_records
from metabench.comparison.pairs import compare_all, rank_over_datasets, verdict
from metabench.errors import UsageError
from metabench.records.record import Record, build_record
from metabench.reports.comparison_tables import comparison_json, comparison_text, difference_text, p_text
from metabench.statistics.pairwise_tests import NO_DIFFERENCE, Difference
from tests.record_factory import make_inputs, make_record

RANDOM = np.random.default_rng(0)
BASE = RANDOM.binomial(75, RANDOM.beta(12, 4, 400))


def _record(name: str, shift: float = 0.0, dataset: str = "omniglot", **changes: Any) -> Record:
    """Scores around `BASE`, on the same episodes for the same dataset, `shift` points better."""
    seed = sum(map(ord, name + dataset))
    noise = np.random.default_rng(seed).normal(0, 1.5, 400)
    noise += 0.75 * shift - noise.mean()
    correct = np.clip(np.rint(BASE + noise), 0, 75).astype(int).tolist()
    digest = f"{sum(map(ord, dataset)):064x}"
    names = {"algorithm__name": name, "dataset__name": dataset, "dataset__digest": digest}
    return make_record(correct, episodes_digest=digest, **names, **changes)


def test_every_pair_of_a_cell_is_compared_and_corrected_together() -> None:
    records = [_record("a"), _record("b"), _record("c", 5.0)]
    records += [_record("a", protocol__params__shot=5), _record("c", 5.0, protocol__params__shot=5)]
    found = compare_all(records)
    assert [(pair.a.label, pair.b.label) for pair in found] == [("a", "b"), ("a", "c"), ("b", "c"), ("a", "c")]
    assert [pair.difference.method for pair in found] == ["paired-t"] * 4
    assert [pair.verdict for pair in found] == ["no difference shown"] + ["different"] * 3
    raw = sorted(pair.difference.p for pair in found)
    assert found[0].p_holm == pytest.approx(raw[-1])
    assert min(pair.p_holm for pair in found) == pytest.approx(4 * raw[0])


def test_a_record_given_twice_counts_once() -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        compare_all([_record("a"), _record("a")])


def test_what_cannot_be_compared() -> None:
    with pytest.raises(
        UsageError, match="nothing to compare: these records differ in dataset name: omniglot and other"
    ):
        compare_all([_record("a"), _record("b", dataset="other")])
    failed = build_record(make_inputs(), "failed", error={"type": "X", "message": "y"})
    with pytest.raises(UsageError, match="is failed and has no scores"):
        compare_all([_record("a"), failed])


@pytest.mark.parametrize(
    ("mean", "half", "p", "min_diff", "said"),
    [
        (3.0, 0.5, 0.001, None, "different"),
        (3.0, 0.5, 0.001, 2.0, "different and at least 2 points"),
        (-3.0, 0.5, 0.001, 2.0, "different and at least 2 points"),
        (0.5, 0.2, 0.001, 2.0, "different but smaller than 2 points"),
        (-2.1, 0.5, 0.001, 2.0, "different; whether by 2 points is open"),
        (3.0, 3.1, 0.06, 2.0, "no difference shown"),
    ],
)
def test_the_verdict_speaks_of_significance_and_of_size(
    mean: float, half: float, p: float, min_diff: float | None, said: str
) -> None:
    assert verdict(Difference(mean, half, p / 10, 100, "paired-t", 0.6), p, min_diff) == said


def test_equal_scores_are_no_difference_observed() -> None:
    (pair,) = compare_all([_record("a"), _record("a", precision="bfloat16")], 1.0)
    assert pair.verdict == NO_DIFFERENCE
    assert [pair.a.label, pair.b.label] == ["a float32", "a bfloat16"]
    assert "+0.00" in comparison_text([pair], [])
    assert comparison_text([pair], []).count(NO_DIFFERENCE) == 1


def test_names_are_as_long_as_they_must_be() -> None:
    records = [
        _record("a", algorithm__params={"metric": "cosine", "k": 1}),
        _record("a", algorithm__params={"metric": "euclidean", "k": 1}),
        _record("b", backbone__name="pixels", backbone__params={}),
        _record("b", training__seed=8, backbone__name="pixels", backbone__params={}),
        _record("c", training__lr=0.1),
        _record("c"),
        _record("d", training__lr=0.1, algorithm__params={"k": 1}),
        _record("d", algorithm__params={"k": 2}),
        _record("e", dataset__params={"size": 28}),
        _record("e", dataset__params={"size": 32}),
    ]
    labels = [each.label for each in labelled_records(records)]
    assert labels[:4] == ["a metric=cosine", "a metric=euclidean", "b seed 7", "b seed 8"]
    assert labels[4:6] == ["c train.lr=0.1", "c train.lr=0.001"]
    assert labels[6:8] == ["d k=1 train.lr=0.1", "d k=2 train.lr=0.001"]  # or the difference would look like that of k
    assert labels[8:] == ["e", "e"]  # in cells of their own
    assert [each.method for each in labelled_records(records)][2:6] == ["b", "b", "c", "c"]


def test_datasets_of_one_name_are_told_apart() -> None:
    records = [_record("a"), make_record(BASE.tolist(), dataset__digest="12" * 32)]
    assert [each.dataset for each in labelled_records(records)] == ["omniglot 00000000", "omniglot 12121212"]


def test_the_open_width_of_a_difference_is_for_paired_runs() -> None:
    members = np.argsort(RANDOM.random((400, 30)), axis=1)[:, :5]
    episodes = np.bincount(members.ravel(), minlength=30)

    def classes(correct: list[int]) -> dict[str, list[int]]:
        sums = np.bincount(members.ravel(), np.repeat(correct, 5), 30).astype(int)
        return {"episodes": episodes.tolist(), "correct": sums.tolist()}

    a, b = (_record(name).measured.correct for name in "ab")
    one, two = make_record(a, classes(a)), make_record(b, classes(b), algorithm__name="b")
    (pair,) = compare_all([one, two])
    assert pair.difference.open95 is not None
    assert pair.difference.ci95 is not None
    assert pair.difference.ci95 <= pair.difference.open95 < 3 * pair.difference.ci95
    apart = make_record(b, classes(b), algorithm__name="b", episodes_digest="ef" * 32)
    assert compare_all([one, apart])[0].difference.open95 is None
    assert "not paired" in comparison_text(compare_all([one, apart]), [])


def test_winning_says_of_which_episodes_it_speaks() -> None:
    a, b = _record("a"), _record("b", 3)
    digest = a.inputs.dataset.digest
    apart = make_record(b.measured.correct, algorithm__name="c", episodes_digest="ef" * 32, dataset__digest=digest)
    same = "A wins: probability that A is better than B on the same new episode, a tie counting half"
    independent = "A wins ‡: probability that A on one new episode is better than B on another, independent one"
    for markdown in (False, True):
        assert same in comparison_text(compare_all([a, b]), [], markdown)
        assert "‡" not in comparison_text(compare_all([a, b]), [], markdown)
        mixed = comparison_text(compare_all([a, b, apart]), [], markdown)
        assert same in mixed
        assert independent in mixed
        assert mixed.count(" ‡") == 3  # two rows of Welch's test and the footnote
        assert same not in comparison_text(compare_all([a, apart]), [], markdown)
    pairs = json.loads(comparison_json(compare_all([a, b, apart]), []))["pairs"]
    assert [pair["a_beats_b_over"] for pair in pairs] == ["same episode", *["independent episodes"] * 2]


def test_methods_are_ranked_over_datasets_where_all_were_measured() -> None:
    datasets = ["one", "two", "three"]
    records = [_record(name, shift, dataset) for dataset in datasets for name, shift in (("a", 0), ("b", 3), ("c", 6))]
    records += [_record("d", 9, "one"), _record("a", 1, "one", training__seed=8)]
    (found,) = rank_over_datasets(compare_all(records))
    assert (found.datasets, found.methods, found.left_out) == (("one", "two", "three"), ("a", "b", "c"), ("d",))
    assert found.ranking.mean_ranks == (3.0, 2.0, 1.0)
    text = comparison_text(compare_all(records), [found])
    assert "5-way 1-shot over 3 datasets (one, two, three): only 3 datasets: a rough guide" in text
    assert "mean ranks: c 1.00, b 2.00, a 3.00; critical difference 1.91 (Nemenyi, 5 %)" in text
    assert "left out: d" in text
    assert "0/0/3" in text


def test_p_over_few_datasets_is_exact_and_the_text_says_so() -> None:
    records = [_record(name, shift, dataset) for dataset in ("one", "two") for name, shift in (("a", 0), ("b", 3))]
    found = compare_all(records)
    text = comparison_text(found, rank_over_datasets(found))
    assert "Iman-Davenport: F inf; p of both 0.50 (exact, from all arrangements of the ranks)" in text
    (ranking,) = json.loads(comparison_json(found, rank_over_datasets(found)))["rankings"]
    assert (ranking["p_f"], ranking["draws"], ranking["f"]) == (0.5, 0, None)
    (pair,) = ranking["pairs"]
    assert pair["low"] < pair["mean"] < pair["high"]


def test_datasets_that_all_say_the_same_give_no_interval() -> None:
    records = [
        make_record(row, dataset__name=dataset, algorithm__name=name)
        for dataset in ("one", "two")
        for name, row in (("a", (75, 70, 65, 60)), ("b", (70, 65, 60, 52)))
    ]
    found = compare_all(records)
    rows = comparison_text(found, rank_over_datasets(found)).splitlines()
    assert any(line.split()[:4] == ["a", "b", "+7.67", "-"] for line in rows)
    (ranking,) = json.loads(comparison_json(found, rank_over_datasets(found)))["rankings"]
    assert (ranking["pairs"][0]["low"], ranking["pairs"][0]["high"]) == (None, None)


def test_one_dataset_makes_no_ranking() -> None:
    assert rank_over_datasets(compare_all([_record("a"), _record("b")])) == []


def test_json_holds_everything_as_numbers() -> None:
    records = [_record(name, shift, dataset) for dataset in ("one", "two") for name, shift in (("a", 0), ("b", 3))]
    found = compare_all(records, 1.0)
    document = json.loads(comparison_json(found, rank_over_datasets(found)))
    first = document["pairs"][0]
    assert first["difference"] == pytest.approx(first["score_a"] - first["score_b"])
    assert (first["a"], first["b"], first["dataset"], first["way"], first["shot"]) == ("a", "b", "one", 5, 1)
    assert first["key_a"] == records[0].key
    assert {"ci95", "open95", "p", "p_holm", "a_beats_b", "episodes", "method", "note", "verdict"} <= set(first)
    (ranking,) = document["rankings"]
    assert ranking["mean_ranks"] == {"a": 2.0, "b": 1.0}
    assert (ranking["pairs"][0]["first"], ranking["f"], ranking["datasets"]) == ("a", None, ["one", "two"])


def test_a_strangers_name_does_nothing() -> None:
    text = comparison_text(compare_all([_record("a|b\n\x1b[31m"), _record("<b>")]), [], markdown=True)
    assert "\x1b" not in text
    assert "<b>" not in text
    assert r"a\|b" in text


def test_numbers_as_text() -> None:
    assert difference_text(Difference(1.2, 0.31, 0.1, 9, "paired-t", 0.5, "", 0.74)) == "+1.20 ± 0.31 (open ± 0.74)"
    assert difference_text(Difference(-1.2, None, 0.1, 9, "paired-t", 0.5)) == "-1.20"
    assert [p_text(p) for p in (0.00002, 0.0123, 0.5)] == ["<0.0001", "0.0123", "0.50"]
