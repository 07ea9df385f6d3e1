"""Training stages of a run: those of the algorithm for the dataset, with the user's settings and the run's shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from metabench.errors import UsageError
from metabench.planning.compatibility import refuse_untrained
from metabench.registry.specs import AlgorithmSpec, BackboneSpec, DatasetSpec
from metabench.registry.stage import Chain, Stage
from metabench.registry.stage_checks import check_chain

Overrides = Mapping[str, Mapping[str, Any]]
"""Fields that the user sets, by stage."""


def trains(algorithm: AlgorithmSpec, backbone: BackboneSpec) -> bool:
    """Return whether there are weights to learn."""
    return algorithm.trains and (algorithm.own_weights or backbone.trains)


def training_chain(
    algorithm: AlgorithmSpec,
    backbone: BackboneSpec,
    dataset: DatasetSpec,
    shape: tuple[int, int],
    overrides: Overrides,
) -> Chain:
    """Return the stages of a run; none where nothing is trained.

    Stages of classes train the backbone alone, so they are left out where it learns nothing.

    Args:
        algorithm, backbone: what is trained.
        dataset: what it learns from.
        shape: way and shot of the evaluation, for a recipe that leaves them open.
        overrides: fields that the user sets.

    Raises:
        UsageError: there is no recipe, or the data cannot be trained on as it says.
    """
    if not trains(algorithm, backbone):
        return ()
    if "train" not in dataset.splits:
        refuse_untrained(algorithm, backbone, dataset.name)
        return ()
    published = algorithm.recipe(dataset.name, *shape, dataset.kind)
    if not published:
        raise UsageError(f"{algorithm.name} has no training recipe for {dataset.name}; give it a '*' recipe")
    chain = tuple(_adapted(published, overrides, shape))
    check_chain(chain)
    chain = tuple(stage for stage in chain if stage.is_episodic or backbone.trains)
    for stage in chain:
        _check_objective(stage, dataset)
        _check_augmentation(stage, backbone, dataset)
        if algorithm.ways == "one" and stage.is_episodic:
            _check_way(algorithm, stage, shape[0])
    return chain


def refuse_trained_on(chain: Chain, split: str) -> None:
    """Raise UsageError for stages that train on the split to be measured."""
    for stage in chain:
        if split in stage.train_on.split("+"):
            raise UsageError(
                f"cannot train on the classes of '{split}' ({stage.name}.train_on={stage.train_on}): they are "
                f"measured. Change {stage.name}.train_on."
            )


def _adapted(published: Chain, overrides: Overrides, shape: tuple[int, int]) -> Iterator[Stage]:
    """Yield the stages with the user's settings and nothing left open, each as often as it is repeated."""
    for stage in published:
        stage = dataclasses.replace(stage, **overrides.get(stage.name, {}))
        yield from [_closed(stage, shape)] * stage.repeat


def _closed(stage: Stage, shape: tuple[int, int]) -> Stage:
    """Return a stage that leaves nothing to the evaluation; one of classes never does, so that many runs share it."""
    if not stage.is_episodic:
        return dataclasses.replace(
            stage,
            validation_way=stage.validation_way or 5,
            validation_shot=stage.validation_shot or 1,
            validation_query=stage.validation_query or 15,
        )
    way, shot = shape[0], stage.shot or shape[1]
    return dataclasses.replace(
        stage,
        way=stage.way or way,
        shot=shot,
        query=stage.query or shot,
        validation_way=stage.validation_way or way,
    )


def _check_way(algorithm: AlgorithmSpec, stage: Stage, way: int) -> None:
    """Raise UsageError where training or validation episodes are not of the `way` of the evaluation."""
    fields = {"way": stage.way, **({"validation_way": stage.validation_way} if stage.is_validated else {})}
    for field, trained in fields.items():
        if trained != way:
            raise UsageError(
                f"cannot evaluate {algorithm.name} at {way} ways with {stage.name}.{field}={trained}: its weights fit "
                f"one number of classes. Use --set {stage.name}.{field}=0, which is that of the evaluation."
            )


def _check_objective(stage: Stage, dataset: DatasetSpec) -> None:
    if stage.is_episodic:
        return
    if dataset.kind == "functions":
        raise UsageError(
            f"cannot do stage '{stage.name}': it learns classes, and '{dataset.name}' asks for numbers. Use another "
            "--algo or --dataset."
        )
    if (size := dataset.sizes.get("train")) is not None and size.classes < 2:
        raise UsageError(f"cannot do stage '{stage.name}': '{dataset.name}' has one class to train on, and needs two")


def _check_augmentation(stage: Stage, backbone: BackboneSpec, dataset: DatasetSpec) -> None:
    if stage.augment == "none":
        return
    setting = f"{stage.name}.augment"
    if dataset.kind != "images":
        raise UsageError(
            f"cannot apply {setting}={stage.augment}: it is for images, and the items of '{dataset.name}' are "
            f"{dataset.kind}. Leave it out."
        )
    if not backbone.trains:
        raise UsageError(
            f"cannot apply {setting}={stage.augment}: '{backbone.name}' learns nothing, so its features are "
            f"computed once, from the images as they are. Use {setting}=none, or another --backbone."
        )
