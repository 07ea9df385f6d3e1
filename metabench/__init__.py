"""metabench: few-shot and meta-learning benchmarks whose numbers can be checked."""

from __future__ import annotations

from typing import Any

__all__ = ["run"]


def __getattr__(name: str) -> Any:
    """Load `metabench.run` when it is asked for, so that ``import metabench`` stays light."""
    if name == "run":
        from metabench.launch import run

        return run
    raise AttributeError(f"module 'metabench' has no attribute '{name}'")
