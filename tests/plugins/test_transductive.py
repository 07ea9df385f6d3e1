"""Transductive methods against plain loops of their equations, episode by episode in double precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.api import Episode, FeatureHead, UsageError
from metabench.models.head_scores import head_scores
from metabench_algorithms.transductive.alpha_tim import AlphaTIM
from metabench_algorithms.transductive.bd_cspn import BdCspn
from metabench_algorithms.transductive.laplacian_shot import LaplacianShot
from metabench_algorithms.transductive.tim import TIM

DIM = 24
Array = NDArray[np.float64]
Reference = Callable[[Array, Array, Array, int], Array]


def episodes(way: int, shot: int, counts: list[int], batch: int = 3, seed: int = 0, spread: float = 0.8) -> Episode:
    """Episodes of rectified Gaussian classes with `counts` queries of each, in a random order."""
    return drawn(way, shot, counts, batch, seed, spread)[0]


def drawn(
    way: int, shot: int, counts: list[int], batch: int, seed: int = 0, spread: float = 0.8
) -> tuple[Episode, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(batch, way, DIM, generator=generator)

    def items(classes: Tensor) -> tuple[Tensor, Tensor]:
        classes = torch.stack([classes[torch.randperm(len(classes), generator=generator)] for _ in range(batch)])
        means = centres.gather(1, classes[..., None].expand(-1, -1, DIM))
        return (means + spread * torch.randn(means.shape, generator=generator)).relu(), classes

    support, labels = items(torch.arange(way).repeat(shot))
    query, truth = items(torch.arange(way).repeat_interleave(torch.tensor(counts)))
    return Episode(support, labels, query, way), truth


def unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def softmax(rows: Array) -> Array:
    shares = np.exp(rows - rows.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def class_means(support: Array, labels: Array, way: int) -> Array:
    return np.stack([support[labels == k].mean(0) for k in range(way)])


def rectified(support: Array, labels: Array, query: Array, way: int) -> Array:
    means = class_means(support, labels, way)
    moved = query + support.mean(0) - query.mean(0)
    totals, members = np.zeros_like(means), np.zeros(way)
    for x, known in [*zip(support, labels, strict=True), *((x, None) for x in moved)]:
        cosines = np.array([x @ m / np.linalg.norm(x) / np.linalg.norm(m) for m in means])
        k = int(cosines.argmax()) if known is None else int(known)
        totals[k] += softmax(10 * cosines)[k] * x
        members[k] += 1
    return totals / members[:, None]


def bd_cspn(support: Array, labels: Array, query: Array, way: int) -> Array:
    support, query = unit(support), unit(query)
    return unit(query) @ unit(rectified(support, labels, query, way)).T


def laplacian_shot(support: Array, labels: Array, query: Array, way: int) -> Array:
    support, query = unit(support), unit(query)
    means = rectified(support, labels, query, way)
    costs = np.array([[((x - m) ** 2).sum() for m in means] for x in query])
    affinity = np.zeros((len(query), len(query)))
    for p, x in enumerate(query):
        others = sorted((q for q in range(len(query)) if q != p), key=lambda q: float(((x - query[q]) ** 2).sum()))
        affinity[p, others[:2]] = 1
    assigned = softmax(-costs)
    for _ in range(20):
        exponent = 0.7 * affinity @ assigned - costs
        assigned = softmax(exponent)
    return exponent


def distances_to(weights: Array, items: Array) -> Array:
    return -7.5 * ((items[:, None] - weights) ** 2).sum(-1)


def tim_adm(support: Array, labels: Array, query: Array, way: int) -> Array:
    support, query, known = unit(support), unit(query), np.eye(way)[labels]
    weights, lam, balance = class_means(support, labels, way), 0.1 / 1.1, len(support) / len(query)
    for _ in range(150):
        ps, pq = softmax(distances_to(weights, support)), softmax(distances_to(weights, query))
        q = pq**1.1 / (pq**1.1).sum(0) ** 0.5
        q = q / q.sum(1, keepdims=True)
        new = []
        for k, w in enumerate(weights):
            top = lam * (known[:, k, None] * support + ps[:, k, None] * (w - support)).sum(0)
            top = top + balance * (q[:, k, None] * query + pq[:, k, None] * (w - query)).sum(0)
            new.append(top / (lam * known[:, k].sum() + balance * q[:, k].sum()))
        weights = np.stack(new)
    return distances_to(weights, query)


def by_gradients(alpha: float, steps: int) -> Reference:
    """Return TIM-GD (alpha 0) or alpha-TIM by autograd and torch's Adam."""

    def reference(support: Array, labels: Array, query: Array, way: int) -> Array:
        s, q, y = torch.from_numpy(unit(support)), torch.from_numpy(unit(query)), torch.from_numpy(labels)
        weights = torch.from_numpy(class_means(unit(support), labels, way)).requires_grad_()
        optimizer = torch.optim.Adam([weights], lr=1e-4)

        def logits(items: Tensor) -> Tensor:
            return -7.5 * (items[:, None] - weights).square().sum(-1)

        for _ in range(steps):
            cross, p = torch.nn.functional.cross_entropy(logits(s), y), logits(q).softmax(-1)
            if alpha:
                mean, each = ((1 - (part**alpha).sum(-1)) / (alpha - 1) for part in (p.mean(0), p + 1e-12))
                loss = cross - mean + each.mean()
            else:
                mean, each = (-(part * part.log()).sum(-1) for part in (p.mean(0), p + 1e-12))
                loss = 0.1 * cross - mean + 0.1 * each.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return logits(q).detach().numpy()

    return reference


EXACT: dict[str, tuple[Callable[[], FeatureHead], Reference]] = {
    "bd-cspn": (lambda: BdCspn(DIM, transform="l2n"), bd_cspn),
    "laplacian-shot": (lambda: LaplacianShot(DIM, transform="l2n"), laplacian_shot),
    "tim-adm": (lambda: TIM(DIM), tim_adm),
    "tim-gd": (lambda: TIM(DIM, "gd", steps=100), by_gradients(0, 100)),
    "alpha-tim-2": (lambda: AlphaTIM(DIM, 2.0, steps=100), by_gradients(2, 100)),
    "alpha-tim-7": (lambda: AlphaTIM(DIM, 7.0, steps=100), by_gradients(7, 100)),
}
FORMS = [(5, 1, [4] * 5), (5, 5, [1, 9, 3, 0, 7]), (2, 1, [9, 2]), (2, 5, [5, 5])]


def centred(scores: Array) -> Array:
    """Scores less a number for each query, which moves no label."""
    return scores - scores.mean(-1, keepdims=True)


@pytest.mark.parametrize(("way", "shot", "counts"), FORMS)
@pytest.mark.parametrize("name", EXACT)
def test_scores_are_those_of_a_plain_loop(name: str, way: int, shot: int, counts: list[int]) -> None:
    make, reference = EXACT[name]
    episode = episodes(way, shot, counts)
    scores = head_scores(make(), episode)
    for b in range(len(scores)):
        support, query = (part[b].double().numpy() for part in (episode.support, episode.query))
        expected = reference(support, episode.labels[b].numpy(), query, way)
        np.testing.assert_allclose(centred(scores[b].double().numpy()), centred(expected), atol=1e-4, rtol=1e-4)


HEADS: dict[str, Callable[[], FeatureHead]] = {
    "bd-cspn": lambda: BdCspn(DIM),
    "laplacian-shot": lambda: LaplacianShot(DIM),
    "tim-adm": lambda: TIM(DIM),
    "tim-adm-hard": lambda: TIM(DIM, temperature=1e4),
    "tim-gd": lambda: TIM(DIM, "gd", steps=50),
    "tim-gd-hard": lambda: TIM(DIM, "gd", steps=50, temperature=1e4),
    "alpha-tim": lambda: AlphaTIM(DIM, steps=50),
    "alpha-tim-hard": lambda: AlphaTIM(DIM, 0.5, steps=50, temperature=1e4),
}


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("name", HEADS)
def test_equal_features_tie_and_give_no_nan(name: str, value: float) -> None:
    episode = episodes(3, 2, [2] * 3)
    same = Episode(torch.full_like(episode.support, value), episode.labels, torch.full_like(episode.query, value), 3)
    scores = head_scores(HEADS[name](), same)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores, scores.mean(-1, keepdim=True).expand_as(scores), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", HEADS)
def test_hard_settings_and_apart_classes_give_finite_scores(name: str) -> None:
    assert head_scores(HEADS[name](), episodes(5, 1, [12, 1, 1, 1, 0], spread=0.01)).isfinite().all()


@pytest.mark.parametrize("name", HEADS)
def test_one_query_goes_to_the_class_it_lies_at(name: str) -> None:
    """With nobody beside it there is nothing to be even with: the uniform prior must not answer."""
    head = HEADS[name]()
    for k in range(4):
        episode, truth = drawn(4, 2, [int(k == c) for c in range(4)], batch=50, seed=k, spread=0.1)
        assert (head_scores(head, episode).argmax(-1) == truth).double().mean() == 1


@pytest.mark.parametrize("name", HEADS)
def test_neither_the_batch_nor_the_order_of_queries_matters(name: str) -> None:
    head, episode = HEADS[name](), episodes(5, 2, [7, 1, 3, 4, 0], batch=6)
    whole = head_scores(head, episode)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    turned = head_scores(head, Episode(episode.support, episode.labels, episode.query[:, order], 5))
    alone = [
        head_scores(head, Episode(episode.support[i : i + 1], episode.labels[i : i + 1], episode.query[i : i + 1], 5))
        for i in range(6)
    ]
    tolerance = 1e-4 * float(whole.abs().max())
    torch.testing.assert_close(turned, whole[:, order], atol=tolerance, rtol=1e-4)
    torch.testing.assert_close(torch.cat(alone), whole, atol=tolerance, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BdCspn(DIM, scale=0), "algo.scale must be above 0, not 0"),
        (lambda: LaplacianShot(DIM, neighbours=1), "algo.neighbours must be at least 2, not 1"),
        (lambda: LaplacianShot(DIM, scale=-1), "algo.scale must be above 0, not -1"),
        (lambda: TIM(DIM, temperature=0), "algo.temperature must be above 0, not 0"),
        (lambda: TIM(DIM, marginal=-1), "algo.marginal must be at least 0, not -1"),
        (lambda: AlphaTIM(DIM, alpha=1), "algo.alpha must not be 1, which is Shannon's entropy. Use tim with form=gd"),
        (lambda: AlphaTIM(DIM, alpha=-1), "algo.alpha must be at least 0, not -1"),
    ],
)
def test_parameters_out_of_range_are_refused(make: Callable[[], FeatureHead], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == message
