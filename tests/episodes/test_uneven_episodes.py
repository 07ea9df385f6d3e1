"""Episodes that differ in shape, and metrics other than accuracy, from the draw to the record."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metabench.episodes.source import EpisodeSource
from metabench.episodes.tally import EpisodeTally
from metabench.errors import MetabenchError, UsageError
from metabench.evaluation.scoring import evaluate
from metabench.models.episode import Episode
from metabench.records.record import build_record
from metabench.registry.metric import ACCURACY
from metabench_algorithms.metric.protonet import ProtoNet
from tests.conftest import MakeSplit
from tests.evaluation.test_scoring import learner
from tests.record_factory import make_inputs
from tests.uneven import LOSS, Scored, Uneven

EPISODES = 50
COUNTS = [4, 6, 5, 7, 4, 9]


@pytest.fixture(scope="module")
def features() -> Tensor:
    words = np.random.Philox(3).random_raw(sum(COUNTS) * 2).reshape(-1, 2)
    return torch.from_numpy((words % 5).astype(np.float32))


@pytest.fixture(scope="module", params=[Uneven, Scored])
def source(request: pytest.FixtureRequest, make_split: MakeSplit) -> EpisodeSource:
    return EpisodeSource(request.param(), make_split(COUNTS), "uneven")


@pytest.fixture(scope="module")
def alone(source: EpisodeSource, features: Tensor) -> list[float]:
    """The score of every episode by itself, from the definitions; no ties are left to chance."""
    found = []
    for index in range(EPISODES):
        batch = source.batch(index, index + 1)
        logits = ProtoNet(2).logits(
            Episode(features[batch.support], torch.from_numpy(batch.support_labels), features[batch.query], batch.way)
        )[0]
        truth = torch.from_numpy(batch.query_labels[0])
        if isinstance(source.protocol, Scored):
            error = logits.softmax(1) - torch.eye(batch.way)[truth]
            found.append(float(error.square().sum(1).mean()))
            continue
        words, right = source.tie_words(index, index + 1)[0].tolist(), 0
        for scores, label, word in zip(logits, truth, words, strict=False):
            best = np.flatnonzero(scores == scores.max())
            right += int(best[(word >> 32) * len(best) >> 32]) == int(label)
        found.append(right / len(truth))
    return found


def _run(
    source: EpisodeSource, features: Tensor, done: list[float], chunk: int | None
) -> tuple[list[float], EpisodeTally]:
    scores = list(done)
    tally = evaluate(learner(ProtoNet(2)), features, source, EPISODES, np.array(done), scores.extend, chunk=chunk)
    return scores, tally


def test_the_shapes_vary_and_a_run_never_mixes_them(source: EpisodeSource) -> None:
    runs = list(source.runs(0, EPISODES))
    assert len({(batch.way, batch.query.shape) for batch in runs}) > 5
    assert sum(map(len, runs)) == EPISODES
    assert any(len(batch) > 1 for batch in runs), "equal neighbours are one batch"
    with pytest.raises(UsageError, match=r"differ in shape.*train.batch=1"):
        source.batch(0, EPISODES)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, EPISODES), st.integers(1, 70))
def test_neither_chunks_nor_resuming_change_a_score(
    source: EpisodeSource, features: Tensor, alone: list[float], done: int, chunk: int
) -> None:
    scores, tally = _run(source, features, alone[:done], chunk)
    assert scores == pytest.approx(alone, rel=1e-6)
    whole = EpisodeTally(source.split.starts)
    for batch in source.runs(0, EPISODES):
        whole.update(batch)
    assert tally.digest == whole.digest


def test_the_record_holds_each_size_and_the_right_sums(
    source: EpisodeSource, features: Tensor, alone: list[float]
) -> None:
    metric = LOSS if isinstance(source.protocol, Scored) else ACCURACY
    scores, tally = _run(source, features, [], None)
    inputs = make_inputs(evaluation__episodes=EPISODES, protocol={"name": "uneven", "version": 1, "params": {}})
    record = build_record(inputs, "ok", scores=tally.record(np.array(scores), metric))
    batches = [source.batch(index, index + 1) for index in range(EPISODES)]
    assert list(record.measured.n_query) == [batch.query.shape[1] for batch in batches]
    starts = source.split.starts
    members = [set((np.searchsorted(starts, batch.support[0], "right") - 1).tolist()) for batch in batches]
    assert all(len(group) == batch.way for group, batch in zip(members, batches, strict=True))
    classes = record.measured.classes
    assert list(classes.episodes) == [sum(c in group for group in members) for c in range(len(COUNTS))]
    expected = [sum(s for s, group in zip(scores, members, strict=True) if c in group) for c in range(len(COUNTS))]
    assert classes.totals == pytest.approx(expected)
    scale = 100 if metric == ACCURACY else 1
    summary = record.summary
    assert summary.mean == pytest.approx(scale * np.mean(alone), abs=1e-5)
    assert summary.interval == "closed-t"
    assert summary.open95 is None, "the class-level interval is for episodes of one way"
    np.testing.assert_allclose(record.measured.per_episode.values, scale * np.array(scores))


def test_scores_that_are_no_numbers_are_refused(make_split: MakeSplit, features: Tensor) -> None:
    class Diverging(Scored):
        def values(self, outputs: Tensor, truth: Tensor) -> Tensor:
            return super().values(outputs, truth) / 0

    source = EpisodeSource(Diverging(), make_split(COUNTS), "uneven")
    with pytest.raises(MetabenchError, match=r"Diverging\.values returned numbers that are not finite .* episode 0"):
        _run(source, features, [], None)


def test_a_draw_of_nothing_is_refused(make_split: MakeSplit) -> None:
    class Empty(Uneven):
        def draw(self, words, split):
            return super().draw(words[:1], split).__class__(*(np.zeros((0, 1), np.int64) for _ in range(4)), way=2)

    with pytest.raises(MetabenchError, match="made 0 episodes"):
        EpisodeSource(Empty(), make_split(COUNTS), "x").batch(0, 1)
