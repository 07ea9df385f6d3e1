"""Second step of planning: every combination of algorithm, dataset and backbone, and refusals that concern them all."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metabench.errors import UsageError
from metabench.planning.resolve import PlanRequest
from metabench.planning.selection import Selection
from metabench.planning.settings import OF_ANY_BACKBONE, check_known
from metabench.registry.registry import NamedSpec, Registry
from metabench.registry.specs import SAME_CLASSES, TEST, AlgorithmSpec, AnySpec, BackboneSpec, DatasetSpec, ProtocolSpec


@dataclass(frozen=True)
class Combination:
    """One algorithm on one backbone, measured on one dataset.

    Attributes:
        algorithm, dataset, backbone: as the user named them, or by default.
        source: the dataset that is learned from, mostly `dataset`.
        weights: a file that the backbone starts from; None for its own start.
    """

    algorithm: NamedSpec[AlgorithmSpec]
    dataset: NamedSpec[DatasetSpec]
    source: NamedSpec[DatasetSpec]
    backbone: NamedSpec[BackboneSpec]
    weights: Path | None = None


def combine(request: PlanRequest, registry: Registry) -> list[Combination]:
    """Return the combinations in the order algorithm, dataset, backbone.

    Raises:
        UsageError: an unknown name, or an option or setting that no combination can use.
    """
    selection = request.selection
    combinations = []
    for names in itertools.product(selection.algorithms, selection.datasets, selection.backbones or ("",)):
        algorithm, dataset = registry.choose("algorithm", names[0]), registry.choose("dataset", names[1])
        source = request.source or dataset
        backbone = registry.choose("backbone", names[2] or source.spec.backbone or algorithm.spec.backbone)
        combinations.append(Combination(algorithm, dataset, source, backbone))
    _refuse_unknown_settings(request, combinations)
    _refuse_ineffective(request, combinations)
    _refuse_without_training(selection, request.protocol)
    return _with_weights(request, combinations)


def _refuse_unknown_settings(request: PlanRequest, combinations: Sequence[Combination]) -> None:
    settings, learned_from = request.settings, [request.source] if request.source else []
    general = _settings_of_any_backbone(request.selection, combinations)
    of_backbone = {name: value for name, value in settings["backbone"].items() if name not in general}
    check_known("algo", [item.algorithm for item in combinations], settings["algo"])
    check_known("data", [*(item.dataset for item in combinations), *learned_from], settings["data"])
    check_known("backbone", [item.backbone for item in combinations], of_backbone)
    protocol: NamedSpec[AnySpec] = NamedSpec(request.protocol, {})
    check_known("protocol", [protocol], settings["protocol"])


def _settings_of_any_backbone(selection: Selection, combinations: Sequence[Combination]) -> tuple[str, ...]:
    """Return the settings that any backbone takes, which need a file of weights."""
    frozen = selection.checkpoint is not None and any(not item.algorithm.spec.trains for item in combinations)
    return OF_ANY_BACKBONE if frozen or "backbone.weights" in selection.settings else ()


def _refuse_ineffective(request: PlanRequest, combinations: Sequence[Combination]) -> None:
    """Raise UsageError for an option that has no effect, or that contradicts another."""
    selection, protocol = request.selection, request.protocol
    if selection.query is not None and "query" not in {param.name for param in protocol.params}:
        raise UsageError(
            f"cannot apply --query: protocol '{protocol.name}' has its own number of queries. Leave --query out."
        )
    if f"data.{SAME_CLASSES}" in selection.settings:
        raise UsageError(
            f"cannot set data.{SAME_CLASSES}: the protocol sets it. Leave it out, and choose a --protocol that does."
        )
    if selection.train_dataset and selection.checkpoint is not None:
        raise UsageError("cannot apply --train-dataset: with --checkpoint nothing is trained. Leave one of them out.")
    learns = (item.algorithm.spec.trains or item.algorithm.spec.uses for item in combinations)
    if selection.train_dataset and not any(learns):
        raise UsageError(
            "cannot apply --train-dataset: no algorithm is trained. Choose another --algo; see "
            "'metabench list algorithms'."
        )
    if selection.checkpoint is None or "backbone.weights" not in selection.settings:
        return
    if any(not item.algorithm.spec.trains or item.backbone.spec.trains for item in combinations):
        raise UsageError(
            "cannot take backbone.weights beside --checkpoint: it holds the weights of the backbone too. "
            "Give one of them."
        )


def _refuse_without_training(selection: Selection, protocol: ProtocolSpec) -> None:
    """Raise UsageError for options that do not go with a protocol that restricts training."""
    if protocol.support and selection.split != TEST:
        raise UsageError(
            f"cannot choose parameters with protocol '{protocol.name}': it has no {selection.split} classes. "
            "Choose them with another --protocol, on other classes."
        )
    if protocol.support and selection.train_dataset:
        raise UsageError(
            f"cannot apply --train-dataset: '{protocol.name}' trains nothing. Leave it out; --checkpoint takes the "
            "weights of another run."
        )
    if not protocol.beside:
        return
    if selection.train_dataset:
        raise UsageError(
            f"cannot apply --train-dataset: the base classes of '{protocol.name}' are those of --dataset. Leave it out."
        )
    if selection.checkpoint is not None:
        raise UsageError(
            f"cannot apply --checkpoint: '{protocol.name}' needs images held out of training, and for a checkpoint "
            "nobody knows that. Leave it out, so that the weights are trained without them."
        )


def _with_weights(request: PlanRequest, combinations: Sequence[Combination]) -> list[Combination]:
    """Add the files of weights: ``--checkpoint`` where only the backbone has any, else ``backbone.weights``.

    The setting is for the backbones that declare weights; where none does, for all.
    """
    checkpoint, file = request.selection.checkpoint, request.settings["backbone"].get("weights")
    declaring = [item.backbone.spec for item in combinations if item.backbone.spec.has_weights]

    def weights(item: Combination) -> Path | None:
        backbone = item.backbone.spec
        if checkpoint is not None and backbone.has_weights and not item.algorithm.spec.trains:
            return checkpoint
        return Path(str(file)) if file is not None and (backbone in declaring or not declaring) else None

    return [dataclasses.replace(item, weights=weights(item)) for item in combinations]
