"""A plugin with a letter missing in the name of its hook."""

from __future__ import annotations

from metabench.api import AlgorithmSpec, hookimpl


@hookimpl
def metabench_algoritms() -> list[AlgorithmSpec]:
    return []
