"""Batch normalisation with explicit statistics: what each mode computes, and whether queries know of each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metabench.episodes.batch import EpisodeBatch
from metabench.errors import UsageError
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.learners.episode_tasks import tasks_of
from metabench.models.adaptive import TaskAdaptiveAlgorithm, Weights, gradients, run_task
from metabench.models.assembly import build_model
from metabench.models.task_context import TaskContext, task_context
from metabench.models.task_norm import (
    MODES,
    MOMENTUM,
    TaskNorm,
    collect_statistics,
    forward_pass,
    replace_norms,
    running_averages,
)
from metabench_algorithms.gradient.maml import Maml
from metabench_algorithms.gradient.maml_plus_plus import MamlPlusPlus
from metabench_backbones.conv4_strided import Conv4Strided

IMAGES = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 + 1


def norm(mode: str, steps: int = 1) -> TaskNorm:
    layer = nn.BatchNorm2d(3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0, 0.5]))
        layer.bias.copy_(torch.tensor([0.0, -1.0, 3.0]))
    return TaskNorm(layer, "layer", mode, steps).double()


def by(images: Tensor, statistics: Tensor, layer: TaskNorm) -> Tensor:
    """Normalise by the definition with the statistics of other images."""
    mean = statistics.mean((0, 2, 3), keepdim=True)
    variance = statistics.var((0, 2, 3), keepdim=True, correction=0)
    weight, bias = layer.weight.view(-1, 3)[0], layer.bias.view(-1, 3)[0]
    return (images - mean) / (variance + layer.eps).sqrt() * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_in_training_the_statistics_are_those_of_the_pass(mode: str, batched: bool) -> None:
    layer = norm(mode)
    with task_context(TaskContext(batched)):
        torch.testing.assert_close(layer(IMAGES), by(IMAGES, IMAGES, layer))


def test_at_evaluation_each_mode_has_its_own() -> None:
    for mode in ("transductive", "support"):
        layer = norm(mode).eval()
        torch.testing.assert_close(layer(IMAGES), by(IMAGES, IMAGES, layer))
    layer = norm("running").eval()
    scale = layer.weight.view(1, -1, 1, 1) / (1 + layer.eps) ** 0.5
    torch.testing.assert_close(layer(IMAGES), IMAGES * scale + layer.bias.view(1, -1, 1, 1))


def test_the_leading_rows_may_be_the_support() -> None:
    layer = norm("support")
    with forward_pass(support=2):
        torch.testing.assert_close(layer(IMAGES), by(IMAGES, IMAGES[:2], layer))


def test_running_averages_advance_by_the_mean_of_the_passes() -> None:
    layer = norm("running")
    with collect_statistics() as seen:
        layer(IMAGES[:3])
        with forward_pass(step=4):
            layer(IMAGES[3:])
    new = running_averages([layer], seen)
    expected = torch.stack([part.mean((0, 2, 3)) for part in (IMAGES[:3], IMAGES[3:])]).mean(0)
    torch.testing.assert_close(new["layer.running_mean"], MOMENTUM * expected)
    spread = torch.stack([part.var((0, 2, 3)) for part in (IMAGES[:3], IMAGES[3:])]).mean(0)
    torch.testing.assert_close(new["layer.running_var"], 1 + MOMENTUM * (spread - 1))
    assert float(layer.running_mean.abs().sum()) == 0  # nothing is changed in place: tasks run side by side


def test_steps_have_statistics_scale_and_shift_of_their_own() -> None:
    layer = norm("per-step", steps=3)
    with collect_statistics() as seen, forward_pass(step=1):
        layer(IMAGES)
    mean = running_averages([layer], seen)["layer.running_mean"]
    assert mean.shape == (3, 3)
    torch.testing.assert_close(mean[1], MOMENTUM * IMAGES.mean((0, 2, 3)))
    assert float(mean[[0, 2]].abs().sum()) == 0
    layer.eval()
    with torch.no_grad():
        layer.bias[2] = 7.0
    with torch.no_grad(), forward_pass(step=9):  # later than any: the last
        assert float((layer(IMAGES * 0) - 7).abs().max()) < 1e-12
    with torch.no_grad(), forward_pass(step=1):
        assert float((layer(IMAGES * 0) - 7).abs().max()) > 1


def tasks() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    support, query = torch.rand(6, 1, 16, 16, generator=generator), torch.rand(9, 1, 16, 16, generator=generator)
    return support, torch.arange(3).repeat(2), query, torch.arange(3).repeat(3)


def algorithm(bn: str) -> TaskAdaptiveAlgorithm:
    target: type[TaskAdaptiveAlgorithm] = MamlPlusPlus if bn == "per-step" else Maml
    model = build_model(Conv4Strided, {"channels": 4}, target, {"steps": 2, "bn": bn}, (1, 16, 16), 0, 3)
    assert isinstance(model, TaskAdaptiveAlgorithm)
    with torch.no_grad():  # as after some training
        buffers = run_task(model, *tasks())[1]
        for name, value in buffers.items():
            model.get_buffer(name).copy_(value)
    return model.eval()


@pytest.mark.parametrize("bn", MODES)
def test_only_transductive_statistics_let_queries_know_of_each_other(bn: str) -> None:
    model = algorithm(bn)
    support, labels, query, _ = tasks()
    with torch.no_grad():
        adapted = model.adapt(model.start(), support, labels)
        together = model.predict(adapted, support, labels, query)
        parts = query.split(2)  # of single values there are no statistics
        alone = torch.cat([model.predict(adapted, support, labels, part) for part in parts[:-1]])
    difference = float((together[: len(alone)] - alone).abs().max())
    assert difference > 1e-2 if bn == "transductive" else difference < 1e-5


@pytest.mark.parametrize("formulation", ["loop", "vmap"])
def test_single_scores_each_query_with_the_support_set_around_it(formulation: str) -> None:
    alone, together = algorithm("single"), algorithm("transductive")
    support, labels, query, _ = tasks()
    images = (255 * torch.cat([support, query])).to(torch.uint8).permute(0, 2, 3, 1)
    rows = np.arange(15)[None]
    batch = EpisodeBatch(rows[:, :6], labels[None].numpy(), rows[:, 6:], np.zeros((1, 9), np.int64), 3)
    learner = AdaptiveLearner(alone.eval(), formulation=formulation)
    with torch.inference_mode():
        scores = learner.scores(images, batch)[0]
    support, labels, query, _ = (part[0] for part in tasks_of(together.backbone, images, batch))
    with torch.no_grad():
        params = together.eval().adapt(together.start(), support, labels)
        expected = [together.logits(params, torch.cat([support, one[None]]))[-1] for one in query]
    torch.testing.assert_close(scores, torch.stack(expected), rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # the labels of training queries are known anyway
        assert torch.equal(*(model.train().predict(params, support, labels, query) for model in (alone, together)))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="bn is one of transductive, support, single, running, per-step, not 'batch'"):
        build_model(Conv4Strided, {"channels": 4}, Maml, {"bn": "batch"}, (1, 16, 16), 0, 3)


def test_gradients_are_constants_where_asked_and_at_evaluation() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)

    def cube(params: Weights) -> Tensor:
        return params["x"].pow(3).sum()

    assert gradients(cube, {"x": x})["x"].requires_grad
    with torch.no_grad():
        unattended = gradients(cube, {"x": x})["x"]
    with task_context(TaskContext(first_order=True)):
        begun = gradients(cube, {"x": x})["x"]
    for slope in (unattended, begun, gradients(cube, {"x": x}, first_order=True)["x"]):
        assert not slope.requires_grad
        assert slope.tolist() == [3.0, 12.0]


def loaded(momentum: float = 0.25) -> nn.BatchNorm2d:
    """A layer as a constructor leaves it that loads pre-trained weights."""
    layer = nn.BatchNorm2d(3, momentum=momentum).double()
    with torch.no_grad():
        layer.running_mean.copy_(torch.tensor([1.0, -2.0, 3.0]))  # type: ignore[union-attr]
        layer.running_var.copy_(torch.tensor([4.0, 0.5, 9.0]))  # type: ignore[union-attr]
    return layer


@pytest.mark.parametrize("mode", ["running", "per-step"])
def test_pretrained_running_statistics_are_kept(mode: str) -> None:
    layer = loaded()
    adapted = TaskNorm(layer, "layer", mode, 2).double().eval()
    torch.testing.assert_close(adapted(IMAGES), layer.eval()(IMAGES))


def test_a_running_average_moves_as_its_layer_says() -> None:
    layer = loaded(0.25)
    adapted = TaskNorm(layer, "layer", "running", 1).double()
    with collect_statistics() as seen:
        adapted(IMAGES)
    new = running_averages([adapted], seen)
    layer.train()(IMAGES)
    torch.testing.assert_close(new["layer.running_mean"], layer.running_mean)
    torch.testing.assert_close(new["layer.running_var"], layer.running_var)


class NormAct(nn.BatchNorm2d):
    """Normalises and activates, as timm's `BatchNormAct2d`."""

    def __init__(self, channels: int, activates: bool = True) -> None:
        super().__init__(channels)
        if activates:
            self.drop, self.act = nn.Identity(), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return self.act(self.drop(x)) if hasattr(self, "act") else x.abs()


@pytest.mark.parametrize("mode", MODES)
def test_what_a_batch_norm_does_beside_is_kept(mode: str) -> None:
    network = nn.Sequential(NormAct(3)).double()
    replace_norms(network, mode, 1, "")
    assert isinstance(network[0], TaskNorm)
    torch.testing.assert_close(network(IMAGES), nn.BatchNorm2d(3).double()(IMAGES).relu())


def test_a_batch_norm_with_a_forward_of_its_own_is_refused() -> None:
    with pytest.raises(UsageError, match=r"layer '0' \(NormAct\) is a batch norm with a forward pass of its own"):
        replace_norms(nn.Sequential(NormAct(3, activates=False)), "support", 1, "")
