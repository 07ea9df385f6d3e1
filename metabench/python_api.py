"""What ``import metabench`` gives a user: the commands ``run`` and ``predict`` as functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.errors import UsageError
from metabench.execution.launcher import attempt_suite, planned_suite, run_selection
from metabench.execution.prediction_request import request_of
from metabench.execution.session import Session
from metabench.planning import arguments
from metabench.planning.arguments import Converter, converted
from metabench.planning.planner import LISTS, Selection
from metabench.planning.suites import find_suite
from metabench.registry.registry import load_registry
from metabench.reports.prediction_tables import PREDICTION_COLUMNS, prediction_rows
from metabench.reports.rows import outcome_rows, to_frame
from metabench.utils.console import Console
from metabench.utils.home import Home

if TYPE_CHECKING:
    import pandas as pd

_RUN_ARGUMENTS: Mapping[str, Converter] = {
    "algo": arguments.names,
    "shots": arguments.numbers,
    "ways": arguments.numbers,
    "dataset": arguments.names,
    "backbone": arguments.names,
    "seeds": arguments.numbers,
    "suite": arguments.path_text,
    "home": arguments.optional(arguments.path_text),
    "data": arguments.optional(arguments.path_text),
    "device": arguments.text,
    "rerun": arguments.flag,
    "quiet": arguments.flag,
    "plugins": arguments.paths,
    "query": arguments.optional(arguments.number),
    "protocol": arguments.text,
    "episodes": arguments.optional(arguments.number),
    "episode_seed": arguments.number,
    "sampling": arguments.text,
    "until_ci": arguments.optional(arguments.real),
    "bound": arguments.text,
    "precision": arguments.text,
    "checkpoint": arguments.optional(arguments.path),
    "settings": arguments.settings,
    "split": arguments.text,
    "train_dataset": arguments.text,
}
_PREDICT_ARGUMENTS: Mapping[str, Converter] = {
    "support": arguments.path,
    "query": arguments.paths,
    "algo": arguments.text,
    "backbone": arguments.text,
    "checkpoint": arguments.optional(arguments.path),
    "plugins": arguments.paths,
    "quiet": arguments.flag,
    "settings": arguments.optional(arguments.settings),
    "size": arguments.number,
    "fit": arguments.text,
    "colour": arguments.text,
    "one_by_one": arguments.flag,
    "skip_bad": arguments.flag,
    "device": arguments.text,
}
_LISTS = {"shots": "shots", "ways": "ways", "dataset": "datasets", "backbone": "backbones", "seeds": "seeds"}
"""Arguments of several values, to the field of `Selection` that they fill."""
_FIELDS = tuple(field.name for field in dataclasses.fields(Selection) if field.name not in LISTS)


def run(
    algo: str | Sequence[str] = (),
    shots: int | Sequence[int] = (),
    ways: int | Sequence[int] = (),
    dataset: str | Sequence[str] = (),
    backbone: str | Sequence[str] = (),
    seeds: int | Sequence[int] = (),
    suite: str | Path = "",
    home: str | Path | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    rerun: bool = False,
    quiet: bool = True,
    plugins: str | Path | Sequence[str | Path] = (),
    **options: Any,
) -> pd.DataFrame:
    """Run benchmarks and return a pandas DataFrame, one row per run, as ``metabench run`` prints it.

    Args:
        algo, shots, ways, dataset, backbone, seeds: one value or several; every combination is a run. What is not given
            is as on the command line: shots and ways the protocol's own, the backbone the algorithm's, seed 0 and the
            generated data set.
        suite: the name or the file of a suite, which says what is measured instead. A run of it that cannot be made
            stops no other: its ``status`` is ``skipped`` and its ``note`` says why.
        home, data, device, rerun, quiet: as the options of ``metabench run``.
        plugins: loose plugin files, as ``--plugin``.
        options: further fields of `metabench.planning.planner.Selection`: query, episodes, episode_seed, sampling,
            until_ci, bound, precision, protocol, checkpoint, split, train_dataset, and settings, a dictionary of what
            ``--set`` takes, as in ``{"train.episodes": 60}``.

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
    }
    named |= {"suite": suite, "home": home, "data": data, "device": device, "rerun": rerun, "quiet": quiet}
    asked = converted("run", {**named, "plugins": plugins, **options}, _RUN_ARGUMENTS)
    if not asked["algo"]:
        raise UsageError("run() needs algo: the name of an algorithm, or several; see 'metabench list algorithms'")
    given = {field: asked[name] for name, field in _LISTS.items() if asked[name]}
    given |= {name: asked[name] for name in _FIELDS if name in asked}
    registry = load_registry(asked["plugins"])
    place, console = Home.resolve(asked["home"], asked["data"]), Console(quiet=asked["quiet"])
    session = Session(place, console, asked["device"], asked["rerun"], registry=registry)
    if not asked["suite"]:
        return to_frame(outcome_rows(run_selection(Selection(asked["algo"], **given), session)))
    found = find_suite(asked["suite"], registry)
    return to_frame(outcome_rows(attempt_suite(found, planned_suite(found, asked["algo"], given, session), session)))


def predict(
    support: str | Path,
    query: str | Path | Sequence[str | Path],
    algo: str = "",
    backbone: str = "",
    checkpoint: str | Path | None = None,
    plugins: str | Path | Sequence[str | Path] = (),
    quiet: bool = True,
    **options: Any,
) -> Any:
    """Label images from a few examples of each class and return a pandas DataFrame, one row per image.

    Args:
        support: a folder with one sub-folder of images for each class.
        query: image files, and folders of them at any depth.
        algo, backbone, checkpoint: as the options of ``metabench predict``; what `checkpoint` was trained as, unless
            said otherwise.
        plugins: loose plugin files, as ``--plugin``.
        options: settings (``{"algo.x": 1}``), size, fit, colour, one_by_one, skip_bad, device.

    The columns are those of the command's table and one with the probability of each class.

    Raises:
        MetabenchError: what the command line would print as an error.
    """
    import pandas as pd

    from metabench.evaluation.prediction import predict as label

    named = {"support": support, "query": query, "algo": algo, "backbone": backbone, "checkpoint": checkpoint}
    asked = converted("predict", {**named, "plugins": plugins, "quiet": quiet, **options}, _PREDICT_ARGUMENTS)
    registry, console = load_registry(asked.pop("plugins")), Console(quiet=asked.pop("quiet"))
    found = label(request_of(registry, **asked), console)
    every = [{f"p({name})": share for name, share in each.probabilities.items()} for each in found]
    rows = pd.DataFrame(prediction_rows(found), columns=list(PREDICTION_COLUMNS))
    return pd.concat([rows, pd.DataFrame(every)], axis=1)
