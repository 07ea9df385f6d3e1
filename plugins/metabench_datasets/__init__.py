"""Built-in data sets, registered through the public hooks."""

from __future__ import annotations

from metabench.api import DatasetSpec, hookimpl
from metabench_datasets import omniglot


@hookimpl
def metabench_datasets() -> list[DatasetSpec]:
    """Return the built-in data sets."""
    return [omniglot.SPEC]
