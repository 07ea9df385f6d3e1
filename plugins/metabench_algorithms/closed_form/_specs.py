"""Specs of the closed-form algorithms."""

from __future__ import annotations

from metabench.api import AlgorithmSpec, Param
from metabench_algorithms.closed_form._recipes import METAOPTNET, R2D2

_LEE = "Lee, Maji, Ravichandran, Soatto 2019, Meta-Learning with Differentiable Convex Optimization"
_GAMMA = "initial factor gamma of the scores; learned"

SPECS = [
    AlgorithmSpec(
        name="r2d2",
        version=1,
        target="metabench_algorithms.closed_form.r2d2:R2D2",
        summary="ridge regression to the labels, with a learned penalty",
        reference="Bertinetto, Henriques, Torr, Vedaldi 2019, Meta-learning with Differentiable Closed-form Solvers",
        licence="MIT",
        trains=True,
        params=(
            Param("penalty", 50.0, "initial penalty lambda of the weights; learned"),
            Param("scale", 10.0, "initial factor alpha of the scores; learned"),
        ),
        recipes=R2D2,
    ),
    AlgorithmSpec(
        name="metaoptnet-ridge",
        version=1,
        target="metabench_algorithms.closed_form.metaoptnet_ridge:MetaOptNetRidge",
        summary="ridge regression to the labels, with a fixed penalty",
        reference=_LEE,
        licence="MIT",
        trains=True,
        params=(
            Param("penalty", 50.0, "penalty lambda of the weights"),
            Param("scale", 2.0, _GAMMA),
        ),
        recipes=METAOPTNET,
    ),
    AlgorithmSpec(
        name="metaoptnet-svm",
        version=1,
        target="metabench_algorithms.closed_form.metaoptnet_svm:MetaOptNetSVM",
        summary="multi-class support vector machine, solved exactly",
        reference=_LEE,
        licence="MIT",
        trains=True,
        params=(
            Param("c", 0.1, "weight C of the hinge losses"),
            Param(
                "diagonal", 1.0, "added to the diagonal of inner products, as in the authors' code; 0: as in the paper"
            ),
            Param("scale", 1.0, _GAMMA),
        ),
        recipes=METAOPTNET,
    ),
]
