"""The conformance class of algorithms."""

from __future__ import annotations

from metabench.registry.specs import AlgorithmSpec
from metabench.testing.checks.invariance import InvarianceChecks
from metabench.testing.checks.learning import LearningChecks
from metabench.testing.checks.outcome import OutcomeChecks
from metabench.testing.checks.spec import SpecChecks
from metabench.testing.checks.state import StateChecks
from metabench.testing.checks.study import StudyChecks


class AlgorithmConformance(
    LearningChecks, StudyChecks, StateChecks, OutcomeChecks, InvarianceChecks, SpecChecks[AlgorithmSpec]
):
    """Every check of an algorithm; pytest runs those of the last base first.

    Use it in a test module::

        class TestMine(AlgorithmConformance):
            algorithm = "mine"
    """
