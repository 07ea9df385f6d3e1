"""``metabench predict``: label new images from a few examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metabench.cli.options import check_file, home_option
from metabench.cli.plugin_option import current_registry
from metabench.cli.record_argument import resolve_record
from metabench.cli.run_options import parse_settings
from metabench.data.image_decoding import COLOUR_MODES, FIT_MODES, FORM
from metabench.execution.prediction_request import ALGORITHM, choose_weights, prediction_request
from metabench.reports.prediction_tables import prediction_csv, prediction_json, prediction_text
from metabench.utils.console import Console
from metabench.utils.home import Home

_PATH = click.Path(path_type=Path)


@click.command("predict")
@click.option("--support", required=True, type=_PATH, metavar="DIR", help="Examples: class folders, or a labels.csv.")
@click.option(
    "--query", multiple=True, required=True, type=_PATH, metavar="FILE|DIR", help="Images, or folders of them."
)
@click.option(
    "--run", "run_key", metavar="RECORD", help="Label as this run did: first digits of its key, or a record file."
)
@click.option(
    "--algo", metavar="NAME", default="", help=f"The algorithm.  [default: that of --checkpoint, else {ALGORITHM}]"
)
@click.option(
    "--backbone",
    metavar="NAME",
    default="",
    help="The backbone.  [default: that of --checkpoint, else the algorithm's own]",
)
@click.option("--checkpoint", type=_PATH, metavar="FILE", help="Weights of a trained run.")
@click.option(
    "--set", "settings", multiple=True, callback=parse_settings, metavar="SCOPE.NAME=VALUE",
    help="Set a parameter: algo.*, backbone.*; see 'metabench show NAME'.",
)  # fmt: skip
@click.option(
    "--size", type=int, help="Side to which images are resized, in pixels.  [default: that of the training, else 84]"
)
@click.option(
    "--fit", type=click.Choice(FIT_MODES),
    help="How images become square; see 'metabench show folder'.  [default: that of the training, else crop]",
)  # fmt: skip
@click.option(
    "--colour", type=click.Choice(COLOUR_MODES), help="Colour channels.  [default: those of the training, else rgb]"
)
@click.option("--one-by-one", is_flag=True, help="Label each query alone, even with a transductive algorithm.")
@click.option("--skip-bad", is_flag=True, help="Skip unreadable files.")
@click.option("--device", metavar="DEVICE", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@home_option
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write a CSV file.")
@click.option("--quiet", "-q", is_flag=True, help="Hide progress.")
def predict_command(
    run_key: str | None, csv_file: Path | None, as_json: bool, quiet: bool, home: str | None, **options: Any
) -> None:
    """Label new images from a few examples of each class.

    The support folder has one sub-folder of images for each class, or a labels.csv. Needs a pre-trained --backbone, a
    stored run (--run, see 'metabench list runs') or the weights of one (--checkpoint). Both say which algorithm,
    backbone and size of images they were trained with.
    """
    from metabench.evaluation.prediction import label_images
    from metabench.utils.atomic_files import write_atomic

    check_file("--csv", csv_file)
    console, given = Console(quiet=quiet), {name: options.pop(name) for name in FORM}
    form = {name: value for name, value in given.items() if value is not None}
    run = None if run_key is None else resolve_record(run_key, home)
    options["checkpoint"] = choose_weights(options["checkpoint"], run, Home.resolve(home))
    request = prediction_request(current_registry(), form=form, **options)
    predictions = label_images(request, console)
    if csv_file is not None:
        write_atomic(csv_file, prediction_csv(predictions))
        console.note(f"wrote {csv_file}")
    click.echo(prediction_json(predictions) if as_json else prediction_text(predictions))
