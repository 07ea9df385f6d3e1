"""The modified Hausdorff distance against its definition."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from metabench.errors import UsageError
from metabench.models.episode import Episode
from metabench_algorithms.metric.hausdorff import Hausdorff

SIDE = 12


def by_definition(a, b):
    """As the authors' demonstration computes it, for two boolean images."""
    first, second = (np.argwhere(image).astype(float) for image in (a, b))
    distances = cdist(first - first.mean(0), second - second.mean(0))
    return max(distances.min(1).mean(), distances.min(0).mean())


def images(count, seed, share=0.2):
    drawn = np.random.default_rng(seed).random((count, SIDE, SIDE)) < share
    drawn[:, 0, 0] = True  # never blank
    return drawn


def logits(support, query, labels, way, **params):
    def tensor(part):
        return torch.from_numpy(part.reshape(1, len(part), -1).astype(np.float32))

    head = Hausdorff(SIDE * SIDE, **params)
    return head.logits(Episode(tensor(support), torch.tensor([labels]), tensor(query), way))[0]


def test_distances_are_those_of_the_definition():
    support, query = images(4, 1), images(7, 2, share=0.35)
    expected = [[-by_definition(q, s) for s in support] for q in query]
    np.testing.assert_allclose(logits(support, query, [0, 1, 2, 3], 4), expected, rtol=1e-6)


def test_nearest_of_a_class_with_several_drawings():
    support, query = images(5, 3), images(3, 4)
    all_of_them = logits(support, query, [0, 1, 2, 3, 4], 5)
    grouped = logits(support, query, [1, 0, 1, 0, 0], 2)
    np.testing.assert_array_equal(grouped[:, 0], all_of_them[:, [1, 3, 4]].amax(1))
    np.testing.assert_array_equal(grouped[:, 1], all_of_them[:, [0, 2]].amax(1))


def test_place_does_not_matter_and_grey_is_cut_at_the_threshold():
    shape = np.zeros((1, SIDE, SIDE))
    shape[0, 2:6, 3] = shape[0, 2, 3:7] = 1.0
    moved = np.roll(shape, (4, 3), (1, 2))
    assert abs(logits(shape, moved, [0], 1)) < 1e-9
    assert abs(logits(shape, 0.6 * moved, [0], 1)) < 1e-9
    assert logits(shape, 0.6 * moved, [0], 1, threshold=0.7) < -1  # blank now


def test_a_blank_image_is_as_far_as_can_be():
    blank, some = np.zeros((1, SIDE, SIDE)), images(3, 5)
    far = logits(np.concatenate([some, blank]), blank, [0, 1, 2, 3], 4)[0]
    assert far[:3].tolist() == [-2.0 * SIDE] * 3 and far[3] == 0
    near = logits(some, some, [0, 1, 2], 3)
    assert near.min() > -SIDE


def test_colour_images_are_refused():
    with pytest.raises(UsageError, match="square grey drawings"):
        Hausdorff(3 * 32 * 32)
