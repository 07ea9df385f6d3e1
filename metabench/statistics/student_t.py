"""Student's t: quantiles, p-values, and the degrees of freedom of a sum of variances."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metabench.statistics.episode_scores import Floats


def t_quantile(df: float, level: float) -> float:
    """Return the quantile of Student's t that leaves ``(1 - level) / 2`` above it."""
    from scipy.special import stdtrit  # scipy.stats takes ten times as long to import

    return float(stdtrit(df, 0.5 + level / 2))


def two_sided_p(t: ArrayLike, df: ArrayLike) -> Floats:
    """Return the probability of a larger absolute value of Student's t with `df` degrees of freedom."""
    from scipy.special import stdtr

    return np.asarray(2.0 * stdtr(df, -np.abs(np.asarray(t))), np.float64)


def satterthwaite(variance: ArrayLike, uncertainty: ArrayLike, otherwise: ArrayLike) -> Floats:
    """Return the degrees of freedom of a sum of independent variances (Satterthwaite 1946, Biometrics Bulletin 2:110).

    Args:
        variance: the sum.
        uncertainty: the sum of (variance squared) / (degrees of freedom) over what it is made of.
        otherwise: the degrees of freedom where nothing varies.
    """
    below = np.asarray(uncertainty, dtype=np.float64)
    df: Floats = np.divide(np.square(variance), below, out=np.array(otherwise, dtype=np.float64), where=below > 0)
    return df
