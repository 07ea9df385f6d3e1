"""Short descriptions of a record: its dataset, its training dataset, its domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metabench.registry.specs import TEST


def dataset_words(dataset: Mapping[str, Any]) -> str:
    """Return the name of a record's data set, with the split that was measured where that is not the test split."""
    name, split = dataset["name"], dataset["split"]
    return str(name) if split == TEST else f"{name} ({split})"


def train_dataset(inputs: Mapping[str, Any]) -> str:
    """Return the data set that a run was trained on where it is not the one that it measures, else an empty string."""
    other = (inputs["training"] or {}).get("dataset")
    return str(other["name"]) if isinstance(other, dict) and "name" in other else ""


def domain_words(inputs: Mapping[str, Any]) -> str:
    """Return `dataset_words`, after ``A -> `` where the run was trained on another data set A."""
    source = train_dataset(inputs)
    return f"{source} -> {dataset_words(inputs['dataset'])}" if source else dataset_words(inputs["dataset"])
