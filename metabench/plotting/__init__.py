"""Pictures as SVG text, the same bytes for the same numbers."""

from metabench.plotting.svg import Picture

__all__ = ["Picture"]
