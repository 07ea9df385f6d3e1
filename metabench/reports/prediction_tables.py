"""Predictions as a table, CSV, JSON or rows of a data frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metabench.evaluation.predicted_label import Prediction
from metabench.reports.text_table import Table, csv_text, json_text, report_text

PREDICTION_COLUMNS = ("path", "class", "probability", "second", "second_probability")


def prediction_rows(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return one row (see `PREDICTION_COLUMNS`) for each prediction."""
    return [
        {
            "path": _text(prediction.path),
            "class": prediction.label,
            "probability": prediction.probability,
            "second": prediction.second,
            "second_probability": prediction.second_probability,
        }
        for prediction in predictions
    ]


def prediction_json(predictions: Sequence[Prediction]) -> str:
    """Return one JSON document ``{"predictions": [...]}``, with the probability of every class."""
    rows = zip(prediction_rows(predictions), predictions, strict=True)
    return json_text({"predictions": [{**row, "probabilities": prediction.probabilities} for row, prediction in rows]})


def prediction_csv(predictions: Sequence[Prediction]) -> str:
    """Return CSV text."""
    return csv_text(PREDICTION_COLUMNS, prediction_rows(predictions))


def prediction_text(predictions: Sequence[Prediction]) -> str:
    """Return a table for people."""
    rows = [
        [row["path"], row["class"], f"{row['probability']:.3f}", f"{row['second']} {row['second_probability']:.3f}"]
        for row in prediction_rows(predictions)
    ]
    return report_text([Table(["image", "class", "probability", "next"], rows)])


def _text(path: Path) -> str:
    """Return a path as text; bytes that are not UTF-8 become replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")
