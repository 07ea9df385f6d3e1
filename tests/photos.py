"""Folders of small photographs for tests: each class has a colour of its own, under noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = ("png", "jpg", "bmp", "gif", "webp", "tif")


def picture(label: int, number: int, noise: int = 60) -> Image.Image:
    """Return a noisy image whose hue tells the class; its size varies."""
    words = np.random.Philox(key=[label, number])
    rng = np.random.Generator(words)
    height, width = 20 + int(rng.integers(20)), 20 + int(rng.integers(20))
    colour = np.array([(37 * label) % 200, (91 * label + 60) % 200, (151 * label + 120) % 200])
    pixels = colour + rng.integers(0, noise, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def make_folder(folder: Path, counts: Mapping[str, int], first: int = 0) -> Path:
    """Write so many images of each class, in turn in every format."""
    for label, (name, count) in enumerate(counts.items(), first):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture(label, number).save(folder / name / f"{number:03}.{FORMATS[number % len(FORMATS)]}")
    return folder
