"""Report of a suite: every algorithm in every cell, its mean over the cells, and its rank with ties."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from metabench.comparison.labels import way_shot, with_differing_params
from metabench.comparison.seed_groups import over_seeds
from metabench.planning.folder_labels import folder_labels
from metabench.planning.outcome import Outcome
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec, run_of
from metabench.records.copy_counts import most
from metabench.records.schema import Record
from metabench.registry.metric import Metric
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import FIXED_WAY, ProtocolSpec
from metabench.statistics.mean_moments import Seeds
from metabench.statistics.mean_over_cells import rank_over_cells
from metabench.statistics.means import mean_over_cells
from metabench.statistics.shared_episodes import Run
from metabench.statistics.tied_ranks import Rank
from metabench.utils.hashing import canonical_json


@dataclass(frozen=True)
class Cell:
    """A dataset and a protocol that all algorithms are measured on."""

    key: str
    dataset: str
    protocol: str


@dataclass(frozen=True)
class SuiteResult:
    """The result of an algorithm in a cell.

    Attributes:
        score: mean over seeds and episodes, in the unit of the metric: percent for accuracy.
        ci95: half-width of the interval over episodes of this test set; with several seeds for another training too.
        open95: the same for other classes and images.
        keys: of the runs, one for each seed.
        runs: one for each seed.
        copies: numbers of copies among the items by kind, see `metabench.records.copy_counts`.
    """

    score: float
    ci95: float | None
    open95: float | None
    keys: tuple[str, ...]
    runs: tuple[Run, ...]
    copies: Mapping[str, int] = field(default_factory=dict)

    @property
    def metric(self) -> Metric:
        """The metric of the score."""
        return self.runs[0].scores.metric


@dataclass(frozen=True)
class Line:
    """An algorithm's row.

    Attributes:
        results: by the key of the cell; cells that are not measured are not in it.
        problems: by the key of the cell, why it is not measured, or not with every seed.
        rank, mean, ci95: over the cells that all ranked algorithms have; None where it has none of them. With a cell of
            a single episode there is a mean alone.
    """

    method: str
    results: Mapping[str, SuiteResult]
    problems: Mapping[str, str]
    rank: Rank | None = None
    mean: float | None = None
    ci95: float | None = None


@dataclass(frozen=True)
class Report:
    """Rows, best first; the cells in the order of the suite, and those that means and ranks are over."""

    cells: tuple[Cell, ...]
    common: tuple[Cell, ...]
    lines: tuple[Line, ...]


def report(planned: Sequence[Planned], results: Sequence[Outcome | RejectedRun]) -> Report:
    """Return what the runs of a suite say; `results` are theirs, in the same order.

    Algorithms are compared over the cells that all of them have. One that has none is shown and not ranked, and nothing
    is where these cells are of different metrics.
    """
    runs = [run_of(run) for run in planned]
    methods, cells = _methods(runs), _cells(runs)
    by_method: dict[str, dict[str, list[Outcome | RejectedRun]]] = defaultdict(lambda: defaultdict(list))
    for method, cell, result in zip(methods, cells, results, strict=True):
        by_method[method][cell.key].append(result)
    lines = [_line(method, row) for method, row in by_method.items()]
    columns = tuple({cell.key: cell for cell in cells}.values())
    ranked = [line for line in lines if line.results]
    common = tuple(cell for cell in columns if all(cell.key in line.results for line in ranked))
    if not ranked or len(_metrics(ranked, common)) != 1:  # nothing in common, or nothing that has a mean
        return Report(columns, (), tuple(lines))
    rows = [[line.results[cell.key].runs for cell in common] for line in ranked]
    placed = [
        _placed(line, common, row, rank) for line, row, rank in zip(ranked, rows, rank_over_cells(rows), strict=True)
    ]
    sign = ranked[0].results[common[0].key].metric.sign
    placed.sort(key=lambda line: (line.rank.place if line.rank else math.inf, -sign * (line.mean or 0.0)))
    return Report(columns, common, (*placed, *(line for line in lines if not line.results)))


def _placed(line: Line, cells: Sequence[Cell], row: Sequence[Seeds], rank: Rank | None) -> Line:
    mean, over = statistics.fmean(line.results[cell.key].score for cell in cells), mean_over_cells(row)
    return replace(line, rank=rank, mean=mean, ci95=None if over is None else over.half_width)


def _metrics(lines: Sequence[Line], cells: Sequence[Cell]) -> set[Metric]:
    return {line.results[cell.key].metric for line in lines for cell in cells}


def _line(method: str, row: Mapping[str, Sequence[Outcome | RejectedRun]]) -> Line:
    results, problems = {}, {}
    for key, outcomes in row.items():
        if why := _problem(outcomes):
            problems[key] = why
        records = [
            outcome.record for outcome in outcomes if isinstance(outcome, Outcome) and outcome.record.status == "ok"
        ]
        if records:
            results[key] = _result(records)
    return Line(method, results, problems)


def _problem(results: Sequence[Outcome | RejectedRun]) -> str:
    """Say why a cell is not measured, or in how many of its seeds; empty if it is."""
    reasons = []
    for result in results:
        if isinstance(result, RejectedRun):
            reasons.append(str(result.error))
        elif result.record.status != "ok":
            reasons.append(str(result.record.error or result.record.status).rstrip(": "))
    if not reasons:
        return ""
    part = "" if len(results) == 1 or len(reasons) == len(results) else f"{len(reasons)} of {len(results)} seeds: "
    return part + "; ".join(dict.fromkeys(reasons))


def _result(records: Sequence[Record]) -> SuiteResult:
    (over,) = over_seeds(records)
    summary = records[0].summary
    closed, opened = (summary.ci95, summary.open95) if len(records) == 1 else (over.total95, over.total_open95)
    keys = tuple(record.key for record in over.records)
    copies = most(record.copies for record in records)
    return SuiteResult(over.score, closed, opened, keys, tuple(record.run for record in over.records), copies)


def _methods(runs: Sequence[RunSpec]) -> list[str]:
    """Name the method of each run: the algorithm, with the backbone where it is measured on several in one cell."""
    bodies: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run, cell in zip(runs, _keys(runs), strict=True):
        bodies[run.algorithm.name, cell].add(run.backbone.name)
    several = {algorithm for (algorithm, _), names in bodies.items() if len(names) > 1}
    return [
        f"{run.algorithm.name} {run.backbone.name}" if run.algorithm.name in several else run.algorithm.name
        for run in runs
    ]


def _keys(runs: Sequence[RunSpec]) -> list[str]:
    parts = [[run.dataset.identity, run.protocol.identity, run.sampling, run.episode_seed] for run in runs]
    return [canonical_json(part) for part in parts]


def _cells(runs: Sequence[RunSpec]) -> list[Cell]:
    """Name the cell of each run, no longer than need be."""
    choices = [run.dataset for run in runs]
    datasets = with_differing_params(folder_labels(choices), [choice.recorded for choice in choices])
    titles = [f"{dataset}\n{_title(run.protocol)}" for dataset, run in zip(datasets, runs, strict=True)]
    names = [name.split("\n") for name in with_differing_params(titles, [run.protocol.recorded for run in runs])]
    return [Cell(key, dataset, protocol) for key, (dataset, protocol) in zip(_keys(runs), names, strict=True)]


def _title(protocol: ResolvedPlugin[ProtocolSpec]) -> str:
    """``5-way 1-shot``, after the name of any protocol but the default."""
    cell = way_shot(protocol.params)
    return " ".join(filter(None, ["" if cell and protocol.name == FIXED_WAY else protocol.name, cell]))
