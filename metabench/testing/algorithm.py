"""The conformance class of algorithms."""

from __future__ import annotations

from metabench.testing.invariance import InvarianceChecks
from metabench.testing.learning import LearningChecks
from metabench.testing.outcome import OutcomeChecks
from metabench.testing.spec import SpecChecks
from metabench.testing.state import StateChecks


class AlgorithmConformance(LearningChecks, StateChecks, OutcomeChecks, InvarianceChecks, SpecChecks):
    """Every check of an algorithm; pytest runs those of the last base first.

    Use it in a test module::

        class TestMine(AlgorithmConformance):
            algorithm = "mine"
    """
