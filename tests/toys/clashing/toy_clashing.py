"""A sound plugin that claims a name of the good toy."""

from __future__ import annotations

from metabench.api import AlgorithmSpec, hookimpl


@hookimpl
def metabench_algorithms() -> list[AlgorithmSpec]:
    return [
        AlgorithmSpec(
            name=name,
            version=1,
            target="toy_clashing:Toy",
            summary="another toy",
            reference="none",
            licence="MIT",
            trains=False,
        )
        for name in ("toy-mean", "toy-alone")
    ]
