"""The reference page of records has every field of the structs with its type, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from metabench.records.inputs import Inputs
from metabench.records.schema import CopyKind, Record, RecordSummary

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
NAMED = re.compile(r"(\.params|\.digests|\.pixels|\.beside|\.support|\.reserve|summary\.parts)\.[^.]+")
"""Fields below which names are a plugin's, a split's or a dataset's."""
AS_ABOVE = (
    *("inputs.training.dataset", "inputs.training.protocol", "inputs.training.algorithm"),
    "inputs.base.dataset",
)
"""Objects whose fields stand in the table above theirs."""
WORDS = {
    inspect.IntType: "integer", inspect.FloatType: "number", inspect.StrType: "text", inspect.BoolType: "boolean",
    inspect.StructType: "object", inspect.DictType: "object", inspect.VarTupleType: "list", inspect.LiteralType: "text",
}  # fmt: skip
"""How the page calls a type; *hex* is text, *value* any plain value."""


def _parts(kind: inspect.Type) -> list[inspect.Type]:
    """Return the types of a union without null, or the one type."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    members = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    members = tuple(member.type if isinstance(member, inspect.Metadata) else member for member in members)
    return [member for member in members if not isinstance(member, inspect.NoneType)]


def _fields(struct: inspect.StructType, where: str = "") -> Iterator[tuple[str, list[inspect.Type]]]:
    """Yield the path and the types of every field that the page must have."""
    for field in struct.fields:
        path, parts = f"{where}{field.encode_name}", _parts(field.type)
        inner = parts[0]
        if path == "summary":
            yield path, parts
            yield from _summary()
        elif path == "provenance.copies":
            yield from ((f"{path}.{name}", [inspect.IntType()]) for name in _copy_kinds())
        elif isinstance(inner, inspect.DictType):
            yield f"{path}.*", _parts(inner.value_type)
        elif isinstance(inner, inspect.StructType) and path not in AS_ABOVE:
            if not where or len(_parts(field.type)) < len(getattr(field.type, "types", ())):
                yield path, parts
            yield from _fields(inner, f"{path}.")
        else:
            yield path, parts


def _summary() -> Iterator[tuple[str, list[inspect.Type]]]:
    for field in inspect.type_info(RecordSummary).fields:  # type: ignore[attr-defined]
        if field.name == "parts":
            yield from ((f"summary.parts.*.{name}", [inspect.FloatType()]) for name in ("mean", "ci95"))
        else:  # the mean has the name of the metric
            yield f"summary.{'accuracy' if field.name == 'mean' else field.name}", _parts(field.type)


def _copy_kinds() -> list[str]:
    (pattern,) = [meta.pattern for meta in CopyKind.__metadata__]  # type: ignore[attr-defined]
    return re.findall(r"[a-z]+_[a-z]+", pattern)


def _documented() -> dict[str, str]:
    rows = re.findall(r"^\| `([\w.*]+)` \| ([^|]*) \|", PAGE, flags=re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def _known() -> dict[str, list[inspect.Type]]:
    struct = inspect.type_info(Record)
    assert isinstance(struct, inspect.StructType)
    return dict(_fields(struct))


def test_every_field_is_documented_and_nothing_else() -> None:
    assert sorted(_documented()) == sorted(_known())


@pytest.mark.parametrize("field", sorted(_documented()))
def test_the_type_of_a_field(field: str) -> None:
    types = _known()[field]
    said = _documented()[field].partition(",")[0].replace("hex", "text").split(" or ")[0].split(" of ")[0]
    words = {WORDS[type(kind)] for kind in types}
    if field == "schema":
        words = {"integer"}  # a literal 1
    assert (said == "value" and len(words) == 4) or said in words


@cache
def _committed() -> frozenset[str]:
    files = (ROOT / "leaderboards" / "records").glob("*.json")
    leaves = {leaf for file in files for leaf in _leaves(json.loads(file.read_text(encoding="utf-8")))}
    others = {"summary.mse", "summary.harmonic"}  # a mean has the name of its metric
    assert others <= leaves
    return frozenset(leaves - others)


def _leaves(value: Any, where: str = "") -> Iterator[str]:
    if not isinstance(value, dict):
        yield re.sub(NAMED, r"\1.*", where)
        return
    for name, inner in value.items():
        yield from _leaves(inner, f"{where}.{name}" if where else name)


def test_every_field_of_a_committed_record_is_documented() -> None:
    assert sorted(_committed() - set(_documented())) == []


def test_the_structs_read_the_committed_records() -> None:
    file = min((ROOT / "leaderboards" / "records").glob("*.json"))
    assert isinstance(msgspec.json.decode(file.read_bytes(), type=Record).inputs, Inputs)
