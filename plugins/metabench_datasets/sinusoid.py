"""Sine waves, the regression tasks of MAML: y = amplitude * sin(x - phase)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from metabench.api import ClassSplit, DataContext, DatasetSpec, Param, SplitSize, Stream, UsageError, unit_floats

VERSION = 1
AMPLITUDE, PHASE, INPUT = (0.1, 5.0), (0.0, math.pi), (-5.0, 5.0)
_FUNCTIONS = {"train": 10_000, "val": 1_000, "test": 2_000}
_POINTS = 100
_TERMS = 13

SPEC = DatasetSpec(
    name="sinusoid",
    version=VERSION,
    target="metabench_datasets.sinusoid:Sinusoid",
    summary="sine waves of random amplitude and phase, to be told from a few points (generated)",
    reference="Finn, Abbeel, Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation, section 5.1",
    licence="MIT",
    kind="functions",
    backbone="mlp",
    protocol="regression",
    params=(
        *(Param(f"{split}_functions", count, f"functions of the {split} split") for split, count in _FUNCTIONS.items()),
        Param("points", _POINTS, "points of each function that episodes draw from"),
    ),
    image_shape=(8,),
    sizes={split: SplitSize(count, count * _POINTS) for split, count in _FUNCTIONS.items()},
    digests={
        "train": "6723ec43df2cd127aba22f31a9d1107badbd182a471e38449e23f1aad7ed43ea",
        "val": "ea490b12fa67392267d9394e340b560a4f888aa46fbc8b95bf3d989da713c2c9",
        "test": "79e1f2fbbb956e5976b4c2c1c623e53c1b1b6ecd6bf13bd3c2b8e90d5209a240",
    },
)


class Sinusoid:
    """A finite set of functions and points, each a pure function of (version, split, function, point).

    Amplitude, phase and inputs are uniform in the paper's ranges. An item is a point of a function: the little-endian
    float32 numbers x and y.
    """

    def __init__(self, train_functions: int, val_functions: int, test_functions: int, points: int) -> None:
        self._functions = {"train": train_functions, "val": val_functions, "test": test_functions}
        self._points = points
        for name, value in (*((f"{k}_functions", v) for k, v in self._functions.items()), ("points", points)):
            if not 2 <= value <= 1_000_000:
                raise UsageError(f"data.{name} must be in [2, 1000000], not {value}")

    def load(self, split: str, context: DataContext) -> ClassSplit:
        """Compute a split: 8 bytes for each point, a moment's work."""
        functions, points = self._functions[split], self._points
        words = Stream(["sinusoid", VERSION, split], 2).words(0, functions)
        amplitude, phase = _uniform(words[:, 0], AMPLITUDE), _uniform(words[:, 1], PHASE)
        columns = [Stream(["sinusoid", VERSION, split, point], 1).words(0, functions) for point in range(points)]
        x = _uniform(np.concatenate(columns, axis=1), INPUT)
        y = amplitude[:, None] * sine(x - phase[:, None])
        items = np.stack([x, y], axis=-1).reshape(-1, 2).astype("<f4")
        starts = np.arange(functions + 1, dtype=np.int64) * points
        names = tuple(f"{split}-{index}" for index in range(functions))
        return ClassSplit(np.ascontiguousarray(items).view(np.uint8), starts, names)


def _uniform(words: NDArray[np.uint64], bounds: tuple[float, float]) -> NDArray[np.float64]:
    return bounds[0] + (bounds[1] - bounds[0]) * unit_floats(words)


def sine(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sine by additions and multiplications alone, the same bits on every machine.

    The libraries' own differ in the last bit between processors, and the digest of the data may not. Taylor's series
    within half a turn: off by less than 1e-12.
    """
    x = angles - 2 * math.pi * np.rint(angles / (2 * math.pi))
    square = x * x
    series = np.ones_like(x)
    for term in range(_TERMS, 0, -1):
        series = 1.0 - square / ((2 * term) * (2 * term + 1)) * series
    return x * series
