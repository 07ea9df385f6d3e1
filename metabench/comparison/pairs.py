"""Records against each other: every pair within a cell (dataset and protocol), and methods over datasets."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from metabench.comparison.labels import LabelledRecord, labelled_records
from metabench.errors import UsageError
from metabench.records.inputs import as_plain
from metabench.records.schema import Record
from metabench.registry.metric import Metric
from metabench.statistics.dataset_ranking import Ranking, rank_methods
from metabench.statistics.multiple_testing import holm
from metabench.statistics.pairwise_tests import NO_DIFFERENCE, Difference, compare_runs

LEVEL = 0.05


@dataclass(frozen=True)
class Versus:
    """A pair of records, compared; `p_holm` is corrected for all pairs of the table."""

    a: LabelledRecord
    b: LabelledRecord
    difference: Difference
    p_holm: float
    verdict: str

    def as_row(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        cell = self.a.record.inputs.protocol.params
        rest = asdict(self.difference)
        return {
            "dataset": self.a.record.inputs.dataset.name,
            **{name: cell.get(name) for name in ("way", "shot", "query")},
            "a": self.a.label,
            "b": self.b.label,
            "metric": self.a.metric.name,
            "score_a": self.a.score,
            "score_b": self.b.score,
            "difference": rest.pop("mean"),
            **rest,
            "p_holm": self.p_holm,
            "verdict": self.verdict,
            "key_a": self.a.record.key,
            "key_b": self.b.record.key,
            "copies_a": self.a.copies,
            "copies_b": self.b.copies,
        }


@dataclass(frozen=True)
class RankedMethods:
    """Methods ranked over the datasets that all of them were measured on, for one protocol."""

    protocol: str
    metric: Metric
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    left_out: tuple[str, ...]
    ranking: Ranking

    def as_row(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        ranking = asdict(self.ranking)
        for pair in ranking["pairs"]:
            pair["first"], pair["second"] = self.methods[pair["first"]], self.methods[pair["second"]]
        if ranking["f"] == float("inf"):
            ranking["f"] = None
        mean_ranks = dict(zip(self.methods, ranking.pop("mean_ranks"), strict=True))
        names = {
            "protocol": self.protocol,
            "metric": self.metric.name,
            "datasets": list(self.datasets),
            "mean_ranks": mean_ranks,
        }
        return {**names, "left_out": list(self.left_out), **{k: v for k, v in ranking.items() if k != "datasets"}}


def compare_all(records: Sequence[Record], min_diff: float | None = None) -> list[Versus]:
    """Compare every two records of the same cell, in the order given.

    Args:
        records: valid records with scores.
        min_diff: the difference, in points or the metric's unit, that would matter; the verdict then covers size too.

    Raises:
        UsageError: a record without scores, or no two records with a cell in common.
    """
    cells: dict[str, list[LabelledRecord]] = defaultdict(list)
    for contestant in labelled_records(records):
        cells[contestant.cell].append(contestant)
    pairs = [pair for members in cells.values() for pair in itertools.combinations(members, 2)]
    if not pairs:
        raise UsageError(f"there is nothing to compare: {_nothing_in_common(records)}")
    differences = [compare_runs(a.record.run, b.record.run) for a, b in pairs]
    adjusted = holm([difference.p for difference in differences])
    return [
        Versus(a, b, difference, p, verdict(difference, p, min_diff, a.metric.step))
        for (a, b), difference, p in zip(pairs, differences, adjusted, strict=True)
    ]


def _nothing_in_common(records: Sequence[Record]) -> str:
    """Say why no two records can be compared."""
    if len({record.key for record in records}) == 1:
        return "there is one record; give two"
    for name in ("dataset", "protocol"):
        one, *others = (as_plain(getattr(record.inputs, name)) for record in records)
        for other in others:
            for what in sorted(one, key=lambda part: part != "name"):
                if one[what] != other.get(what):
                    return f"these records differ in {name} {what}: {_differing(one[what], other.get(what))}"
    return "the records are scored by different metrics"


def _differing(one: Any, other: Any) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        return ", ".join(f"{name}={one.get(name)} and {name}={other.get(name)}" for name in names)
    return f"{str(one)[:40]} and {str(other)[:40]}"


def verdict(difference: Difference, p: float, min_diff: float | None, unit: str = "points") -> str:
    """Say whether A and B differ (p is adjusted already), and by how much compared with `min_diff`.

    The interval decides on the size: beyond `min_diff` with all of it, short of it with all of it, or neither.
    """
    if difference.method == "identical":
        return NO_DIFFERENCE
    if p > LEVEL:
        return "no difference shown"
    if min_diff is None:
        return "different"
    size, half = abs(difference.mean), difference.ci95 or 0.0
    if size - half >= min_diff:
        return f"different and at least {min_diff:g} {unit}"
    if size + half < min_diff:
        return f"different but smaller than {min_diff:g} {unit}"
    return f"different; whether by {min_diff:g} {unit} is open"


def rank_over_datasets(pairs: Sequence[Versus]) -> list[RankedMethods]:
    """Rank the methods over datasets, once for each protocol that has two methods on two datasets.

    The score of a method with several runs on a dataset (seeds) is their mean.
    """
    everyone = {run.record.key: run for pair in pairs for run in (pair.a, pair.b)}.values()
    protocols: dict[tuple[str, Metric], dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for run in everyone:
        protocols[run.protocol, run.metric][run.dataset][run.method].append(run.score)
    result = []
    for (protocol, metric), scores in protocols.items():
        methods = list(dict.fromkeys(name for row in scores.values() for name in row))
        everywhere = [name for name in methods if all(name in row for row in scores.values())]
        if len(scores) < 2 or len(everywhere) < 2:
            continue
        table = [[sum(row[name]) / len(row[name]) for name in everywhere] for row in scores.values()]
        left_out = tuple(name for name in methods if name not in everywhere)
        ranking = rank_methods(table, higher_is_better=metric.higher_is_better, ends=metric.difference_ends)
        result.append(RankedMethods(protocol, metric, tuple(scores), tuple(everywhere), left_out, ranking))
    return result
