"""What runs have in common: the episodes that both met."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metabench.statistics.episode_scores import EpisodeScores
from metabench.statistics.shared_episodes import Run, covariances
from tests.record_factory import make_record

RANDOM = np.random.default_rng(4)


def _run(counts: int, digest: str, **changes: Any) -> Run:
    return make_record([70] * counts, episodes_digest=digest * 32, **changes).run


def test_runs_of_one_stream_share_what_the_shorter_one_met() -> None:
    long, short = _run(7, "ab"), _run(5, "cd", evaluation__stop=None)
    assert (long.shared(short), short.shared(long), long.shared(long)) == (5, 5, 7)


@pytest.mark.parametrize(
    "change",
    [
        {"evaluation__seed": 1},
        {"evaluation__sampling": "open"},
        {"protocol__params__way": 20},
        {"protocol__version": 2},
        {"dataset__digest": "12" * 32},
        {"dataset__split": "val"},
    ],
)
def test_other_episodes_are_not_shared(change: dict[str, Any]) -> None:
    assert _run(7, "ab").shared(_run(5, "cd", **change)) == 0


def test_the_layout_of_open_sampling_depends_on_the_number_of_episodes() -> None:
    how = {"evaluation__sampling": "open"}
    assert _run(7, "ab", **how).shared(_run(5, "cd", **how)) == 0


def test_as_many_episodes_of_another_digest_are_others() -> None:
    assert _run(7, "ab").shared(_run(7, "cd")) == 0


def test_covariances_of_means_over_a_common_prefix_are_those_of_drawing_again() -> None:
    """Two runs of 30 and 20 episodes with a common part in each episode, drawn 20,000 times."""
    common, own = RANDOM.normal(0, 3, (20_000, 30)), RANDOM.normal(0, 2, (20_000, 2, 30))
    a, b = common + own[:, 0], (common + own[:, 1])[:, :20]
    expected = np.cov(a.mean(1), b.mean(1))
    runs = [(Run(EpisodeScores(x), "s"), Run(EpisodeScores(y), "s")) for x, y in zip(a[:2000], b[:2000], strict=True)]
    found = np.mean([covariances(pair)[0] for pair in runs], axis=0)
    np.testing.assert_allclose(found, expected, rtol=0.05)
    np.testing.assert_allclose(found[0, 1], 9 / 30, rtol=0.05)
