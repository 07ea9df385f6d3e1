"""Labels of records: what tells the rows of a table apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from metabench.errors import UsageError
from metabench.records.inputs import as_plain
from metabench.records.schema import Record
from metabench.registry.metric import ACCURACY, Metric
from metabench.utils.hashing import canonical_json


@dataclass(frozen=True)
class LabelledRecord:
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
    record: Record

    @property
    def metric(self) -> Metric:
        """What its score is."""
        return self.record.metric

    @property
    def copies(self) -> dict[str, int]:
        """The numbers of copies among its items, see `metabench.records.copy_counts`."""
        return self.record.copies

    @property
    def where(self) -> str:
        """The protocol, and the metric if it is not accuracy."""
        return self.protocol if self.metric == ACCURACY else f"{self.protocol}, {self.metric.title}"


def labelled_records(records: Iterable[Record]) -> list[LabelledRecord]:
    """Return the records with names that tell them apart, no longer than need be; each record once.

    Raises:
        UsageError: a record has no scores.
    """
    records = list({record.key: record for record in records}.values())
    for record in records:
        if record.scores is None:
            raise UsageError(f"run {record.short_key} is {record.status} and has no scores; run it again")
    algorithms = [record.inputs.algorithm.name for record in records]
    methods = distinguishing_labels(algorithms, [""] * len(records), [_traits(record) for record in records])
    cells = [_cell(record) for record in records]
    trained = distinguishing_labels(algorithms, cells, [training_traits(record) for record in records])
    names = [method + told.removeprefix(name) for method, told, name in zip(methods, trained, algorithms, strict=True)]
    labels = distinguishing_labels(names, cells, [_run_traits(record) for record in records])
    parts = zip(methods, labels, cells, _dataset_names(records), map(_protocol_name, records), strict=True)
    return [LabelledRecord(*names, record.score, record) for names, record in zip(parts, records, strict=True)]


def _cell(record: Record) -> str:
    """Data set, protocol and metric: only what has them in common can be compared."""
    inputs = record.inputs
    return canonical_json([as_plain(inputs.dataset), as_plain(inputs.protocol), asdict(record.metric)])


def _dataset_names(records: Sequence[Record]) -> list[str]:
    """The name of each record's data set, with the start of its digest where the name means several."""
    data = [(record.inputs.dataset.label, record.inputs.dataset.digest) for record in records]
    variants: dict[str, set[str]] = defaultdict(set)
    for name, digest in data:
        variants[name].add(digest)
    return [f"{name} {digest[:8]}" if len(variants[name]) > 1 else name for name, digest in data]


def _traits(record: Record) -> dict[str, str]:
    """What may tell methods apart, on whatever data set, in the order of preference."""
    algorithm, backbone = record.inputs.algorithm, record.inputs.backbone
    traits = {"backbone": backbone.name}
    traits |= {f"algorithm.{name}": f"{name}={value}" for name, value in sorted(algorithm.params.items())}
    traits |= {f"backbone.{name}": f"{name}={value}" for name, value in sorted(backbone.params.items())}
    traits |= {"setting": algorithm.setting, "precision": record.inputs.precision}
    traits |= {"version": f"v{algorithm.version}", "backbone version": f"{backbone.name} v{backbone.version}"}
    return traits | {"sampling": f"{record.inputs.evaluation.sampling} sampling"}


def _run_traits(record: Record) -> dict[str, str]:
    """What tells apart runs of one method on one data set."""
    seed, evaluation = record.inputs.seed, record.inputs.evaluation
    return {
        "seed": "" if seed is None else f"seed {seed}",
        "episode seed": f"episode seed {evaluation.seed}",
        "stop": f"until ± {evaluation.stop.half_width:g}" if evaluation.stop else "",
        "key": record.key[:8],
    }


def training_traits(record: Record) -> dict[str, str]:
    """The settings of a training; not its seed, nor what follows from the shots of the evaluation."""
    training = record.inputs.training
    settings = {} if training is None else training.settings
    return {
        name: f"{value} training episodes" if name == "episodes" else f"train.{name}={value}"
        for name, value in settings.items()
        if name not in ("seed", "shot", "query", "validation_query")
    }


def distinguishing_labels(
    names: Sequence[str], groups: Sequence[str], traits: Sequence[Mapping[str, str]]
) -> list[str]:
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


def _protocol_name(record: Record) -> str:
    protocol = record.inputs.protocol
    way, shot, query = (protocol.params.get(name) for name in ("way", "shot", "query"))
    name = f"{way}-way {shot}-shot" if way and shot else protocol.name
    return name if query in (None, 15) else f"{name} {query}-query"
