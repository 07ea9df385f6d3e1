"""``metabench.run``: the command of that name for Python."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.console import Console
from metabench.errors import UsageError, did_you_mean
from metabench.home import Home
from metabench.launch import attempt_suite, outcome_rows, planned_suite, run_selection
from metabench.plan import LISTS, Selection
from metabench.registry import load_registry
from metabench.session import Session
from metabench.suites import find_suite
from metabench.tables import to_frame

if TYPE_CHECKING:
    import pandas as pd

_NAMED = ("algo", "shots", "ways", "dataset", "backbone", "seeds", "suite", "home", "data", "device", "rerun", "quiet")


def run(
    algo: str | Sequence[str],
    shots: int | Sequence[int] = (),
    ways: int | Sequence[int] = (),
    dataset: str | Sequence[str] = (),
    backbone: str | Sequence[str] = (),
    seeds: int | Sequence[int] = (),
    suite: str | Path = "",
    home: str | None = None,
    data: str | None = None,
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
        options: further fields of `metabench.plan.Selection`: query, episodes, episode_seed, sampling, until_ci, bound,
            precision, protocol, checkpoint, split, train_dataset, and settings, a dictionary of what ``--set`` takes,
            as in ``{"train.episodes": 60}``.

    Raises:
        MetabenchError: what the command line would print as an error.
    """
    known = {field.name for field in dataclasses.fields(Selection)} - set(LISTS)
    for name in options:
        if name not in known:
            more = f'; write settings={{"train.episodes": {options[name]}}}' if name == "train_episodes" else ""
            raise UsageError(f"run() takes no {name}={more or did_you_mean(name, [*known, *_NAMED])}")
    if isinstance(options.get("checkpoint"), str):
        options["checkpoint"] = Path(options["checkpoint"])
    for name in ("query", "episodes", "episode_seed"):
        if options.get(name) is not None:
            (options[name],) = _numbers(name, options[name])
    shots, ways, seeds = _numbers("shots", shots), _numbers("ways", ways), _numbers("seeds", seeds)
    lists = {"shots": shots, "ways": ways, "datasets": dataset, "backbones": backbone, "seeds": seeds}
    given = {**{name: _listed(value) for name, value in lists.items() if _listed(value)}, **options}
    registry = load_registry(map(Path, _listed(plugins)))
    session = Session(Home.resolve(home, data), Console(quiet=quiet), device, rerun, registry=registry)
    if not suite:
        return to_frame(outcome_rows(run_selection(Selection(_listed(algo), **given), session)))
    found = find_suite(str(suite), registry)
    return to_frame(outcome_rows(attempt_suite(found, planned_suite(found, _listed(algo), given, session), session)))


def _listed(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (str, int, Path)):
        return (value,)
    try:
        return tuple(value)
    except TypeError:
        raise UsageError(
            f"give names, not a {type(value).__name__}; an algorithm, data set or backbone of your own is a plugin: "
            "'metabench new' writes its file, and plugins=FILE takes it"
        ) from None


def _numbers(name: str, value: Any) -> tuple[int, ...]:
    try:
        several = isinstance(value, Iterable) and not isinstance(value, str)
        return tuple(operator.index(each) for each in (value if several else (value,)))
    except TypeError:
        raise UsageError(f"{name} takes whole numbers, not {value!r}") from None
