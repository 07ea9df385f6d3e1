"""A query with the label it was given; loads no torch, so that tables of predictions need none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Prediction:
    """A query with its label.

    Attributes:
        path: of the image.
        label: the class with the highest score.
        probability: softmax of the scores; it is not calibrated.
        second, second_probability: the class with the next highest score.
        probabilities: of every class.
    """

    path: Path
    label: str
    probability: float
    second: str
    second_probability: float
    probabilities: dict[str, float]
