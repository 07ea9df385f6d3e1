"""Metric methods against their formulas, written with plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from metabench.api import Episode, FeatureHead, UsageError
from metabench_algorithms.metric.dn4 import DN4
from metabench_algorithms.metric.feat import FEAT
from metabench_algorithms.metric.relation_net import RelationNet
from metabench_algorithms.metric.siamese import Siamese

WAY, SHOTS, DIM = 3, [2, 1, 4], 12
MAPS = [(6, 5, 5), (6, 1, 1), (6, 2, 3), (6, 8, 7)]


def episode(item_shape: tuple[int, ...]) -> tuple[Episode, Tensor]:
    """Two episodes of uneven classes, each in an order of its own, and the classes of the queries."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(WAY).repeat_interleave(torch.tensor(SHOTS))
    labels = torch.stack([labels[torch.randperm(len(labels), generator=generator)] for _ in range(2)])
    support = torch.randn(*labels.shape, *item_shape, generator=generator)
    query = torch.randn(2, 4, *item_shape, generator=generator)
    truth = torch.randint(WAY, (2, 4), generator=generator)
    return Episode(support, labels, query, WAY), truth


def stirred(head: FeatureHead) -> FeatureHead:
    """The head with weights and statistics unlike those it starts with, in evaluation mode."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in head.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
        for module in head.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
    return head.eval()


def of_class(episode: Episode, b: int, k: int) -> list[Tensor]:
    return [item for item, label in zip(episode.support[b], episode.labels[b], strict=True) if label == k]


def table(episode: Episode, score: object) -> Tensor:
    """The scores (B, Q, way) of a function of query and support of a class."""
    scores = torch.zeros(2, 4, WAY)
    for b in range(2):
        for q in range(4):
            for k in range(WAY):
                scores[b, q, k] = score(episode.query[b, q], of_class(episode, b, k))
    return scores


@pytest.mark.parametrize("shape", MAPS)
def test_relation_scores_are_those_of_concatenated_maps(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    head = stirred(RelationNet(shape))
    seen, truth = episode(shape)

    def pool(maps: Tensor) -> Tensor:
        rows, columns = (max(1, side // 2) for side in maps.shape[1:])
        cell = [min(2, side) for side in maps.shape[1:]]
        pooled = maps.new_zeros(len(maps), rows, columns)
        for i in range(rows):
            for j in range(columns):
                pooled[:, i, j] = maps[:, 2 * i : 2 * i + cell[0], 2 * j : 2 * j + cell[1]].amax((1, 2))
        return pooled

    def relation(x: Tensor, support: list[Tensor]) -> Tensor:
        pair = torch.cat([sum(support), x])[None]  # type: ignore[list-item]
        first = pool(torch.relu(head.first_norm(head.first(pair)))[0])
        second = pool(torch.relu(head.second_norm(head.second(first[None])))[0])
        return head.score(torch.relu(head.hidden(second.flatten()))).squeeze()

    with torch.no_grad():
        expected = table(seen, relation)
        torch.testing.assert_close(head.logits(seen), expected, rtol=1e-4, atol=1e-4)
        assert expected.std() > 1e-2
        scores = torch.sigmoid(expected)
        errors = [
            (scores[b, q, k] - float(truth[b, q] == k)) ** 2 for b in range(2) for q in range(4) for k in range(WAY)
        ]
        torch.testing.assert_close(head.loss(seen, truth), torch.stack(errors).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("neighbours", [1, 3])
@pytest.mark.parametrize("shape", MAPS)
def test_dn4_sums_the_nearest_descriptors_of_each_class(shape: tuple[int, int, int], neighbours: int) -> None:
    seen, _ = episode(shape)

    def similarity(x: Tensor, support: list[Tensor]) -> Tensor:
        pool = torch.cat([item.flatten(1).T for item in support])
        total = torch.zeros(())
        for descriptor in x.flatten(1).T:
            cosines = (pool @ descriptor) / (pool.norm(dim=1) * descriptor.norm())
            total += cosines.sort(descending=True).values[:neighbours].sum()
        return total

    scores = DN4(shape, neighbours).logits(seen)
    torch.testing.assert_close(scores, table(seen, similarity), rtol=1e-4, atol=1e-4)


def test_dn4_needs_a_neighbour() -> None:
    with pytest.raises(UsageError, match=r"algo\.neighbours must be at least 1"):
        DN4((4, 2, 2), 0)


def attended(head: FEAT, items: list[Tensor]) -> list[Tensor]:
    """The transformer of a set, one item at a time."""
    adapted = []
    for item in items:
        attention = torch.stack([(head.adapt.query(item) * head.adapt.key(other)).sum() for other in items])
        attention = (attention / math.sqrt(DIM)).softmax(0)
        mixed = sum(a * head.adapt.value(other) for a, other in zip(attention, items, strict=True))
        adapted.append(head.adapt.norm(item + head.adapt.output(mixed)))
    return adapted


def test_feat_compares_with_class_means_adapted_to_each_other() -> None:
    torch.manual_seed(0)
    head = stirred(FEAT(DIM, temperature=8.0))
    seen, _ = episode((DIM,))
    with torch.no_grad():
        scores = head.logits(seen)
        for b in range(2):
            means = [torch.stack(of_class(seen, b, k)).mean(0) for k in range(WAY)]
            for q, x in enumerate(seen.query[b]):
                expected = torch.stack([-((x - psi) ** 2).sum() / 8.0 for psi in attended(head, means)])
                torch.testing.assert_close(scores[b, q], expected, rtol=1e-4, atol=1e-4)


def test_feat_pulls_items_to_the_centre_of_their_adapted_class() -> None:
    torch.manual_seed(0)
    head = stirred(FEAT(DIM, temperature=8.0, balance=0.3, balance_temperature=4.0))
    seen, truth = episode((DIM,))
    with torch.no_grad():
        plain, losses = FeatureHead.loss(head, seen, truth), []
        for b in range(2):
            items, labels = torch.cat([seen.support[b], seen.query[b]]), torch.cat([seen.labels[b], truth[b]])
            sets = [[item for item, label in zip(items, labels, strict=True) if label == k] for k in range(WAY)]
            centres = [torch.stack(attended(head, members)).mean(0) for members in sets]
            for item, label in zip(items, labels, strict=True):
                scores = torch.stack([-((item - centre) ** 2).sum() / 4.0 for centre in centres])
                losses.append(-scores.log_softmax(0)[label])
        torch.testing.assert_close(head.loss(seen, truth), plain + 0.3 * torch.stack(losses).mean())


@pytest.mark.parametrize("name", ["temperature", "balance_temperature"])
def test_feat_divides_by_something(name: str) -> None:
    with pytest.raises(UsageError, match=rf"algo\.{name} must be above 0"):
        FEAT(4, **{name: 0.0})


@pytest.mark.parametrize("shots", ["mean", "largest"])
def test_siamese_scores_are_weighted_distances(shots: str) -> None:
    torch.manual_seed(0)
    head = Siamese(DIM, shots)
    seen, truth = episode((DIM,))

    def pair(x: Tensor, other: Tensor) -> Tensor:
        return sum(head.alpha[j] * (x[j] - other[j]).abs() for j in range(DIM)) + head.bias

    def similarity(x: Tensor, support: list[Tensor]) -> Tensor:
        pairs = torch.stack([pair(x, other) for other in support])
        return pairs.mean() if shots == "mean" else pairs.max()

    with torch.no_grad():
        head.alpha[::2] *= -1
    torch.testing.assert_close(head.logits(seen), table(seen, similarity), rtol=1e-4, atol=1e-4)
    same, other = [], []
    for b in range(2):
        for x, k in zip(seen.query[b], truth[b], strict=True):
            for item, label in zip(seen.support[b], seen.labels[b], strict=True):
                p = torch.sigmoid(pair(x, item))
                same.append(-p.log()) if k == label else other.append(-(1 - p).log())
    loss = (torch.stack(same).mean() + torch.stack(other).mean()) / 2
    torch.testing.assert_close(head.loss(seen, truth), loss, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("head", "shape"), [(RelationNet, (4, 5, 5)), (DN4, (4, 5, 5)), (FEAT, (6,)), (Siamese, (6,))])
def test_the_loss_has_a_finite_gradient_for_every_weight_and_feature(
    head: type[FeatureHead], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    seen, truth = episode(shape)
    seen.support.requires_grad_()
    seen.query.requires_grad_()
    made = head(shape if len(shape) > 1 else shape[0])  # type: ignore[call-arg]
    made.train().loss(seen, truth).backward()
    for tensor in (seen.support, seen.query, *made.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all() and (tensor.grad != 0).any()
