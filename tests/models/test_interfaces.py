from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from metabench.models.embedding import embed
from metabench.models.episode import Episode
from metabench.models.interfaces import Backbone, FeatureHead
from metabench.models.prototypes import distances_to_means, prototypes, squared_distances
from metabench.models.task_context import TaskContext, task_context


def test_prototypes_are_class_means_also_of_uneven_classes() -> None:
    torch.manual_seed(0)
    support = torch.randn(2, 6, 3)
    labels = torch.tensor([[0, 1, 1, 2, 1, 2], [2, 0, 0, 0, 1, 0]])
    centres = prototypes(support, labels, 3)
    assert centres.shape == (2, 3, 3)
    for episode in range(2):
        for k in range(3):
            torch.testing.assert_close(centres[episode, k], support[episode][labels[episode] == k].mean(0))


def test_one_shot_prototypes_are_the_support_itself() -> None:
    torch.manual_seed(0)
    support = torch.randn(1, 4, 5)
    labels = torch.tensor([[2, 0, 3, 1]])
    assert torch.equal(prototypes(support, labels, 4)[0, labels[0]], support[0])


def test_prototypes_of_many_classes_are_the_same_and_so_are_their_gradients() -> None:
    """More classes than a product with one-hot labels is good for: base classes beside the others."""
    torch.manual_seed(0)
    way = 60
    labels = torch.stack([torch.cat([torch.randperm(way), torch.randint(way, (60,))]) for _ in range(3)])
    support = torch.randn(3, 120, 4, dtype=torch.float64, requires_grad=True)
    onehot = nn.functional.one_hot(labels, way).double()
    expected = onehot.transpose(1, 2) @ support / onehot.sum(1)[..., None]
    found = prototypes(support, labels, way)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(3, way, 4, dtype=torch.float64)
    gradients = [torch.autograd.grad((each * weights).sum(), support)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_squared_distances_are_those_of_every_pair() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(3, 4, 7), torch.randn(3, 5, 7)
    expected = (a[:, :, None] - b[:, None]).square().sum(-1)
    torch.testing.assert_close(squared_distances(a, b), expected, rtol=1e-5, atol=1e-5)


def test_distances_to_means_are_those_to_prototypes() -> None:
    torch.manual_seed(0)
    support, query = torch.randn(2, 6, 7), torch.randn(2, 4, 7)
    labels = torch.tensor([[0, 1, 1, 2, 1, 2], [2, 0, 0, 0, 1, 0]])
    expected = squared_distances(query, prototypes(support, labels, 3))
    torch.testing.assert_close(distances_to_means(query, support, labels, 3), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", [3, 60])
def test_distances_of_integers_to_means_are_as_exact_as_a_number_can_be(way: int) -> None:
    """So equal ones are equal, and in whatever order a processor adds up: a third, or a fifth, would be rounded."""
    torch.manual_seed(0)
    labels = torch.cat([torch.arange(way), torch.randint(way, (4 * way,))])
    support, query = torch.randint(2, (1, 5 * way, 9)).float(), torch.randint(2, (1, 8, 9)).float()
    found = distances_to_means(query, support, labels[None], way)[0]
    distances = set()
    for k in range(way):
        mine = support[0][labels == k].int().tolist()
        means = [Fraction(sum(column), len(mine)) for column in zip(*mine, strict=True)]
        for i, one in enumerate(query[0].int().tolist()):
            exact = sum((x - mean) ** 2 for x, mean in zip(one, means, strict=True))
            nearest = torch.tensor(exact.numerator / exact.denominator)
            assert found[i, k] == nearest
            distances.add(exact)
    assert len(distances) < 8 * way  # there were ties


class Plain(FeatureHead):
    def logits(self, episode: Episode) -> Tensor:
        return episode.query[..., : episode.way]


def test_default_loss_is_the_mean_cross_entropy_over_all_queries() -> None:
    torch.manual_seed(0)
    query = torch.randn(2, 3, 4)
    truth = torch.tensor([[0, 3, 1], [2, 2, 0]])
    chosen = query.softmax(-1).gather(2, truth[..., None])
    loss = Plain().loss(Episode(query, truth, query, 4), truth)
    torch.testing.assert_close(loss, -chosen.log().mean())


def test_label_smoothing_of_the_context_spreads_the_target_over_all_classes() -> None:
    torch.manual_seed(1)
    query, truth = torch.randn(2, 3, 4), torch.tensor([[0, 3, 1], [2, 2, 0]])
    odds = query.log_softmax(-1)
    expected = -(0.8 * odds.gather(2, truth[..., None])[..., 0] + 0.2 * odds.mean(-1)).mean()
    with task_context(TaskContext(label_smoothing=0.2)):
        torch.testing.assert_close(Plain().loss(Episode(query, truth, query, 4), truth), expected)


def test_a_backbone_without_a_fused_form_is_its_own() -> None:
    class Same(Backbone):
        feature_dim = 1

    module = Same()
    assert module.for_inference() is module


def test_a_head_without_logits_cannot_be_made() -> None:
    class Nothing(FeatureHead):
        pass

    with pytest.raises(TypeError, match="logits"):
        Nothing()  # type: ignore[abstract]
    assert isinstance(Plain(), nn.Module)


@pytest.mark.parametrize("name", ["logits", "loss"])
def test_a_head_of_the_old_signature_is_refused_in_one_line(name: str) -> None:
    def old(self: FeatureHead, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
        return query

    with pytest.raises(TypeError, match=rf"^Old\.{name} takes the parts .*; write {name}\(self, episode.*\.way$"):
        type("Old", (FeatureHead,), {name: old})


class _Words(Backbone):
    """Counts the letters of a text."""

    feature_dim = 1

    def inputs(self, items: torch.Tensor) -> torch.Tensor:
        return (items != 0).float()

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        return letters.sum(1, keepdim=True)


def test_a_backbone_says_what_it_makes_of_the_items() -> None:
    texts = torch.tensor([[104, 105, 0], [97, 0, 0]], dtype=torch.uint8)
    assert embed(_Words(), texts).tolist() == [[2.0], [1.0]]
