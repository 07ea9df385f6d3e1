"""``metabench.run``: the command of that name for Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.console import Console
from metabench.home import Home
from metabench.launch import attempt_suite, outcome_rows, planned_suite, run_selection
from metabench.plan import Selection
from metabench.registry import load_registry
from metabench.session import Session
from metabench.suites import find_suite
from metabench.tables import to_frame

if TYPE_CHECKING:
    import pandas as pd


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
        options: further fields of `metabench.plan.Selection`: query, episodes, episode_seed, precision,
            protocol, checkpoint, settings.

    Raises:
        MetabenchError: what the command line would print as an error.
    """
    if isinstance(options.get("checkpoint"), str):
        options["checkpoint"] = Path(options["checkpoint"])
    lists = {"shots": shots, "ways": ways, "datasets": dataset, "backbones": backbone, "seeds": seeds}
    given = {**{name: _listed(value) for name, value in lists.items() if _listed(value)}, **options}
    registry = load_registry(map(Path, _listed(plugins)))
    session = Session(Home.resolve(home, data), Console(quiet=quiet), device, rerun, registry=registry)
    if not suite:
        return to_frame(outcome_rows(run_selection(Selection(_listed(algo), **given), session)))
    found = find_suite(str(suite), registry)
    return to_frame(outcome_rows(attempt_suite(found, planned_suite(found, _listed(algo), given, session), session)))


def _listed(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, (str, int, Path)) else tuple(value)
