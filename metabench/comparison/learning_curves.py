"""What more shots buy: runs that differ in the number of shots as curves, in tables and as a picture."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metabench.comparison.labels import Contestant, contestants, told_apart, training_traits
from metabench.errors import NothingMeasured
from metabench.records.copy_counts import copies_line, copies_of, marked_name, most
from metabench.registry.metric import Metric
from metabench.statistics.seeds import OverSeeds, over_seeds
from metabench.tables import Row, csv_text, score_text, width_text
from metabench.text_table import text_table
from metabench.utils.hashing import canonical_json
from metabench.utils.text import escape, printable

COLUMNS = (
    "dataset", "protocol", "method", "shot", "metric", "score", "ci95", "open95", "gain", "gain95", "episodes", "seeds",
    "keys", "copies",
)  # fmt: skip


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
    """One method on one data set, its levels by ascending shots."""

    method: str
    dataset: str
    protocol: str
    metric: Metric
    levels: tuple[Level, ...]

    def gains(self) -> list[tuple[Level, Level, float, float | None]]:
        """Return neighbouring levels, what the second has more, and the half-width of the 95 % interval of that.

        Episodes of different shots are drawn independently, so their variances add up.
        """
        found = []
        for fewer, more in zip(self.levels, self.levels[1:], strict=False):
            known = fewer.ci95 is not None and more.ci95 is not None
            half = math.hypot(fewer.ci95 or 0.0, more.ci95 or 0.0) if known else None
            found.append((fewer, more, more.score - fewer.score, half))
        return found


def learning_curves(records: Iterable[Mapping[str, Any]]) -> list[LearningCurve]:
    """Return the curves that records make, by data set, protocol and method; a single level is a curve too.

    Where several runs tell the same (with more or fewer episodes, say), the one with most episodes counts.

    Raises:
        NothingMeasured: no run that succeeded has shots.
    """
    fine = [r for r in records if r["status"] == "ok" and "shot" in r["inputs"]["protocol"]["params"]]
    if not fine:
        raise NothingMeasured("no run that succeeded has shots; see 'metabench list runs'")
    groups: dict[tuple[str, str, Metric, str], list[Contestant]] = defaultdict(list)
    for each in contestants(fine):
        groups[each.dataset, _protocol(each.record), each.metric, each.method].append(each)
    found = [
        LearningCurve(name, dataset, protocol, metric, _levels(members))
        for (dataset, protocol, metric, method), group in groups.items()
        for name, members in _apart(method, group).items()
    ]
    return sorted(found, key=lambda curve: (curve.dataset, _in_order(curve.protocol), curve.metric.name, curve.method))


def _apart(method: str, group: Sequence[Contestant]) -> Mapping[str, Sequence[Contestant]]:
    """Return runs by the name of their curve: one, unless for a number of shots there are several ways.

    A recipe may depend on the shots, and the number of queries on the images that are left, so what differs between
    shots alone can still be one method; but not in the number of queries where those help each other.
    """
    traits = [{**training_traits(each.record), **_asked(each.record)} for each in group]
    ways: dict[int, set[str]] = defaultdict(set)
    for each, found in zip(group, traits, strict=True):
        ways[each.record["inputs"]["protocol"]["params"]["shot"]].add(canonical_json(found))
    together = group[0].record["inputs"]["algorithm"]["setting"] == "transductive"
    queries = {found["query"] for found in traits}
    if all(len(found) == 1 for found in ways.values()) and not (together and len(queries) > 1):
        return {method: group}
    curves: dict[str, list[Contestant]] = defaultdict(list)
    for each, name in zip(group, told_apart([method] * len(group), [""] * len(group), traits), strict=True):
        curves[name].append(each)
    return curves


def _asked(record: Mapping[str, Any]) -> dict[str, str]:
    """What is drawn of the classes of an episode, as traits."""
    query, evaluation = record["inputs"]["protocol"]["params"].get("query"), record["inputs"]["evaluation"]
    return {
        "query": f"query={query}" if query else "",
        "sampling": f"{evaluation['sampling']} sampling",
        "episode seed": f"episode seed {evaluation['seed']}",
    }


def _in_order(text: str) -> list[tuple[int, str]]:
    """A key that puts 5-way before 20-way."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]


def _protocol(record: Mapping[str, Any]) -> str:
    """The name of a protocol whatever its shots and queries."""
    protocol = record["inputs"]["protocol"]
    params = {name: value for name, value in protocol["params"].items() if name not in ("shot", "query")}
    way = f"{params.pop('way')}-way" if "way" in params else ""
    rest = ", ".join(f"{name}={value}" for name, value in sorted(params.items()))
    return " ".join(filter(None, [way, "" if way and not rest else protocol["name"], rest]))


def _levels(members: Sequence[Contestant]) -> tuple[Level, ...]:
    best: dict[int, tuple[tuple[int, int, str], Level]] = {}
    for group in over_seeds(each.record for each in members):
        level = _level(group)
        weight = (level.episodes, level.seeds, canonical_json(level.keys))
        if level.shot not in best or weight > best[level.shot][0]:
            best[level.shot] = weight, level
    return tuple(best[shot][1] for shot in sorted(best))


def _level(group: OverSeeds) -> Level:
    first = group.records[0]
    alone = len(group.records) == 1
    return Level(
        shot=first["inputs"]["protocol"]["params"]["shot"],
        score=group.score,
        ci95=first["summary"]["ci95"] if alone else group.total95,
        open95=first["summary"]["open95"] if alone else group.total_open95,
        episodes=first["summary"]["episodes"],
        seeds=group.seeds,
        keys=tuple(record["key"] for record in group.records),
        copies=most(map(copies_of, group.records)),
    )


def panels(curves: Sequence[LearningCurve]) -> dict[tuple[str, str, Metric], list[LearningCurve]]:
    """Group curves by dataset, protocol and metric."""
    groups: dict[tuple[str, str, Metric], list[LearningCurve]] = defaultdict(list)
    for curve in curves:
        groups[curve.dataset, curve.protocol, curve.metric].append(curve)
    return groups


def rows(found: Sequence[LearningCurve]) -> list[Row]:
    """Return one row (see `COLUMNS`) for each level; `gain` is over the level before."""
    result = []
    for curve in found:
        gains = [None, *curve.gains()]
        for level, gain in zip(curve.levels, gains, strict=True):
            names = {"dataset": curve.dataset, "protocol": curve.protocol, "method": curve.method}
            names["metric"] = curve.metric.name
            more = {"gain": gain and gain[2], "gain95": gain and gain[3]}
            values = {**vars(level), "keys": list(level.keys)}
            result.append({name: {**names, **values, **more}[name] for name in COLUMNS})
    return result


def to_json(found: Sequence[LearningCurve]) -> str:
    """Return one JSON document ``{"levels": [...]}``."""
    return json.dumps({"levels": rows(found)}, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(found: Sequence[LearningCurve]) -> str:
    """Return the rows as CSV."""
    return csv_text(COLUMNS, [{**row, "keys": " ".join(row["keys"])} for row in rows(found)])


def to_text(found: Sequence[LearningCurve], markdown: bool = False) -> str:
    """Return tables for people: scores by shots, and what more shots buy, for each data set and protocol."""
    clean: Callable[[str], str] = escape if markdown else printable
    blocks, copies = [], dict[str, list[Mapping[str, int]]]()
    for (dataset, protocol, metric), members in panels(found).items():
        counts = [level.copies for curve in members for level in curve.levels]
        copies.setdefault(dataset, []).extend(counts)
        blocks.append(clean(f"{marked_name(dataset, *counts)}, {protocol}: {metric.title}"))
        blocks.append(_scores(members, clean, markdown))
        if any(len(curve.levels) > 1 for curve in members):
            blocks.append(clean(f"What more shots buy ({metric.step})"))
            blocks.append(_gains(members, clean, markdown))
    notes = ["±: 95 % interval over episodes of this test set (with several seeds, for another training too)"]
    if any(level.open95 is not None for curve in found for level in curve.levels):
        notes.append("open ±: 95 % interval for new classes and new examples of the same kind")
    if line := copies_line({dataset: most(counts) for dataset, counts in copies.items()}):
        notes.append(line)
    return "\n\n".join([*blocks, ("\n\n" if markdown else "\n").join(map(clean, notes))])


def _scores(members: Sequence[LearningCurve], clean: Callable[[str], str], markdown: bool) -> str:
    shots = sorted({level.shot for curve in members for level in curve.levels})
    body = []
    for curve in members:
        texts = {
            level.shot: score_text(level.score, level.ci95, level.open95, curve.metric.digits) for level in curve.levels
        }
        body.append([clean(curve.method), *(texts.get(shot, "-") for shot in shots)])
    return _table(["method", *(f"{shot}-shot" for shot in shots)], body, markdown)


def _gains(members: Sequence[LearningCurve], clean: Callable[[str], str], markdown: bool) -> str:
    steps = sorted({(fewer.shot, more.shot) for curve in members for fewer, more, *_ in curve.gains()})
    body = []
    for curve in members:
        texts = {
            (fewer.shot, more.shot): f"{gain:+.{curve.metric.digits}f}" + _width(half, curve.metric)
            for fewer, more, gain, half in curve.gains()
        }
        body.append([clean(curve.method), *(texts.get(step, "-") for step in steps)])
    return _table(["method", *(f"{fewer} to {more}" for fewer, more in steps)], body, markdown)


def _width(half: float | None, metric: Metric) -> str:
    return "" if half is None else f" ± {width_text(half, metric.digits)}"


def _table(header: Sequence[str], body: Sequence[Sequence[str]], markdown: bool) -> str:
    return text_table(header, body, markdown)
