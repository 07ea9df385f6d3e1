"""Parts that every contestant shares: the episode shape, the images, the weights, and the loop of a worker process."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from metabench.data import ClassSplit, DataContext
from metabench_backbones.conv4 import Conv4
from metabench_datasets.omniglot import Omniglot

WAY, SHOT, QUERY = 5, 5, 15
IMAGE_SHAPE = (1, 28, 28)
CHANNELS = 64
ROTATIONS = 4
SEED = 0


@dataclass(frozen=True)
class Setting:
    """Settings that the driver passes to a worker."""

    data: Path
    home: Path
    threads: int

    @classmethod
    def from_env(cls) -> Setting:
        """Read what `peers.py` put into the environment."""
        values = json.loads(os.environ["METABENCH_BENCHMARK"])
        return cls(Path(values["data"]), Path(values["home"]), values["threads"])

    def split(self, name: str, rotations: bool) -> ClassSplit:
        """Return a split of Omniglot; without rotations, every fourth class of it."""
        context = DataContext(self.home / "data" / "omniglot", (self.data,))
        full = Omniglot().load(name, context)
        if rotations:
            return full
        names = full.names[::ROTATIONS]
        per_class = len(full.images) // len(full.names)
        images = np.asarray(full.images).reshape(len(names), ROTATIONS, per_class, *full.images.shape[1:])[:, 0]
        starts = np.arange(len(names) + 1, dtype=np.int64) * per_class
        return ClassSplit(np.ascontiguousarray(images).reshape(-1, *full.images.shape[1:]), starts, names)


def labels_of(split: ClassSplit) -> list[int]:
    """Return the class of every image."""
    return np.repeat(np.arange(len(split.names)), split.counts).tolist()


def float_images(split: ClassSplit) -> torch.Tensor:
    """Return the images as float32 (N, 1, 28, 28) in [0, 1]: a peer finds them decoded, in memory, as it wants them."""
    return torch.from_numpy(np.array(split.images)).permute(0, 3, 1, 2).contiguous().float().div_(255)


def conv4() -> Conv4:
    """Return the weights that everyone gets: Conv-4 drawn from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return Conv4(IMAGE_SHAPE, CHANNELS)


def plain_conv4() -> nn.Sequential:
    """Return Conv-4 as papers and tutorials write it (convolution, batch norm, ReLU, pooling; NCHW), same weights."""
    blocks: list[nn.Module] = []
    for ours in conv4().blocks:
        channels = ours.conv.in_channels
        conv = nn.Conv2d(channels, CHANNELS, 3, padding=1)
        norm = nn.BatchNorm2d(CHANNELS)
        conv.load_state_dict({name: value.contiguous() for name, value in ours.conv.state_dict().items()})
        norm.load_state_dict(ours.norm.state_dict())
        blocks += [conv, norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten())


def image_flops() -> int:
    """Return the multiplications and additions of one forward pass of one image through the convolutions."""
    side, channels, total = IMAGE_SHAPE[1], IMAGE_SHAPE[0], 0
    for _ in range(4):
        total += 2 * side * side * 9 * channels * CHANNELS
        side, channels = side // 2, CHANNELS
    return total


def declare_torchvision_operators() -> None:
    """Declare two operators that torchvision registers fake kernels for, so that it imports beside a CPU torch.

    Its wheels of some platforms are built for CUDA; without their binary part the schemas are missing.
    """
    for name in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):  # declared already
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return (wall seconds, result)."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def serve(tasks: Mapping[str, Callable[..., dict[str, float]]]) -> None:
    """Answer requests, JSON lines ``{"task": name, ...}`` on stdin, with JSON lines on stdout."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not mix with the answers
    print(json.dumps({"ready": sorted(tasks)}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(tasks[request.pop("task")](**request)), file=answers, flush=True)
