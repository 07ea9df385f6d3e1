"""Novel and base classes told apart jointly: episodes, the harmonic mean, and the numbers beside it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metabench.cli.main import main
from metabench.data.joint_split import JointSplit, join_splits, reserve_mask
from metabench.episodes.source import EpisodeSource
from metabench.episodes.tally import EpisodeTally
from metabench.errors import UsageError
from metabench.registry.specs import defaults
from metabench.reports.frames import load_results
from metabench_protocols.generalised import SPEC, Generalised
from tests.plugins.protocol_facts import assert_row_by_row, digest, split_of
from tests.tiny import arguments, record_of, run_json

WORDS = ["--protocol", "generalised", "--ways", "3", "--query", "4"]
GOLDEN = [
    ((5, 1, 15, 0, 20, 0.2), [20] * 20, [20] * 64, "9367f33d251cf9ff6cdbdd6fc81afb126568fb50e1af2e7da554ce9e77baa18a"),
    (
        (2, 2, 4, 3, 4, 0.4),
        [6, 9, 7, 30],
        [9, 20, 12, 11, 15],
        "f116a13f05e4e242435d450b4f3251e06b1e451d6330da91b3ab9f3edb593ac3",
    ),
]


def joint_of(novel: list[int], base: list[int], share: float) -> JointSplit:
    split = split_of(base)
    return join_splits(split_of(novel), split, reserve_mask(split, "digest", share))


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: "-".join(map(str, case[0])))
def test_golden_episodes(case: tuple[tuple[Any, ...], list[int], list[int], str]) -> None:
    params, novel, base, expected = case
    assert digest(Generalised(*params), joint_of(novel, base, params[-1])) == expected


@given(st.integers(2, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.data())
def test_an_episode_is_what_the_protocol_says(way: int, shot: int, query: int, shots: int, data: st.DataObject) -> None:
    novel = data.draw(st.lists(st.integers(shot + query, shot + query + 4), min_size=way, max_size=way + 3))
    base = data.draw(st.lists(st.integers(8, 20), min_size=2, max_size=9))
    some = data.draw(st.sampled_from([0, 2, len(base)]))
    share = 0.8 if way * query > 2 * (some or len(base)) else 0.4
    split, protocol = joint_of(novel, base, share), Generalised(way, shot, query, some, shots, share)
    try:
        protocol.check(split)
    except UsageError as error:
        assert "use a larger --set protocol.reserve or a smaller --query" in str(error)
        return
    count = some or len(base)
    batch = EpisodeSource(protocol, split, data.draw(st.integers(0, 99))).batch(0, 6)
    each = min(shots, int(np.diff(split.base_starts).min()))
    assert batch.way == way + count
    assert batch.support.shape == (6, way * shot + count * each)
    assert batch.query.shape == (6, 2 * way * query)
    for support, labels, asked, truth in zip(
        batch.support, batch.support_labels, batch.query, batch.query_labels, strict=True
    ):
        assert len(set(support) | set(asked)) == len(support) + len(asked)
        of = dict(zip(labels, split.class_of(support), strict=True))
        assert len(set(of.values())) == way + count
        assert [of[label] for label in labels] == split.class_of(support).tolist()
        assert [of[label] for label in truth] == split.class_of(asked).tolist()
        assert np.bincount(labels).tolist() == [shot] * way + [each] * count
        assert np.bincount(truth, minlength=way)[:way].tolist() == [query] * way
        base_queries = np.bincount(truth[truth >= way] - way, minlength=count)
        assert base_queries.sum() == way * query and base_queries.max() - base_queries.min() <= 1
        np.testing.assert_array_equal(truth >= way, np.arange(len(truth)) >= way * query)
        assert (asked[truth >= way] >= split.reserve_starts[0]).all()
        assert (support[labels >= way] < split.reserve_starts[0]).all()
        assert sorted(of) == list(range(way + count))
        assert [of[label] for label in range(way, way + count)] == sorted(of[k] for k in range(way, way + count))


@pytest.mark.parametrize("base", [0, 3])
def test_words_are_used_row_by_row(base: int) -> None:
    assert_row_by_row(Generalised(2, 1, 3, base, 2, 0.3), joint_of([7, 5, 8], [12, 9, 14, 20], 0.3))


def test_every_reserved_image_is_asked_about_as_often() -> None:
    """Also where base classes have more or fewer queries than there are classes."""
    for query in (2, 9):
        split, protocol = joint_of([30] * 3, [20] * 7, 0.3), Generalised(2, 1, query, 0, 5, 0.3)
        rows = EpisodeSource(protocol, split, 0).batch(0, 3000).query[:, 2 * query :]
        counts = np.bincount(rows.ravel() - split.reserve_starts[0], minlength=42)
        expected = 3000 * 2 * query / 42
        assert np.abs(counts - expected).max() < 6 * np.sqrt(expected)


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="the split has no base classes"):
        Generalised(2, 1, 1, 0, 5, 0.2).check(split_of([9] * 9))
    with pytest.raises(UsageError, match="8 base classes are more than there are; use --set protocol"):
        Generalised(2, 1, 1, 8, 5, 0.2).check(joint_of([9] * 3, [9] * 4, 0.2))
    with pytest.raises(
        UsageError, match=r"20 queries of 4 base classes need 5 reserved images of each, and 'c0' has 2"
    ):
        Generalised(2, 1, 10, 0, 5, 0.2).check(joint_of([19] * 3, [9] * 4, 0.2))
    with pytest.raises(UsageError, match="5-way needs 5 classes"):
        Generalised(5, 1, 1, 0, 5, 0.2).check(joint_of([9] * 4, [9] * 9, 0.2))
    with pytest.raises(UsageError, match="base_shot must be at least 1"):
        Generalised(5, 1, 1, 0, 0, 0.2)


def test_spec_declares_the_parameters_of_the_class() -> None:
    assert Generalised(**defaults(SPEC)).n_query == 150


def test_the_scores_are_those_of_the_literature() -> None:
    """Against loops, with ties, of which each class has the same chance."""
    rng = np.random.default_rng(0)
    way, total, half = 3, 7, 8
    truth = np.hstack([rng.integers(0, way, (20, half)), rng.integers(way, total, (20, half))])
    outputs = rng.integers(0, 6, (20, 2 * half, total)) + 0.0
    protocol = Generalised(way, 1, 1, 0, 5, 0.2)
    found = protocol.values(torch.from_numpy(outputs), torch.from_numpy(truth)).numpy()

    def chance(scores: Any, label: int) -> float:
        best = np.flatnonzero(scores == scores.max())
        return float((best == label).mean()) if label in best else 0.0

    for row, scores, labels in zip(found, outputs, truth, strict=True):
        joint = [chance(*pair) for pair in zip(scores, labels, strict=True)]
        apart = [
            chance(s[:way], k) if k < way else chance(s[way:], k - way) for s, k in zip(scores, labels, strict=True)
        ]
        a, b = np.mean(joint[:half]), np.mean(joint[half:])
        delta = (a - np.mean(apart[:half]) + b - np.mean(apart[half:])) / 2
        harmonic = 2 / (1 / a + 1 / b) if a and b else 0.0
        assert row == pytest.approx(100 * np.array([harmonic, a, b, delta]))
        assert row[3] <= 0, "more classes to choose from make no query easier"


def test_only_novel_classes_are_a_sample() -> None:
    """The open interval is about other novel classes; base classes are in every episode."""
    split = joint_of([9] * 5, [9] * 4, 0.3)
    batch = EpisodeSource(Generalised(2, 1, 1, 0, 5, 0.3), split, 0).batch(0, 30)
    tally = EpisodeTally(split.starts)
    tally.update(batch)
    expected = np.bincount(split.class_of(batch.support[:, :2]).ravel(), minlength=5)
    np.testing.assert_array_equal(tally.class_episodes, expected)
    sums = tally.class_sums(np.ones(30))
    assert sums.sum() == 60


def test_a_run_says_three_numbers_and_what_they_lose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--shots", "5"]
    near, chance = (run_json(capsys, arguments(tmp_path, *words, algo=name))[0] for name in ("nearest-mean", "chance"))
    assert (near["metric"], near["accuracy"]) == ("harmonic", None)
    parts = {part["metric"]: part for part in near["parts"]}
    assert list(parts) == ["novel", "base", "delta"]
    classes = 3 + 12
    assert [chance["score"], *(part["score"] for part in chance["parts"][:2])] == pytest.approx([100 / classes] * 3)
    assert 100 / classes < parts["novel"]["score"] and 100 / classes < parts["base"]["score"]
    assert parts["delta"]["score"] < 0 < parts["novel"]["ci95"]
    record = record_of(tmp_path, near)
    h, (a, b, _) = record["scores"]["values"], (np.array(part["values"]) for part in record["scores"]["parts"])
    expected = np.divide(2 * a * b, a + b, out=np.zeros(60), where=a + b > 0)
    np.testing.assert_allclose(h, expected, atol=1e-4)
    assert record["summary"]["parts"]["base"]["mean"] == pytest.approx(b.mean(), abs=1e-5)
    assert len(record["scores"]["classes"]["episodes"]) == 8, "of novel classes alone"
    assert sum(record["scores"]["classes"]["episodes"]) == 3 * 60


def test_tables_files_and_frames_have_the_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "rows.csv"
    assert main(arguments(tmp_path, *WORDS, "--csv", str(target), algo="nearest-mean")) == 0
    header, _, row = capsys.readouterr().out.splitlines()[:3]
    assert header.split()[-8:] == ["harmonic", "(%)", "novel", "(%)", "base", "(%)", "delta", "(%)"]
    assert row.count("±") == 5  # the open one, too
    (line,) = csv.DictReader(target.read_text().splitlines())
    assert line["parts"].startswith("novel ") and line["parts"].count("±") == 3
    frame = load_results(home=str(tmp_path))
    assert frame["parts"].tolist() == [line["parts"]]
    episodes = load_results(home=str(tmp_path), per="episode")
    assert len(episodes) == 60
    assert episodes[["novel", "base", "delta"]].notna().all().all()
    assert main(arguments(tmp_path, algo="nearest-mean")) == 0
    assert "novel" not in capsys.readouterr().out
    assert main(["export", "--home", str(tmp_path), "--csv", str(tmp_path / "all.csv")]) == 0


def test_the_novel_accuracy_without_base_classes_is_that_of_fixed_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Joint accuracy is at most that among novel classes, which is what fixed-way measures."""
    (joint,) = run_json(capsys, arguments(tmp_path, *WORDS, "--shots", "5", algo="nearest-mean"))
    (alone,) = run_json(capsys, arguments(tmp_path, "--ways", "3", "--query", "4", "--shots", "5", algo="nearest-mean"))
    novel = joint["parts"][0]
    assert 100 / 15 < novel["score"] < alone["score"]


def test_an_interrupted_run_goes_on_with_its_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = record_of(tmp_path / "a", run_json(capsys, arguments(tmp_path / "a", *WORDS, algo="nearest-mean"))[0])
    values, calls = Generalised.values, []

    def stopping(self: Generalised, *args: Any) -> Any:
        calls.extend([1] if len(args[0]) > 1 else [])  # chunks; the last episode of each is scored again alone
        if len(calls) == 3:
            raise KeyboardInterrupt
        return values(self, *args)

    monkeypatch.setattr("metabench.execution.score_run.FLUSH_SECONDS", -1.0)
    monkeypatch.setattr("metabench.learners.feature_learner.chunk_size", lambda *args: 10)
    monkeypatch.setattr(Generalised, "values", stopping)
    assert main(arguments(tmp_path / "b", *WORDS, algo="nearest-mean")) == 130
    (saved,) = (tmp_path / "b" / "partial").glob("*.f64")
    assert saved.stat().st_size == 32 + 20 * 4 * 8
    with saved.open("ab") as stream:
        stream.write(b"\0" * 20)  # an episode that was cut off
    (row,) = run_json(capsys, arguments(tmp_path / "b", *WORDS, algo="nearest-mean"))
    assert record_of(tmp_path / "b", row)["scores"] == whole["scores"]


def test_a_record_is_reproduced_and_made_up_parts_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from metabench.records.record import build_record, write_record

    (row,) = run_json(capsys, arguments(tmp_path, *WORDS))
    record = record_of(tmp_path, row)
    assert main(["reproduce", row["key"], "--home", str(tmp_path), "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reproduced"]
    record["scores"]["parts"][1]["values"][7] += 1
    keep = {name: record[name] for name in ("scores", "training", "cost", "provenance")}
    write_record(tmp_path / "forged.json", build_record(record["inputs"], "ok", **keep))
    assert main(["reproduce", str(tmp_path / "forged.json"), "--home", str(tmp_path), "--quiet", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["differing"] == [7]


@pytest.mark.parametrize("algo", ["matching-net", "nearest-mean-l2n", "linear-probe"])
def test_other_algorithms_on_features(tmp_path: Path, capsys: pytest.CaptureFixture[str], algo: str) -> None:
    """With as many shots of base classes as of the others, without which matching networks see few novel ones."""
    words = [*WORDS, "--shots", "5", "--episodes", "40", "--backbone", "conv4"]
    (row,) = run_json(capsys, arguments(tmp_path, *words, algo=algo, settings={"protocol.base_shot": 5}))
    assert row["status"] == "ok"
    assert all(part["score"] > 5 for part in row["parts"][:2])
