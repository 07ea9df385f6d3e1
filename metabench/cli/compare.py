"""``metabench compare``: test whether runs differ."""

from __future__ import annotations

from pathlib import Path

import click

from metabench.cli.options import check_file, home_option
from metabench.cli.record_argument import resolve_record
from metabench.errors import UsageError


@click.command("compare")
@click.argument("records", nargs=-1, required=True, metavar="RECORD RECORD...")
@click.option(
    "--min-diff",
    type=float,
    metavar="POINTS",
    help="Smallest difference that matters; verdicts say whether it is reached.",
)
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg", help="Also draw the comparison."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
@home_option
def compare_command(
    records: tuple[str, ...],
    min_diff: float | None,
    plot: Path | None,
    as_json: bool,
    as_markdown: bool,
    home: str | None,
) -> None:
    """Compare every two runs that have the same dataset, way, shot and query.

    RECORD is the first digits of the key of a stored run ('metabench list runs'), or a record file. Runs on the same
    episodes are compared episode by episode. Methods that were all measured on the same two or more datasets are also
    ranked over the datasets.
    """
    from metabench.comparison.pairs import compare_all, rank_over_datasets
    from metabench.plotting.comparison_plot import comparison_picture
    from metabench.reports.comparison_tables import comparison_json, comparison_text
    from metabench.utils.atomic_files import write_atomic

    if as_json and as_markdown:
        raise UsageError("--json and --markdown exclude each other")
    if min_diff is not None and not 0 < min_diff <= 100:
        raise UsageError(f"--min-diff must be in (0, 100] points, not {min_diff:g}")
    if len(records) < 2:
        raise UsageError("cannot compare a single record. Pass at least two")
    check_file("--plot", plot)
    comparisons = compare_all([resolve_record(word, home).record for word in records], min_diff)
    ranked = rank_over_datasets(comparisons)
    if plot is not None:
        write_atomic(plot, comparison_picture(comparisons, ranked, min_diff).file())
    click.echo(comparison_json(comparisons, ranked) if as_json else comparison_text(comparisons, ranked, as_markdown))
    if plot is not None:
        click.echo(f"wrote {plot}", err=True)
