"""Results of a sweep: every combination on the validation split, and the chosen one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from metabench.comparison.seed_groups import OverSeeds, over_seeds
from metabench.planning.outcome import Outcome
from metabench.planning.sweeps import Candidate, Sweep
from metabench.records.schema import Record, SweepMark, Tried
from metabench.registry.specs import VALIDATION
from metabench.statistics.mean_over_cells import rank_over_cells
from metabench.statistics.shared_episodes import Run
from metabench.statistics.tied_ranks import Rank


@dataclass(frozen=True)
class CandidateResult:
    """A candidate with its result `over` its seeds; None with a `problem` where a run failed."""

    candidate: Candidate
    over: OverSeeds | None
    rank: Rank | None = None
    problem: str = ""


def judge(sweep: Sweep, outcomes: Sequence[Outcome]) -> list[CandidateResult]:
    """Return the result of every candidate, in order, ranked with ties by a paired test on the validation episodes."""
    left, tried = list(outcomes), []
    for candidate in sweep.candidates:
        own, left = left[: len(candidate.runs)], left[len(candidate.runs) :]
        tried.append(_tried(candidate, [outcome.record for outcome in own]))
    measured = [index for index, result in enumerate(tried) if result.over is not None]
    ranks = rank_over_cells([[_runs(tried[index].over)] for index in measured]) if measured else []
    for index, rank in zip(measured, ranks, strict=True):
        tried[index] = dataclasses.replace(tried[index], rank=rank)
    return tried


def best_of(tried: Sequence[CandidateResult]) -> CandidateResult | None:
    """Return the candidate with the best mean score, the first of equals; None where all failed."""
    measured = [result for result in tried if result.over is not None]
    return max(
        measured, key=lambda result: result.over.metric.sign * result.over.score if result.over else 0.0, default=None
    )


def sweep_mark(tried: Sequence[CandidateResult], chosen: CandidateResult) -> SweepMark:
    """Return the mark for the record of the chosen candidate: all that was tried, and what chose it."""
    return SweepMark(
        chosen=dict(chosen.candidate.settings),
        chosen_on=VALIDATION,
        combinations=len(tried),
        tried=tuple(
            Tried(
                dict(result.candidate.settings),
                None if result.over is None else round(result.over.score, 6),
                () if result.over is None else tuple(record.key for record in result.over.records),
            )
            for result in tried
        ),
    )


def _tried(candidate: Candidate, records: Sequence[Record]) -> CandidateResult:
    for record in records:
        if record.status != "ok":
            return CandidateResult(candidate, None, None, record.error.message if record.error else record.status)
    (over,) = over_seeds(records)
    return CandidateResult(candidate, over)


def _runs(over: OverSeeds | None) -> list[Run]:
    assert over is not None
    return [record.run for record in over.records]
