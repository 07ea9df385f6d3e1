"""``metabench leaderboard``: add records to a leaderboard folder, build its pages, check them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metabench.cli.record_argument import resolve_record
from metabench.errors import MetabenchError, UsageError
from metabench.utils.atomic_files import replacing
from metabench.utils.hashing import file_sha256
from metabench.utils.home import Home
from metabench.utils.paths import is_folder
from metabench.utils.text import printable

if TYPE_CHECKING:
    from metabench.leaderboard.diff import Changes
    from metabench.records.schema import Record

_HEX = re.compile("[0-9a-f]{64}")

_DIR = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    default=Path("leaderboards"),
    show_default=True,
    help="Folder of the leaderboard.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group("leaderboard")
def leaderboard_group() -> None:
    """Build and check leaderboards from records."""


@leaderboard_group.command("add")
@click.argument("records", nargs=-1, required=True, metavar="RECORD...")
@_DIR
@click.option("--home", metavar="DIR", help="Folder of the store in which keys are looked up.")
@_JSON
def add_records(records: tuple[str, ...], folder: Path, home: str | None, as_json: bool) -> None:
    """Copy records, all or none, to the leaderboard, with their weights from the store.

    RECORD is the path of a record file, or the first digits of the key of a stored run.
    """
    from metabench.leaderboard import Leaderboard

    loaded = [resolve_record(record, home).record for record in records]
    added = Leaderboard(folder).add(loaded)
    resolved = Home.resolve(home)
    weights = [copy for record in loaded if (copy := _copy_weights(record, resolved, folder))]
    _show("added", [*added, *dict.fromkeys(weights)], as_json)


def _copy_weights(record: Record, home: Home, folder: Path) -> Path | None:
    """Copy a record's weights to ``weights/<sha256>.safetensors``; None if absent, changed or large."""
    from metabench.leaderboard.diff import MAX_WEIGHTS

    key, sha256 = "" if record.training is None else record.training.training_key, record.weights_sha256
    source = home.weights(key)
    if not (_HEX.fullmatch(key) and _HEX.fullmatch(sha256) and source.is_file()):
        return None
    if source.stat().st_size > MAX_WEIGHTS or file_sha256(source) != sha256:
        return None
    target = folder / "weights" / f"{sha256}.safetensors"
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
    return target


@leaderboard_group.command("check")
@_DIR
@click.option("--against", required=True, metavar="REF", help="A git revision, such as main or HEAD~1.")
@_JSON
@click.pass_context
def check_contribution(context: click.Context, /, folder: Path, against: str, as_json: bool) -> None:
    """Print what a contribution adds or changes.

    Exit code 1 if a record was removed or altered that invalidated.toml does not list, if weights belong to no
    record, or if anything in the folder is not valid.
    """
    from metabench.leaderboard.diff import changes

    _need_folder(folder)
    changed = changes(folder, against)
    if as_json:
        click.echo(json.dumps(changed.as_json(), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(changed, against)))
    for line in changed.refused:
        click.echo(f"refused: {printable(line)}", err=True)
    if changed.refused:
        context.exit(1)


def _lines(changed: Changes, against: str) -> list[str]:
    counts = f"{len(changed.added)} added, {len(changed.removed)} removed, {len(changed.altered)} altered"
    lines = [f"against {against}: records {counts}, {len(changed.invalidated)} invalidated"]
    for title, files in (("added", changed.added), ("invalidated", changed.invalidated)):
        lines += [f"{title} records/{file}" for file in files]
    where = ""
    for change in changed.ranks:
        if change.where != where:
            where = change.where
            lines.append(f"{where}:")
        if change.before is None:
            what = f"new, rank {change.after}"
        else:
            what = "gone" if change.after is None else f"rank {change.before} -> {change.after}"
        lines.append(f"  {change.row}  {change.score}  {what}")
    return [printable(line) for line in [*lines, *(f"note: {remark}" for remark in changed.remarks)]]


@leaderboard_group.command("html")
@_DIR
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file.  [default: DIR/index.html]")
@_JSON
def write_page(folder: Path, out: Path | None, as_json: bool) -> None:
    """Write the HTML page with tables and pictures ('build' writes it too)."""
    from metabench.leaderboard import Leaderboard
    from metabench.leaderboard.folder import HTML_PAGE
    from metabench.utils.atomic_files import write_atomic

    _need_folder(folder)
    target = out or folder / HTML_PAGE
    if not is_folder(target.absolute().parent):
        raise UsageError(f"cannot write --out {target}: folder {target.absolute().parent} not found. Create it first")
    prefix = Path(os.path.relpath(folder.absolute(), target.absolute().parent)).as_posix()
    write_atomic(target, Leaderboard(folder).html("" if prefix == "." else f"{prefix}/"))
    _show("wrote", [target], as_json)


def _need_folder(folder: Path) -> None:
    if not is_folder(folder):
        raise UsageError(f"cannot read the leaderboard: folder {folder} not found. Pass its folder with --dir")


@leaderboard_group.command("build")
@_DIR
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a page is out of date.")
@_JSON
def build_pages(folder: Path, check: bool, as_json: bool) -> None:
    """Generate the pages from the records and the published values."""
    from metabench.leaderboard import Leaderboard

    _need_folder(folder)
    if not check:
        _show("changed", Leaderboard(folder).build(), as_json)
        return
    stale = Leaderboard(folder).stale()
    if as_json:
        _show("stale", stale, as_json)
    if stale:
        names = ", ".join(map(str, stale))
        raise MetabenchError(f"stale: {names}; run 'metabench leaderboard build' and commit its pages")


def _show(what: str, paths: Sequence[Path], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({what: [path.as_posix() for path in paths]}, indent=2, ensure_ascii=False))
        return
    for path in paths:
        click.echo(f"{what} {path}")
