from __future__ import annotations

import numpy as np
import pytest

from metabench.registry.metric import ACCURACY
from metabench.statistics.episode_scores import EpisodeScores


def test_the_mean_of_paired_runs_adds_up_what_an_interval_needs() -> None:
    classes = ([2, 2, 2, 2], [140, 146, 145, 149])
    one, two = (EpisodeScores.of_counts([70, 71 + k, 74, 75 - k], 75, classes, "ab") for k in (0, 2))
    mean = EpisodeScores.mean([one, two])
    assert mean.values == pytest.approx((one.values + two.values) / 2)
    assert (mean.queries, mean.metric, mean.digest) == (600, ACCURACY, "ab")
    assert mean.classes is not None
    assert mean.classes[1] == pytest.approx(100 * np.array(classes[1]) / 75)
