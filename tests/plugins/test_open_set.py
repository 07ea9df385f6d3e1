"""Queries of unknown classes, and the area under the curve that tells them by the largest score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from metabench.cli.main import main
from metabench.episodes.open_sampling import DisjointSource
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.registry.specs import defaults
from metabench_protocols.open_set import SPEC, OpenSet
from tests.plugins.protocol_facts import assert_row_by_row, assert_sound, digest, owners, split_of
from tests.tiny import arguments, record_of, run_json

GOLDEN = [
    ((5, 1, 15, 5), [20] * 20, "893eab9a17f782fad8d25d4597d14cf64ae55ac955d76911e4ef698441d2990d"),
    ((3, 2, 2, 1), [5, 9, 7, 30, 6], "b3b6f4190211a05cf18fdd132b29c221014fc1794b54e81161310351d17df0ec"),
]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: "-".join(map(str, case[0])))
def test_golden_episodes(case: tuple[tuple[int, int, int, int], list[int], str]) -> None:
    params, counts, expected = case
    assert digest(OpenSet(*params), split_of(counts)) == expected


@given(st.integers(2, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.data())
def test_an_episode_is_what_the_protocol_says(
    way: int, shot: int, query: int, unknown: int, data: st.DataObject
) -> None:
    sizes = st.integers(shot + query, shot + query + 4)
    split = split_of(data.draw(st.lists(sizes, min_size=way + unknown, max_size=way + unknown + 3)))
    batch = EpisodeSource(OpenSet(way, shot, query, unknown), split, data.draw(st.integers(0, 99))).batch(0, 8)
    assert_sound(batch, split)
    assert batch.query.shape == (8, (way + unknown) * query)
    for labels, rows in zip(batch.query_labels, batch.query, strict=True):
        assert np.bincount(labels + 1).tolist() == [unknown * query] + [query] * way
        assert len(set(owners(split, rows[labels < 0]))) == unknown


def test_words_are_used_row_by_row() -> None:
    assert_row_by_row(OpenSet(2, 1, 3, 2), split_of([7, 5, 8, 6, 9]))


def test_what_is_refused() -> None:
    with pytest.raises(
        UsageError, match="5-way with 5 unknown classes needs 10 classes but the split has 9; use --ways 4 or fewer"
    ):
        OpenSet(5, 1, 1, 5).check(split_of([9] * 9))
    with pytest.raises(UsageError, match="the largest legal --query is 3"):
        OpenSet(2, 1, 4, 1).check(split_of([9, 4, 9]))
    with pytest.raises(UsageError, match="unknown must be at least 1, not 0"):
        OpenSet(2, 1, 4, 0)
    with pytest.raises(UsageError, match="no open sampling"):
        DisjointSource(OpenSet(2, 1, 1, 1), split_of([9] * 9), 0, 9)


def test_spec_declares_the_parameters_of_the_class() -> None:
    assert OpenSet(**defaults(SPEC)).n_query == 150


def test_auroc_is_that_of_the_literature() -> None:
    """Against SciPy's Mann-Whitney U, with ties; the order of queries does not matter."""
    rng = np.random.default_rng(0)
    truth = np.array([rng.permutation([0] * 4 + [1] * 4 + [-1] * 6) for _ in range(20)])
    outputs = rng.integers(0, 5, (20, 14, 2)) + 0.0
    found = OpenSet(2, 1, 4, 2).values(torch.from_numpy(outputs), torch.from_numpy(truth)).numpy()
    for value, scores, labels in zip(found, outputs.max(-1), truth, strict=True):
        known, unknown = scores[labels >= 0], scores[labels < 0]
        u = mannwhitneyu(known, unknown).statistic
        assert value == pytest.approx(100 * u / (len(known) * len(unknown)))


def test_a_run_is_scored_by_auroc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--protocol", "open-set", "--ways", "4", "--query", "3", "--set", "protocol.unknown=2"]
    near, chance = (run_json(capsys, arguments(tmp_path, *words, algo=name))[0] for name in ("nearest-mean", "chance"))
    assert (near["metric"], near["accuracy"], chance["score"]) == ("auroc", None, 50.0)
    assert 50 < near["score"] < 100
    scores = record_of(tmp_path, near)["scores"]
    assert (scores["n_query"], len(scores["values"]), "correct" in scores) == (18, 60, False)
    assert main(arguments(tmp_path, *words, "--sampling", "open", algo="chance")) == 2
    assert "OpenSet has no open sampling" in capsys.readouterr().err


def test_a_run_of_varying_way_and_shot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--protocol", "meta-dataset", "--set", "protocol.max_way=7"]
    (row,) = run_json(capsys, arguments(tmp_path, *words, algo="nearest-mean"))
    scores = record_of(tmp_path, row)["scores"]
    assert (row["way"], row["shot"], row["protocol"]) == (None, None, "meta-dataset")
    assert set(scores["n_query"]) == {50, 60, 70}
    assert main(arguments(tmp_path, *words, algo="maml", settings={"backbone.channels": 4})) == 2
    assert "maml is made for one number of classes" in capsys.readouterr().err
