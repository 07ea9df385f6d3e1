"""Quick second derivatives are PyTorch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.models import second_order
from metabench.models.second_order import quick_second_order

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_order, "_LEAST", 0)


def made(*shape: int, seed: int, last: bool = False) -> Tensor:
    value = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (value.contiguous(memory_format=torch.channels_last) if last else value).requires_grad_()


def twice(function: Any, inputs: list[Tensor], quick: bool) -> list[Tensor]:
    """The function, its gradient, and the gradient of a function of both; all but the first by every input."""
    if quick:
        with quick_second_order(CPU):
            out = function(*inputs)
    else:
        out = function(*inputs)
    wanted = [value for value in inputs if value.requires_grad]
    slopes = torch.autograd.grad(out.sin().sum(), wanted, create_graph=True)
    total = torch.stack([(slope * slope.detach().cos()).sum() for slope in slopes]).sum()
    return [out, *slopes, *torch.autograd.grad(total, wanted)]


def agree(function: Any, inputs: list[Tensor]) -> None:
    for mine, theirs in zip(twice(function, inputs, True), twice(function, inputs, False), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def names(function: Any, inputs: list[Tensor]) -> str:
    with quick_second_order(CPU):
        return type(function(*inputs).grad_fn).__name__


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "how", [{"padding": 1}, {"stride": 2, "padding": (1, 0)}, {"dilation": 2}, {"groups": 2}, {"bias": False}]
)
def test_convolution(how: dict[str, Any], last: bool) -> None:
    how = dict(how)
    bias = made(6, seed=2) if how.pop("bias", True) else None
    inputs = [made(3, 4, 7, 6, seed=0, last=last), made(6, 4 // how.get("groups", 1), 3, 3, seed=1, last=last)]
    agree(lambda x, w, *b: F.conv2d(x, w, *b, **how), [*inputs, *([] if bias is None else [bias])])


def test_the_first_convolution_of_images_that_need_no_gradient() -> None:
    x = made(3, 1, 8, 8, seed=0).detach()
    convolve = lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1)  # noqa: E731
    agree(convolve, [x, made(4, 1, 3, 3, seed=1), made(4, seed=2)])
    assert names(convolve, [x, made(4, 1, 3, 3, seed=1), made(4, seed=2)]) == "_ConvBackward"


@pytest.mark.parametrize("shape", [(5, 3, 4, 6), (5, 3)])
@pytest.mark.parametrize("last", [False, True])
def test_batch_norm(shape: tuple[int, ...], last: bool) -> None:
    x = made(*shape, seed=0, last=last and len(shape) == 4)
    normalise = lambda x, w, b: F.batch_norm(3 + 2 * x, None, None, w, b, True, 0.0, 1e-5)  # noqa: E731
    agree(normalise, [x, made(3, seed=1), made(3, seed=2)])
    agree(normalise, [x, torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)])
    assert names(normalise, [x, made(3, seed=1), made(3, seed=2)]) == "_NormBackward"


def test_a_network_to_second_order() -> None:
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 2)
    ).double()
    weights = dict(network.named_parameters())
    agree(
        lambda *values: torch.func.functional_call(
            network, dict(zip(weights, values, strict=True)), made(3, 2, 9, 9, seed=0)
        ),
        list(weights.values()),
    )


def test_what_it_does_not_know_is_left_to_torch() -> None:
    x, w = made(3, 4, 7, 7, seed=0), made(6, 4, 3, 3, seed=1)
    agree(lambda x, w: F.conv2d(x, w, padding="same"), [x, w])
    agree(lambda x: F.batch_norm(x, torch.zeros(4).double(), torch.ones(4).double()), [x])


def test_a_wish_for_another_layout_is_ignored() -> None:
    x = made(3, 4, 5, 5, seed=0)
    with quick_second_order(CPU):
        assert x.contiguous(memory_format=torch.channels_last).is_contiguous()
        assert x.to(torch.float32, memory_format=torch.channels_last).dtype == torch.float32


def test_a_third_derivative_is_refused_and_not_wrong() -> None:
    x, w = made(3, 4, 5, 5, seed=0), made(2, 4, 3, 3, seed=1)
    with quick_second_order(CPU):
        out = F.conv2d(x, w)
    for _ in range(2):
        (out,) = torch.autograd.grad(out.sin().sum(), w, create_graph=True)
    with pytest.raises(
        RuntimeError, match="once_differentiable"
    ):  # `metabench.learners.task_probe` tries it in the same way
        out.sum().backward()


def test_small_inputs_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_order, "_LEAST", 3 * 8 * 8)
    convolve = lambda x, w, b: F.conv2d(x, w, b, padding=1)  # noqa: E731
    for images, name in ((2, "ConvolutionBackward0"), (3, "_ConvBackward")):
        assert names(convolve, [made(images, 1, 8, 8, seed=0), made(4, 1, 3, 3, seed=1), made(4, seed=2)]) == name
