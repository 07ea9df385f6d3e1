"""The commands ``run`` and ``predict`` as functions, for users of ``import metabench``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.data.image_decoding import FORM
from metabench.errors import UsageError
from metabench.execution.launcher import attempt_suite, planned_suite_runs, run_selection
from metabench.execution.prediction_request import choose_weights, prediction_request
from metabench.execution.session import Session
from metabench.planning import arguments
from metabench.planning.arguments import Converter, convert_arguments
from metabench.planning.selection import LISTS, Selection
from metabench.planning.suites import find_suite
from metabench.records.loading import named_record
from metabench.registry.registry import load_registry
from metabench.reports.prediction_tables import PREDICTION_COLUMNS, prediction_rows
from metabench.reports.rows import outcome_rows, to_frame
from metabench.utils.console import Console
from metabench.utils.home import Home

if TYPE_CHECKING:
    import pandas as pd

RUN_ARGUMENTS: Mapping[str, Converter] = {
    "algo": arguments.as_names,
    "shots": arguments.as_numbers,
    "ways": arguments.as_numbers,
    "dataset": arguments.as_names,
    "backbone": arguments.as_names,
    "seeds": arguments.as_numbers,
    "suite": arguments.as_path_text,
    "home": arguments.optional(arguments.as_path_text),
    "data": arguments.optional(arguments.as_path_text),
    "device": arguments.as_text,
    "rerun": arguments.as_flag,
    "quiet": arguments.as_flag,
    "plugins": arguments.as_paths,
    "query": arguments.optional(arguments.as_number),
    "protocol": arguments.as_text,
    "episodes": arguments.optional(arguments.as_number),
    "episode_seed": arguments.as_number,
    "sampling": arguments.as_text,
    "until_ci": arguments.optional(arguments.as_real),
    "bound": arguments.as_text,
    "precision": arguments.as_text,
    "checkpoint": arguments.optional(arguments.as_path),
    "settings": arguments.as_settings,
    "split": arguments.as_text,
    "train_dataset": arguments.as_text,
}
PREDICT_ARGUMENTS: Mapping[str, Converter] = {
    "support": arguments.as_path,
    "query": arguments.as_paths,
    "algo": arguments.as_text,
    "backbone": arguments.as_text,
    "checkpoint": arguments.optional(arguments.as_path),
    "run": arguments.optional(arguments.as_path_text),
    "home": arguments.optional(arguments.as_path_text),
    "plugins": arguments.as_paths,
    "quiet": arguments.as_flag,
    "settings": arguments.optional(arguments.as_settings),
    "size": arguments.as_number,
    "fit": arguments.as_text,
    "colour": arguments.as_text,
    "one_by_one": arguments.as_flag,
    "skip_bad": arguments.as_flag,
    "device": arguments.as_text,
}
_LISTS = {"shots": "shots", "ways": "ways", "dataset": "datasets", "backbone": "backbones", "seeds": "seeds"}
"""Arguments of several values, to the field of `Selection` that they fill."""
_FIELDS = tuple(field.name for field in dataclasses.fields(Selection) if field.name not in LISTS)
_DEFAULTS: Mapping[str, Any] = {"data": None, "device": "auto", "rerun": False, "quiet": True, "plugins": ()}


def run(
    algo: str | Sequence[str] = (),
    *,
    shots: int | Sequence[int] = (),
    ways: int | Sequence[int] = (),
    dataset: str | Sequence[str] = (),
    backbone: str | Sequence[str] = (),
    seeds: int | Sequence[int] = (),
    suite: str | Path = "",
    home: str | Path | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Run benchmarks and return a pandas DataFrame, one row per run, as ``metabench run`` prints it.

    Args:
        algo, shots, ways, dataset, backbone, seeds: one value or several; every combination is a run. The defaults are
            those of the command line: shots and ways of the protocol, the algorithm's own backbone, seed 0 and the
            generated dataset.
        suite: name or file of a suite, which says what is measured instead. A run of a suite that cannot be measured
            does not stop the others: its ``status`` is ``skipped`` and its ``note`` says why.
        home: folder of results, as ``--home``.
        options: data, device, rerun and quiet, as the options of ``metabench run``; plugins, local plugin files as
            ``--plugin``; and further fields of `metabench.planning.selection.Selection`: query, episodes, episode_seed,
            sampling, until_ci, bound, precision, protocol, checkpoint, split, train_dataset, and settings, a dictionary
            of what ``--set`` takes, as in ``{"train.episodes": 60}``.

    Raises:
        MetabenchError: what the command line would print as an error.
    """
    named: dict[str, Any] = {
        "algo": algo,
        "shots": shots,
        "ways": ways,
        "dataset": dataset,
        "backbone": backbone,
        "seeds": seeds,
        "suite": suite,
        "home": home,
    }
    asked = convert_arguments("run", {**_DEFAULTS, **named, **options}, RUN_ARGUMENTS)
    if not asked["algo"]:
        raise UsageError(
            "cannot run: no algorithm given. Pass algo, the name of an algorithm or several (see 'metabench list "
            "algorithms')"
        )
    given = {field: asked[name] for name, field in _LISTS.items() if asked[name]}
    given |= {name: asked[name] for name in _FIELDS if name in asked}
    registry = load_registry(asked["plugins"])
    place, console = Home.resolve(asked["home"], asked["data"]), Console(quiet=asked["quiet"])
    session = Session(place, console, asked["device"], rerun=asked["rerun"], registry=registry)
    if not asked["suite"]:
        return to_frame(outcome_rows(run_selection(Selection(asked["algo"], **given), session)))
    chosen = find_suite(asked["suite"], registry)
    runs = planned_suite_runs(chosen, asked["algo"], given, session)
    return to_frame(outcome_rows(attempt_suite(chosen, runs, session)))


def predict(
    support: str | Path,
    query: str | Path | Sequence[str | Path],
    *,
    algo: str = "",
    backbone: str = "",
    checkpoint: str | Path | None = None,
    run: str | Path | None = None,
    home: str | Path | None = None,
    plugins: str | Path | Sequence[str | Path] = (),
    quiet: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Label images from a few examples of each class and return a pandas DataFrame, one row per image.

    The columns are those of the command's table, and the probability of each class.

    Args:
        support: a folder with one sub-folder of images for each class.
        query: image files, and folders of them at any depth.
        algo, backbone, checkpoint: as the options of ``metabench predict``; algo and backbone default to those that
            `checkpoint` was trained with.
        run: first digits of the key of a stored run, or the file of its record: it says all three.
        home: folder of the stored runs; None for METABENCH_HOME or the user's own.
        plugins: local plugin files, as ``--plugin``.
        quiet: no progress.
        options: settings (``{"algo.x": 1}``), size, fit, colour, one_by_one, skip_bad, device.

    Raises:
        MetabenchError: what the command line would print as an error.
    """
    import pandas as pd

    from metabench.evaluation.prediction import label_images

    named = {"support": support, "query": query, "algo": algo, "backbone": backbone, "checkpoint": checkpoint}
    named |= {"run": run, "home": home}
    asked = convert_arguments("predict", {**named, "plugins": plugins, "quiet": quiet, **options}, PREDICT_ARGUMENTS)
    registry, console = load_registry(asked.pop("plugins")), Console(quiet=asked.pop("quiet"))
    form, place = {name: asked.pop(name) for name in FORM if name in asked}, Home.resolve(asked.pop("home"))
    word = asked.pop("run")
    named_run = None if word is None else named_record(word, place, console.warn)
    asked["checkpoint"] = choose_weights(asked["checkpoint"], named_run, place)
    request = prediction_request(registry, form=form, **asked)
    labelled = label_images(request, console)
    shares = [{f"p({name})": share for name, share in image.probabilities.items()} for image in labelled]
    return pd.concat(
        [pd.DataFrame(prediction_rows(labelled), columns=list(PREDICTION_COLUMNS)), pd.DataFrame(shares)], axis=1
    )
