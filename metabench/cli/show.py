"""``metabench show``: print one plugin or one stored run in full."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metabench.cli.list import described, score
from metabench.cli.options import check_file, home_option, json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.record_argument import resolve_record
from metabench.cli.rendering import cell, columns, echo_json
from metabench.errors import UsageError, did_you_mean
from metabench.registry.registry import availability
from metabench.registry.specs import (
    FOLD,
    SPEC_CLASSES,
    AlgorithmSpec,
    AnySpec,
    BackboneSpec,
    DatasetSpec,
    ProtocolSpec,
    defaults,
    kind_of,
)
from metabench.registry.stage import as_chain
from metabench.utils.text import pluralise

if TYPE_CHECKING:
    from metabench.records.schema import Record
    from metabench.records.scores import Scores


@click.command("show")
@click.argument("name")
@click.option(
    "--plot",
    is_flag=False,
    flag_value="",
    metavar="[FILE.svg]",
    help="Draw the distribution of a run's episode scores.  [default: ALGORITHM-KEY.svg]",
)
@json_option
@home_option
def show_command(name: str, plot: str | None, as_json: bool, home: str | None) -> None:
    """Show every plugin called NAME, or a run: the path of its record, or the first digits of its key."""
    if plot is not None:
        _plot(resolve_record(name, home).record, plot)
        return
    if name.endswith(".json"):
        _show_record(resolve_record(name, home).record, as_json)
        return
    registry = current_registry()
    kinds = [kind for kind in SPEC_CLASSES if name in registry.names(kind) or (kind, name) in registry.clashes]
    if kinds:
        specs = [registry.find(kind, name) for kind in kinds]
        if as_json:
            echo_json([described(spec) for spec in specs])
        else:
            click.echo("\n\n".join("\n".join(_spec_lines(spec)) for spec in specs))
        return
    if not re.fullmatch("[0-9a-f]{4,64}", name):
        known = {other for kind in SPEC_CLASSES for other in registry.names(kind)}
        hint = did_you_mean(name, known, "metabench list") + registry.broken_hint
        raise UsageError(f"no plugin is called '{name}'{hint}")
    _show_record(resolve_record(name, home).record, as_json)


def _as_plain(record: Record) -> dict[str, Any]:
    from metabench.records.inputs import as_plain

    plain: dict[str, Any] = as_plain(record)
    return plain


def _show_record(record: Record, as_json: bool) -> None:
    if as_json:
        echo_json(_as_plain(record))
    else:
        click.echo(_record_text(record))


def _plot(record: Record, file: str) -> None:
    """Write the distribution of a run's scores as SVG and print the path."""
    from metabench.comparison.labels import way_shot
    from metabench.plotting.histogram import histogram
    from metabench.utils.atomic_files import write_atomic

    inputs, scores = record.inputs, record.scores
    if scores is None:
        raise UsageError(f"cannot draw run {record.short_key}: it is {record.status} and has no scores")
    protocol = way_shot(inputs.protocol.params) or inputs.protocol.name
    title = f"{inputs.algorithm.name} on {inputs.domain}, {protocol}"
    lead = f"{scores.metric.name} {score(record)}; {_episode_size(scores)}"
    picture = histogram(scores.per_episode, title, lead, _step(scores))
    path = Path(file or f"{re.sub('[^A-Za-z0-9._-]', '_', inputs.algorithm.name)}-{record.short_key}.svg")
    check_file("--plot", path)
    write_atomic(path, picture.file())
    click.echo(f"wrote {path}")


def _episode_size(scores: Scores) -> str:
    n_query = scores.n_query
    if isinstance(n_query, int):
        return f"{pluralise(len(scores), 'episode')} of {pluralise(n_query, 'query')}"
    return f"{pluralise(len(n_query), 'episode')} of {min(n_query)} to {max(n_query)} queries"


def _step(scores: Scores) -> float:
    """Return the distance between neighbouring scores; 0 if they can take any value."""
    return 100.0 / scores.n_query if scores.is_counted and isinstance(scores.n_query, int) else 0.0


def _record_text(record: Record) -> str:
    """Return a record as text: a headline, then everything but the scores of single episodes."""
    rest = {name: value for name, value in _as_plain(record).items() if name not in ("scores", "key", "status")}
    headline = f"run {record.key}  {record.status}  {record.metric.name} {score(record)}"
    return headline + "\n" + json.dumps(rest, indent=2)


def _spec_lines(spec: AnySpec) -> list[str]:
    """Return a spec in full, as lines of text."""
    facts = [("version", spec.version), ("reference", spec.reference), ("licence", spec.licence)]
    if isinstance(spec, AlgorithmSpec):
        facts += [
            ("setting", spec.setting_with(defaults(spec))),
            ("takes", "feature maps" if spec.reads == "maps" else spec.takes),
            ("trains", spec.trains),
            ("backbone", spec.backbone),
        ]
    elif isinstance(spec, BackboneSpec):
        facts += [
            ("takes", spec.takes),
            ("trains", spec.trains),
            ("trained on", spec.trained_on or "nothing: random start"),
        ]
    elif isinstance(spec, ProtocolSpec):
        facts += [] if spec.support else [("training by", spec.training or spec.name)]
        facts += [("scored by", spec.metric.title)]
        facts += [("made of", ", ".join(part.title for part in spec.parts))] if spec.parts else []
        facts += [("beside", f"classes of {spec.beside}")] if spec.beside else []
        facts += [("support from", f"{spec.support}, which has the same classes")] if spec.support else []
    elif isinstance(spec, DatasetSpec):
        facts += [("kind", spec.kind), ("shape", "x".join(map(str, spec.image_shape))), ("download", spec.download)]
        facts += [("backbone", spec.backbone)] if spec.backbone else []
    if reason := availability(spec):
        facts.append(("unavailable", reason))
    lines = [cell(f"{kind_of(spec)} {spec.name}: {spec.summary}")]
    lines += [f"  {label:<12} {cell(value)}" for label, value in facts]
    rows = [(p.name, cell(p.default), p.doc + _choices(p.choices)) for p in spec.params]
    lines += _block(("parameter", "default", "meaning"), rows)
    if isinstance(spec, DatasetSpec):
        for params, declared in spec.forms():
            head = (f"split, {FOLD} {params[FOLD]}" if spec.folds else "split", "classes", "items", "digest")
            digests = declared.digests
            sizes = [(name, s.classes, s.images, digests.get(name, "-")) for name, s in declared.sizes.items()]
            lines += _block(head, sizes)
        copies = [(name, split, of) for name, copy in spec.copies.items() for split, of in copy.digests.items()]
        lines += _block(("known copy", "split", "digest"), copies)
    if isinstance(spec, AlgorithmSpec):
        lines += _block(("exempt from", "why"), [(e.check, e.reason + _conditions(e.when)) for e in spec.exempt])
        for dataset, recipe in spec.recipes.items():
            label = f"any other dataset {dataset[1:]}".rstrip() if dataset.startswith("*") else dataset
            for stage in as_chain(recipe):
                settings = [*stage.inputs().items(), *stage.params.items(), ("source", stage.source)]
                lines += _block((f"recipe for {label}", stage.name), [(name, cell(value)) for name, value in settings])
    return lines


def _choices(choices: Sequence[Any]) -> str:
    return f" (one of {', '.join(map(cell, choices))})" if choices else ""


def _conditions(when: Mapping[str, Any]) -> str:
    return f" (with {', '.join(f'{name}={cell(value)}' for name, value in when.items())})" if when else ""


def _block(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return ["", *(f"  {line}" for line in columns(header, rows).splitlines())] if rows else []
