"""Distances lose no digits where features have an offset."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metabench.models.prototypes import distances_to_means, prototypes, squared_distances


@pytest.mark.parametrize("shot", [1, 5])
@pytest.mark.parametrize(
    "kind", ["all", "each feature", "each episode", "one feature", "all but one class", "some queries", "sign of items"]
)
@pytest.mark.parametrize("offset", [0, 10, 100, 300, 1e3, 1e4, 1e5])
def test_distances_do_not_cancel(shot: int, kind: str, offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    episodes, way, queries, dim = 60, 5, 15, 384

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    means = 0.3 * normal(episodes, way, 1, dim)
    support = (means + normal(episodes, way, shot, dim)).flatten(1, 2)
    query = (means + normal(episodes, way, queries, dim)).flatten(1, 2)
    labels, truth = (torch.arange(way).repeat_interleave(n).expand(episodes, -1) for n in (shot, queries))
    feature = torch.zeros(dim, dtype=torch.float64).index_fill(0, torch.tensor(7), 1.0)
    base = {"each feature": normal(dim), "each episode": normal(episodes, 1, dim), "one feature": feature}.get(kind)
    accuracies = []
    for dtype in (torch.float64, torch.float32):
        if kind == "all but one class":
            moved = [x + offset * (y != 2)[..., None] for x, y in ((support, labels), (query, truth))]
        elif kind == "some queries":
            moved = [support + offset, query + offset * (torch.arange(way * queries) > 1)[:, None]]
        elif kind == "sign of items":
            moved = [x + offset * feature * (2 * (x[..., :1] > 0) - 1) for x in (support, query)]
        else:
            moved = [x + offset * (1 if base is None else base) for x in (support, query)]
        s, q = (x.to(dtype) for x in moved)
        distances = squared_distances(q, prototypes(s, labels, way)), distances_to_means(q, s, labels, way)
        accuracies.append([100 * (d.argmin(-1) == truth).double().mean().item() for d in distances])
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.1)


def test_an_episode_keeps_its_distances_whatever_is_beside_it() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, n, 64, generator=generator) for n in (30, 5))
    a[1], b[1] = a[1] + 1e4, b[1] + 1e4
    together = squared_distances(a, b)
    assert all(torch.equal(squared_distances(a[[i]], b[[i]])[0], together[i]) for i in range(2))


def test_distances_of_offset_integers_stay_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.randint(2, (1, n, 50), generator=generator).float() + 4096 for n in (15, 40))
    labels = torch.arange(5).repeat(3)[None]
    exact = distances_to_means(query.double(), support.double(), labels, 5)
    assert torch.equal(distances_to_means(query, support, labels, 5), exact.float())


def test_distances_differentiate_through_an_offset() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, n, 8, generator=generator, dtype=torch.float64) + 1000 for n in (4, 3))
    a.requires_grad_()
    slope = torch.autograd.grad(squared_distances(a, b).sum(), a)[0]
    torch.testing.assert_close(slope, 2 * (a[:, :, None] - b[:, None]).sum(2).detach())
