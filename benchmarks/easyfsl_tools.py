"""Run easyfsl 1.5.0 with current versions of torch: importing this module prepares torch for it."""

from __future__ import annotations

from typing import Any

from common import QUERY, WAY, declare_torchvision_operators
from torch.utils.data import DataLoader, Sampler

declare_torchvision_operators()  # before easyfsl, which imports torchvision

from easyfsl.datasets import FewShotDataset  # noqa: E402
from easyfsl.samplers import TaskSampler  # noqa: E402


def _accept_data_source(self: Sampler[Any], data_source: object = None) -> None:
    """Stand in for ``Sampler.__init__`` of the torch that easyfsl 1.5.0 was written for."""


Sampler.__init__ = _accept_data_source  # type: ignore[method-assign]  # torch 2.13 takes no argument


def loader(dataset: FewShotDataset, shot: int, episodes: int) -> DataLoader[Any]:
    """Return a loader of episodes as easyfsl's README makes it."""
    sampler = TaskSampler(dataset, n_way=WAY, n_shot=shot, n_query=QUERY, n_tasks=episodes)
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
