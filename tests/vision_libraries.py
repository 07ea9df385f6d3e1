"""timm and torchvision beside a CPU build of torch."""

from __future__ import annotations

import functools
import importlib
import importlib.util

import torch


@functools.cache
def _operators() -> torch.library.Library:
    """Declare the operators that a torchvision built for another torch expects and cannot bring."""
    found = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            found.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return found


@functools.cache
def usable(library: str) -> bool:
    """Whether ``timm`` or ``torchvision`` can be imported; installed without their own torch, they can too."""
    if importlib.util.find_spec(library) is None:
        return False
    if importlib.util.find_spec("torchvision") is not None:
        _operators()
    try:
        importlib.import_module(library)
    except (ImportError, RuntimeError):
        return False
    return True
