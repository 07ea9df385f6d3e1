"""Workers that run tasks side by side."""

from __future__ import annotations

import torch

from metabench.learners.thread_pool import WorkerPool, sharing_copy
from metabench.models.adaptive import TaskAdaptiveAlgorithm
from metabench.models.assembly import build_model
from metabench_algorithms.gradient.maml import Maml
from metabench_backbones.conv4_strided import Conv4Strided


def test_copies_share_tensors_and_not_structure() -> None:
    model = build_model(Conv4Strided, {"channels": 4}, Maml, {"bn": "running"}, (1, 16, 16), 0, 3)
    assert isinstance(model, TaskAdaptiveAlgorithm)
    other = sharing_copy(model)
    assert other.backbone is not model.backbone
    for mine, theirs in zip(
        (*model.parameters(), *model.buffers()), (*other.parameters(), *other.buffers()), strict=True
    ):
        assert mine is theirs


def test_workers_use_one_thread_each_and_leave_the_rest_as_it_was() -> None:
    model = build_model(Conv4Strided, {"channels": 4}, Maml, {}, (1, 16, 16), 0, 3)
    assert isinstance(model, TaskAdaptiveAlgorithm)
    before = torch.get_num_threads()
    pool = WorkerPool(model, 3)
    assert list(pool.map(lambda _, item: (item, torch.get_num_threads()), range(9))) == [(i, 1) for i in range(9)]
    assert torch.get_num_threads() == before
