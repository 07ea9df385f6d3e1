"""Records against each other: every pair within a cell (data set and protocol), and methods over data sets."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from metabench.errors import UsageError
from metabench.records.copy_counts import copies_of
from metabench.records.describe import dataset_words
from metabench.registry.metric import ACCURACY, Metric
from metabench.statistics.dataset_ranking import Ranking, rank_methods
from metabench.statistics.episode_scores import metric_of, score_of
from metabench.statistics.multiple_testing import holm
from metabench.statistics.pairwise_tests import NO_DIFFERENCE, Difference, compare_records
from metabench.utils.hashing import canonical_json

LEVEL = 0.05


@dataclass(frozen=True)
class Contestant:
    """A record in a comparison.

    Attributes:
        method: algorithm, and what else tells the methods given apart; the same on every data set.
        label: `method`, in what else the trainings of one algorithm differ there, and what tells apart runs (the
            training seed, or the key).
        cell: data set and protocol, as text; what is compared has it in common.
        dataset, protocol: the parts of `cell`.
        score: mean over episodes, in the unit of `metric`.
    """

    method: str
    label: str
    cell: str
    dataset: str
    protocol: str
    score: float
    record: Mapping[str, Any]

    @property
    def metric(self) -> Metric:
        """What its score is."""
        return metric_of(self.record["scores"])

    @property
    def copies(self) -> dict[str, int]:
        """The numbers of copies among its items, see `metabench.records.copy_counts`."""
        return copies_of(self.record)

    @property
    def where(self) -> str:
        """The protocol, and the metric if it is not accuracy."""
        return self.protocol if self.metric == ACCURACY else f"{self.protocol}, {self.metric.title}"


@dataclass(frozen=True)
class Versus:
    """A pair of records, compared; `p_holm` is corrected for all pairs of the table."""

    a: Contestant
    b: Contestant
    difference: Difference
    p_holm: float
    verdict: str

    def as_row(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        cell = self.a.record["inputs"]["protocol"]["params"]
        rest = asdict(self.difference)
        return {
            "dataset": self.a.record["inputs"]["dataset"]["name"],
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
            "key_a": self.a.record["key"],
            "key_b": self.b.record["key"],
            "copies_a": self.a.copies,
            "copies_b": self.b.copies,
        }


@dataclass(frozen=True)
class Standing:
    """Methods ranked over the data sets that all of them were measured on, for one protocol."""

    protocol: str
    metric: Metric
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    left_out: tuple[str, ...]
    ranking: Ranking

    def as_row(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        found = asdict(self.ranking)
        for pair in found["pairs"]:
            pair["first"], pair["second"] = self.methods[pair["first"]], self.methods[pair["second"]]
        if found["f"] == float("inf"):
            found["f"] = None
        mean_ranks = dict(zip(self.methods, found.pop("mean_ranks"), strict=True))
        names = {
            "protocol": self.protocol,
            "metric": self.metric.name,
            "datasets": list(self.datasets),
            "mean_ranks": mean_ranks,
        }
        return {**names, "left_out": list(self.left_out), **{k: v for k, v in found.items() if k != "datasets"}}


def compare_all(records: Sequence[Mapping[str, Any]], min_diff: float | None = None) -> list[Versus]:
    """Compare every two records of the same cell, in the order given.

    Args:
        records: valid records with scores.
        min_diff: the difference, in points or the metric's unit, that would matter; the verdict then tells size.

    Raises:
        UsageError: a record without scores, or no two records with a cell in common.
    """
    cells: dict[str, list[Contestant]] = defaultdict(list)
    for contestant in contestants(records):
        cells[contestant.cell].append(contestant)
    pairs = [pair for members in cells.values() for pair in itertools.combinations(members, 2)]
    if not pairs:
        raise UsageError(f"there is nothing to compare: {_nothing_in_common(records)}")
    found = [compare_records(a.record, b.record) for a, b in pairs]
    adjusted = holm([difference.p for difference in found])
    return [
        Versus(a, b, difference, p, verdict(difference, p, min_diff, a.metric.step))
        for (a, b), difference, p in zip(pairs, found, adjusted, strict=True)
    ]


def _nothing_in_common(records: Sequence[Mapping[str, Any]]) -> str:
    """Say why no two records can be compared."""
    if len({record["key"] for record in records}) == 1:
        return "there is one record; give two"
    for name in ("dataset", "protocol"):
        one, *others = (record["inputs"][name] for record in records)
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

    Of size the interval speaks: beyond `min_diff` with all of it, short of it with all of it, or neither.
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


def contestants(records: Iterable[Mapping[str, Any]]) -> list[Contestant]:
    """Return the records with names that tell them apart, no longer than need be; each record once.

    Raises:
        UsageError: a record has no scores.
    """
    records = list({record["key"]: record for record in records}.values())
    for record in records:
        if record["scores"] is None:
            raise UsageError(f"run {record['key'][:12]} is {record['status']} and has no scores; run it again")
    algorithms = [record["inputs"]["algorithm"]["name"] for record in records]
    methods = told_apart(algorithms, [""] * len(records), [_traits(record) for record in records])
    cells = [_cell(record) for record in records]
    trained = told_apart(algorithms, cells, [training_traits(record) for record in records])
    names = [method + told.removeprefix(name) for method, told, name in zip(methods, trained, algorithms, strict=True)]
    labels = told_apart(names, cells, [_run_traits(record) for record in records])
    parts = zip(methods, labels, cells, _dataset_names(records), map(_protocol_name, records), strict=True)
    return [Contestant(*names, score_of(record), record) for names, record in zip(parts, records, strict=True)]


def standings(found: Sequence[Versus]) -> list[Standing]:
    """Rank the methods over data sets, once for each protocol that has two methods on two data sets.

    The score of a method with several runs on a data set (seeds) is their mean.
    """
    everyone = {each.record["key"]: each for pair in found for each in (pair.a, pair.b)}.values()
    protocols: dict[tuple[str, Metric], dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for each in everyone:
        protocols[each.protocol, each.metric][each.dataset][each.method].append(each.score)
    result = []
    for (protocol, metric), scores in protocols.items():
        methods = list(dict.fromkeys(name for row in scores.values() for name in row))
        everywhere = [name for name in methods if all(name in row for row in scores.values())]
        if len(scores) < 2 or len(everywhere) < 2:
            continue
        table = [[sum(row[name]) / len(row[name]) for name in everywhere] for row in scores.values()]
        left_out = tuple(name for name in methods if name not in everywhere)
        ranking = rank_methods(table, higher_is_better=metric.higher_is_better, ends=metric.difference_ends)
        result.append(Standing(protocol, metric, tuple(scores), tuple(everywhere), left_out, ranking))
    return result


def _cell(record: Mapping[str, Any]) -> str:
    """Data set, protocol and metric: only what has them in common can be compared."""
    inputs = record["inputs"]
    return canonical_json([inputs["dataset"], inputs["protocol"], asdict(metric_of(record["scores"]))])


def _dataset_names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The name of each record's data set, with the start of its digest where the name means several."""
    data = [(dataset_words(record["inputs"]["dataset"]), record["inputs"]["dataset"]["digest"]) for record in records]
    variants: dict[str, set[str]] = defaultdict(set)
    for name, digest in data:
        variants[name].add(digest)
    return [f"{name} {digest[:8]}" if len(variants[name]) > 1 else name for name, digest in data]


def _traits(record: Mapping[str, Any]) -> dict[str, str]:
    """What may tell methods apart, on whatever data set, in the order of preference."""
    inputs = record["inputs"]
    evaluation, algorithm, backbone = inputs["evaluation"], inputs["algorithm"], inputs["backbone"]
    traits = {"backbone": backbone["name"]}
    traits |= {f"algorithm.{name}": f"{name}={value}" for name, value in sorted(algorithm["params"].items())}
    traits |= {f"backbone.{name}": f"{name}={value}" for name, value in sorted(backbone["params"].items())}
    traits |= {"setting": algorithm["setting"], "precision": inputs["precision"]}
    traits |= {"version": f"v{algorithm['version']}", "backbone version": f"{backbone['name']} v{backbone['version']}"}
    return traits | {"sampling": f"{evaluation['sampling']} sampling"}


def _run_traits(record: Mapping[str, Any]) -> dict[str, str]:
    """What tells apart runs of one method on one data set."""
    training, evaluation = record["inputs"]["training"] or {}, record["inputs"]["evaluation"]
    stop = evaluation["stop"]
    return {
        "seed": f"seed {training['seed']}" if "seed" in training else "",
        "episode seed": f"episode seed {evaluation['seed']}",
        "stop": f"until ± {stop['half_width']:g}" if stop else "",
        "key": record["key"][:8],
    }


def training_traits(record: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a training; not its seed, nor what follows from the shots of the evaluation."""
    training = record["inputs"]["training"] or {}
    settings = {name: value for name, value in sorted(training.items()) if isinstance(value, (int, float, str))}
    return {
        name: f"{value} training episodes" if name == "episodes" else f"train.{name}={value}"
        for name, value in settings.items()
        if name not in ("seed", "shot", "query", "validation_query")
    }


def told_apart(names: Sequence[str], groups: Sequence[str], traits: Sequence[Mapping[str, str]]) -> list[str]:
    """Append to the names the traits, one after the other, in which those differ that share group and name."""
    found = list(names)
    for trait in dict.fromkeys(name for each in traits for name in each):
        sharing: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, place in enumerate(zip(groups, found, strict=True)):
            sharing[place].append(index)
        for members in sharing.values():
            values = [traits[index].get(trait, "") for index in members]
            if len(set(values)) > 1:
                for index, value in zip(members, values, strict=True):
                    found[index] = f"{found[index]} {value}".rstrip()
    return found


def _protocol_name(record: Mapping[str, Any]) -> str:
    protocol = record["inputs"]["protocol"]
    way, shot, query = (protocol["params"].get(name) for name in ("way", "shot", "query"))
    name = f"{way}-way {shot}-shot" if way and shot else str(protocol["name"])
    return name if query in (None, 15) else f"{name} {query}-query"
