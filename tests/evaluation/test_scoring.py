from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from metabench.episodes.source import EpisodeSource
from metabench.episodes.tally import EpisodeTally
from metabench.errors import MetabenchError
from metabench.evaluation.scoring import evaluate, winning_classes
from metabench.learners.feature_learner import FeatureLearner, batch_logits, chunk_size, gather
from metabench.models.assembly import Model
from metabench.models.episode import Episode
from metabench.models.interfaces import FeatureHead
from metabench.utils.random_streams import Stream
from metabench_algorithms.metric.chance import Chance
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_backbones.pixels import Pixels
from metabench_protocols.fixed_way import FixedWay
from tests.conftest import MakeSplit

COUNTS = [6, 9, 7, 12, 6, 8]
EPISODES = 60
NONE_DONE = np.zeros(0)
QUERIES = 12


@pytest.fixture(scope="session")
def source(make_split: MakeSplit) -> EpisodeSource:
    return EpisodeSource(FixedWay(3, 2, 4), make_split(COUNTS), "evaluate")


@pytest.fixture(scope="session")
def features() -> Tensor:
    """On so coarse a grid that distances are exact and often tied."""
    words = np.random.Philox(3).random_raw(sum(COUNTS) * 2).reshape(-1, 2)
    return torch.from_numpy((words % 3).astype(np.float32))


@pytest.fixture(scope="session")
def naive(source: EpisodeSource, features: Tensor) -> list[int]:
    """Correct counts by a Python loop over episodes and queries, from the definition of nearest class mean."""
    return [naive_count(source, features.double().numpy(), index) for index in range(EPISODES)]


def naive_count(source: EpisodeSource, features: np.ndarray, index: int) -> int:
    batch, words = source.batch(index, index + 1), source.tie_words(index, index + 1)[0]
    correct = 0
    for row, label, word in zip(batch.query[0], batch.query_labels[0], words.tolist(), strict=True):
        centres = [features[batch.support[0][batch.support_labels[0] == k]].mean(0) for k in range(batch.way)]
        distances = [float(((features[row] - centre) ** 2).sum()) for centre in centres]
        nearest = [k for k, distance in enumerate(distances) if distance == min(distances)]
        correct += nearest[(word >> 32) * len(nearest) >> 32] == label
    return correct


def learner(head: FeatureHead) -> FeatureLearner:
    return FeatureLearner(Model(Pixels((2, 1, 1)), head))


def run(
    source: EpisodeSource, features: Tensor, done: list[int], chunk: int | None = None, head: FeatureHead | None = None
) -> tuple[list[int], EpisodeTally]:
    counts = list(done)
    prefix = np.array(done) / QUERIES
    scorer = learner(head or ProtoNet(features.shape[1]))
    tally = evaluate(scorer, features, source, EPISODES, prefix, lambda part: counts.extend(whole(part)), chunk=chunk)
    return counts, tally


def whole(shares: np.ndarray) -> list[int]:
    """The counts behind shares of correct answers."""
    return np.rint(shares * QUERIES).astype(int).tolist()


def tallied(source: EpisodeSource, counts: list[int]) -> dict[str, object]:
    """What must be kept of these episodes, from the definition."""
    tally, batch = EpisodeTally(source.split.starts), source.batch(0, len(counts))
    tally.update(batch)
    members = [{int(np.searchsorted(source.split.starts, r, "right")) - 1 for r in line} for line in batch.query]
    classes = range(len(COUNTS))
    return {
        "digest": tally.digest,
        "class_episodes": [sum(c in line for line in members) for c in classes],
        "class_correct": [sum(n for n, line in zip(counts, members, strict=True) if c in line) for c in classes],
    }


def kept(tally: EpisodeTally, counts: list[int]) -> dict[str, object]:
    return {
        "digest": tally.digest,
        "class_episodes": tally.class_episodes.tolist(),
        "class_correct": tally.class_sums(np.array(counts)).tolist(),
    }


@pytest.mark.parametrize("chunk", [None, 1, 7, 32, 1000])
def test_counts_equal_a_naive_loop_whatever_the_chunk(
    source: EpisodeSource, features: Tensor, naive: list[int], chunk: int | None
) -> None:
    counts, _ = run(source, features, [], chunk)
    assert counts == naive
    assert len(set(counts)) > 3


@settings(max_examples=12)
@given(st.integers(0, EPISODES), st.integers(1, 70))
def test_counts_do_not_depend_on_the_resume_point(
    source: EpisodeSource, features: Tensor, naive: list[int], done: int, chunk: int
) -> None:
    counts, tally = run(source, features, naive[:done], chunk)
    assert counts == naive
    assert kept(tally, counts) == tallied(source, naive)


@pytest.mark.parametrize("chunk", [None, 1, 7, 12, 13, 60])
@pytest.mark.parametrize("done", [0, 5, 25])
def test_an_evaluation_may_end_at_a_stop_whatever_the_chunk(
    source: EpisodeSource, features: Tensor, naive: list[int], chunk: int | None, done: int
) -> None:
    counts, asked = naive[:done], []

    def enough(part: np.ndarray) -> bool:
        counts.extend(whole(part))
        asked.append(len(counts))
        return len(counts) == 39

    prefix = np.array(counts) / QUERIES
    stops = [13, 26, 39, 52]
    tally = evaluate(learner(ProtoNet(2)), features, source, EPISODES, prefix, enough, chunk=chunk, stops=stops)
    assert counts == naive[:39]
    assert {26, 39} <= set(asked)
    assert kept(tally, counts) == tallied(source, counts)


def test_the_fixture_has_ties_that_matter(source: EpisodeSource, features: Tensor) -> None:
    logits = batch_logits(ProtoNet(2), features, source.batch(0, EPISODES))
    tied = (logits == logits.max(-1, keepdim=True).values).sum(-1)
    assert {int(n) for n in tied.unique()} == {1, 2, 3}


def test_a_stopped_evaluation_resumes_to_the_same_counts(
    source: EpisodeSource, features: Tensor, naive: list[int]
) -> None:
    counts: list[int] = []

    def stop_late(part: np.ndarray) -> None:
        counts.extend(whole(part))
        if len(counts) > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(learner(ProtoNet(2)), features, source, EPISODES, NONE_DONE, stop_late, chunk=8)
    assert counts == naive[:24]
    assert run(source, features, counts, chunk=5)[0] == naive


def test_report_gets_shares_of_consecutive_chunks(source: EpisodeSource, features: Tensor) -> None:
    parts: list[np.ndarray] = []
    evaluate(learner(ProtoNet(2)), features, source, 20, np.zeros(3), parts.append, chunk=8)
    assert [len(part) for part in parts] == [5, 8, 4]
    assert all(part.dtype == np.float64 for part in parts)
    assert all(part.min() >= 0 and part.max() <= 1 for part in parts)


def test_digest_is_that_of_a_fresh_source(make_split: MakeSplit, source: EpisodeSource, features: Tensor) -> None:
    fresh = EpisodeTally(source.split.starts)
    batch = EpisodeSource(FixedWay(3, 2, 4), make_split(COUNTS), "evaluate").batch(0, EPISODES)
    fresh.update(batch)
    other = EpisodeSource(FixedWay(3, 2, 4), make_split(COUNTS), "another")
    assert run(source, features, [], 7)[1].digest == fresh.digest != run(other, features, [], 7)[1].digest


@pytest.mark.parametrize(("done", "chunk"), [(0, 1), (0, 16), (0, 60), (3, 16)])
def test_nan_is_named_with_its_episode(source: EpisodeSource, features: Tensor, done: int, chunk: int) -> None:
    whole = source.batch(0, EPISODES)
    rows = np.concatenate([whole.support, whole.query], axis=1)
    # An image that first appears late, so that the episode is not the first of its chunk.
    firsts = [int((rows == row).any(1).argmax()) for row in range(len(features))]
    row = int(np.argmax(firsts))
    assert firsts[row] > 3
    spoilt = features.clone()
    spoilt[row, 0] = torch.nan
    with pytest.raises(MetabenchError, match=rf"not finite \(nan or infinite\), first for episode {firsts[row]}$"):
        run(source, spoilt, [0] * done, chunk)


def test_chance_is_right_once_in_way_times(make_split: MakeSplit) -> None:
    way, query, episodes = 5, 15, 800
    source = EpisodeSource(FixedWay(way, 1, query), make_split([20] * 8), "chance")
    shares: list[np.ndarray] = []
    evaluate(learner(Chance(2)), torch.zeros(160, 2), source, episodes, NONE_DONE, shares.append)
    counts = np.rint(way * query * np.concatenate(shares))
    trials = episodes * way * query
    sigma = (trials * (1 / way) * (1 - 1 / way)) ** 0.5
    assert abs(sum(counts) - trials / way) < 5 * sigma
    assert np.var(counts) == pytest.approx(way * query * (1 / way) * (1 - 1 / way), rel=0.25)


@pytest.mark.parametrize("tied", [[0, 1], [1, 3], [0, 2, 4], [0, 1, 2, 3, 4], [4]])
def test_ties_are_broken_uniformly_among_the_tied_only(tied: list[int]) -> None:
    logits = torch.full((400, 50, 5), -1.0)
    logits[..., tied] = 2.0
    logits[0, 0] = 7.0  # some other query is tied in all, so that every case takes the slow path
    winners = winning_classes(logits, lambda: Stream("ties", 50).words(0, 400)).flatten()[1:]
    frequency = np.bincount(winners.numpy(), minlength=5)
    assert frequency[[k for k in range(5) if k not in tied]].sum() == 0
    assert len(tied) == 1 or chisquare(frequency[tied]).pvalue > 1e-6


def test_words_are_asked_for_only_where_there_are_ties() -> None:
    def never() -> np.ndarray:
        raise AssertionError

    assert winning_classes(torch.tensor([[[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]]]), never).tolist() == [[1, 0]]


def test_a_clear_winner_does_not_depend_on_ties_elsewhere() -> None:
    logits = torch.tensor([[[0.0, 2.0, 1.0], [1.0, 1.0, 0.0], [-torch.inf, -torch.inf, -3.0]]])
    for seed in range(20):
        winners = winning_classes(logits, lambda seed=seed: Stream(seed, 3).words(0, 1))[0].tolist()
        assert winners[0] == 1 and winners[1] in (0, 1) and winners[2] == 2


def test_scoring_is_done_in_evaluation_mode_and_without_gradients(source: EpisodeSource, features: Tensor) -> None:
    class Watched(ProtoNet):
        seen: tuple[bool, bool, bool] | None = None

        def logits(self, episode: Episode) -> Tensor:
            self.seen = (self.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled())
            return super().logits(episode)

    head = Watched(2).train()
    run(source, features, [], head=head)
    assert head.seen == (False, False, True)


def test_gather_takes_rows_in_order() -> None:
    features = torch.arange(12.0).reshape(4, 3)
    rows = np.array([[3, 0], [1, 1], [2, 3]])
    assert torch.equal(gather(features, rows), torch.stack([features[torch.from_numpy(row)] for row in rows]))


def test_chunk_size_has_a_floor_and_a_ceiling(source: EpisodeSource) -> None:
    batch, cpu = source.batch(0, 1), torch.device("cpu")
    assert chunk_size(batch, 1, cpu) == 4096
    assert chunk_size(batch, 10**9, cpu) == 1
    assert 1 < chunk_size(batch, 1600, cpu) < chunk_size(batch, 64, cpu)
