"""Built-in episode protocols, registered through the public hooks."""

from __future__ import annotations

from metabench.api import ProtocolSpec, hookimpl
from metabench_protocols import dirichlet, fixed_way, k_query, lake_runs, regression, within_superclass


@hookimpl
def metabench_protocols() -> list[ProtocolSpec]:
    """Return the built-in protocols."""
    return [
        fixed_way.SPEC,
        dirichlet.SPEC,
        k_query.SPEC,
        lake_runs.SPEC,
        regression.SPEC,
        within_superclass.SPEC,
    ]
