"""What a plugin author imports. Importing it loads no torch; base classes live in `metabench.models.interfaces`."""

from __future__ import annotations

import pluggy

from metabench.data.context import DataContext
from metabench.data.split import ClassSplit, image_digest, split_digest
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.registry.metric import Metric
from metabench.registry.params import Param
from metabench.registry.recipe import Recipe
from metabench.registry.specs import (
    AlgorithmSpec,
    BackboneSpec,
    DatasetSpec,
    Declared,
    Exempt,
    KnownCopy,
    ProtocolSpec,
    SplitSize,
)

hookimpl = pluggy.HookimplMarker("metabench")

__all__ = [
    "AlgorithmSpec",
    "BackboneSpec",
    "ClassSplit",
    "DataContext",
    "DatasetSpec",
    "Declared",
    "Exempt",
    "KnownCopy",
    "MetabenchError",
    "Metric",
    "MissingError",
    "Param",
    "ProtocolSpec",
    "Recipe",
    "SplitSize",
    "UsageError",
    "hookimpl",
    "image_digest",
    "split_digest",
]
