"""``metabench export``: write results for other tools."""

from __future__ import annotations

import json
from pathlib import Path

import click

from metabench.cli.options import check_file, home_option, json_option
from metabench.errors import UsageError
from metabench.utils.text import pluralise

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("export")
@click.argument("sources", nargs=-1, metavar="[RECORD|DIR|KEY]...")
@click.option("--csv", type=_FILE, help="Write a CSV file.")
@click.option("--jsonl", type=_FILE, help="Write one JSON object per line.")
@click.option("--parquet", type=_FILE, help="Write a Parquet file (needs pyarrow).")
@click.option("--per-episode", is_flag=True, help="One row for each episode instead of one for each run.")
@home_option
@json_option
def export_command(
    sources: tuple[str, ...], per_episode: bool, home: str | None, as_json: bool, **files: Path | None
) -> None:
    """Write the results of successful runs to one or more files.

    Writes all runs in the store, or only those in the given record files, folders (such as a leaderboard) and keys.
    """
    targets = {form: path for form, path in files.items() if path is not None}
    if not targets:
        raise UsageError("cannot export: no output file given. Pass --csv FILE, --jsonl FILE or --parquet FILE")
    for form, path in targets.items():
        check_file(f"--{form}", path)
    from metabench.reports.frames import load_results, write_frame

    frame = load_results(*sources, per="episode" if per_episode else "run", home=home)
    for form, path in targets.items():
        write_frame(frame, path, form)
    if as_json:
        written = {form: path.as_posix() for form, path in targets.items()}
        click.echo(json.dumps({"rows": len(frame), "written": written}, indent=2))
    else:
        click.echo("\n".join(f"wrote {pluralise(len(frame), 'row')} to {path}" for path in targets.values()))
