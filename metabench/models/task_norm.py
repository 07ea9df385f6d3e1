"""Batch normalisation whose statistics are an explicit choice, for algorithms that adapt a network to each task.

MAML's code normalises every forward pass with the statistics of that pass, at test as in training. The queries of
an episode are one pass, so a query's score depends on the others: the method is transductive. What else can be
done, and what each choice is called here:

- ``transductive``: the statistics of the pass, queries included.
- ``support``: the statistics of the support set, also when queries are scored.
- ``single``: those of the support set and the one query that is scored, a pass for each query (the evaluation that
  Nichol et al. 2018, section 6.1, set against the transductive one). In meta-training it is ``transductive``.
- ``running``: averages over meta-training, as in supervised learning.
- ``per-step``: such averages, scale and shift for every inner step (MAML++, Antoniou et al. 2019, section 4).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from metabench.errors import UsageError
from metabench.models.task_context import context_now

MODES = ("transductive", "support", "single", "running", "per-step")
MOMENTUM = 0.1
"""Share of a new task batch in a running average, where the layer does not say (PyTorch's default)."""


@dataclass
class Pass:
    """State of a forward pass: its inner step, and the number of leading support rows (0: no distinction)."""

    step: int = 0
    support: int = 0
    seen: dict[str, list[tuple[int, Tensor, Tensor]]] | None = field(default=None)
    """Batch statistics for the running averages: name to (step, mean, variance)."""


_PASS: ContextVar[Pass | None] = ContextVar("pass", default=None)


@contextmanager
def forward_pass(step: int = 0, support: int = 0) -> Iterator[None]:
    """Set inner step and support rows of the forward passes within; statistics go to the surrounding collection."""
    around = _PASS.get()
    token = _PASS.set(Pass(step, support, around.seen if around else None))
    try:
        yield
    finally:
        _PASS.reset(token)


@contextmanager
def collect_statistics() -> Iterator[dict[str, list[tuple[int, Tensor, Tensor]]]]:
    """Collect the batch statistics of all passes within."""
    seen: dict[str, list[tuple[int, Tensor, Tensor]]] = {}
    token = _PASS.set(Pass(seen=seen))
    try:
        yield seen
    finally:
        _PASS.reset(token)


class TaskNorm(nn.Module):
    """Replacement of a batch norm layer; `weight` and `bias` keep their names.

    Args:
        norm: the layer replaced.
        name: of the layer in the network.
        mode: one of `MODES`.
        steps: inner steps that have statistics, scale and shift of their own (``per-step`` only).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm, name: str, mode: str, steps: int) -> None:
        super().__init__()
        self.name, self.mode, self.eps, self.steps = name, mode, norm.eps, steps
        channels = norm.num_features
        shape = (steps, channels) if mode == "per-step" else (channels,)
        weight = norm.weight.detach() if norm.affine else torch.ones(channels)
        bias = norm.bias.detach() if norm.affine else torch.zeros(channels)
        self.weight = nn.Parameter(weight.expand(shape).clone(), requires_grad=norm.affine)
        self.bias = nn.Parameter(bias.expand(shape).clone(), requires_grad=norm.affine)
        self.momentum = MOMENTUM if norm.momentum is None else norm.momentum
        self.drop, self.act = (getattr(norm, name, None) or nn.Identity() for name in _AFTER)
        if mode in ("running", "per-step"):
            mean, variance = norm.running_mean, norm.running_var  # what a constructor may have loaded
            mean = torch.zeros(channels) if mean is None else mean.detach()
            variance = torch.ones(channels) if variance is None else variance.detach()
            self.register_buffer("running_mean", mean.expand(shape).clone())
            self.register_buffer("running_var", variance.expand(shape).clone())

    def of_pass(self, rows: int) -> bool:
        """Return whether this pass over `rows` items is normalised by its own statistics, and none are kept.

        A quicker layer may then do the same; never under ``vmap``.
        """
        apart = 0 < (_PASS.get() or Pass()).support < rows
        return self.mode not in ("running", "per-step") and not apart and not context_now().batched

    def forward(self, images: Tensor) -> Tensor:
        """Normalise (N, C, ...) by channel."""
        normalised: Tensor = self.act(self.drop(self._normalised(images)))
        return normalised

    def _normalised(self, images: Tensor) -> Tensor:
        now = _PASS.get() or Pass()
        step = min(now.step, self.steps - 1)
        own = self.mode == "per-step"
        weight, bias = (self.weight[step], self.bias[step]) if own else (self.weight, self.bias)
        averaged = self.mode in ("running", "per-step")
        if averaged and not self.training:
            mean, variance = (self.running_mean, self.running_var) if not own else (
                self.running_mean[step], self.running_var[step])  # fmt: skip
            return _normalise(images, mean, variance, weight, bias, self.eps)
        if now.support and now.support < len(images):
            mean, variance = _moments(images[: now.support])
            return _normalise(images, mean, variance, weight, bias, self.eps)
        if averaged and now.seen is not None:
            with torch.no_grad():
                mean, variance = _moments(images.detach(), unbiased=True)
            now.seen.setdefault(self.name, []).append((step, mean, variance))
        if context_now().batched:
            # Under vmap the second derivative of torch's batch_norm is wrong (its statistics count as constants).
            return _normalise(images, *_moments(images), weight, bias, self.eps)
        return nn.functional.batch_norm(images, None, None, weight, bias, True, 0.0, self.eps)


def _moments(images: Tensor, unbiased: bool = False) -> tuple[Tensor, Tensor]:
    """Return mean and variance (C,) of (N, C, ...), in float32 at least."""
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    axes = [0, *range(2, images.ndim)]
    return images.mean(axes), images.var(axes, correction=int(unbiased))


def _normalise(images: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale = weight * (variance + eps).rsqrt()
    shape = (1, -1, *([1] * (images.ndim - 2)))
    return images * scale.view(shape) + (bias - mean * scale).view(shape)


def replace_norms(network: nn.Module, mode: str, steps: int, prefix: str) -> list[TaskNorm]:
    """Put a `TaskNorm` in the place of every batch norm layer of `network`; return them.

    Args:
        prefix: what stands before the layers' names in the names of the buffers.
    """
    norms: list[TaskNorm] = []
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            _refuse_other_forward(module, name)
            norm = TaskNorm(module, f"{prefix}{name}", mode, steps)
            parent, _, attribute = name.rpartition(".")
            setattr(network.get_submodule(parent), attribute, norm)
            norms.append(norm)
    return norms


_AFTER = ("drop", "act")
"""Sub-modules that timm's batch norms call, in this order, on what they have normalised (`BatchNormAct2d`)."""


def _refuse_other_forward(norm: nn.modules.batchnorm._BatchNorm, name: str) -> None:
    """Raise UsageError for a batch norm with further computations, which `TaskNorm` would leave out."""
    kind = type(norm)
    plain = kind.forward in (nn.modules.batchnorm._BatchNorm.forward, nn.SyncBatchNorm.forward)
    children = [child for child, _ in norm.named_children()]
    if children == list(_AFTER) or (plain and not children):
        return
    raise UsageError(
        f"cannot adapt to each task: layer '{name}' ({kind.__name__}) is a batch norm with a forward pass of its own. "
        "Use another --backbone"
    )


def running_averages(norms: list[TaskNorm], seen: dict[str, list[tuple[int, Tensor, Tensor]]]) -> dict[str, Tensor]:
    """Return the new value of every running average, by buffer name, after the passes in `seen`."""
    new: dict[str, Tensor] = {}
    for norm in norms:
        if noted := seen.get(norm.name):
            means, variances = ([(entry[0], entry[part]) for entry in noted] for part in (1, 2))
            new[f"{norm.name}.running_mean"] = _advance(norm.running_mean, means, norm.momentum)
            new[f"{norm.name}.running_var"] = _advance(norm.running_var, variances, norm.momentum)
    return new


def _advance(old: Tensor, noted: list[tuple[int, Any]], momentum: float) -> Tensor:
    """Move an average towards the mean of what was noted, for each step by itself where it has steps."""
    if old.ndim == 1:
        return old + momentum * (torch.stack([value for _, value in noted]).mean(0) - old)
    rows = []
    for step in range(len(old)):
        mine = [value for at, value in noted if at == step]
        rows.append(old[step] + momentum * (torch.stack(mine).mean(0) - old[step]) if mine else old[step])
    return torch.stack(rows)
