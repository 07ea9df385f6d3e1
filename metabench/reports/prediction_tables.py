"""Predictions as people ask for them: by names and settings, as a table, CSV, JSON or a data frame."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.reports.rows import csv_text
from metabench.reports.text_table import text_table
from metabench.utils.text import printable

if TYPE_CHECKING:
    from metabench.evaluation.prediction import Prediction

COLUMNS = ("path", "class", "probability", "second", "second_probability")


def rows(found: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return one row (see `COLUMNS`) for each prediction."""
    return [
        {
            "path": _text(each.path),
            "class": each.label,
            "probability": each.probability,
            "second": each.second,
            "second_probability": each.second_probability,
        }
        for each in found
    ]


def to_json(found: Sequence[Prediction]) -> str:
    """Return one JSON document ``{"predictions": [...]}``, with the probability of every class."""
    listed = [{**row, "probabilities": each.probabilities} for row, each in zip(rows(found), found, strict=True)]
    return json.dumps({"predictions": listed}, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(found: Sequence[Prediction]) -> str:
    """Return CSV text."""
    return csv_text(COLUMNS, rows(found))


def to_text(found: Sequence[Prediction]) -> str:
    """Return a table for people."""
    body = [
        [
            printable(row["path"]),
            printable(row["class"]),
            f"{row['probability']:.3f}",
            f"{printable(row['second'])} {row['second_probability']:.3f}",
        ]
        for row in rows(found)
    ]
    return text_table(["image", "class", "probability", "next"], body)


def _text(path: Path) -> str:
    """A path whose name is no UTF-8 gets question marks."""
    return os.fsencode(path).decode("utf-8", "replace")
