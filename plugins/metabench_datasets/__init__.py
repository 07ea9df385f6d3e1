"""Built-in datasets, registered through the public hooks."""

from __future__ import annotations

from collections.abc import Iterable

from metabench.api import DatasetSpec, hookimpl
from metabench_datasets import (
    cifar_fs,
    cub,
    fc100,
    folder,
    glyphs,
    intents,
    mini_imagenet,
    omniglot,
    omniglot_lake,
    sinusoid,
    tiered_imagenet,
)


@hookimpl
def metabench_datasets() -> Iterable[DatasetSpec]:
    """Return the built-in datasets."""
    return [
        cifar_fs.SPEC,
        cub.SPEC,
        fc100.SPEC,
        folder.SPEC,
        glyphs.SPEC,
        *intents.SPECS,
        mini_imagenet.SPEC,
        omniglot.SPEC,
        omniglot_lake.SPEC,
        sinusoid.SPEC,
        tiered_imagenet.SPEC,
    ]
