"""One run, one JSON file: its inputs, its per-episode scores, and where they came from.

A record may come from a stranger, so reading one checks everything: sizes, types, bounds, and that the key
and the summary are what the inputs and the scores make them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from metabench.records.schema import SCHEMA, NewerSchemaError, RecordError, need, validate_record
from metabench.statistics.summary import summary_of
from metabench.utils.atomic_files import write_atomic
from metabench.utils.hashing import canonical_json, content_key

MAX_BYTES = 32 * 2**20

__all__ = [
    "MAX_BYTES",
    "SCHEMA",
    "NewerSchemaError",
    "RecordError",
    "build_record",
    "read_record",
    "upgrade",
    "validate_record",
    "write_record",
]

UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Pure functions by the schema they start from; each returns a record of the next schema."""


def build_record(
    inputs: Mapping[str, Any],
    status: str,
    *,
    scores: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    cost: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    error: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a valid record; the key and the summary are computed here.

    Args:
        inputs: the resolved inputs, see `record_schema.PARTS`.
        status: one of `STATUSES`; ``ok`` needs `scores`, ``failed`` and ``skipped`` need `error`.
        scores: ``n_query``, queries in an episode, or a list of them where episodes differ; ``correct``, the correct
            answers in each, or ``values`` of a ``metric``; ``episodes_digest``, a hexadecimal digest of the drawn
            episodes; ``classes``, for each class of the test set the ``episodes`` it took part in and the sum over
            those (see `record_schema`), None where episodes have no classes.
        training: what happened in training, None if nothing was trained.
        cost: seconds, episodes per second, memory and so on.
        provenance: versions, hardware, source.
        error: ``{"type": ..., "message": ...}``.

    Raises:
        RecordError: the parts do not make a valid record.
    """
    summary = None
    if scores is not None:
        try:
            summary = summary_of(scores, inputs["evaluation"]).as_record()
        except ValueError as problem:
            raise RecordError(f"record: {problem}") from None
    record = {
        "schema": SCHEMA,
        "key": content_key(inputs),
        "status": status,
        "inputs": inputs,
        "scores": scores,
        "summary": summary,
        "training": training,
        "cost": cost or {},
        "provenance": provenance or {},
        "error": error,
    }
    plain: dict[str, Any] = json.loads(canonical_json(record))  # tuples become lists, mappings dicts
    validate_record(plain)
    return plain


def read_record(path: Path) -> dict[str, Any]:
    """Read, upgrade and check a record file.

    Raises:
        RecordError: too large, not JSON, or not a valid record; the message names the file.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    try:
        need(len(raw) <= MAX_BYTES, "", f"is larger than {MAX_BYTES} bytes")
        record: dict[str, Any] = upgrade(_parse(raw))
        validate_record(record)
    except RecordError as problem:
        raise type(problem)(f"{path}: {problem}") from None
    return record


def upgrade(record: Any) -> Any:
    """Return `record` brought to the current schema by `UPGRADES`, or as it is if there is no way."""
    while isinstance(record, dict) and type(record.get("schema")) is int and record["schema"] in UPGRADES:
        record = UPGRADES[record["schema"]](record)
    return record


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as canonical JSON, all or nothing; an OSError (a full disk) leaves what was there."""
    write_atomic(path, canonical_json(record) + "\n")


def _parse(raw: bytes) -> Any:
    """Decode JSON strictly: no repeated keys, no NaN, no depth that overflows the parser."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        obj = dict(pairs)
        need(len(obj) == len(pairs), "", "repeats a key in one object")
        return obj

    def refuse(constant: str) -> Any:
        raise RecordError(f"record: holds {constant}, which is not JSON")

    try:
        return json.loads(raw.decode(), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as problem:
        reason = str(problem) if isinstance(problem, ValueError) else "nested too deeply"
        raise RecordError(f"record: is not JSON ({reason[:200]})") from None
