"""Built-in suites, registered through the public hooks."""

from __future__ import annotations

from pathlib import Path

from metabench.api import hookimpl


@hookimpl
def metabench_suites() -> list[Path]:
    """Return the files of the built-in suites."""
    return sorted(Path(__file__).parent.glob("*.toml"))
