"""Schema of a suite file: the keys it may have, their types, and the names and settings they may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Meta

from metabench.errors import UsageError, did_you_mean
from metabench.planning.selection import MAX_SEED, MOST_EPISODES, PRECISIONS
from metabench.planning.settings import check_settings, stage_names
from metabench.registry.loader import PLUGIN_NAME
from metabench.registry.registry import Registry
from metabench.registry.resolved import resolve_params
from metabench.registry.specs import FIXED_WAY, SAMPLINGS, Kind
from metabench.statistics.stopping import BOUNDS

_Names = Annotated[tuple[str, ...], Meta(min_length=1, description="a list of names in quotes")]
_Name = Annotated[str, Meta(min_length=1, description="a name in quotes")]
_Text = Annotated[str, Meta(min_length=1, description="text")]
_Whole = Annotated[int, Meta(ge=1, description="a whole number of at least 1")]
_Ways = Annotated[
    tuple[Annotated[int, Meta(ge=2)], ...], Meta(min_length=1, description="a list of whole numbers of at least 2")
]
_Shots = Annotated[
    tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1, description="a list of whole numbers of at least 1")
]
_Seeds = Annotated[
    tuple[Annotated[int, Meta(ge=0, le=MAX_SEED)], ...],
    Meta(min_length=1, description=f"a list of whole numbers from 0 to {MAX_SEED}"),
]
_Seed = Annotated[int, Meta(ge=0, le=MAX_SEED, description=f"a whole number from 0 to {MAX_SEED}")]
_Episodes = Annotated[int, Meta(ge=1, le=MOST_EPISODES, description=f"a whole number from 1 to {MOST_EPISODES}")]
_HalfWidth = Annotated[float, Meta(gt=0, le=100, description="a half-width in points, above 0 and at most 100")]
_Settings = Annotated[dict[str, Any], Meta(description="a table of SCOPE.NAME = VALUE")]
_SuiteName = Annotated[
    str, Meta(pattern=rf"^{PLUGIN_NAME.pattern}\Z", description="letters, digits and any of _.+-, as text")
]


def _one_of(words: tuple[str, ...]) -> Meta:
    return Meta(pattern=rf"^({'|'.join(words)})\Z", description=f"one of {', '.join(words)}")


class SuiteBlock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[runs]]`` of a suite; a key that is None is left to the user or to defaults.

    The keys are fields of `metabench.planning.selection.Selection`, but for `protocols`: one selection each.
    """

    datasets: _Names | None = None
    train_dataset: _Name | None = None
    backbones: _Names | None = None
    protocols: _Names | None = None
    ways: _Ways | None = None
    shots: _Shots | None = None
    query: _Whole | None = None
    episodes: _Episodes | None = None
    seeds: _Seeds | None = None
    episode_seed: _Seed | None = None
    sampling: Annotated[str, _one_of(SAMPLINGS)] | None = None
    until_ci: _HalfWidth | None = None
    bound: Annotated[str, _one_of(BOUNDS)] | None = None
    precision: Annotated[str, _one_of(PRECISIONS)] | None = None
    settings: _Settings | None = None

    def given(self) -> dict[str, Any]:
        """Return the keys that have a value."""
        return {key: value for key, value in msgspec.structs.asdict(self).items() if value is not None}


class SuiteDocument(SuiteBlock, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole suite file. The keys of `SuiteBlock` above the first ``[[runs]]`` are defaults for all of them."""

    name: _SuiteName
    version: _Whole
    summary: _Text
    reference: Annotated[str, Meta(description="text")] = ""
    runs: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1, description="at least one block [[runs]]")]


AnyTable = TypeVar("AnyTable", SuiteBlock, SuiteDocument)


class Problem(Exception):
    """A fault of a suite, without the name of the file."""


def read_blocks(document: SuiteDocument, registry: Registry) -> tuple[SuiteBlock, ...]:
    """Return the blocks of a suite, completed by its defaults.

    Raises:
        Problem: the number of the block, the key, and what is wrong with it.
    """
    shared = {key: value for key, value in document.given().items() if key in SuiteBlock.__struct_fields__}
    blocks = []
    for number, own in enumerate(document.runs, 1):
        try:
            blocks.append(_read_block(own, shared, registry))
        except Problem as problem:
            raise Problem(f"[[runs]] {number}, {problem}") from None
    return tuple(blocks)


def read_table(table: Mapping[str, Any], wanted: type[AnyTable]) -> AnyTable:
    """Return a table of a TOML file as a struct.

    Raises:
        Problem: the first key that is unknown, missing or of another type, and what it must be.
    """
    for key in table:
        if key not in wanted.__struct_fields__:
            raise Problem(f"unknown key '{key}'{did_you_mean(key, wanted.__struct_fields__)}")
    try:
        return msgspec.convert(table, wanted)
    except msgspec.ValidationError as error:
        # "... - at `$.ways[...]`", or "Object missing required field `name`"
        key = re.findall(r"`(?:\$\.)?(\w+)[^`]*`", str(error))[-1]
        cause = f"not {table[key]!r}" if key in table else "and is missing"
        raise Problem(f"{key}: must be {_description(wanted, key)}, {cause}") from None


def _description(table: type[AnyTable], key: str) -> str:
    """Return the type of a key in words."""
    hint: Any = get_type_hints(table, include_extras=True)[key]
    alternatives: tuple[Any, ...] = (hint, *get_args(hint))
    metas = [meta for part in alternatives for meta in getattr(part, "__metadata__", ())]
    return str(metas[0].description)


def _read_block(own: Mapping[str, Any], shared: Mapping[str, Any], registry: Registry) -> SuiteBlock:
    stages = stage_names(registry.algorithms.values())
    above, block = (_flat_settings(table, stages) for table in (shared, read_table(own, SuiteBlock).given()))
    settings = {**above.get("settings", {}), **block.get("settings", {})}
    merged = SuiteBlock(**{**above, **block, "settings": settings or None})
    if merged.datasets is None:
        raise Problem("datasets: is missing")
    _check_names(merged, registry)
    _check_parameters(merged, registry)
    return merged


def _flat_settings(table: Mapping[str, Any], stages: Sequence[str]) -> dict[str, Any]:
    """Return a table with its settings in one level and checked; those of training are of one of the stages."""
    if "settings" not in table:
        return dict(table)
    settings = _flat(table["settings"])
    try:
        check_settings(settings, stages)
    except UsageError as error:
        raise Problem(f"settings: {str(error).removeprefix('--set ')}") from None
    return {**table, "settings": settings}


def _flat(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested tables as one, with dotted names: ``data.size = 28`` is a table in TOML."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{name}.")
        elif isinstance(value, (bool, int, float, str)):
            flat[above + name] = value
        else:
            raise Problem(f"settings: {above}{name} must be a number, a word, true or false, not {value!r}")
    return flat


def _check_names(block: SuiteBlock, registry: Registry) -> None:
    """Raise Problem for a name that no plugin provides."""
    parts: tuple[tuple[str, Kind, tuple[str, ...]], ...] = (
        ("datasets", "dataset", block.datasets or ()),
        ("train_dataset", "dataset", (block.train_dataset,) if block.train_dataset else ()),
        ("backbones", "backbone", block.backbones or ()),
        ("protocols", "protocol", block.protocols or ()),
    )
    for key, kind, names in parts:
        for name in names:
            try:
                registry.choose(kind, name)
            except UsageError as error:
                raise Problem(f"{key}: {error}") from None


def _check_parameters(block: SuiteBlock, registry: Registry) -> None:
    """Raise Problem for a setting that nothing named in the block has, or a value that it does not take."""
    scopes: tuple[tuple[str, Kind, tuple[str, ...]], ...] = (
        ("data", "dataset", block.datasets or ()),
        ("protocol", "protocol", block.protocols or (FIXED_WAY,)),
        ("backbone", "backbone", block.backbones or ()),  # without any, those of the algorithms
    )
    for scope, kind, names in scopes:
        specs = [registry.choose(kind, name).spec for name in names]
        for setting, value in (block.settings or {}).items():
            param = setting.removeprefix(f"{scope}.")
            if not specs or param == setting:
                continue
            having = [spec for spec in specs if param in {known.name for known in spec.params}]
            try:
                for spec in having or specs[:1]:
                    resolve_params(spec, {param: value})
            except UsageError as error:
                raise Problem(f"settings: {setting}: {error}") from None
