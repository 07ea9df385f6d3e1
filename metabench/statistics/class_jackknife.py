"""The *open* interval: the mean for other classes and other images, from ordinary episodes.

A few-shot score is an average over episodes of `way` classes each. Given the test set, episodes are drawn
independently: that part of the uncertainty is the closed interval's. What the test set itself adds is that its
classes (each with its images) are a sample. The mean over all possible episodes is a U-statistic of degree `way`
in the classes (Hoeffding 1948), so two episodes of different classes are independent and two that share a class
are not. The sum of the products of their deviations over all pairs that share a class,

    sum_i sum_j [i and j share a class] e_i e_j  =  sum_c E_c^2  -  (corrections),     E_c = sum_{i has c} (a_i - mean),

needs one number for each class. Images belong to one class each, so they need none of their own. As an estimator it
is the delete-one-class jackknife of the U-statistic (Arvesen 1969) with the noise of finitely many episodes taken out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.statistics.episode_scores import Floats

FEWEST_DF = 2.0
"""Student's t with fewer degrees of freedom has no variance: an interval from it is wide and says nothing."""


@dataclass(frozen=True)
class ClassLevel:
    """Variance of a mean over episodes, by source, in squared units of the scores.

    Attributes:
        sampling: of the episodes, the test set given: the square of the closed standard error.
        data: of the test set: its classes and their images; never below 0.
        df: degrees of freedom of their sum, at least `FEWEST_DF`.
        classes: classes that took part.
    """

    sampling: float
    data: float
    df: float
    classes: int

    @property
    def standard_error(self) -> float:
        """Of the mean, for new classes and examples and the same number of episodes."""
        return math.sqrt(self.sampling + self.data)


def class_level(scores: Floats, episodes: NDArray[np.int64], totals: Floats) -> ClassLevel | None:
    """Return the variance of ``scores.mean()`` over new test sets, or None where the scores cannot tell.

    They cannot where there is one episode, where all episodes have the same score, where no class is ever missing from
    an episode (a test set of `way` classes), or where there are two classes only, which leave one degree of freedom.

    Degrees of freedom are Satterthwaite's (1946), but at least those of the disjoint episodes that so many classes
    make: where noise hides the effect of the classes, his estimate is near zero. Where both are below `FEWEST_DF`, as
    with 22 classes at 20-way, the noise stays in: the variance is then the jackknife's (Arvesen 1969), which is too
    large rather than unknown, with one degree of freedom less than there are classes.

    Args:
        scores: (T,) score of each episode.
        episodes: (C,) number of episodes that class c took part in.
        totals: (C,) sum of the scores of those episodes.
    """
    count, taking_part = len(scores), episodes > 0
    classes, way = int(taking_part.sum()), float(episodes.sum()) / count
    if count < 2 or classes <= way:
        return None
    mean, noise = float(scores.mean()), float(scores.var(ddof=1))
    if noise <= (1e-12 * mean) ** 2:  # rounding
        return None
    deviations = (totals - episodes * mean)[taking_part]  # E_c
    used = episodes[taking_part].astype(np.float64)
    # A class is in a share way/C of its own complement's episodes: the jackknife's (C-1)/C * (C/(C-way))^2.
    inflation = classes * (classes - 1) / (classes - way) ** 2
    squares = float(deviations @ deviations) / count**2
    expected = way * (1 - way / classes) * noise / count  # of `squares` if classes had no effect
    sampling, effects = noise / count, max(0.0, inflation * (squares - expected))
    # `sampling` holds what uneven use of the classes adds if episodes are independent; open sampling uses them evenly.
    share = used / used.sum()
    correction = max(0.0, classes * float(share @ share) - (classes - way) / (way * count))
    data = effects * correction
    df = max(_class_df(deviations, used, noise, count, inflation, sampling + data), min(classes / way, count) - 1)
    if df < FEWEST_DF:
        data, df = max(0.0, inflation * squares - sampling) * correction, classes - 1.0
    return None if df < FEWEST_DF else ClassLevel(sampling, data, df, classes)


def _class_df(deviations: Floats, used: Floats, noise: float, count: int, inflation: float, variance: float) -> float:
    """Return Satterthwaite's degrees of freedom: twice the squared variance over the variance of its estimate.

    The squares E_c^2 vary as those of normal E_c with variance N_c^2 effect + N_c noise, less what an episode's product
    with itself contributes, which is the noise's own.
    """
    classes, pairs = len(used), float((used * (used - 1)).sum())
    effect = max(0.0, float(deviations @ deviations) - float(used.sum()) * noise) / pairs if pairs else 0.0
    spread = float(((used**2 * effect + used * noise) ** 2 - used * noise**2).sum())
    spread *= inflation**2 * classes / (classes - 1) / count**4
    total = spread + (noise / count) ** 2 / (count - 1)
    return variance**2 / total if total > 0 else math.inf
