"""``metabench list`` and ``plugins``: list plugins, what they provide, and stored runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from metabench.cli.options import home_option, json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import cell, columns, echo_json, plain, warn_of_broken
from metabench.records.copy_counts import copies_note, marked_name
from metabench.registry.registry import Registry, availability
from metabench.registry.specs import (
    SPEC_CLASSES,
    AlgorithmSpec,
    AnySpec,
    BackboneSpec,
    DatasetSpec,
    Kind,
    Spec,
    defaults,
    kind_of,
)
from metabench.utils.home import Home

if TYPE_CHECKING:
    from metabench.records.schema import Record

_KINDS: Mapping[str, Kind] = {f"{kind}s": kind for kind in SPEC_CLASSES}


def _summary(spec: Spec) -> str:
    reason = availability(spec)
    return f"{spec.summary} [unavailable: {reason}]" if reason else spec.summary


def _algorithm_row(spec: AlgorithmSpec) -> tuple[Any, ...]:
    return spec.name, spec.setting_with(defaults(spec)), spec.trains, spec.backbone, _summary(spec)


def _dataset_row(spec: DatasetSpec) -> tuple[Any, ...]:
    classes = "/".join(str(spec.sizes[split].classes) for split in spec.splits if split in spec.sizes)
    images = sum(size.images for size in spec.sizes.values())
    shape = "x".join(map(str, spec.image_shape))
    return spec.name, spec.kind, shape, classes, images, "download" if spec.download else "built in", _summary(spec)


def _backbone_row(spec: BackboneSpec) -> tuple[Any, ...]:
    return spec.name, spec.takes, spec.trains, spec.trained_on or "-", _summary(spec)


def _protocol_row(spec: Spec) -> tuple[Any, ...]:
    return spec.name, " ".join(f"{param.name}={cell(param.default)}" for param in spec.params), _summary(spec)


_TABLES: Mapping[str, tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]] = {
    "algorithms": (("algorithm", "setting", "trains", "backbone", "summary"), _algorithm_row),
    "datasets": (("dataset", "kind", "shape", "classes", "items", "files", "summary"), _dataset_row),
    "backbones": (("backbone", "takes", "trains", "trained on", "summary"), _backbone_row),
    "protocols": (("protocol", "defaults", "summary"), _protocol_row),
}


@click.command("list")
@click.argument("what", required=False, type=click.Choice([*_KINDS, "runs"]))
@json_option
@home_option
def list_command(what: str | None, as_json: bool, home: str | None) -> None:
    """List what is installed (every kind, or the one named), or the stored runs."""
    if what == "runs":
        _list_runs(Home.resolve(home), as_json)
        return
    registry = current_registry()
    chosen = {name: list(registry.names(_KINDS[name]).values()) for name in ([what] if what else _KINDS)}
    warn_of_broken(registry)
    if as_json:
        echo_json({name: [described(spec) for spec in specs] for name, specs in chosen.items()})
        return
    tables = [columns(_TABLES[name][0], map(_TABLES[name][1], specs), wrap=True) for name, specs in chosen.items()]
    click.echo("\n\n".join(tables))


def described(spec: AnySpec) -> dict[str, Any]:
    """Return a spec as JSON data, with its kind and the reason why it is unavailable."""
    facts = plain(spec)
    if isinstance(spec, DatasetSpec):
        facts["items"] = facts.pop("kind")  # the kind of its items; "kind" is that of the plugin
    return {"kind": kind_of(spec), "unavailable": availability(spec), **facts}


def _list_runs(home: Home, as_json: bool) -> None:
    from metabench.records.store import Store

    def warn(line: str) -> None:
        click.echo(f"warning: {line}", err=True)

    records = list(Store(home.root, warn).records())
    if as_json:
        echo_json([_described_run(record) for record in records])
        return
    if not records:
        click.echo(f"no runs in {home.root}", err=True)
        return
    header: tuple[str, ...] = (
        "key",
        "status",
        "algorithm",
        "backbone",
        "dataset",
        "protocol",
        "seed",
        "episodes",
        "score",
        "finished",
    )
    more = _distinguishing_columns(records)
    differences = [[texts[index] or "-" for texts in more.values()] for index in range(len(records))]
    runs = map(_run_row, records, _dataset_labels(records))
    rows = [(*row[:-2], *also, *row[-2:]) for row, also in zip(runs, differences, strict=True)]
    rows.sort(key=lambda row: (row[4:6], row[2:4], row[0]))
    click.echo(columns((*header[:-2], *more, *header[-2:]), rows))
    if note := copies_note(records):
        click.echo(f"\n{cell(note)}")


def _described_run(record: Record) -> dict[str, Any]:
    from metabench.records.inputs import as_plain

    return {
        "key": record.key,
        "status": record.status,
        "inputs": as_plain(record.inputs),
        "summary": record.summary_fields,
        "finished": record.provenance.finished or "",
        "copies": record.copies,
    }


def _date(record: Record) -> str:
    """Return the time of a run to the minute, in UTC; '-' if its record has none."""
    try:
        moment = datetime.fromisoformat(record.provenance.finished or "")
    except ValueError:
        return "-"
    return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime("%Y-%m-%d %H:%M")


def _distinguishing_columns(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return extra columns, a text for each run, that distinguish runs which are equal in the usual ones."""
    from metabench.reports.rows import rows_from_records
    from metabench.reports.run_tables import needed_columns

    same = ["algorithm", "backbone", "dataset", "split", "protocol", "protocol_params", "way", "shot", "query"]
    same += ["seed", "episodes", "episode_seed", "sampling", "precision"]
    needed = ("params", "backbone_params", "dataset_params", "training")
    return needed_columns(rows_from_records(records), same, needed)


def _dataset_labels(records: Sequence[Record]) -> list[str]:
    """Return the dataset of each run, with the start of its digest if several share the name."""
    from metabench.reports.rows import rows_from_records
    from metabench.reports.run_tables import with_dataset_labels

    rows = rows_from_records(records)
    return [
        marked_name(record.inputs.domain + label["dataset"].removeprefix(row["dataset"]), row["copies"])
        for record, row, label in zip(records, rows, with_dataset_labels(rows), strict=True)
    ]


def _run_row(record: Record, dataset: str) -> tuple[Any, ...]:
    inputs, evaluation = record.inputs, record.inputs.evaluation
    params = inputs.protocol.params
    ordered = {name: params[name] for name in ("way", "shot", "query") if name in params} | params
    protocol = [inputs.protocol.name, *(f"{name}={cell(value)}" for name, value in ordered.items())]
    protocol += [f"{evaluation.sampling} sampling"] if evaluation.sampling != "closed" else []
    protocol += [f"episode-seed={evaluation.seed}"] if evaluation.seed else []
    return (
        record.short_key,
        record.status,
        inputs.algorithm.name,
        inputs.backbone.name,
        dataset,
        " ".join(protocol),
        "-" if inputs.seed is None else inputs.seed,
        evaluation.episodes if record.scores is None else record.summary.episodes,
        _score_with_unit(record),
        _date(record),
    )


def score(record: Record) -> str:
    """Return the mean score, the half-width of its interval and its unit."""
    if record.scores is None:
        return "-"
    metric, width = record.metric, record.summary.ci95
    half = "" if width is None else f" ± {width:.{metric.digits}f}"
    return f"{record.score:.{metric.digits}f}{half} {metric.unit}".rstrip()


def _score_with_unit(record: Record) -> str:
    has_unit = record.scores is None or record.metric.unit
    return score(record) if has_unit else f"{score(record)} {record.metric.name}"


@click.command("plugins")
@json_option
def plugins_command(as_json: bool) -> None:
    """List every installed plugin: what it provides, or why it cannot be used."""
    registry = current_registry()
    if as_json:
        echo_json(
            [{**plain(info), "unavailable": _unavailable(registry, info.origin)} for info in registry.plugins.infos]
        )
        return
    rows = []
    for info in registry.plugins.infos:
        unavailable = [f"{name} unavailable: {why}" for name, why in _unavailable(registry, info.origin).items()]
        rows.append(
            (
                info.origin,
                info.version,
                info.status,
                info.error or "; ".join([", ".join(info.provides), *unavailable]),
            )
        )
    click.echo(columns(("plugin", "version", "status", "provides, or what is wrong"), rows))


def _unavailable(registry: Registry, origin: str) -> dict[str, str]:
    specs = [item.spec for item in registry.plugins.provided if item.origin == origin]
    return {spec.name: why for spec in specs if (why := availability(spec))}
