"""``metabench predict``: label new images from a few examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metabench.cli.options import check_file
from metabench.cli.plugin_option import current_registry
from metabench.cli.run_options import parse_settings
from metabench.data.image_decoding import COLOUR_MODES, FIT_MODES, ImagePreprocessing
from metabench.execution.prediction_request import ALGORITHM, prediction_request
from metabench.reports.prediction_tables import prediction_csv, prediction_json, prediction_text
from metabench.utils.console import Console

_PATH = click.Path(path_type=Path)


@click.command("predict")
@click.option("--support", required=True, type=_PATH, metavar="DIR", help="Examples: class folders, or a labels.csv.")
@click.option(
    "--query", multiple=True, required=True, type=_PATH, metavar="FILE|DIR", help="Images, or folders of them."
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
@click.option("--size", default=84, show_default=True, help="Side to which images are resized, in pixels.")
@click.option(
    "--fit", default=FIT_MODES[0], show_default=True, type=click.Choice(FIT_MODES),
    help="How images become square; see 'metabench show folder'.",
)  # fmt: skip
@click.option(
    "--colour", default=COLOUR_MODES[0], show_default=True, type=click.Choice(COLOUR_MODES), help="Colour channels."
)
@click.option("--one-by-one", is_flag=True, help="Label each query alone, even with a transductive algorithm.")
@click.option("--skip-bad", is_flag=True, help="Skip unreadable files.")
@click.option("--device", metavar="DEVICE", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write a CSV file.")
@click.option("--quiet", "-q", is_flag=True, help="Hide progress.")
def predict_command(csv_file: Path | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Label new images from a few examples of each class.

    The support folder has one sub-folder of images for each class, or a labels.csv. Needs a pre-trained --backbone, or
    the weights of a trained run: --checkpoint names its algorithm and backbone; pass the --size and --colour of the
    images it was trained on.
    """
    from metabench.evaluation.prediction import label_images
    from metabench.utils.atomic_files import write_atomic

    check_file("--csv", csv_file)
    console, form = Console(quiet=quiet), ImagePreprocessing(*(options.pop(name) for name in ("size", "fit", "colour")))
    predictions = label_images(prediction_request(current_registry(), form=form, **options), console)
    if csv_file is not None:
        write_atomic(csv_file, prediction_csv(predictions))
        console.note(f"wrote {csv_file}")
    click.echo(prediction_json(predictions) if as_json else prediction_text(predictions))
