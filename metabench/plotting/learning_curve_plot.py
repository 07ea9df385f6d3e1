"""Learning curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.comparison.learning_curves import LearningCurve, panels
from metabench.errors import UsageError
from metabench.plotting.line_plot import Curve, curves
from metabench.plotting.stacked import stack
from metabench.plotting.svg import Picture

_WIDTH = 560.0


def learning_curve_picture(learning_curves: Sequence[LearningCurve]) -> Picture:
    """Return one picture: a panel for each dataset and protocol, the score over shots with its interval.

    Raises:
        UsageError: no method has more than one number of shots.
    """
    several = [curve for curve in learning_curves if len(curve.levels) > 1]
    if not several:
        raise UsageError(
            "cannot draw a curve: no method has at least two numbers of shots. Measure more: --shots 1,2,5,10."
        )
    pictures = [
        curves([_line(curve) for curve in members], f"{dataset}, {protocol}", "shots", metric.axis, _WIDTH)
        for (dataset, protocol, metric), members in panels(several).items()
    ]
    return stack(pictures, "Gain from more shots", ["shaded: 95 % interval over episodes of this test set"])


def _line(curve: LearningCurve) -> Curve:
    return Curve(curve.method, {float(level.shot): (level.score, level.ci95) for level in curve.levels})
