"""Labels of records, protocols and datasets: as short as they can be and still distinguish the rows of a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from metabench.errors import UsageError
from metabench.records.inputs import as_plain
from metabench.records.schema import Record
from metabench.records.training_text import trained_by
from metabench.registry.metric import ACCURACY, Metric
from metabench.registry.params import Value
from metabench.utils.hashing import canonical_json


@dataclass(frozen=True)
class LabelledRecord:
    """A record in a comparison.

    Attributes:
        method: algorithm, and what else distinguishes the methods given; the same on every dataset.
        label: `method`, in what else the trainings of one algorithm differ there, and what distinguishes runs (the
            training seed, or the key).
        cell: dataset and protocol, as text; what is compared has it in common.
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
        """The metric of the score."""
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
    """Return the records with distinct names, no longer than need be; every record once.

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
    names = [method + more.removeprefix(name) for method, more, name in zip(methods, trained, algorithms, strict=True)]
    labels = distinguishing_labels(names, cells, [_run_traits(record) for record in records])
    parts = zip(methods, labels, cells, _dataset_names(records), map(_protocol_name, records), strict=True)
    return [LabelledRecord(*names, record.score, record) for names, record in zip(parts, records, strict=True)]


def _cell(record: Record) -> str:
    """Return dataset, protocol and metric as text: only records that have them in common can be compared."""
    inputs = record.inputs
    return canonical_json([as_plain(inputs.dataset), as_plain(inputs.protocol), asdict(record.metric)])


def _dataset_names(records: Sequence[Record]) -> list[str]:
    """Return the name of each record's dataset, with the start of its digest where the name means several."""
    data = [(record.inputs.dataset.label, record.inputs.dataset.digest) for record in records]
    variants: dict[str, set[str]] = defaultdict(set)
    for name, digest in data:
        variants[name].add(digest)
    return [f"{name} {digest[:8]}" if len(variants[name]) > 1 else name for name, digest in data]


def _traits(record: Record) -> dict[str, str]:
    """Return what may distinguish methods, on whatever dataset, in the order of preference."""
    algorithm, backbone = record.inputs.algorithm, record.inputs.backbone
    traits = {"backbone": backbone.name}
    traits |= {f"algorithm.{name}": f"{name}={value}" for name, value in sorted(algorithm.params.items())}
    traits |= {f"backbone.{name}": f"{name}={value}" for name, value in sorted(backbone.params.items())}
    traits |= {"setting": algorithm.setting, "precision": record.inputs.precision}
    traits |= {"version": f"v{algorithm.version}", "backbone version": f"{backbone.name} v{backbone.version}"}
    return traits | {"sampling": f"{record.inputs.evaluation.sampling} sampling"}


def _run_traits(record: Record) -> dict[str, str]:
    """Return what distinguishes runs of one method on one dataset."""
    seed, evaluation = record.inputs.seed, record.inputs.evaluation
    return {
        "seed": "" if seed is None else f"seed {seed}",
        "episode seed": f"episode seed {evaluation.seed}",
        "stop": f"until ± {evaluation.stop.half_width:g}" if evaluation.stop else "",
        "key": record.key[:8],
    }


def training_traits(record: Record) -> dict[str, str]:
    """Return the settings of a training; not its seed, nor what follows from the shots of the evaluation."""
    training = record.inputs.training
    settings = {} if training is None else training.settings
    stages = trained_by(training, record.training)
    return {"trained by": stages} | {
        name: f"{value} training episodes" if name == "episodes" else f"{_with_stage(name)}={value}"
        for name, value in settings.items()
        if name not in ("seed", "shot", "query", "validation_query")
    }


def _with_stage(setting: str) -> str:
    return setting if "." in setting else f"train.{setting}"


def distinguishing_labels(
    names: Sequence[str], groups: Sequence[str], traits: Sequence[Mapping[str, str]]
) -> list[str]:
    """Append to the names the traits, one after the other, in which those differ that share group and name."""
    labels = list(names)
    for trait in dict.fromkeys(name for own in traits for name in own):
        sharing: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, place in enumerate(zip(groups, labels, strict=True)):
            sharing[place].append(index)
        for members in sharing.values():
            values = [traits[index].get(trait, "") for index in members]
            if len(set(values)) > 1:
                for index, value in zip(members, values, strict=True):
                    labels[index] = f"{labels[index]} {value}".rstrip()
    return labels


def _protocol_name(record: Record) -> str:
    protocol = record.inputs.protocol
    name, query = way_shot(protocol.params) or protocol.name, protocol.params.get("query")
    return name if query in (None, 15) else f"{name} {query}-query"


def way_shot(params: Mapping[str, Value]) -> str:
    """Return ``5-way 1-shot``; '' where the protocol has no such parameters or draws them anew."""
    way, shot = params.get("way"), params.get("shot")
    return f"{way}-way {shot}-shot" if way and shot else ""


def with_differing_params(names: Sequence[str], params: Sequence[Mapping[str, Value]]) -> list[str]:
    """Append to the names the parameters in which those differ that share a name, as in ``folder size=84``."""
    values: dict[tuple[str, str], set[Value]] = defaultdict(set)
    for name, own in zip(names, params, strict=True):
        for param, value in own.items():
            values[name, param].add(value)
    return [
        " ".join([name, *(f"{param}={value}" for param, value in own.items() if len(values[name, param]) > 1)])
        for name, own in zip(names, params, strict=True)
    ]
