"""The reference page of records names every field that a record can have, and no other."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

from metabench.records import schema
from metabench.records.copy_counts import BETWEEN_CLASSES, BETWEEN_SPLITS, WITHIN_CLASS
from metabench.registry.recipe import Recipe
from metabench.runtime.provenance import run_provenance
from metabench.statistics.stopping import StopRule
from metabench.statistics.summary import summary_of
from metabench.training.trainer import Progress
from tests.record_factory import INPUTS, made_scores

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
NAMED = re.compile(r"(\.params|\.digests|\.pixels|\.beside|\.support|\.reserve|summary\.parts)\.[^.]+")
"""Fields below which names are a plugin's, a split's or a dataset's."""


def _documented() -> list[str]:
    return re.findall(r"^\| `([\w.*]+)` \|", PAGE, flags=re.MULTILINE)


def _fields(struct: type, where: str, leave: tuple[str, ...] = ()) -> set[str]:
    return {f"{where}.{field.name}" for field in dataclasses.fields(struct) if field.name not in leave}


def _known() -> set[str]:
    """Return every field that the code writes, from the types and functions that make them."""
    plugins = ("algorithm", "backbone", "dataset", "protocol")
    known = set(schema.TOP)
    for part, fields in schema.PARTS.items():
        known |= {f"inputs.{part}.{name}{'.*' if kind is dict else ''}" for name, kind in fields.items()}
    known |= {f"inputs.{part}.file_sha256" for part in plugins}
    known |= {"inputs.backbone.weights_sha256", "inputs.dataset.beside.*", "inputs.dataset.support.*"}
    known |= {"inputs.evaluation.stop"} | _fields(StopRule, "inputs.evaluation.stop")
    known |= {f"inputs.{name}" for name in set(schema.INPUTS) - set(schema.PARTS)}
    known |= _fields(Recipe, "inputs.training", ("params", "source"))
    further = ("checkpoint", "seed", "digests.*", "dataset", "protocol", "reserve.*")
    known |= {f"inputs.training.{name}" for name in further}
    known |= {f"scores.{name}" for name in ("n_query", "correct", "values", "parts", "episodes_digest", "classes")}
    known |= {f"scores.metric.{name}" for name in schema._METRIC}
    known |= {f"scores.classes.{name}" for name in ("episodes", "correct", "totals", "of")}
    known |= {f"summary.{name}" for name in summary_of(made_scores([70, 71]), INPUTS["evaluation"]).as_record()}
    known |= {"summary.parts.*.mean", "summary.parts.*.ci95"}
    known |= _fields(Progress, "training") | {f"training.{n}" for n in ("checkpoint", "weights_sha256", "training_key")}
    known |= {f"provenance.{name}" for name in (*run_provenance(torch.device("cpu")), "local", "pixels.*")}
    known |= {f"provenance.copies.{kind}" for kind in (WITHIN_CLASS, BETWEEN_CLASSES, BETWEEN_SPLITS)}
    known |= {"provenance.suites", "provenance.sweeps", "error.type", "error.message"}
    return known


def _leaves(value: Any, where: str = "") -> Iterator[str]:
    if not isinstance(value, dict):
        yield re.sub(NAMED, r"\1.*", where)
        return
    for name, inner in value.items():
        yield from _leaves(inner, f"{where}.{name}" if where else name)


@cache
def _committed() -> frozenset[str]:
    files = (ROOT / "leaderboards" / "records").glob("*.json")
    found = {leaf for file in files for leaf in _leaves(json.loads(file.read_text(encoding="utf-8")))}
    others = {"summary.mse", "summary.harmonic"}  # a mean has the name of its metric
    assert others <= found
    return frozenset(found - others)


def test_every_field_is_documented_once_and_nothing_else() -> None:
    documented = _documented()
    assert len(documented) == len(set(documented))
    costs = {leaf for leaf in _committed() if leaf.startswith("cost.")}
    assert sorted(documented) == sorted(_known() | costs)


def test_every_field_of_a_committed_record_is_documented() -> None:
    assert sorted(_committed() - set(_documented())) == []
