"""Compatibility of the parts of a run, as far as their specs alone decide it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from metabench.errors import UsageError
from metabench.planning.run_spec import RunSpec
from metabench.registry.registry import Registry
from metabench.registry.specs import SAME_CLASSES, AlgorithmSpec, BackboneSpec, DatasetSpec, ProtocolSpec


def incompatibility(
    protocol: ProtocolSpec,
    measured: tuple[DatasetSpec, str],
    learner: tuple[AlgorithmSpec, BackboneSpec, DatasetSpec],
    registry: Registry,
) -> UsageError | None:
    """Return why parts cannot be together in any run; None where they can.

    Args:
        protocol: of the measured episodes.
        measured: the dataset and its split.
        learner: algorithm, backbone and the dataset that it learns from.
        registry: what could be used instead.
    """
    (dataset, split), (algorithm, backbone, learned_from) = measured, learner
    checks: tuple[Callable[[], None], ...] = (
        lambda: _check_answers(algorithm, dataset, registry),
        lambda: _check_input(learned_from, backbone, registry),
        lambda: _check_input(dataset, backbone, registry),
        lambda: _check_items(protocol, dataset, registry),
        lambda: _check_ways(algorithm, dataset, protocol),
        lambda: _check_beside(algorithm, dataset, protocol),
        lambda: _check_same_classes(algorithm, dataset, protocol),
    )
    try:
        for check in checks:
            check()
        if split not in dataset.splits:
            raise UsageError(f"'{dataset.name}' has no split '{split}' to measure")
    except UsageError as error:
        return error
    return None


def refuse_untrained(algorithm: AlgorithmSpec, backbone: BackboneSpec, dataset: str) -> None:
    """Raise UsageError for an algorithm that needs meta-training, for which a dataset has no classes.

    Features of a backbone that is pre-trained, or has nothing to train, can be used as they are.
    """
    if algorithm.takes == "features" and (backbone.trained_on or not backbone.trains):
        return
    other = "a pre-trained --backbone, " if algorithm.takes == "features" else ""
    raise UsageError(
        f"'{dataset}' has no classes to meta-train {algorithm.name} on; use {other}--checkpoint, "
        "or an algorithm that needs no training ('metabench list')"
    )


def missing_views(run: RunSpec) -> UsageError | None:
    """Return why there are no augmented copies for an algorithm that uses some; None where it can have them."""
    kind = run.dataset.spec.kind
    if "views" not in run.algorithm.spec.uses_with(run.algorithm.params) or kind == "images":
        return None
    return UsageError(
        f"cannot give {run.algorithm.name} augmented copies: they are made of images, and the items of "
        f"'{run.dataset.name}' are {kind}. Set its parameters so that it uses none ('metabench show NAME')."
    )


def missing_base(run: RunSpec) -> UsageError | None:
    """Return why an algorithm has no base classes to study; None where it has, or studies none."""
    if not run.uses_base or "train" in run.trained_on.spec.splits:
        return None
    spec = run.algorithm.spec
    others = "".join(f", another algo.{name}" for name in spec.uses_when)
    return UsageError(
        f"{spec.name} studies the features of training classes, and '{run.trained_on.name}' has none; use "
        f"--train-dataset, --checkpoint{others}, or an algorithm that needs none ('metabench list')"
    )


def refuse_missing_split(protocol: ProtocolSpec, dataset: str) -> NoReturn:
    """Raise UsageError for a dataset without the split that a protocol needs beside the measured one."""
    if protocol.support:
        raise UsageError(
            f"protocol '{protocol.name}' takes support from {protocol.support}/, and '{dataset}' has none; put classes "
            f"of the same names into {protocol.support}/ and test/, or leave --protocol out"
        )
    raise UsageError(
        f"protocol '{protocol.name}' asks about the classes of '{protocol.beside}' too, and '{dataset}' has none"
    )


def _check_input(dataset: DatasetSpec, backbone: BackboneSpec, registry: Registry) -> None:
    if dataset.kind != backbone.takes:
        fitting = [name for name, spec in registry.backbones.items() if spec.takes == dataset.kind]
        raise UsageError(
            f"backbone '{backbone.name}' takes {backbone.takes}, and the items of '{dataset.name}' are {dataset.kind}; "
            f"use --backbone {' or '.join(fitting) or 'of a plugin for ' + dataset.kind}"
        )


def _check_items(protocol: ProtocolSpec, dataset: DatasetSpec, registry: Registry) -> None:
    if dataset.kind not in protocol.takes:
        fitting = [name for name, spec in registry.protocols.items() if dataset.kind in spec.takes]
        raise UsageError(
            f"protocol '{protocol.name}' is for {' and '.join(protocol.takes)}, and the items of '{dataset.name}' "
            f"are {dataset.kind}; use --protocol {' or '.join(fitting) or 'of a plugin for ' + dataset.kind}"
        )


def _check_answers(algorithm: AlgorithmSpec, dataset: DatasetSpec, registry: Registry) -> None:
    wanted = _answers_of(dataset)
    if wanted not in algorithm.answers:
        fitting = [name for name, spec in registry.algorithms.items() if wanted in spec.answers]
        others = [name for name, spec in registry.datasets.items() if _answers_of(spec) in algorithm.answers]
        elsewhere = f", or --dataset {' or '.join(others)}" if len(others) <= 3 else ""
        raise UsageError(
            f"{algorithm.name} predicts {algorithm.answers[0]}, and '{dataset.name}' asks for {wanted}; "
            f"use --algo {' or '.join(fitting)}{elsewhere}"
        )


def _answers_of(dataset: DatasetSpec) -> str:
    return "numbers" if dataset.kind == "functions" else "labels"


def _check_ways(algorithm: AlgorithmSpec, dataset: DatasetSpec, protocol: ProtocolSpec) -> None:
    one_way = algorithm.ways == "one" or algorithm.takes == "images"
    has_classes = dataset.kind != "functions"
    if one_way and has_classes and "way" not in {param.name for param in protocol.params}:
        raise UsageError(
            f"{algorithm.name} is made for one number of classes, and episodes of '{protocol.name}' differ in it"
        )


def _check_beside(algorithm: AlgorithmSpec, dataset: DatasetSpec, protocol: ProtocolSpec) -> None:
    if protocol.beside and algorithm.takes == "images":
        raise UsageError(
            f"{algorithm.name} adapts a network with a fixed number of outputs, and '{protocol.name}' adds all base "
            "classes to them; use an algorithm on features ('metabench show NAME' says what one takes)"
        )
    if protocol.beside and algorithm.ways == "one":
        raise UsageError(
            f"{algorithm.name} is made for one number of classes, and '{protocol.name}' adds all base classes to those "
            "of an episode; use an algorithm for any number"
        )
    if protocol.beside and protocol.beside not in dataset.splits:
        refuse_missing_split(protocol, dataset.name)


def _check_same_classes(algorithm: AlgorithmSpec, dataset: DatasetSpec, protocol: ProtocolSpec) -> None:
    if protocol.support and SAME_CLASSES not in {param.name for param in dataset.params}:
        raise UsageError(
            f"protocol '{protocol.name}' takes support and queries from two splits of the same classes, and each split "
            f"of '{dataset.name}' has classes of its own; use --dataset folder:PATH"
        )
    if protocol.support and algorithm.takes == "images":
        raise UsageError(
            f"{algorithm.name} adapts a network to images, and '{protocol.name}' is for features; use an algorithm on "
            "features ('metabench show NAME' says what one takes)"
        )
