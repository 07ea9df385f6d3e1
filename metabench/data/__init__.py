"""Data sets as uint8 arrays in class order."""

from metabench.data.types import ClassSplit, DataContext, image_digest, merge, split_digest

__all__ = ["ClassSplit", "DataContext", "image_digest", "merge", "split_digest"]
