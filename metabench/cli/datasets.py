"""``metabench datasets``: what there is, getting and preparing it, checking it, and where it lies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from metabench.cli.copy_findings import Finding, Item, copy_findings, pairs
from metabench.cli.options import home_option, json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import cell, columns, echo_json, warn_of_broken
from metabench.cli.run_options import parse_settings
from metabench.data.availability import look
from metabench.data.split import ClassSplit, split_digest
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.execution.session import Session
from metabench.planning.folder_labels import names_with_places
from metabench.registry.registry import Registry, nameless
from metabench.registry.resolved import ResolvedPlugin, resolve_params
from metabench.registry.specs import FOLD, UNKNOWN_COPY, DatasetSpec, Declared, defaults
from metabench.utils.console import Console
from metabench.utils.home import Home

_LISTED = 20
"""Files, or copies, of a kind that are named in text; JSON has all."""
_MEANINGS = {
    "repeated": "Scores are too high where support and query are the same item",
    "conflicting": "An item with several labels cannot be right with all of them",
    "shared": "Scores are too high where items are measured that were learned from",
}
"""How copies of each kind move scores."""
_THIS_COMMAND = re.compile("; 'metabench datasets verify .*' lists all")
"""In an error about files that cannot be read: where all are listed, which is here."""
data_option = click.option(
    "--data", metavar="DIR", help="Folder with your own copies of official data (also METABENCH_DATA)."
)


@dataclass(frozen=True)
class Check:
    """One split and what was found: ``ok``, ``known copy``, ``differs``, ``unverified`` (no digest known), ``missing``,
    ``broken``, or ``rejected`` (a folder of the user's that is not laid out as it must be).

    ``unreadable``: files that cannot be decoded; ``skipped``: files that are not tried. `files` are their names.

    Copies, each a check of its own, whose ``images`` are how many there are, the first of each item not counted:
    ``repeated`` in one class, ``conflicting`` in several classes of a split, ``shared`` by several splits. Their
    ``copies`` are all of them, in groups of equal items. ``failed`` says that something is to be mended: copies that
    belong to data with a published digest, or that the spec lists, are no failure.
    """

    dataset: str
    split: str
    status: str
    classes: int = 0
    images: int = 0
    digest: str = ""
    expected: str = ""
    detail: str = ""
    files: tuple[str, ...] = ()
    copies: Sequence[Sequence[Item]] = ()
    failed: bool = False


@click.group()
def datasets() -> None:
    """Get, prepare and check data sets."""


@datasets.command("list")
@json_option
@home_option
@data_option
def list_(as_json: bool, home: str | None, data: str | None) -> None:
    """List the data sets and whether they are ready for use."""
    place, registry = Home.resolve(home, data), current_registry()
    warn_of_broken(registry)
    rows = [_described(spec, place) for spec in registry.datasets.values()]
    if as_json:
        echo_json(rows)
        return
    header = ("name", "kind", "classes", "shape", "licence", "state", "summary")
    click.echo(columns(header, [[_flat(row[name]) for name in header] for row in rows]))


@datasets.command()
@click.argument("name")
@click.option(
    "--from", "folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the official files from this folder and download nothing.",
)  # fmt: skip
@json_option
@home_option
@data_option
def download(name: str, folder: Path | None, as_json: bool, home: str | None, data: str | None) -> None:
    """Get the official files of data set NAME, and prepare and verify its splits.

    Only the default form is prepared. Other parameters need the files again: keep DIR in METABENCH_DATA.
    """
    place, chosen = Home.resolve(home, data), _chosen(current_registry(), name)
    place.ensure()
    if folder:
        place = Home(place.root, (folder.absolute(), *place.sources))
    checks = []
    session = Session(place, Console(), allow_download=folder is None)
    for split, loaded in _loaded(chosen, session):
        checks.append(Check(chosen.name, split, "ok", len(loaded.names), len(loaded.images)))
    if as_json:
        cache = place.dataset_cache(chosen.spec.cache_name)
        echo_json({"name": chosen.name, "folder": str(cache), "splits": checks})
        return
    for check in checks:
        click.echo(f"{check.dataset} {check.split}: {check.classes} classes, {check.images} images")


@datasets.command()
@click.argument("names", nargs=-1)
@click.option("--skip-bad", is_flag=True, help="Leave unreadable files out, as 'run --skip-bad' does.")
@click.option(
    "--set", "settings", multiple=True, callback=parse_settings, metavar="data.NAME=VALUE",
    help="Set a parameter of the data sets NAMES, as 'run --set' does.",
)  # fmt: skip
@json_option
@home_option
@data_option
def verify(
    names: tuple[str, ...],
    skip_bad: bool,
    settings: Mapping[str, str],
    as_json: bool,
    home: str | None,
    data: str | None,
) -> None:
    """Read data sets NAMES in full, compare them with their published digests, and look for items that are in them
    more than once; downloads nothing.

    Copies are named below the table, by file or by class and place; beyond twenty of a kind --json lists all.

    Without NAMES every data set is checked, and one whose files are not here is no failure. Where a data set has
    several class splits (folds) each of them is.
    """
    place, registry = Home.resolve(home, data), current_registry()
    every = (name for name, spec in registry.datasets.items() if not nameless(spec))
    more: dict[str, Any] = {"skip_bad": True} if skip_bad else {}
    for setting, value in settings.items():
        scope, _, name = setting.partition(".")
        if scope != "data" or not names:
            raise UsageError(f"--set {setting}: name a data set, and write data.NAME=VALUE")
        more[name] = value
    chosen = [form for name in names or every for form in forms(_chosen(registry, name, more))]
    titles = [form_name(form, title) for form, title in zip(chosen, names_with_places(chosen), strict=True)]
    checks = [check for form, title in zip(chosen, titles, strict=True) for check in verified(form, place, title)]
    error = _first_error(checks, bool(names))
    if as_json:
        echo_json(checks)
    else:
        header = ("data set", "split", "status", "classes", "images", "digest", "detail")
        details = ["as said below" if error and c.detail == str(error) else c.detail for c in checks]
        rows = [
            (c.dataset, c.split, c.status, c.classes, c.images, c.digest[:12], detail)
            for c, detail in zip(checks, details, strict=True)
        ]
        click.echo("\n".join([columns(header, rows), *_unreadable(checks), *_listed(checks)]))
    if error:
        raise error


@datasets.command()
@click.argument("name", required=False)
@json_option
@home_option
@data_option
def where(name: str | None, as_json: bool, home: str | None, data: str | None) -> None:
    """Print the folder of data set NAME, or of every data set with the space it takes."""
    place, registry = Home.resolve(home, data), current_registry()
    specs = [registry.choose("dataset", name)[0]] if name else list(registry.datasets.values())
    rows = [
        {"name": spec.name, "folder": str(place.dataset_cache(spec.cache_name)), "bytes": _used(spec, place)}
        for spec in specs
    ]
    if as_json:
        echo_json({"datasets": rows, "sources": [str(source) for source in place.sources]})
    elif name:
        click.echo(rows[0]["folder"])
    else:
        click.echo(columns(("data set", "folder", "bytes"), [tuple(row.values()) for row in rows]))
        looked = ", ".join(str(source) for source in place.sources) or "none (--data, METABENCH_DATA)"
        click.echo(f"your own copies are looked for in: {cell(looked)}", err=True)


def _chosen(registry: Registry, name: str, more: Mapping[str, Any] | None = None) -> ResolvedPlugin:
    """Return the data set that a word of the user names, its other parameters as in `more` or at their defaults."""
    spec, named = registry.choose("dataset", name)
    return ResolvedPlugin(spec, resolve_params(spec, {**named, **(more or {})}))


def forms(chosen: ResolvedPlugin) -> list[ResolvedPlugin]:
    """Return a data set once for each class split that stands beside its usual one, the usual one first."""
    assert isinstance(chosen.spec, DatasetSpec)
    folds = [{FOLD: params[FOLD]} for params, _ in chosen.spec.forms() if chosen.spec.folds]
    return [ResolvedPlugin(chosen.spec, {**chosen.params, **fold}) for fold in folds] or [chosen]


def form_name(chosen: ResolvedPlugin, title: str = "") -> str:
    """Return the name of a data set, or `title`, with the class split where it has several."""
    assert isinstance(chosen.spec, DatasetSpec)
    name = title or chosen.name
    return f"{name} {FOLD}={chosen.params[FOLD]}" if chosen.spec.folds else name


def _described(spec: DatasetSpec, place: Home) -> dict[str, Any]:
    return {
        "name": spec.name,
        "version": spec.version,
        "kind": spec.kind,
        "classes": {split: spec.sizes[split].classes for split in spec.splits if split in spec.sizes},
        "images": {split: spec.sizes[split].images for split in spec.splits if split in spec.sizes},
        "shape": list(spec.image_shape),
        "licence": spec.licence,
        "state": _state(spec, place),
        "summary": spec.summary,
        "reference": spec.reference,
    }


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "/".join(str(count) for count in value.values())
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def _state(spec: DatasetSpec, place: Home) -> str:
    """Say whether a data set can be used; of its folds how many, where they differ. Decodes nothing."""
    if nameless(spec):
        return f"yours: {spec.name}:{spec.argument.upper()}"
    found = [look(spec, form.params, place) for form in forms(ResolvedPlugin(spec, defaults(spec)))]
    counts = Counter(each.presence for each in found)
    if len(counts) > 1:
        return ", ".join(f"{count} of {len(found)} folds {presence}" for presence, count in counts.items())
    return f"unavailable: {found[0].detail}" if found[0].presence == "unavailable" else found[0].presence


def _used(spec: DatasetSpec, place: Home) -> int:
    """Return the bytes that a data set's folder takes."""
    files = (file for file in place.dataset_cache(spec.cache_name).rglob("*") if file.is_file())
    return sum(file.stat().st_size for file in files)


def _loaded(chosen: ResolvedPlugin, session: Session) -> Iterator[tuple[str, ClassSplit]]:
    """Load each split in turn, with progress on stderr."""
    for split in session.splits(chosen):
        yield split, session.split(chosen, split)


def verified(chosen: ResolvedPlugin, place: Home, title: str = "") -> Iterator[Check]:
    """Yield a check of each split, and of its files that are not read; what is missing or broken is one check for the
    whole data set. `title` is its name where its own may mean another too."""
    session, name = Session(place, Console(), allow_download=False), title or form_name(chosen)
    try:
        splits, checks = {}, {}
        for split, loaded in _loaded(chosen, session):
            splits[split], checks[split] = loaded, _compared(chosen, name, split, loaded, place)
            yield checks[split]
        names = {split: session.item_names(chosen, split) for split in splits}
        for finding in copy_findings(splits, names):
            yield _copies(chosen, name, finding, checks)
    except MissingError as error:
        yield Check(name, "-", "missing", detail=str(error))
    except UsageError as error:
        yield Check(name, "-", "rejected", detail=str(error))
    except MetabenchError as error:
        yield Check(name, "-", "broken", detail=_THIS_COMMAND.sub("", str(error)), failed=True)
    yield from _unread(chosen, name, session)


def _first_error(checks: Sequence[Check], named: bool) -> MetabenchError | None:
    """Return the error that the command ends with; data that nobody `named` may be missing."""
    for check in checks:
        if check.failed and check.copies:
            where = f"{check.dataset} {check.split}"
            return MetabenchError(f"{where}: {check.detail}. {_MEANINGS[check.status]}; --json lists all of them")
        if check.failed:
            return MetabenchError(check.detail)
        if check.status == "rejected":
            return UsageError(check.detail)
    return next((MissingError(check.detail) for check in checks if named and check.status == "missing"), None)


def _unread(chosen: ResolvedPlugin, name: str, session: Session) -> Iterator[Check]:
    """Yield a check for each reason for which files of a data set are not read."""
    try:
        for part in session.unread(chosen):
            count = len(part.files)
            yield Check(name, part.split, part.status, images=count, detail=part.detail, files=part.files)
    except MetabenchError:  # which the check of the whole data set says
        return


def _unreadable(checks: Sequence[Check]) -> Iterator[str]:
    """Yield lines that name the files that cannot be decoded."""
    for check in checks:
        if check.status == "unreadable":
            yield from _block(check, check.files)


def _listed(checks: Sequence[Check]) -> Iterator[str]:
    """Yield lines that name copies, each with the first of its kind."""
    for check in checks:
        if check.copies:
            yield from _block(check, list(pairs(check.copies)))


def _block(check: Check, lines: Sequence[str]) -> Iterator[str]:
    yield f"\n{cell(check.dataset)} {check.split}: {cell(check.detail)}"
    yield from (f"  {cell(line)}" for line in lines[:_LISTED])
    if len(lines) > _LISTED:
        yield f"  and {len(lines) - _LISTED} more; --json lists all"


def _copies(chosen: ResolvedPlugin, name: str, finding: Finding, checks: Mapping[str, Check]) -> Check:
    """Return the check of a finding; published data are as they are, and what their spec lists is known."""
    spec, where = chosen.spec, "+".join(finding.splits)
    assert isinstance(spec, DatasetSpec)
    items = "texts" if spec.kind == "text" else spec.kind
    what = {"repeated": "within a class", "conflicting": "into another class", "shared": "into another split"}
    known = spec.known_shared({split: check.digest for split, check in checks.items()}) or ()
    unknown = [digest for digest in finding.digests if digest not in known]
    if finding.kind == "shared":
        failed = bool(unknown)
        told = f", {len(unknown)} of them not declared" if unknown else ", all of them declared"
    else:
        failed, told = not checks[where].expected and checks[where].status != "known copy", ""
    detail = f"{items} copied {what[finding.kind]}: {finding.copies}{told}"
    return Check(name, where, finding.kind, images=finding.copies, detail=detail, copies=finding.groups, failed=failed)


def _compared(chosen: ResolvedPlugin, name: str, split: str, loaded: ClassSplit, place: Home) -> Check:
    spec = chosen.spec
    assert isinstance(spec, DatasetSpec)
    declared = spec.declared(chosen.params) or Declared({}, {})
    digest, expected = split_digest(loaded), declared.digests.get(split, "")
    size = declared.sizes.get(split)
    classes, images = len(loaded.names), len(loaded.images)
    status, detail = ("ok", "") if expected else ("unverified", "the data set declares no digest")
    if spec.copies and digest != expected:
        expected, detail = "", spec.copy_name(split, digest)
        status = "unverified" if detail == UNKNOWN_COPY else "known copy"
    wrong_size = size is not None and (size.classes, size.images) != (classes, images)
    if wrong_size or (expected and digest != expected):
        status, folder = "differs", place.dataset_cache(spec.cache_name)
        remedy = f"move {folder} elsewhere and run again" if spec.download else "please report it to its author"
        detail = f"{name} {split} has digest {digest[:12]}, expected {expected[:12]}; {remedy}"
    return Check(name, split, status, classes, images, digest, expected, detail, failed=status == "differs")
