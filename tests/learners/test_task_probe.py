"""What is found out before a run: networks that cannot be adapted, layers without second derivative, memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.learners import adaptive_learner
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.models.adaptive import TaskAdaptiveAlgorithm
from metabench.models.assembly import build_model
from metabench.models.interfaces import Backbone
from metabench.models.task_context import training_episode
from metabench.registry.recipe import Recipe
from metabench.runtime.memory import MIB, machine_failed, out_of_memory, peak_bytes, resident_bytes
from metabench.runtime.memory_limits import parse_bytes
from metabench_algorithms.gradient.maml import Maml
from metabench_backbones.conv4_strided import Conv4Strided
from metabench_protocols.fixed_way import FixedWay
from tests.conftest import MakeSplit, SetThreads

RECIPE = Recipe(way=3, shot=1, query=2, episodes=8)


class Once(torch.autograd.Function):
    """The identity, which cannot be differentiated twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope.clone()


class OnceLayer(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = Once.apply(x)
        return found


class Counter(nn.Module):
    """Keeps state that a forward pass changes."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x


class Remembers(nn.Module):
    """A running mean in an attribute that nobody registered."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean()
        return x - self.mean


class Unsaved(nn.Module):
    """The same in a buffer that is not saved."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.mean += 0.1 * (x.detach().mean() - self.mean)
        return x - self.mean


class Counts(nn.Module):
    """Behaves otherwise from the third pass on."""

    passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return x if self.passes < 3 else -x


class Table(nn.Module):
    """Makes what it needs in the first pass and keeps it: no state."""

    table: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.linspace(0, 1, x.shape[-1])
        return x + self.table


class LaterDropout(nn.Module):
    """Drops nothing at the start of meta-training, as DropBlock does."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5) if self.training and training_episode() >= 4 else x


class Net(Backbone):
    """A small network with an odd layer in the middle."""

    def __init__(self, image_shape: tuple[int, int, int], layer: type[nn.Module] = nn.Identity, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(image_shape[0], width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.odd = layer()
        self.feature_dim = width

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.odd(torch.relu(self.norm(self.first(images)))).mean((2, 3))
        return features


def learner(layer: type[nn.Module] = nn.Identity, max_memory: int = 0, **params: object) -> AdaptiveLearner:
    model = build_model(Net, {"layer": layer}, Maml, params, (1, 8, 8), 0, 3)
    assert isinstance(model, TaskAdaptiveAlgorithm)
    return AdaptiveLearner(model, max_memory=max_memory)


@pytest.fixture(scope="module")
def source(make_split: MakeSplit) -> EpisodeSource:
    return EpisodeSource(FixedWay(3, 1, 2), make_split([5, 5, 5, 5]), "trial")


PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1)).astype(np.uint8)


def test_a_sound_network_is_told_its_memory(source: EpisodeSource) -> None:
    note = learner().check(RECIPE, source, PIXELS)
    many = r"(one task at a time of|\d+ tasks at once of) less than 1 MB( each)?"
    assert re.fullmatch(rf"training takes about \d+ MB of memory, {many}", note), note
    assert learner().check(None, source, PIXELS).startswith("evaluation takes about ")


def test_a_layer_without_second_derivative_is_named(source: EpisodeSource) -> None:
    with pytest.raises(UsageError) as caught:
        learner(OnceLayer).check(RECIPE, source, PIXELS)
    assert str(caught.value).startswith(
        "cannot be trained to second order: layer 'odd' (OnceLayer) has no second derivative ("
    )
    assert "use --set algo.first_order=true" in str(caught.value) and "\n" not in str(caught.value)
    learner(OnceLayer, first_order=True).check(RECIPE, source, PIXELS)
    learner(OnceLayer).check(None, source, PIXELS)  # evaluation needs no second derivative


def test_a_layer_that_returns_several_tensors_is_named_too(source: EpisodeSource) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, x: Tensor) -> Tensor:
            first, _ = self.pair(x)
            return first

    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, None]:
            return OnceLayer()(x), None

    with pytest.raises(UsageError, match=r"layer 'odd.pair' \(Pair\) has no second derivative"):
        learner(Both).check(RECIPE, source, PIXELS)


def test_state_that_tasks_would_share_is_named(source: EpisodeSource) -> None:
    one = learner(Counter)
    with pytest.raises(UsageError, match=r"layer 'odd' \(Counter\) changes its state 'calls' in a forward pass"):
        one.check(RECIPE, source, PIXELS)
    assert float(one.module.get_buffer("backbone.odd.calls")) == 0  # it was a copy that was tried


@pytest.mark.parametrize(("layer", "leaf"), [(Remembers, "mean"), (Unsaved, "mean"), (Counts, "passes")])
def test_state_that_is_in_no_state_dict_is_named_too(layer: type[nn.Module], leaf: str, source: EpisodeSource) -> None:
    with pytest.raises(UsageError, match=rf"layer 'odd' \({layer.__name__}\) changes its state '{leaf}' in a forward"):
        learner(layer).check(RECIPE, source, PIXELS)


def test_random_numbers_that_are_drawn_later_in_training_are_seen(
    source: EpisodeSource, set_threads: SetThreads
) -> None:
    set_threads(2)
    for layer, at_once in ((nn.Identity, 2), (LaterDropout, 1)):
        one = learner(layer)
        one.check(RECIPE, source, PIXELS)
        assert one.at_once == at_once


def test_what_was_accepted_is_not_refused_for_memory_later(
    source: EpisodeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptive_learner, "device_memory", lambda device: (900 * MIB, 950 * MIB))
    one = learner(max_memory=800 * MIB)
    with pytest.raises(UsageError, match="--max-memory"):
        one.check(None, source, PIXELS)
    assert "one task at a time" in one.check(None, source, PIXELS, accepted=True)


def test_what_is_the_machines_fault() -> None:
    for error in (MemoryError(), torch.OutOfMemoryError("x"), RuntimeError("CUDA error: an illegal access")):
        assert machine_failed(error)
    assert not machine_failed(ValueError("CUDA"))


def test_a_table_made_in_the_first_pass_is_no_state(source: EpisodeSource) -> None:
    learner(Table).check(RECIPE, source, PIXELS)


class Dense(Backbone):
    """Without convolutions, so that tasks are run in groups on a CPU too."""

    def __init__(self, image_shape: tuple[int, int, int], layer: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        self.first, self.odd = nn.Linear(64, 8), layer()
        self.feature_dim = 8

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.odd(torch.relu(self.first(images.flatten(1))))
        return features


class Looks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.mean() > 0.5 else 2 * x


def dense(layer: type[nn.Module], max_memory: int = 0) -> AdaptiveLearner:
    model = build_model(Dense, {"layer": layer}, Maml, {}, (1, 8, 8), 0, 3)
    assert isinstance(model, TaskAdaptiveAlgorithm)
    return AdaptiveLearner(model, max_memory=max_memory)


def test_what_cannot_run_in_groups_runs_task_by_task(source: EpisodeSource) -> None:
    for recipe in (RECIPE, None):
        plain, looking = dense(nn.Identity), dense(Looks)
        for one in (plain, looking):
            one.check(recipe, source, PIXELS)
        assert (plain.batched, looking.batched) == (True, False)
    scores = looking.module.eval() and looking.scores(torch.from_numpy(PIXELS), source.batch(0, 3))
    assert scores.shape == (3, 6, 3)


class Recurrent(nn.Module):
    """An operation for which vmap has no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.cell(x)[0]
        return hidden


def test_what_vmap_has_no_rule_for_runs_task_by_task(source: EpisodeSource) -> None:
    for recipe in (RECIPE, None):
        one = dense(Recurrent)
        note = one.check(recipe, source, PIXELS)
        assert not one.batched
        assert note.startswith("tasks run one by one, since vmap cannot batch them (")
    scores = one.module.eval() and one.scores(torch.from_numpy(PIXELS), source.batch(0, 3))
    assert scores.shape == (3, 6, 3)


def test_room_never_changes_which_random_numbers_a_task_gets(
    source: EpisodeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, drawing = dense(nn.Identity), dense(nn.Dropout)
    plain.check(RECIPE, source, PIXELS)
    note = drawing.check(RECIPE, source, PIXELS)
    assert (plain.at_once, drawing.at_once) == (64, 8) and ", 8 tasks at once" in note
    monkeypatch.setattr("metabench.learners.adaptive_learner.device_memory", lambda device: (0, 7 * MIB))
    plain._make_room(MIB, False, False)
    assert plain.at_once == 7
    with pytest.raises(UsageError, match="needs 9 MB for 8 tasks, no fewer since they draw random numbers, beside"):
        drawing._make_room(MIB, False, False)
    drawing.check(None, source, PIXELS)  # nothing is drawn at evaluation
    drawing._make_room(MIB, False, False)


def test_another_error_is_not_hidden(source: EpisodeSource) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        learner(Broken).check(RECIPE, source, PIXELS)


def test_tasks_of_another_way_are_refused(make_split: MakeSplit) -> None:
    other = EpisodeSource(FixedWay(4, 1, 2), make_split([5, 5, 5, 5]), "trial")
    with pytest.raises(UsageError, match="is built for 3-way tasks and cannot learn from 4-way ones"):
        learner().check(RECIPE, other, PIXELS)


def test_live_tensors_are_counted_until_they_are_freed() -> None:
    def work() -> None:
        for _ in range(5):
            a = torch.zeros(1000, dtype=torch.float64)
            b = a + 1  # two at a time, and for a moment the next a beside the old two
            del a, b

    assert peak_bytes(work) == 16000


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
    recipe = Recipe(way=5, shot=1, query=15, episodes=8)
    note = model.check(recipe, source, IMAGES.numpy())
    each = float(note.split(" tasks at once of ")[1].split(" MB")[0])
    found = peak_bytes(lambda: model.backward(IMAGES, batch(4), recipe, 0)) / MIB
    assert found == pytest.approx(4 * each, rel=0.3)


def test_memory_that_is_not_there_is_not_taken(
    source: EpisodeSource, monkeypatch: pytest.MonkeyPatch, set_threads: SetThreads
) -> None:
    set_threads(4)
    monkeypatch.setattr(adaptive_learner, "device_memory", lambda device: (100 * MIB, 1000 * MIB))
    monkeypatch.setattr(adaptive_learner, "try_task", lambda *args: 50 * MIB)
    free = learner()
    assert "takes about 300 MB of memory, 4 tasks at once of 50 MB each" in free.check(RECIPE, source, PIXELS)
    tight = learner(max_memory=215 * MIB)
    assert "takes about 200 MB of memory, 2 tasks at once" in tight.check(RECIPE, source, PIXELS)
    assert tight.at_once == 2
    with pytest.raises(UsageError, match=r"needs 51 MB for a task beside 101 MB, and may take 120 MB: allow more"):
        learner(max_memory=120 * MIB).check(RECIPE, source, PIXELS)


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


@pytest.mark.parametrize(("text", "size"), [("4GB", 4 << 30), ("1.5 g", 3 << 29), ("800MiB", 800 << 20), ("77", 77)])
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["much", "-1GB", "0", "4PB", "GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-memory takes a size such as 4GB, not"):
        parse_bytes(text)


def test_resident_memory_is_some() -> None:
    assert 10 * MIB < resident_bytes() < 1 << 40
    assert Path("/proc/self/statm").exists() or resident_bytes() > 0
