"""Probing a task before a run: networks that cannot be adapted, layers without second derivative."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.models.adaptive import TaskAdaptiveAlgorithm
from metabench.models.assembly import build_model
from metabench.models.interfaces import Backbone
from metabench.models.task_context import training_episode
from metabench.runtime.memory import MIB
from metabench.runtime.memory_budget import MemoryBudget
from metabench_algorithms.gradient.maml import Maml
from metabench_protocols.fixed_way import FixedWay
from tests.conftest import MakeSplit, SetThreads
from tests.learners.probing import PIXELS, RECIPE, learner


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


def dense(layer: type[nn.Module]) -> AdaptiveLearner:
    model = build_model(Dense, {"layer": layer}, Maml, {}, (1, 8, 8), 0, 3)
    assert isinstance(model, TaskAdaptiveAlgorithm)
    return AdaptiveLearner(model)


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
    plain._make_room(MIB, False, MemoryBudget())
    assert plain.at_once == 7
    with pytest.raises(UsageError, match="needs 9 MB for 8 tasks, no fewer since they draw random numbers, beside"):
        drawing._make_room(MIB, False, MemoryBudget())
    drawing.check(None, source, PIXELS)  # nothing is drawn at evaluation
    drawing._make_room(MIB, False, MemoryBudget())


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
