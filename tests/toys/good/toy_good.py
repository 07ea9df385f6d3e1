"""A sound plugin that provides one of everything and tries to change records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metabench.api import (
    AlgorithmSpec,
    BackboneSpec,
    DatasetSpec,
    Param,
    ProtocolSpec,
    Record,
    SplitSize,
    Stage,
    hookimpl,
)

_COMMON = {"version": 3, "reference": "none", "licence": "MIT"}


class ToyMedian:
    """What the target of toy-median names."""


NOT_A_CLASS = 7


def _algorithm(name: str, **more: Any) -> AlgorithmSpec:
    settings = {"target": "toy_good:ToyMedian", "summary": f"the toy {name}", "trains": False, **_COMMON, **more}
    return AlgorithmSpec(name=name, **settings)


@hookimpl
def metabench_algorithms() -> Iterator[AlgorithmSpec]:
    yield _algorithm("toy-mean")
    yield _algorithm(
        "toy-median",
        params=(
            Param("steps", 5, "how often"),
            Param("rate", 0.5, "how fast"),
            Param("fancy", False, "whether to do more"),
            Param("metric", "cosine", "similarity", ("cosine", "euclidean")),
        ),
        recipes={"*": Stage(way=7, shot=1, query=2, episodes=11, source="made up")},
    )
    yield _algorithm("toy-heavy", requires=("toy_no_such_module",), extra="toys")
    yield _algorithm("toy-typo", target="toy_good:ToyMedain")
    yield _algorithm("toy-astray", target="toy_good_no_such_module:Toy")
    yield _algorithm("toy-number", target="toy_good:NOT_A_CLASS")
    yield _algorithm("toy-colonless", target="toy_good.ToyMedian")


@hookimpl
def metabench_datasets() -> list[DatasetSpec]:
    sizes = {"train": SplitSize(3, 30), "val": SplitSize(1, 10), "test": SplitSize(2, 20)}
    return [
        DatasetSpec(
            name=name,
            target=f"toy_good:{target}",
            summary="dots",
            image_shape=(1, 4, 4),
            sizes=sizes,
            digests=dict.fromkeys(sizes, "0" * 64),
            download=True,
            **_COMMON,
        )
        for name, target in (("toy-dots", "Dots"), ("toy-lost", "Lost"), ("toy-rotten", "Rotten"))
    ]


class Dots:
    """A dataset whose files are found and that then starts to decode."""

    def load(self, split: str, context: Any) -> None:
        context.progress("decoding", 0, 10)
        raise AssertionError("decoded although only asked whether it is there")


class Lost:
    """A dataset whose files are missing."""

    def load(self, split: str, context: Any) -> None:
        from metabench.api import MissingError

        raise MissingError("toy-lost: lost.zip not found")


class Rotten:
    """A dataset with a bug."""

    def load(self, split: str, context: Any) -> None:
        raise ZeroDivisionError("rotten")


@hookimpl
def metabench_backbones() -> list[BackboneSpec]:
    return [BackboneSpec(name="toy-bone", target="toy_good:ToyMedian", summary="a bone", **_COMMON)]


@hookimpl
def metabench_protocols() -> tuple[ProtocolSpec, ...]:
    params = (Param("way", 5, "classes"),)
    return (ProtocolSpec(name="toy-way", target="toy_good:ToyMedian", summary="a way", params=params, **_COMMON),)


@hookimpl
def metabench_run_finished(record: Record, path: str) -> None:
    record.summary_fields["accuracy"] = 100.0
    raise RuntimeError(f"cannot upload\n{path}")
