"""``metabench curve``: accuracy over the number of shots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from metabench.cli.options import check_file, home_option, plot_option
from metabench.errors import NothingMeasured, UsageError

if TYPE_CHECKING:
    from metabench.records.schema import Record


@click.command("curve")
@click.argument("sources", nargs=-1, metavar="[RECORD|DIR|KEY]...")
@click.option("--algo", metavar="NAME,...", default="", help="Only these algorithms, separated by commas.")
@click.option("--dataset", metavar="NAME,...", default="", help="Only these datasets, separated by commas.")
@click.option("--ways", metavar="N,...", default="", help="Only these numbers of classes, separated by commas.")
@plot_option
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write a CSV file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
@home_option
def curve_command(
    sources: tuple[str, ...],
    algo: str,
    dataset: str,
    ways: str,
    plot: Path | None,
    csv_file: Path | None,
    as_json: bool,
    as_markdown: bool,
    home: str | None,
) -> None:
    """Show accuracy by number of shots, and the gain from each number to the next.

    Reads all runs in the store, or only those in the given record files, folders (such as a leaderboard) and keys.
    Runs that differ only in their shots form one curve. 'metabench run --plot FILE.svg' draws the runs it measured.
    """
    from metabench.comparison.learning_curves import learning_curves
    from metabench.plotting.learning_curve_plot import learning_curve_picture
    from metabench.records.loading import load_records
    from metabench.reports.curve_tables import curve_csv, curve_json, curve_text
    from metabench.utils.atomic_files import write_atomic

    if as_json and as_markdown:
        raise UsageError("--json and --markdown exclude each other")
    check_file("--plot", plot)
    check_file("--csv", csv_file)
    wanted = {"algorithm": algo, "dataset": dataset, "way": ways}
    chosen = {name: {word.strip() for word in text.split(",")} for name, text in wanted.items() if text}
    records = [record for record in load_records(*sources, home=home) if _is_wanted(record, chosen)]
    if chosen and not records:
        asked = ", ".join(f"{name} {' or '.join(sorted(words))}" for name, words in chosen.items())
        raise NothingMeasured(f"no run has {asked}; see 'metabench list runs'")
    curves = learning_curves(records)
    if plot is not None:
        write_atomic(plot, learning_curve_picture(curves).file())
    if csv_file is not None:
        write_atomic(csv_file, curve_csv(curves))
    click.echo(curve_json(curves) if as_json else curve_text(curves, as_markdown))
    for path in filter(None, (plot, csv_file)):
        click.echo(f"wrote {path}", err=True)


def _is_wanted(record: Record, chosen: dict[str, set[str]]) -> bool:
    inputs = record.inputs
    values = {
        "algorithm": inputs.algorithm.name,
        "dataset": inputs.dataset.name,
        "way": str(inputs.protocol.params.get("way")),
    }
    return all(values[name] in words for name, words in chosen.items())
