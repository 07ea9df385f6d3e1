"""Learning rates and optimisers of a stage of training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from metabench.registry.stage import Stage
from metabench.registry.stage_checks import milestones

_OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
_FACTOR = "factor"


def learning_rate(stage: Stage, done: float) -> float:
    """Return the learning rate of the update that follows `done` episodes or epochs of a stage."""
    if stage.schedule == "step":
        decays = int(done // stage.lr_step) if stage.lr_step else sum(end <= done for end in milestones(stage))
        return stage.lr * stage.lr_gamma**decays
    share = min(1.0, done / max(1, stage.length))
    left = 1 - share if stage.schedule == "linear" else (1 + math.cos(math.pi * share)) / 2
    return stage.lr_end + (stage.lr - stage.lr_end) * left


def make_optimizer(model: nn.Module, stage: Stage) -> torch.optim.Optimizer:
    """Return the optimiser of a stage; weights of ``model.backbone`` have a learning rate of their own, if asked."""
    options: dict[str, Any] = {"lr": stage.lr, "weight_decay": stage.weight_decay}
    if stage.optimizer == "sgd":
        options |= {"momentum": stage.momentum, "nesterov": stage.nesterov}
    factors: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = stage.backbone_lr if name.startswith("backbone.") else 1.0
        factors.setdefault(factor, []).append(parameter)
    if set(factors) == {1.0} or not factors:
        factors = {1.0: list(model.parameters())}
    groups = [{"params": parameters, _FACTOR: factor} for factor, parameters in factors.items() if factor]
    return _OPTIMIZERS[stage.optimizer](groups, **options)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group of weights, in proportion to its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[_FACTOR]
