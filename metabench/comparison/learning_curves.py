"""Learning curves over shots: runs that differ in the number of shots, for tables and a picture."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from metabench.comparison.labels import LabelledRecord, distinguishing_labels, labelled_records, training_traits
from metabench.comparison.seed_groups import OverSeeds, over_seeds
from metabench.errors import NothingMeasured
from metabench.records.copy_counts import most
from metabench.records.schema import Record
from metabench.registry.metric import Metric
from metabench.utils.hashing import canonical_json


@dataclass(frozen=True)
class Level:
    """A method with one number of shots.

    Attributes:
        score: in the unit of the metric (percent for accuracy); of several training seeds the mean.
        ci95: half-width of its 95 % interval over episodes (with several seeds, for another training too).
        open95: the same for new classes and examples.
        episodes: test episodes of a run.
        seeds: trainings; 0 where nothing was trained.
        copies: numbers of copies among its items, see `metabench.records.copy_counts`.
    """

    shot: int
    score: float
    ci95: float | None
    open95: float | None
    episodes: int
    seeds: int
    keys: tuple[str, ...]
    copies: Mapping[str, int]


@dataclass(frozen=True)
class LearningCurve:
    """One method on one dataset, its levels by ascending shots."""

    method: str
    dataset: str
    protocol: str
    metric: Metric
    levels: tuple[Level, ...]

    def gains(self) -> list[tuple[Level, Level, float, float | None]]:
        """Return neighbouring levels, what the second has more, and the half-width of the 95 % interval of that.

        Episodes of different shots are drawn independently, so their variances add up.
        """
        steps = []
        for fewer, more in zip(self.levels, self.levels[1:], strict=False):
            known = fewer.ci95 is not None and more.ci95 is not None
            half = math.hypot(fewer.ci95 or 0.0, more.ci95 or 0.0) if known else None
            steps.append((fewer, more, more.score - fewer.score, half))
        return steps


def learning_curves(records: Iterable[Record]) -> list[LearningCurve]:
    """Return the curves that records make, by dataset, protocol and method; a single level is a curve too.

    Where several runs measure the same (with more or fewer episodes, say), the one with most episodes counts.

    Raises:
        NothingMeasured: no run that succeeded has shots.
    """
    fine = [r for r in records if r.status == "ok" and "shot" in r.inputs.protocol.params]
    if not fine:
        raise NothingMeasured("no run that succeeded has shots; see 'metabench list runs'")
    groups: dict[tuple[str, str, Metric, str], list[LabelledRecord]] = defaultdict(list)
    for run in labelled_records(fine):
        groups[run.dataset, _protocol(run.record), run.metric, run.method].append(run)
    curves = [
        LearningCurve(name, dataset, protocol, metric, _levels(members))
        for (dataset, protocol, metric, method), group in groups.items()
        for name, members in _apart(method, group).items()
    ]
    return sorted(curves, key=lambda curve: (curve.dataset, _in_order(curve.protocol), curve.metric.name, curve.method))


def _apart(method: str, group: Sequence[LabelledRecord]) -> Mapping[str, Sequence[LabelledRecord]]:
    """Return runs by the name of their curve: one, unless for a number of shots there are several ways.

    A recipe may depend on the shots, and the number of queries on the images that are left, so what differs between
    shots alone can still be one method; but not in the number of queries where those help each other.
    """
    traits = [{**training_traits(run.record), **_asked(run.record)} for run in group]
    ways: dict[int, set[str]] = defaultdict(set)
    for run, own in zip(group, traits, strict=True):
        ways[_shot(run.record)].add(canonical_json(own))
    together = group[0].record.inputs.algorithm.setting == "transductive"
    queries = {own["query"] for own in traits}
    if all(len(own) == 1 for own in ways.values()) and not (together and len(queries) > 1):
        return {method: group}
    curves: dict[str, list[LabelledRecord]] = defaultdict(list)
    for run, name in zip(group, distinguishing_labels([method] * len(group), [""] * len(group), traits), strict=True):
        curves[name].append(run)
    return curves


def _asked(record: Record) -> dict[str, str]:
    """Return what is drawn of the classes of an episode, as traits."""
    query, evaluation = record.inputs.protocol.params.get("query"), record.inputs.evaluation
    return {
        "query": f"query={query}" if query else "",
        "sampling": f"{evaluation.sampling} sampling",
        "episode seed": f"episode seed {evaluation.seed}",
    }


def _shot(record: Record) -> int:
    return int(record.inputs.protocol.params["shot"])


def _in_order(text: str) -> list[tuple[int, str]]:
    """Return a sort key that puts 5-way before 20-way."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]


def _protocol(record: Record) -> str:
    """Return the name of a protocol whatever its shots and queries."""
    protocol = record.inputs.protocol
    params = {name: value for name, value in protocol.params.items() if name not in ("shot", "query")}
    way = f"{params.pop('way')}-way" if "way" in params else ""
    rest = ", ".join(f"{name}={value}" for name, value in sorted(params.items()))
    return " ".join(filter(None, [way, "" if way and not rest else protocol.name, rest]))


def _levels(members: Sequence[LabelledRecord]) -> tuple[Level, ...]:
    best: dict[int, tuple[tuple[int, int, str], Level]] = {}
    for group in over_seeds(run.record for run in members):
        level = _level(group)
        weight = (level.episodes, level.seeds, canonical_json(level.keys))
        if level.shot not in best or weight > best[level.shot][0]:
            best[level.shot] = weight, level
    return tuple(best[shot][1] for shot in sorted(best))


def _level(group: OverSeeds) -> Level:
    first = group.records[0]
    alone = len(group.records) == 1
    return Level(
        shot=_shot(first),
        score=group.score,
        ci95=first.summary.ci95 if alone else group.total95,
        open95=first.summary.open95 if alone else group.total_open95,
        episodes=first.summary.episodes,
        seeds=group.seeds,
        keys=tuple(record.key for record in group.records),
        copies=most(record.copies for record in group.records),
    )


def panels(curves: Sequence[LearningCurve]) -> dict[tuple[str, str, Metric], list[LearningCurve]]:
    """Group curves by dataset, protocol and metric."""
    groups: dict[tuple[str, str, Metric], list[LearningCurve]] = defaultdict(list)
    for curve in curves:
        groups[curve.dataset, curve.protocol, curve.metric].append(curve)
    return groups
