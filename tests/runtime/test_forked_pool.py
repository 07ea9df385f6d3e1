"""Evaluation in processes: the same scores, and nothing is lost or left behind when one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metabench.episodes.batch import EpisodeBatch
from metabench.errors import UsageError
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.models.adaptive import TaskAdaptiveAlgorithm, Weights
from metabench.runtime.forked_pool import ForkedPool, can_fork
from metabench.runtime.memory_limits import return_freed_memory
from metabench_algorithms.gradient.maml import Maml
from metabench_backbones.conv4_strided import Conv4Strided
from tests.conftest import SetThreads
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(not can_fork(), reason="evaluates in threads here")
PARENT = os.getpid()


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (60, 16, 16, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture
def batch() -> EpisodeBatch:
    rows = np.stack([np.random.default_rng(index).permutation(60)[:10] for index in range(7)])
    labels = np.tile(np.arange(5), (7, 1))
    return EpisodeBatch(rows[:, :5], labels, rows[:, 5:], labels, 5)


@pytest.fixture
def two_threads(set_threads: SetThreads) -> Iterator[None]:
    set_threads(2)
    torch.ones(1 << 20).exp()  # and both have worked before
    yield


def algorithm(kind: type[Maml] = Maml) -> TaskAdaptiveAlgorithm:
    torch.manual_seed(0)
    return kind(Conv4Strided((1, 16, 16)), 5).eval()


def scored(learner: AdaptiveLearner, images: Tensor, batch: EpisodeBatch) -> Tensor:
    with torch.inference_mode(), learner.scoring(images):
        return torch.cat([learner.scores(images, batch[:3]), learner.scores(images, batch[3:])])


class Telling(Maml):
    """Its scores are the number of the process."""

    def predict(self, params: Weights, support: Tensor, labels: Tensor, query: Tensor, step: int = -1) -> Tensor:
        assert torch.get_num_threads() == 1
        return torch.full((len(query), 5), float(os.getpid()), dtype=torch.float64)


class Hungry(Maml):
    """Takes 64 MiB for a moment."""

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        assert torch.ones(1 << 24).sum() > 0
        return super().adapt(params, support, labels)


class Dying(Maml):
    """Ends every process but the first, as the system does where memory runs out."""

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        if os.getpid() != PARENT:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().adapt(params, support, labels)


class Short(Maml):
    """Finds no memory in a process beside others."""

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        if os.getpid() != PARENT:
            raise MemoryError
        return super().adapt(params, support, labels)


class Refusing(Maml):
    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        raise UsageError("algo.lr is too small")


def test_processes_score_as_threads_do(two_threads: None, images: Tensor, batch: EpisodeBatch) -> None:
    learner = AdaptiveLearner(algorithm())
    with torch.inference_mode():
        by_threads = learner.scores(images, batch)
    assert torch.equal(scored(learner, images, batch), by_threads)
    assert learner.at_once == 2
    return_freed_memory()  # what earlier tests freed and this process kept would serve the new ones
    hungry = AdaptiveLearner(algorithm(Hungry))
    scored(hungry, images, batch)
    assert 60 <= hungry.beside_mb < 300  # of two processes, or of one that was quick


def test_they_are_other_processes_with_the_weights_of_now(
    two_threads: None, images: Tensor, batch: EpisodeBatch
) -> None:
    learner = AdaptiveLearner(algorithm(Telling))
    seen = set(scored(learner, images, batch).flatten().tolist())
    assert PARENT not in seen and 1 <= len(seen) <= 2
    learner = AdaptiveLearner(algorithm())
    before = scored(learner, images, batch)
    with torch.no_grad():
        for value in learner.module.parameters():
            value.mul_(1.5)
    after = scored(learner, images, batch)
    with torch.inference_mode():
        assert not torch.equal(after, before) and torch.equal(after, learner.scores(images, batch))


@pytest.mark.parametrize("kind", [Dying, Short])
def test_without_memory_for_several_it_goes_on_here(
    two_threads: None, images: Tensor, batch: EpisodeBatch, kind: type[Maml]
) -> None:
    learner, usual = AdaptiveLearner(algorithm(kind)), AdaptiveLearner(algorithm())
    with torch.inference_mode():
        expected = usual.scores(images, batch)
    assert torch.equal(scored(learner, images, batch), expected)
    assert learner.at_once == 1


def test_an_error_keeps_its_kind_and_words(two_threads: None, images: Tensor, batch: EpisodeBatch) -> None:
    with pytest.raises(UsageError, match=r"^algo\.lr is too small$"):
        scored(AdaptiveLearner(algorithm(Refusing)), images, batch)


def test_one_core_needs_no_process(set_threads: SetThreads, images: Tensor, batch: EpisodeBatch) -> None:
    set_threads(1)
    learner = AdaptiveLearner(algorithm(Telling))
    assert set(scored(learner, images, batch).flatten().tolist()) == {float(PARENT)}


def _no_room(*args: object) -> None:
    raise OSError(11, "Resource temporarily unavailable")


@pytest.mark.parametrize(
    ("where", "instead"),
    [("torch.accelerator.is_available", lambda: True), ("metabench.learners.adaptive_learner.ForkedPool", _no_room)],
)
def test_threads_do_it_beside_a_gpu_and_where_no_process_can_be_had(
    two_threads: None,
    images: Tensor,
    batch: EpisodeBatch,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    instead: Callable[..., Any],
) -> None:
    monkeypatch.setattr(where, instead)
    assert set(scored(AdaptiveLearner(algorithm(Telling)), images, batch).flatten().tolist()) == {float(PARENT)}


def test_where_not_all_can_be_had_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, made = os.fork, list[int]()

    def second_fails() -> int:
        if made:
            raise BlockingIOError
        made.append(fork())
        return made[0]

    monkeypatch.setattr(os, "fork", second_fails)
    with pytest.raises(BlockingIOError):
        ForkedPool(str, 2)
    _wait_for_the_end(made)


def test_they_end_with_the_block() -> None:
    pool = ForkedPool(lambda item: (item, os.getpid()), 2)
    found = list(pool.map(range(5)))
    assert [item for item, _ in found] == list(range(5))
    pool.shutdown()
    assert not any(_runs(process) for _, process in found)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_for_the_end(processes: list[int]) -> None:
    wait_until(lambda: not any(map(_runs, processes)), seconds=30)


def test_a_killed_run_leaves_no_process_behind() -> None:
    code = (
        "import os, signal\n"
        "from metabench.runtime.forked_pool import ForkedPool\n"
        "pool = ForkedPool(lambda _: os.write(1, b'%d\\n' % os.getpid()) and signal.pause(), 2)\n"
        "list(pool.map(range(2)))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        workers = [int(run.stdout.readline()) for _ in range(2)]
        assert all(map(_runs, workers))
        run.kill()
    _wait_for_the_end(workers)
