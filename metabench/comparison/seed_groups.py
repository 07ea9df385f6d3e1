"""Records grouped by everything but the training seed, with what the seeds say together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from metabench.records.inputs import as_plain
from metabench.records.record import Record
from metabench.registry.metric import Metric
from metabench.statistics.seeds import spread_of_seeds
from metabench.utils.hashing import canonical_json


@dataclass(frozen=True)
class OverSeeds:
    """Runs of one method in one cell that differ in nothing but the training seed.

    Attributes:
        records: the runs, by seed.
        score: mean over seeds, in the unit of `metric`.
        seed_sd: sample standard deviation of the score between seeds; None for fewer than two.
        total95: half-width of the 95 % interval for another training and other episodes of this test set.
        total_open95: the same for other classes and images too.
    """

    records: tuple[Record, ...]
    score: float
    seed_sd: float | None
    total95: float | None
    total_open95: float | None

    @property
    def metric(self) -> Metric:
        """The metric of the scores."""
        return self.records[0].metric

    @property
    def seeds(self) -> int:
        """The number of trainings; 0 where nothing was trained."""
        return len(self.records) if self.records[0].inputs.seed is not None else 0


def over_seeds(records: Iterable[Record]) -> list[OverSeeds]:
    """Group the records that have scores by everything but the training seed, in the order of first appearance."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.status == "ok":
            groups[_all_but_seed(record)].append(record)
    return [_summarised(sorted(group, key=lambda record: record.inputs.seed or 0)) for group in groups.values()]


def _all_but_seed(record: Record) -> str:
    inputs = as_plain(record.inputs)
    (inputs["training"] or {}).pop("seed", None)
    return canonical_json([inputs, asdict(record.metric)])


def _summarised(records: Sequence[Record]) -> OverSeeds:
    score = float(np.array([record.score for record in records]).mean())
    if len(records) == 1:
        (only,) = records
        if only.inputs.seed is not None:  # one training says nothing about another
            return OverSeeds((only,), score, None, None, None)
        return OverSeeds((only,), score, None, only.summary.ci95, only.summary.open95)
    spread = spread_of_seeds([record.run for record in records], [record.score for record in records])
    return OverSeeds(tuple(records), score, spread.sd, spread.total95, spread.total_open95)
