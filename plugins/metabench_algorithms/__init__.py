"""Built-in algorithms, registered through the public hooks."""

from __future__ import annotations

from metabench.api import AlgorithmSpec, hookimpl
from metabench_algorithms.closed_form import _specs as closed_form
from metabench_algorithms.gradient import _specs as gradient
from metabench_algorithms.metric import _specs as metric
from metabench_algorithms.transductive import _specs as transductive
from metabench_algorithms.transfer import _specs as transfer

SPECS = [*gradient.SPECS, *metric.SPECS, *transfer.SPECS, *transductive.SPECS, *closed_form.SPECS]


@hookimpl
def metabench_algorithms() -> list[AlgorithmSpec]:
    """Return the built-in algorithms."""
    return SPECS
