"""One run, one JSON file: decoding, building and writing records.

A record may come from a stranger, so reading one checks everything: sizes, types, bounds, and that the key and the
summary are what the inputs and the scores make them. Past this door a record is a frozen `Record`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from metabench.records.checks import RecordError, check_record
from metabench.records.inputs import EvaluationInputs, as_plain
from metabench.records.schema import SCHEMA, Record
from metabench.records.scores import scores_of, summary_of
from metabench.records.strict_json import LONGEST_FAULT, JsonFault, check_json, type_fault
from metabench.utils.atomic_files import write_atomic
from metabench.utils.bounded_files import read_bounded
from metabench.utils.hashing import canonical_json, content_key
from metabench.utils.text import printable

MAX_BYTES = 32 * 2**20

UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Pure functions by the schema they start from; each returns the plain values of a record of the next schema."""


class NewerSchemaError(RecordError):
    """Error of a record that a newer metabench wrote: valid perhaps, but this one cannot judge it."""


class _Head(msgspec.Struct):
    """The part of a record that every schema has."""

    schema: int


def build_record(
    inputs: Mapping[str, Any],
    status: str,
    *,
    scores: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    cost: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    error: Mapping[str, str] | None = None,
) -> Record:
    """Return a valid record from plain values; the key and the summary are computed here.

    Args:
        inputs: see `metabench.records.inputs.Inputs`.
        status: one of `Status`; ``ok`` needs `scores`, ``failed`` and ``skipped`` need `error`.
        scores: see `metabench.records.scores.Scores`.
        training: what happened in training, None if nothing was trained.
        cost: seconds, episodes per second, memory and so on.
        provenance: versions, hardware, source.
        error: ``{"type": ..., "message": ...}``.

    Raises:
        RecordError: the parts do not make a valid record.
    """
    plain = {
        "schema": SCHEMA,
        "key": content_key(inputs),
        "status": status,
        "inputs": inputs,
        "scores": scores,
        "summary": _summary(inputs, scores),
        "training": training,
        "cost": cost or {},
        "provenance": provenance or {},
        "error": error,
    }
    try:  # through the same door as a file; NaN is let through here so that the fault has a path
        return decode_record(json.dumps(plain, ensure_ascii=False, sort_keys=True).encode(errors="surrogatepass"))
    except RecordError as problem:
        raise RecordError(f"cannot make a record: {problem}") from None


def _summary(inputs: Mapping[str, Any], scores: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the summary of scores; None where they are so wrong that decoding must say it."""
    if scores is None:
        return None
    try:
        evaluation = msgspec.convert(inputs["evaluation"], EvaluationInputs)
        return summary_of(scores_of(scores), evaluation).as_record()
    except (msgspec.ValidationError, ValueError, KeyError):
        return None


def decode_record(raw: bytes) -> Record:
    """Return the record of a JSON text, upgraded to the current schema and checked.

    Raises:
        RecordError: not JSON, or not a valid record; one line that begins with the path of the fault.
        NewerSchemaError: its schema is newer than `SCHEMA`.
    """
    try:
        check_json(raw.decode())
        schema = msgspec.json.decode(raw, type=_Head).schema
        if schema > SCHEMA:
            raise NewerSchemaError(f"$.schema is {schema}, newer than {SCHEMA}. Upgrade metabench.")
        if schema in UPGRADES:
            raw = canonical_json(upgrade(msgspec.json.decode(raw))).encode()
        record = msgspec.json.decode(raw, type=Record)
    except msgspec.ValidationError as problem:
        raise RecordError(type_fault(problem)) from None
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as problem:
        raise RecordError(f"$ is not JSON ({printable(str(problem))[:LONGEST_FAULT]})") from None
    except JsonFault as fault:
        raise RecordError(str(fault)) from None
    check_record(record)
    return record


def upgrade(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the plain values of a record brought to the current schema by `UPGRADES`."""
    while plain["schema"] in UPGRADES:
        plain = UPGRADES[plain["schema"]](plain)
    return plain


def read_record(path: Path) -> Record:
    """Read, upgrade and check a record file.

    Raises:
        RecordError: too large, not JSON, or not a valid record; the message names the file.
        OSError: the file cannot be read.
    """
    raw = read_bounded(path, MAX_BYTES, RecordError)
    try:
        return decode_record(raw)
    except RecordError as problem:
        raise type(problem)(f"cannot read record {path}: {problem}") from None


def record_json(record: Record) -> str:
    """Return the canonical JSON of a record: the bytes of its file without the last line end."""
    return canonical_json(as_plain(record))


def write_record(path: Path, record: Record) -> None:
    """Write a record as canonical JSON, all or nothing; an OSError (a full disk) leaves what was there."""
    write_atomic(path, record_json(record) + "\n")


__all__ = [
    "MAX_BYTES",
    "SCHEMA",
    "NewerSchemaError",
    "Record",
    "RecordError",
    "build_record",
    "decode_record",
    "read_record",
    "record_json",
    "upgrade",
    "write_record",
]
