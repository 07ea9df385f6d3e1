"""The memory that tasks take, and how many run at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.learners import adaptive_learner
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.models.adaptive import TaskAdaptiveAlgorithm
from metabench.models.assembly import build_model
from metabench.registry.stage import Stage
from metabench.runtime.memory import MIB, out_of_memory, peak_bytes
from metabench.runtime.memory_budget import MemoryBudget
from metabench_algorithms.gradient.maml import Maml
from metabench_backbones.conv4_strided import Conv4Strided
from metabench_protocols.fixed_way import FixedWay
from tests.conftest import MakeSplit, SetThreads
from tests.learners.probing import PIXELS, RECIPE, learner


def test_what_was_accepted_is_not_refused_for_memory_later(
    source: EpisodeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptive_learner, "device_memory", lambda device: (900 * MIB, 950 * MIB))
    one, budget = learner(), MemoryBudget(800 * MIB)
    with pytest.raises(UsageError, match="--max-memory"):
        one.check(None, source, PIXELS, budget)
    assert "one task at a time" in one.check(None, source, PIXELS, budget.accepted())


IMAGES = torch.randint(0, 256, (200, 28, 28, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def batch(count: int) -> EpisodeBatch:
    rows = np.stack([np.random.default_rng(i).permutation(200)[:80] for i in range(count)])
    labels = np.tile(np.arange(5), (count, 1))
    return EpisodeBatch(rows[:, :5], labels, rows[:, 5:], labels.repeat(15, 1), 5)


def big(**params: object) -> AdaptiveLearner:
    model = build_model(Conv4Strided, {"channels": 16}, Maml, params, (1, 28, 28), 0, 5)
    assert isinstance(model, TaskAdaptiveAlgorithm)
    return AdaptiveLearner(model, formulation="vmap", group=4)  # in this thread, where tensors are counted


def test_evaluation_memory_does_not_grow_with_the_inner_steps() -> None:
    peaks = []
    for steps in (1, 2, 10, 40):
        model = big(steps=steps)
        model.module.eval()
        peaks.append(peak_bytes(lambda model=model: model.scores(IMAGES, batch(2))))
    assert peaks[1] == peaks[2] == peaks[3]
    assert peaks[3] <= 1.05 * peaks[0]


def test_training_memory_is_predicted(make_split: MakeSplit) -> None:
    """The prediction comes from one task; a batch of four at once must take what that says, within 30 %."""
    model = big(steps=3)
    split = make_split([40] * 5)
    source = EpisodeSource(FixedWay(5, 1, 15), split, "memory")
    recipe = Stage(way=5, shot=1, query=15, episodes=8)
    note = model.check(recipe, source, IMAGES.numpy())
    each = float(note.split(" tasks at once of ")[1].split(" MB")[0])
    found = peak_bytes(lambda: model.backward(IMAGES, batch(4), recipe, 0)) / MIB
    assert found == pytest.approx(4 * each, rel=0.3)


def test_memory_that_is_not_there_is_not_taken(
    source: EpisodeSource, monkeypatch: pytest.MonkeyPatch, set_threads: SetThreads
) -> None:
    set_threads(4)
    monkeypatch.setattr(adaptive_learner, "device_memory", lambda device: (100 * MIB, 1000 * MIB))
    monkeypatch.setattr(adaptive_learner, "probe_task", lambda *args: 50 * MIB)
    free = learner()
    assert "takes about 300 MB of memory, 4 tasks at once of 50 MB each" in free.check(RECIPE, source, PIXELS)
    tight = learner()
    assert "takes about 200 MB of memory, 2 tasks at once" in tight.check(
        RECIPE, source, PIXELS, MemoryBudget(215 * MIB)
    )
    assert tight.at_once == 2
    with pytest.raises(UsageError, match=r"needs 51 MB for a task beside 101 MB, and may take 120 MB: allow more"):
        learner().check(RECIPE, source, PIXELS, MemoryBudget(120 * MIB))


def test_half_as_many_tasks_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch, set_threads: SetThreads) -> None:
    set_threads(4)
    model = learner()
    good, tried = adaptive_learner.tasks_of, []

    def short(*args: Any) -> Any:
        if model.at_once > 1:
            tried.append(model.at_once)
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return good(*args)

    rows = np.arange(9)[None].repeat(4, 0)
    labels = np.tile(np.arange(3), (4, 1))
    monkeypatch.setattr(adaptive_learner, "tasks_of", short)
    model.module.eval()
    scores = model.scores(
        torch.from_numpy(PIXELS), EpisodeBatch(rows[:, :3], labels, rows[:, 3:], labels.repeat(2, 1), 3)
    )
    assert scores.shape == (4, 6, 3)
    assert set(tried) == {4, 2} and model.at_once == 1
    assert not out_of_memory(RuntimeError("shapes"))
