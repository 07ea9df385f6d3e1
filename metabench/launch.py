"""Run a plan: what is known comes from the store, the rest is measured; torch is loaded only if something is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench.console import Console
from metabench.data import ClassSplit, DataContext, split_digest
from metabench.environment import check_device_name
from metabench.home import Home
from metabench.keys import content_key
from metabench.plan import Choice, RunSpec, Selection, plan
from metabench.records import write_atomic
from metabench.registry import Registry, load_registry, load_target
from metabench.specs import DatasetSpec, defaults
from metabench.store import Store
from metabench.tables import Row, rows_from_records


@dataclass(frozen=True)
class Outcome:
    """A run's record, and whether it was there already."""

    record: Mapping[str, Any]
    cached: bool


class Session:
    """What runs share: where things are, how to report, which device.

    Args:
        home: the user's folder.
        console: progress and warnings.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        rerun: measure again what the store already holds.
        allow_download: fetch missing data.
    """

    def __init__(
        self,
        home: Home,
        console: Console,
        device: str = "auto",
        rerun: bool = False,
        allow_download: bool = True,
        registry: Registry | None = None,
    ) -> None:
        check_device_name(device)  # even where nothing is left to measure
        home.ensure()
        self.home, self.console, self.device_name = home, console, device
        self.rerun, self.allow_download = rerun, allow_download
        self.registry = registry or load_registry()
        self.store = Store(home.root, console.warn)
        self._splits: dict[str, ClassSplit] = {}

    def split(self, dataset: Choice, name: str) -> ClassSplit:
        """Load a split (once); prepares or downloads it if need be."""
        key = content_key([dataset.inputs(), name])
        if key not in self._splits:
            spec = dataset.spec
            loader = load_target(spec)(**dataset.params)
            with self.console.progress(f"preparing {spec.name}", 100) as bar:
                context = DataContext(
                    cache=self.home.dataset_cache(spec.name),
                    sources=self.home.sources,
                    allow_download=self.allow_download,
                    progress=lambda text, done, total: bar.update(100 * done // max(1, total), text),
                )
                self._splits[key] = loader.load(name, context)
        return self._splits[key]

    def digests(self, dataset: Choice) -> dict[str, str]:
        """Return the digest of each split: as declared, or computed once and remembered."""
        spec = dataset.spec
        assert isinstance(spec, DatasetSpec)
        if spec.digests and dict(dataset.params) == defaults(spec):
            return dict(spec.digests)
        path = self.home.dataset_cache(spec.name) / f"digests-{content_key(dataset.inputs())[:16]}.json"
        try:
            known = json.loads(path.read_text())
            if isinstance(known, dict) and set(known) == {"train", "val", "test"}:
                return known
        except (OSError, ValueError):
            pass
        digests = {name: split_digest(self.split(dataset, name)) for name in ("train", "val", "test")}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(digests, indent=1))
        return digests


def launch(runs: Sequence[RunSpec], session: Session) -> list[Outcome]:
    """Return the outcome of every run, in order; failed runs are outcomes too.

    All runs are checked before the first is measured.

    Raises:
        UsageError, MissingError: a run cannot be made.
        KeyboardInterrupt: the user stopped; what was measured is kept.
    """
    digests = [session.digests(run.dataset) for run in runs]
    keys = [content_key(run.inputs(of)) for run, of in zip(runs, digests, strict=True)]
    found = [None if session.rerun else session.store.find(key) for key in keys]
    outcomes: list[Outcome | None] = [Outcome(record, True) if record else None for record in found]
    if any(outcome is None for outcome in outcomes):
        from metabench.execute import Executor  # loads torch

        executor = Executor(session)
        pending = [index for index, outcome in enumerate(outcomes) if outcome is None]
        for index in pending:
            executor.preflight(runs[index])
        for index in pending:
            outcomes[index] = executor.execute(runs[index], digests[index])
    return [outcome for outcome in outcomes if outcome is not None]


def run_selection(selection: Selection, session: Session) -> list[Outcome]:
    """Plan and launch."""
    return launch(plan(selection, session.registry), session)


def outcome_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return one table row for each outcome."""
    cached = {item.record["key"] for item in outcomes if item.cached}
    return rows_from_records((item.record for item in outcomes), cached)


def run(
    algo: str | Sequence[str],
    shots: int | Sequence[int] = 1,
    ways: int | Sequence[int] = 5,
    dataset: str | Sequence[str] = "glyphs",
    backbone: str | Sequence[str] = (),
    seeds: int | Sequence[int] = 0,
    home: str | None = None,
    data: str | None = None,
    device: str = "auto",
    rerun: bool = False,
    quiet: bool = True,
    **options: Any,
) -> Any:
    """Run benchmarks and return a pandas DataFrame, one row per run, as ``metabench run`` prints it.

    Args:
        algo, shots, ways, dataset, backbone, seeds: one value or several; every combination is a run.
        home, data, device, rerun, quiet: as the options of ``metabench run``.
        options: further fields of `metabench.plan.Selection`: query, episodes, episode_seed, precision,
            protocol, checkpoint, settings.

    Raises:
        MetabenchError: what the command line would print as an error.
    """
    from metabench.tables import to_frame

    if isinstance(options.get("checkpoint"), str):
        options["checkpoint"] = Path(options["checkpoint"])
    selection = Selection(
        algorithms=_listed(algo),
        shots=_listed(shots),
        ways=_listed(ways),
        datasets=_listed(dataset),
        backbones=_listed(backbone),
        seeds=_listed(seeds),
        **options,
    )
    session = Session(Home.resolve(home, data), Console(quiet=quiet), device, rerun)
    outcomes = run_selection(selection, session)
    return to_frame(outcome_rows(outcomes))


def _listed(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, (str, int)) else tuple(value)
