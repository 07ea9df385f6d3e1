"""Datasets as uint8 arrays in class order."""

from metabench.data.loader_context import DataContext
from metabench.data.split import ClassSplit, image_digest, merge_splits, split_digest

__all__ = ["ClassSplit", "DataContext", "image_digest", "merge_splits", "split_digest"]
