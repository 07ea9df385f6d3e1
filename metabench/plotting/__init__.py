"""Pictures as SVG text: no drawing library, no randomness, the same bytes for the same numbers."""

from metabench.plotting.svg import Picture

__all__ = ["Picture"]
