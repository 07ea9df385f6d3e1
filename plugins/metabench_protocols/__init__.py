"""Built-in episode protocols, registered through the public hooks."""

from __future__ import annotations

from metabench.api import ProtocolSpec, hookimpl
from metabench_protocols import fixed_way


@hookimpl
def metabench_protocols() -> list[ProtocolSpec]:
    """Return the built-in protocols."""
    return [fixed_way.SPEC]
