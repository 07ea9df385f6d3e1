"""Characters as stroke programs: random words to strokes, strokes to pen positions, pen positions to pixels.

Every step is an elementwise ``+ - * /``, square root, comparison or table look-up, which IEEE 754 defines to
the last bit. There is no libm function, no matrix product and no summing reduction, whose last bits differ
between machines; so the pixels, and their digest, are the same everywhere.

Coordinates are (x, y) with y downwards; a character fills the box [-0.5, 0.5] x [-0.5, 0.5].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.api import integers_below

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

SIZE = 28
"""Height and width of an image, pixels."""
_STROKES = 3
_STROKE_COUNTS = np.array([2, 2, 3, 3])
_STROKE_WORDS = 12
CLASS_WORDS = 1 + _STROKES * _STROKE_WORDS
"""Random words that a class takes."""
_HAND_WORDS = 8
INSTANCE_WORDS = _HAND_WORDS + _STROKES * 4 * 2
"""Random words that an instance takes."""

_D = 0.7071067811865476
_DIRECTIONS = np.array([[1, 0], [0, 1], [_D, _D], [-_D, _D], [1, 0], [0, 1], [_D, -_D], [-1, 0]])
"""Directions of a stroke: hands write rightwards and downwards more often than the other way."""
_TIMES = np.arange(32) / 31.0
"""Pen positions along a stroke, about a pixel apart: close enough for their discs to merge into a line."""

# What differs between instances of a class (standard deviations). Tuned so that in 5-way 1-shot episodes the
# nearest mean on pixels is right about half the time, and a briefly trained embedding about nine times in ten.
_CONTROL_JITTER = 0.10
_STRETCH = 0.10
_SLANT = 0.20
_ROTATION = 0.12
_SHIFT = 1.2  # pixels
_HEIGHT = 16.0  # pixels that the longer side of an undistorted character takes


def uniform(words: Words) -> Floats:
    """Map words to float64 in [0, 1), exactly, by their upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(words: Words) -> Floats:
    """Map each word to a nearly Gaussian value: the standardised sum of its four 16-bit quarters.

    Mean 0, variance 1, at most 3.47 in size: no instance is distorted beyond recognition.
    """
    quarters = [(words >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    total = quarters[0] + quarters[1] + quarters[2] + quarters[3]
    value: Floats = (total.astype(np.float64) - 131070.0) * (1.7320508075688772 / 65536.0)
    return value


def bezier(control: Floats, times: Floats) -> Floats:
    """Return points of cubic Bezier curves: control (..., 4, 2), times (..., T) in [0, 1] -> (..., T, 2)."""
    t = times[..., None]
    s = 1.0 - t
    a, b, c, d = (control[..., k : k + 1, :] for k in range(4))
    points: Floats = s * s * s * a + 3.0 * (s * s * t * b) + 3.0 * (s * t * t * c) + t * t * t * d
    return points


def _stroke(words: Words, anchor: Floats, first: bool) -> Floats:
    """Return one stroke of each class, control points (C, 4, 2).

    Args:
        words: (C, 12) random words.
        anchor: (C, 2) a point on an earlier stroke.
        first: whether there is no earlier stroke to join.
    """
    u = uniform(words)[:, :, None]
    vector = _DIRECTIONS[integers_below(words[:, 0], len(_DIRECTIONS))] + 0.15 * normal(words[:, 1:3])
    vector = vector * (0.35 + 0.65 * u[:, 3])
    across = np.stack([-vector[:, 1], vector[:, 0]], axis=-1)
    # Two strokes in five are nearly straight, two bend to one side (arcs), one to both sides (waves).
    straight, wave = u[:, 4] < 0.4, u[:, 4] >= 0.8
    size = np.where(straight, 0.1, 0.3 + 0.7 * u[:, 5])
    side = np.where(u[:, 6] < 0.5, -size, size)
    # Half start where they touch an earlier stroke, three in ten cross it, the others stand apart.
    apart = (u[:, 7] >= 0.8) | first
    centred = (u[:, 7] >= 0.5) | first
    middle = np.where(apart, 0.8 * (u[:, 8:10, 0] - 0.5), anchor)
    start = middle - np.where(centred, 0.5, 0.0) * vector
    return np.stack(
        [
            start,
            start + vector / 3.0 + across * side,
            start + vector * (2.0 / 3.0) + across * np.where(wave, -0.7 * side, side),
            start + vector,
        ],
        axis=1,
    )


def programs(words: Words) -> Floats:
    """Return the strokes of classes, control points (C, strokes, 4, 2), from words (C, CLASS_WORDS).

    A character of fewer strokes repeats its first one, which draws nothing new.
    """
    count = _STROKE_COUNTS[integers_below(words[:, 0], len(_STROKE_COUNTS))]
    rows = np.arange(len(words))
    control = np.empty((len(words), _STROKES, 4, 2))
    anchor = np.zeros((len(words), 2))
    for k in range(_STROKES):
        own = words[:, 1 + k * _STROKE_WORDS : 1 + (k + 1) * _STROKE_WORDS]
        if k:
            earlier = control[rows, integers_below(own[:, 10], k)]
            anchor = bezier(earlier, integers_below(own[:, 11], 3)[:, None] / 2.0)[:, 0]
        stroke = _stroke(own, anchor, first=k == 0)
        control[:, k] = np.where((k < count)[:, None, None], stroke, control[:, 0] if k else stroke)
    return _fit(control)


def _fit(control: Floats) -> Floats:
    """Centre characters and scale the longer side to 1, so that neither place nor size names a class."""
    points = bezier(control, _TIMES).reshape(len(control), -1, 2)
    low, high = points.min(axis=1), points.max(axis=1)
    side = (high - low).max(axis=1)[:, None, None, None]
    fitted: Floats = (control - ((low + high) / 2.0)[:, None, None, :]) / side
    return fitted


def write(control: Floats, words: Words) -> tuple[Floats, Floats]:
    """Write a character once for each row of words.

    Args:
        control: (I, strokes, 4, 2) the strokes to write.
        words: (I, INSTANCE_WORDS) random words.

    Returns:
        Pen positions (I, P, 2) in pixels, and the half-axes of the elliptic pen (I, 2) in pixels.
    """
    hand, u = normal(words), uniform(words)
    wobble = hand[:, _HAND_WORDS:].reshape(len(words), _STROKES, 4, 2)
    # A stroke that only repeats the first must wobble with it.
    same = (control == control[:, :1]).all(axis=(2, 3), keepdims=True)
    control = control + _CONTROL_JITTER * np.where(same, wobble[:, :1], wobble)
    points = bezier(control, _TIMES).reshape(len(words), -1, 2)
    x, y = points[:, :, 0], points[:, :, 1]
    amount = [hand[:, k : k + 1] for k in range(6)]
    slanted = x * (1.0 + _STRETCH * amount[0]) + y * (_SLANT * amount[1])
    risen = y * (1.0 + _STRETCH * amount[2]) + x * (_ROTATION * amount[3])
    centre = (SIZE - 1) / 2.0
    placed = [centre + _HEIGHT * slanted + _SHIFT * amount[4], centre + _HEIGHT * risen + _SHIFT * amount[5]]
    thickness, nib = 0.9 + 0.7 * u[:, 6], 0.75 + 0.5 * u[:, 7]
    return np.stack(placed, axis=-1), np.stack([thickness * nib, thickness / nib], axis=-1)


def ink(points: Floats, pen: Floats) -> NDArray[np.uint8]:
    """Draw pen positions (I, P, 2) with elliptic pens (I, 2), in pixels, as grey images (I, 28, 28).

    The distance to the nearest pen position is measured in half-axes of the pen, so that it separates into
    a column part and a row part; an edge fades over about one pixel.
    """
    # Images lie on the last axis, so that the inner loops run over contiguous memory; single precision is
    # exact enough for 256 greys and halves the traffic.
    grid = np.arange(SIZE, dtype=np.float64)[:, None]
    x, y = (np.ascontiguousarray(points[:, :, axis].T)[:, None] for axis in (0, 1))
    column = ((grid - x) / pen[:, 0]).astype(np.float32)
    row = ((grid - y) / pen[:, 1]).astype(np.float32)
    column, row = column * column, row * row
    nearest = np.full((SIZE, SIZE, len(points)), np.inf, dtype=np.float32)
    trial = np.empty_like(nearest)
    for k in range(points.shape[1]):
        np.add(row[k][:, None], column[k][None], out=trial)
        np.minimum(nearest, trial, out=nearest)
    radius = np.sqrt(pen[:, 0] * pen[:, 1])
    grey = np.clip((1.0 - np.sqrt(nearest)) * radius + 0.5, 0.0, 1.0)
    return np.floor(grey * 255.0 + 0.5).astype(np.uint8).transpose(2, 0, 1)
