"""Training recipe of one run: that of the algorithm for the dataset, with the user's settings and the run's shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from metabench.errors import UsageError
from metabench.planning.compatibility import refuse_untrained
from metabench.registry.recipe import Recipe
from metabench.registry.specs import AlgorithmSpec, BackboneSpec, DatasetSpec


def trains(algorithm: AlgorithmSpec, backbone: BackboneSpec) -> bool:
    """Return whether there are weights to learn."""
    return algorithm.trains and (algorithm.own_weights or backbone.trains)


def training_recipe(
    algorithm: AlgorithmSpec,
    backbone: BackboneSpec,
    dataset: DatasetSpec,
    shape: tuple[int, int],
    overrides: Mapping[str, Any],
) -> Recipe | None:
    """Return the recipe of a run; None where nothing is trained.

    Args:
        algorithm, backbone: what is trained.
        dataset: what it learns from.
        shape: way and shot of the evaluation, for a recipe that leaves them open.
        overrides: fields that the user sets.

    Raises:
        UsageError: there is no recipe, or the data cannot be trained on as it says.
    """
    if not trains(algorithm, backbone):
        return None
    if "train" not in dataset.splits:
        refuse_untrained(algorithm, backbone, dataset.name)
        return None
    published = algorithm.recipe(dataset.name, *shape, dataset.kind)
    if published is None:
        raise UsageError(f"{algorithm.name} has no training recipe for {dataset.name}; give it a '*' recipe")
    recipe = dataclasses.replace(published, **overrides)
    _check_augmentation(recipe, backbone, dataset)
    way, shot = shape[0], recipe.shot or shape[1]
    recipe = dataclasses.replace(
        recipe,
        way=recipe.way or way,
        shot=shot,
        query=recipe.query or shot,
        validation_way=recipe.validation_way or way,
    )
    if algorithm.ways == "one":
        _require_way(algorithm, recipe, way)
    return recipe


def refuse_trained_on(recipe: Recipe | None, split: str) -> None:
    """Raise UsageError for a recipe that trains on the split to be measured."""
    if recipe is not None and split in recipe.train_on.split("+"):
        raise UsageError(
            f"cannot train on the classes of '{split}' (train.train_on={recipe.train_on}): they are measured. "
            "Change train.train_on."
        )


def _require_way(algorithm: AlgorithmSpec, recipe: Recipe, way: int) -> None:
    """Raise UsageError where training or validation episodes are not of the `way` of the evaluation."""
    for field, trained in (("way", recipe.way), ("validation_way", recipe.validation_way)):
        if trained != way and (field == "way" or recipe.train_on == "train"):
            raise UsageError(
                f"cannot evaluate {algorithm.name} at {way} ways with train.{field}={trained}: its weights fit one "
                f"number of classes. Use --set train.{field}=0, which is that of the evaluation."
            )


def _check_augmentation(recipe: Recipe, backbone: BackboneSpec, dataset: DatasetSpec) -> None:
    if recipe.augment == "none":
        return
    if dataset.kind != "images":
        raise UsageError(
            f"cannot apply train.augment={recipe.augment}: it is for images, and the items of '{dataset.name}' are "
            f"{dataset.kind}. Leave it out."
        )
    if not backbone.trains:
        raise UsageError(
            f"cannot apply train.augment={recipe.augment}: '{backbone.name}' learns nothing, so its features are "
            "computed once, from the images as they are. Use train.augment=none, or another --backbone."
        )
