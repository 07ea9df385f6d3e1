"""Built-in episode protocols, registered through the public hooks."""

from __future__ import annotations

from metabench.api import ProtocolSpec, hookimpl
from metabench_protocols import (
    dirichlet,
    fixed_way,
    generalised,
    k_query,
    lake_runs,
    meta_dataset,
    open_set,
    regression,
    support_split,
    within_superclass,
)


@hookimpl
def metabench_protocols() -> list[ProtocolSpec]:
    """Return the built-in protocols."""
    return [
        fixed_way.SPEC,
        k_query.SPEC,
        dirichlet.SPEC,
        within_superclass.SPEC,
        meta_dataset.SPEC,
        open_set.SPEC,
        generalised.SPEC,
        support_split.SPEC,
        lake_runs.SPEC,
        regression.SPEC,
    ]
