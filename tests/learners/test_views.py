"""Augmented copies of support images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.episodes.batch import EpisodeBatch
from metabench.learners.feature_learner import batch_logits
from metabench.learners.views import with_views
from metabench.models.episode import Episode
from metabench.models.interfaces import FeatureHead

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
SEEN: list[Episode] = []


class Spy(FeatureHead):
    """Keeps what it is shown."""

    def logits(self, episode: Episode) -> Tensor:
        SEEN.append(episode)
        return episode.query[..., :2]


def embed(images: NDArray[np.uint8], view: str) -> Tensor:
    return torch.from_numpy(images.reshape(len(images), -1)[:, :4].astype(np.float32))


def test_copies_differ_from_each_other_and_are_the_same_again() -> None:
    data = with_views(IMAGES, "name", 2, embed)
    plain, first, second = data.split(4, dim=1)
    assert torch.equal(plain, embed(IMAGES, ""))
    assert not torch.equal(plain, first) and not torch.equal(first, second)
    assert torch.equal(data, with_views(IMAGES, "name", 2, embed))
    assert not torch.equal(data, with_views(IMAGES, "other", 2, embed))


def test_a_head_gets_the_copies_of_its_support_in_order() -> None:
    data = with_views(IMAGES, "name", 2, embed)
    rows = np.array([[4, 1]])
    batch = EpisodeBatch(rows, np.array([[0, 1]]), np.array([[0, 2, 3]]), np.zeros((1, 3), np.int64), 2)
    scores = batch_logits(Spy(), data, batch, views=2)
    (episode,) = SEEN
    assert torch.equal(episode.support, data[rows, :4]) and torch.equal(episode.query, data[[[0, 2, 3]], :4])
    assert episode.views is not None and episode.views.shape == (1, 2, 2, 4)
    assert torch.equal(episode.views[0, :, 1], data[rows[0], 8:])
    assert scores.shape == (1, 3, 2)
