"""Probing one task before a run: whether the network can be adapted, and the memory that a task takes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from metabench.errors import UsageError
from metabench.models.adaptive import TaskAdaptiveAlgorithm, run_task
from metabench.runtime.memory import peak_bytes

_NO_SECOND = (
    "not implemented",
    "differentiate twice",
    "does not require grad",
    "once_differentiable",
    "double backward",
)


def probe_task(
    algorithm: TaskAdaptiveAlgorithm,
    work: Callable[[TaskAdaptiveAlgorithm], Any],
    task: tuple[Tensor, ...],
    learns: bool,
) -> int:
    """Return the peak bytes of tensors that `work` on a copy of `algorithm` takes.

    Args:
        algorithm: stays unchanged.
        work: on the task.
        task: support images (S, C, H, W), labels (S,), query images, their labels.
        learns: whether `work` learns from the task by the gradient of its loss.

    Raises:
        UsageError: the backbone keeps state that a forward pass changes; or learning needs a second derivative that a
            layer, which is named, does not have.
    """
    trial, images = copy.deepcopy(algorithm), task[0]
    _refuse_state(trial, images)
    try:
        if learns:  # `backward` meets what cannot be differentiated; `autograd.grad` may pass it by in silence
            with torch.enable_grad():
                run_task(trial, *task)[0].backward()  # type: ignore[no-untyped-call]
        return peak_bytes(lambda: work(trial))
    except RuntimeError as error:  # NotImplementedError is one
        if not any(words in str(error) for words in _NO_SECOND):
            raise
        where = second_order_culprit(trial.backbone, images) or "an operation"
        cause = str(error).splitlines()[0][:160]
        raise UsageError(
            f"cannot be trained to second order: {where} has no second derivative ({cause}); "
            "use --set algo.first_order=true where the algorithm has it, or another --backbone"
        ) from error


def _refuse_state(algorithm: TaskAdaptiveAlgorithm, images: Tensor) -> None:
    """Raise UsageError where a forward pass changes state: tasks share the network."""
    network = algorithm.backbone
    before = {name: value.detach().clone() for name, value in network.state_dict().items()}
    weights = {name.removeprefix("backbone."): value for name, value in algorithm.start().items()}
    weights = {name: value for name, value in weights.items() if name in before}
    attributes = []
    for _ in range(2):  # some layers make their state, or tables that stay the same, in the first pass
        with torch.no_grad():
            torch.func.functional_call(network, weights, (images,))
        attributes.append(_attributes(network))
    for was, now in ((before, network.state_dict()), attributes):
        for name, value in now.items():
            if name not in was or not _same(was[name], value):
                owner, _, leaf = name.rpartition(".")
                kind = type(network.get_submodule(owner)).__name__
                raise UsageError(
                    f"cannot adapt to each task: layer '{owner}' ({kind}) changes its state '{leaf}' in a forward "
                    "pass, which all tasks would share; use another --backbone"
                )


def _attributes(network: nn.Module) -> dict[str, Any]:
    """Return the state of layers outside their state dict: buffers that are not saved, and plain attributes."""
    plain = {
        f"{name}.{key}" if name else key: value
        for name, part in network.named_modules()
        for key, value in vars(part).items()
        if isinstance(value, (Tensor, int, float, str))
    }
    kept = dict(network.named_buffers()) | plain
    return {name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in kept.items()}


def _same(was: Any, now: Any) -> bool:
    if isinstance(was, Tensor) and isinstance(now, Tensor):
        return torch.equal(was, now)
    return was is now or (type(was) is type(now) and bool(was == now))


def second_order_culprit(network: nn.Module, images: Tensor) -> str:
    """Return the name and type of the first layer without a second derivative, '' if there is none."""
    seen: list[tuple[str, nn.Module, Tensor]] = []
    leaves = [(name, module) for name, module in network.named_modules() if not list(module.children())]
    handles = [
        module.register_forward_pre_hook(lambda _, args, name=name, module=module: seen.append((name, module, args[0])))
        for name, module in leaves
    ]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    for name, module, value in seen:
        if isinstance(value, Tensor) and value.is_floating_point() and not _twice(module, value):
            return f"layer '{name}' ({type(module).__name__})"
    return ""


def _twice(module: nn.Module, value: Tensor) -> bool:
    with torch.enable_grad():
        inputs = [value.detach().requires_grad_(), *(p for p in module.parameters() if p.requires_grad)]
        try:
            leaves = pytree.tree_leaves(module(inputs[0]))  # some layers return several tensors
            outputs = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]
            if not outputs:
                return True
            value = torch.stack([output.square().sum() for output in outputs]).sum()
            first = torch.autograd.grad(value, inputs, create_graph=True, allow_unused=True)
            total = torch.stack([slope.square().sum() for slope in first if slope is not None]).sum()
            total.backward()  # type: ignore[no-untyped-call]
        except RuntimeError:
            return False
    return True
