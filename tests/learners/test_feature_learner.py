"""Training and scoring heads on features: what a head is given, and when."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from metabench.episodes.source import EpisodeSource
from metabench.learners.feature_learner import FeatureLearner
from metabench.models.assembly import Model, build_model
from metabench.models.embedding import embed
from metabench.models.episode import Episode
from metabench.models.interfaces import Backbone, FeatureHead
from metabench.models.task_context import training_episode
from metabench.registry.stage import Stage
from metabench_backbones.conv4 import Conv4
from metabench_backbones.pixels import Pixels
from metabench_protocols.fixed_way import FixedWay
from tests.conftest import MakeSplit

SHAPE = (1, 4, 4)
STAGE = Stage(way=3, shot=2, query=4, episodes=100)


@pytest.fixture(scope="session")
def source(make_split: MakeSplit) -> EpisodeSource:
    return EpisodeSource(FixedWay(3, 2, 4), make_split([8] * 6), "feature learner")


@pytest.fixture(scope="session")
def images() -> Tensor:
    return torch.randint(256, (48, 4, 4, 1), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


class Scaled(FeatureHead):
    """The first features of a query, times a weight."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def logits(self, episode: Episode) -> Tensor:
        return self.scale * episode.query[..., : episode.way]


def test_a_loss_of_its_own_is_taken_of_each_episode(source: EpisodeSource, images: Tensor) -> None:
    class Squared(Scaled):
        def loss(self, episode: Episode, query_labels: Tensor) -> Tensor:
            assert len(episode.query) == 1 and episode.query.is_inference() and not self.training
            return (training_episode() + query_labels.sum() + self.logits(episode).sum()).square()

    batch, features = source.batch(0, 3), torch.randn(48, 16, generator=torch.Generator().manual_seed(2))
    learner = FeatureLearner(Model(Pixels(SHAPE), Squared(16)))
    learner.module.eval()
    with torch.inference_mode():
        losses = learner.own_losses(features, batch, 5)
    sums = features[torch.from_numpy(batch.query), :3].sum((1, 2)) + torch.from_numpy(batch.query_labels).sum(1) + 5
    assert losses is not None
    torch.testing.assert_close(losses, sums.square())
    assert FeatureLearner(Model(Pixels(SHAPE), Scaled(16))).own_losses(features, batch, 5) is None


class Corner(FeatureHead):
    """The first row of the first channel of the maps of queries."""

    def __init__(self, map_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen = [map_shape]

    def logits(self, episode: Episode) -> Tensor:
        self.seen += [tuple(episode.support.shape), tuple(episode.query.shape)]
        return self.scale * episode.query[:, :, 0, 0, : episode.way]


def test_a_head_that_reads_maps_studies_maps() -> None:
    class Studious(Corner):
        def study(self, features: Tensor, classes: Tensor) -> None:
            self.seen += [tuple(features.shape), tuple(classes.shape)]

    model = build_model(Pixels, {}, Studious, {}, (2, 4, 3), 0, reads="maps")
    assert isinstance(model, Model)
    FeatureLearner(model).study(torch.zeros(5, 24), torch.zeros(5, dtype=torch.int64))
    assert model.head.seen == [(2, 4, 3), (5, 2, 4, 3), (5,)]


@pytest.mark.parametrize("backbone", [Conv4, Pixels])
def test_maps_are_the_vectors_in_their_shape(source: EpisodeSource, backbone: type[Backbone]) -> None:
    """The same rows of features, trained and scored."""
    shape = (2, 64, 48)
    images = torch.randint(256, (48, 64, 48, 2), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    model = build_model(backbone, {}, Corner, {}, shape, 0, reads="maps")
    assert isinstance(model, Model)
    learner, batch = FeatureLearner(model), source.batch(0, 2)
    maps = (64, 4, 3) if backbone is Conv4 else shape
    features = embed(model.backbone, images)
    scores = learner.scores(features, batch)
    learner.backward(images, batch, STAGE, 0)
    shapes = [(2, 6, *maps), (2, 12, *maps)]
    assert model.head.seen == [maps, *shapes, *shapes]
    expected = features.view(48, *maps)[torch.from_numpy(batch.query), 0, 0, :3]
    assert torch.equal(scores, expected)


def test_a_loss_of_its_own_reads_how_far_training_is(source: EpisodeSource, images: Tensor) -> None:
    class Annealed(Scaled):
        def loss(self, episode: Episode, query_labels: Tensor) -> Tensor:
            return super().loss(episode, query_labels) * 0 + training_episode() * self.scale

    learner = FeatureLearner(Model(Pixels(SHAPE), Annealed(16)))
    assert float(learner.backward(images, source.batch(0, 2), STAGE, 40)) == 40
    assert training_episode() == 0
