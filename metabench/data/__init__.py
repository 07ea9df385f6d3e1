"""Data sets as uint8 arrays in class order."""

from metabench.data.types import ClassSplit, DataContext, merge, split_digest

__all__ = ["ClassSplit", "DataContext", "merge", "split_digest"]
