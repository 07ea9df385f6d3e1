"""CAVIA (Zintgraf, Shiarlis, Kurin, Hofmann and Whiteson 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from metabench.api import Backbone, UsageError, Weights, gradient_step, gradients, require_at_least
from metabench_algorithms.gradient.maml import Maml


class Cavia(Maml):
    """Algorithm that adapts only a vector of context parameters, which starts at zero in every task (section 3).

    In a network with batch normalisation the context scales and shifts the output of one such layer by channel, through
    a learned linear map (FiLM, section 3.3); in one of fully connected layers it is further inputs of the first
    (section 3.2). All weights are shared by all tasks. Where the authors' FiLM layer has a bias, the scale and shift
    of the batch normalisation before it do the same here: at the start a network is what it is without a context.

    Args:
        backbone, way: as for every `TaskAdaptiveAlgorithm`.
        context: how many context parameters there are.
        layer: the batch norm layer, counted from 1, whose output they modulate; the last where there are fewer.
        lr, steps, test_lr, test_steps, first_order, bn: as for `Maml`.
    """

    def __init__(
        self,
        backbone: Backbone,
        way: int,
        context: int = 100,
        layer: int = 3,
        lr: float = 1.0,
        steps: int = 2,
        test_lr: float = 0.0,
        test_steps: int = 0,
        first_order: bool = False,
        bn: str = "transductive",
    ) -> None:
        require_at_least("context", context, 1)
        require_at_least("layer", layer, 1)
        name = modulate(backbone, context, layer)
        super().__init__(backbone, way, lr, steps, test_lr, test_steps, first_order, bn)
        self.context = f"backbone.{name}.context"

    def adapt(self, params: Weights, support: Tensor, labels: Tensor) -> Weights:
        """Descend on the support loss by the context."""
        steps, lr = self.schedule()
        context = {self.context: self.get_buffer(self.context)}
        for step in range(steps):

            def loss(moving: Weights, step: int = step) -> Tensor:
                return self.loss({**params, **moving}, support, labels, step)

            context = gradient_step(context, gradients(loss, context, self.first_order), lr)
        return {**params, **context}


class Modulated(nn.Module):
    """A layer whose output the context changes; `context` is zero unless a functional call puts another in its place.

    Args:
        layer: batch normalisation, whose output is scaled and shifted by channel; or a linear layer, whose output is
            shifted, as it would be if the context were among its inputs.
        context: how many context parameters there are.
    """

    context: Tensor

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm | nn.Linear, context: int) -> None:
        super().__init__()
        self.layer = layer
        self.linear = isinstance(layer, nn.Linear)
        self.register_buffer("context", torch.zeros(context), persistent=False)
        if isinstance(layer, nn.Linear):  # PyTorch's start of a layer with so many more inputs
            rows, bound = layer.out_features, 1 / math.sqrt(layer.in_features + context)
        else:  # Kaiming's, as in the authors' code
            rows, bound = 2 * layer.num_features, math.sqrt(3 / context)
        self.weight = nn.Parameter(torch.empty(rows, context).uniform_(-bound, bound))

    def forward(self, values: Tensor) -> Tensor:
        """Map (N, C, ...), or (..., C) where the layer is linear."""
        maps: Tensor = self.layer(values)
        change = self.weight @ self.context
        if not self.linear:
            scale, change = change.view(2, 1, -1, *[1] * (maps.ndim - 2))
            maps = maps * (1 + scale)
        return maps + change


def modulate(network: nn.Module, context: int, layer: int) -> str:
    """Put a `Modulated` in the place of a layer of `network` and return its name.

    Args:
        context: how many context parameters there are.
        layer: which batch norm layer, from 1; where there is none, the first linear layer is taken.
    """
    kinds = (nn.modules.batchnorm._BatchNorm, nn.Linear)
    norms, linear = ([item for item in network.named_modules() if isinstance(item[1], kind)] for kind in kinds)
    if not norms and not linear:
        raise UsageError("cavia needs batch norm or a linear layer for its context to modulate; use another --backbone")
    name: str
    name, module = norms[min(layer, len(norms)) - 1] if norms else linear[0]
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, Modulated(module, context))
    return name
