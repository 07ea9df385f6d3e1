"""The conformance kit: what every plugin must satisfy for its numbers to be comparable.

``metabench check NAME`` runs it, or in a plugin's own tests::

    from metabench.testing import AlgorithmConformance

    class TestMine(AlgorithmConformance):
        algorithm = "mine"

Importing this package loads neither torch nor pytest: pytest loads its plugin half in every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metabench.testing.checks.algorithm import AlgorithmConformance
    from metabench.testing.checks.backbone import BackboneConformance
    from metabench.testing.checks.dataset import DatasetConformance
    from metabench.testing.checks.protocol import ProtocolConformance

__all__ = ["AlgorithmConformance", "BackboneConformance", "DatasetConformance", "ProtocolConformance"]


def __getattr__(name: str) -> Any:
    """Import a class of the kit when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'metabench.testing' has no attribute '{name}'")
    import importlib

    module = importlib.import_module(f"metabench.testing.{name.removesuffix('Conformance').lower()}")
    return getattr(module, name)
