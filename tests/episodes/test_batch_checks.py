"""Episodes that are not what a protocol promises are refused."""

from __future__ import annotations

import numpy as np
import pytest

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.batch_checks import require_episodes
from metabench.errors import MetabenchError


def batch(**changes: np.ndarray) -> EpisodeBatch:
    rows, labels = np.arange(6).reshape(2, 3), np.array([[0, 1, 1], [1, 0, 1]])
    parts = {"support": rows, "support_labels": labels, "query": rows + 6, "query_labels": labels}
    return EpisodeBatch(**{**parts, **changes}, way=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": np.arange(6).reshape(2, 3)}, "an image twice"),
        ({"query_labels": np.zeros((2, 1), np.int64)}, "query (2, 3) with labels (2, 1)"),
        ({"query_labels": np.full((2, 3), 2)}, "query labels from 2 to 2 for 2 classes"),
        ({"support_labels": np.full((2, 3), -1)}, "support labels from -1 to -1"),
        ({}, "a class has two labels"),
        ({"support": np.arange(6.0).reshape(2, 3)}, "support as float64"),
        ({"query": np.zeros((2, 0), np.int64), "query_labels": np.zeros((2, 0), np.int64)}, "query (2, 0)"),
    ],
)
def test_odd_episodes_are_refused(changes: dict[str, np.ndarray], message: str) -> None:
    starts = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    require_episodes(batch(), 2, "Protocol.draw", starts)
    require_episodes(batch(query_labels=np.full((2, 3), -1)), 2, "Protocol.draw", starts)  # queries of unknown classes
    with pytest.raises(MetabenchError, match=r"^Protocol\.draw ") as error:
        wide = np.array([0, 7, 12])
        require_episodes(batch(**changes), 2, "Protocol.draw", wide if changes == {} else starts)
    assert message in str(error.value)
