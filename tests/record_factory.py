"""Small valid records for tests."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from metabench.records.record import Record, build_record, decode_record, record_json

INPUTS: dict[str, Any] = {
    "algorithm": {"name": "protonet", "version": 1, "params": {}, "setting": "inductive"},
    "backbone": {"name": "conv4", "version": 1, "params": {"channels": 64}, "trained_on": ""},
    "dataset": {"name": "omniglot", "version": 1, "params": {}, "split": "test", "digest": "ab" * 32},
    "protocol": {"name": "fixed-way", "version": 1, "params": {"way": 5, "shot": 1, "query": 15}},
    "evaluation": {"episodes": 4, "seed": 0, "sampling": "closed", "stop": None},
    "training": {"way": 60, "shot": 1, "query": 5, "episodes": 100, "lr": 0.001, "seed": 7},
    "precision": "float32",
}


def make_inputs(**changes: Any) -> dict[str, Any]:
    """Return inputs with values replaced by dotted name, ``__`` for the dot: ``protocol__params__way=20``."""
    inputs = copy.deepcopy(INPUTS)
    for name, value in changes.items():
        *parts, last = name.split("__")
        target = inputs
        for part in parts:
            target = target[part]
        target[last] = value
    return inputs


def made_scores(
    correct: Sequence[int],
    n_query: int = 75,
    episodes_digest: str = "cd" * 32,
    classes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any]:
    """Return the ``scores`` of a record of counts."""
    counts = [int(count) for count in correct]
    return {"n_query": n_query, "correct": counts, "episodes_digest": episodes_digest, "classes": classes}


def make_record(
    correct: Sequence[int] = (75, 74, 75, 72),
    classes: Mapping[str, Sequence[int]] | None = None,
    episodes_digest: str = "cd" * 32,
    **changes: Any,
) -> Record:
    """Return an ok record of 75 queries per episode with these scores."""
    inputs = make_inputs(evaluation__episodes=len(correct), **changes)
    return build_record(
        inputs,
        "ok",
        scores=made_scores(correct, classes=classes, episodes_digest=episodes_digest),
        cost={"seconds": 1.5},
        provenance={"metabench": "0.1.0"},
    )


def plain_of(record: Record) -> dict[str, Any]:
    """Return a record as its JSON holds it, to be changed."""
    plain: dict[str, Any] = json.loads(record_json(record))
    return plain


def decoded(plain: Any) -> Record:
    """Return the record of plain values, checked as a file is."""
    return decode_record(json.dumps(plain, ensure_ascii=False).encode(errors="surrogatepass"))


def changed(record: Record, **parts: Any) -> Record:
    """Return a record with other parts, given as plain values: ``cost={"seconds": 2.0}``."""
    return decoded({**plain_of(record), **parts})


def cut_short(record: Record, episodes: int) -> Record:
    """Return a record as if it had been asked for more episodes, which its own checks do not allow for."""
    evaluation = replace(record.inputs.evaluation, episodes=episodes)
    return replace(record, inputs=replace(record.inputs, evaluation=evaluation))
