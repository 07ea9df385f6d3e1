"""metabench: few-shot and meta-learning benchmarks whose numbers can be checked."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metabench.python_api import predict, run
    from metabench.reports.frames import load_results

    __version__: str

__all__ = ["__version__", "load_results", "predict", "run"]

_WHERE = {
    "load_results": "metabench.reports.frames",
    "predict": "metabench.python_api",
    "run": "metabench.python_api",
}


def __dir__() -> list[str]:
    """Show the functions, which are not loaded yet, and nothing else."""
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])


def __getattr__(name: str) -> Any:
    """Load a function when it is asked for, so that ``import metabench`` stays light."""
    if name == "__version__":
        from importlib import metadata  # takes half the time of 'metabench --help'

        return metadata.version("metabench")
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'metabench' has no attribute '{name}'")
