"""Published per-task accuracies (arXiv 2409.02850, companion results): raw data for the statistics' test vectors."""

from __future__ import annotations

import csv
import functools
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

FOLDER = Path(os.environ.get("METABENCH_DATA") or Path(__file__).parents[2] / "shared/data")
FILE = FOLDER / "per_task_accuracies.csv"

needs_raw_data = pytest.mark.skipif(not FILE.is_file(), reason="no per_task_accuracies.csv in METABENCH_DATA")


@functools.cache
def raw_scores() -> dict[tuple[str, str, str, int], NDArray[np.float64]]:
    """Return accuracies in percent by (dataset, backbone, algorithm, shot), in the order of the tasks."""
    found: dict[tuple[str, str, str, int], list[tuple[int, float]]] = {}
    with FILE.open() as stream:
        for row in csv.DictReader(stream):
            name = (row["dataset"], row["backbone"], row["algorithm"], int(row["shot"]))
            found.setdefault(name, []).append((int(row["task"]), float(row["accuracy"])))
    return {name: np.array([accuracy for _, accuracy in sorted(pairs)]) for name, pairs in found.items()}
