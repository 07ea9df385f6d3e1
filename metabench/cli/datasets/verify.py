"""``metabench datasets verify``: read datasets in full, compare their digests, find copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from metabench.cli.datasets.class_splits import choose_dataset, class_split_name, class_splits
from metabench.cli.datasets.copy_findings import copy_pairs
from metabench.cli.datasets.verification import SplitCheck, verify_splits
from metabench.cli.options import data_option, home_option, json_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.rendering import cell, columns, echo_json
from metabench.cli.run_options import parse_settings
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.planning.folder_labels import folder_labels
from metabench.registry.registry import nameless
from metabench.utils.home import Home

_LISTED = 20
"""Files, or copies, of a kind that are named in text; JSON has all."""
_MEANINGS = {
    "repeated": "Scores are too high where support and query are the same item",
    "conflicting": "An item with several labels cannot be right with all of them",
    "shared": "Scores are too high where items are measured that were learned from",
}
"""Effect of copies of each kind on scores."""


@click.command("verify")
@click.argument("names", nargs=-1)
@click.option("--skip-bad", is_flag=True, help="Skip unreadable files, as 'run --skip-bad' does.")
@click.option(
    "--set", "settings", multiple=True, callback=parse_settings, metavar="data.NAME=VALUE",
    help="Set a parameter of the datasets NAMES, as 'run --set' does.",
)  # fmt: skip
@json_option
@home_option
@data_option
def verify_datasets(
    names: tuple[str, ...],
    skip_bad: bool,
    settings: Mapping[str, str],
    as_json: bool,
    home: str | None,
    data: str | None,
) -> None:
    """Read datasets NAMES in full, compare them with their published digests, and find items that they hold twice.

    Nothing is downloaded. Copies are named below the table, by file or by class and place; beyond twenty of a kind
    --json lists all.

    Without NAMES every dataset is checked, and one whose files are not here is no failure. Where a dataset has
    several class splits (folds) each of them is.
    """
    folders, registry = Home.resolve(home, data), current_registry()
    every = (name for name, spec in registry.datasets.items() if not nameless(spec))
    params = _params(settings, names, skip_bad)
    chosen = [fold for name in names or every for fold in class_splits(choose_dataset(registry, name, params))]
    titles = [class_split_name(fold, title) for fold, title in zip(chosen, folder_labels(chosen), strict=True)]
    checks = [
        check for fold, title in zip(chosen, titles, strict=True) for check in verify_splits(fold, folders, title)
    ]
    error = _first_error(checks, bool(names))
    if as_json:
        echo_json(checks)
    else:
        click.echo("\n".join([_table(checks, error), *_unreadable_files(checks), *_listed_copies(checks)]))
    if error:
        raise error


def _params(settings: Mapping[str, str], names: Sequence[str], skip_bad: bool) -> dict[str, Any]:
    """Return the parameters of the datasets that the options set."""
    params: dict[str, Any] = {"skip_bad": True} if skip_bad else {}
    for setting, value in settings.items():
        scope, _, name = setting.partition(".")
        if scope != "data" or not names:
            raise UsageError(f"--set {setting}: name a dataset, and write data.NAME=VALUE")
        params[name] = value
    return params


def _table(checks: Sequence[SplitCheck], error: MetabenchError | None) -> str:
    header = ("dataset", "split", "status", "classes", "images", "digest", "detail")
    rows = []
    for check in checks:
        detail = "as said below" if error and check.detail == str(error) else check.detail
        rows.append((check.dataset, check.split, check.status, check.classes, check.images, check.digest[:12], detail))
    return columns(header, rows)


def _first_error(checks: Sequence[SplitCheck], named: bool) -> MetabenchError | None:
    """Return the error that the command ends with; data may be missing unless the user `named` them."""
    for check in checks:
        if check.failed and check.copies:
            where = f"{check.dataset} {check.split}"
            return MetabenchError(f"{where}: {check.detail}. {_MEANINGS[check.status]}; --json lists all of them")
        if check.failed:
            return MetabenchError(check.detail)
        if check.status == "rejected":
            return UsageError(check.detail)
    return next((MissingError(check.detail) for check in checks if named and check.status == "missing"), None)


def _unreadable_files(checks: Sequence[SplitCheck]) -> Iterator[str]:
    """Yield lines that name the files that cannot be decoded."""
    for check in checks:
        if check.status == "unreadable":
            yield from _block(check, check.files)


def _listed_copies(checks: Sequence[SplitCheck]) -> Iterator[str]:
    """Yield lines that name copies, each with the first of its kind."""
    for check in checks:
        if check.copies:
            yield from _block(check, list(copy_pairs(check.copies)))


def _block(check: SplitCheck, lines: Sequence[str]) -> Iterator[str]:
    yield f"\n{cell(check.dataset)} {check.split}: {cell(check.detail)}"
    yield from (f"  {cell(line)}" for line in lines[:_LISTED])
    if len(lines) > _LISTED:
        yield f"  and {len(lines) - _LISTED} more; --json lists all"
