"""A fixed model and the features of very many new glyphs: what the measurement of coverage draws its test sets from."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import metabench
from metabench.models.assembly import build_model
from metabench.models.checkpoints import load_weights
from metabench.models.embedding import embed
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_backbones.conv4 import Conv4
from metabench_datasets.glyphs import draw

CHANNELS = 16
TRAINING = {
    "backbone.channels": CHANNELS,
    "train.way": 20,
    "train.episodes": 600,
    "train.validate_every": 200,
    "train.validation_episodes": 200,
}
TIERS = ((1_000, 600), (4_000, 60), (20_000, 20))
"""The first so many classes have at least so many images: a pool for each shape of test set."""
FIRST_CLASS = 3_000_000  # beyond the classes of every split of the dataset
_BLOCK = 12_000  # images drawn at once


def trained_backbone(home: Path) -> torch.nn.Module:
    """Return a briefly trained prototypical network's backbone; training is done once and kept in `home`."""
    row = metabench.run(algo="protonet", episodes=200, settings=TRAINING, home=str(home)).iloc[0]
    print(f"model: protonet, Conv-4 with {CHANNELS} channels, accuracy {row.accuracy:.2f} %", file=sys.stderr)
    model = build_model(Conv4, {"channels": CHANNELS}, ProtoNet, {}, (1, 28, 28), 0)
    (weights,) = (home / "models").glob("*/weights.safetensors")
    load_weights(model, weights)
    return model.backbone.eval().for_inference()


def pool(home: Path, tier: int) -> NDArray[np.float32]:
    """Return features (classes, images, CHANNELS) of a tier; drawn and embedded once and kept in `home`."""
    classes, images = TIERS[tier]
    parts = []
    for (count, depth), start in zip(TIERS, (0, *(count for count, _ in TIERS)), strict=False):
        if start < classes:
            parts.append(_block_of_classes(home, start, count, depth)[:, :images])
    return np.concatenate(parts)


def _block_of_classes(home: Path, start: int, stop: int, images: int) -> NDArray[np.float32]:
    path = home / f"pool-{start}-{stop}x{images}.npy"
    if path.exists():
        return np.load(path)
    backbone = trained_backbone(home)
    step, began, blocks = max(1, _BLOCK // images), time.monotonic(), []
    for first in range(start, stop, step):
        last = min(stop, first + step)
        pixels = torch.from_numpy(draw(FIRST_CLASS + first, FIRST_CLASS + last, images))
        blocks.append(embed(backbone, pixels).numpy().reshape(last - first, images, CHANNELS))
        rate = (last - start) * images / (time.monotonic() - began)
        print(f"pool {path.name}: {last} of {stop} classes, {rate:.0f} images/s", file=sys.stderr)
    features = np.concatenate(blocks)
    np.save(path, features)
    return features


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    for number in range(len(TIERS)):
        print(pool(folder, number).shape, file=sys.stderr)
