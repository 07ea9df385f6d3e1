"""The data of a run: its digests, the classes that it measures, and the images that training must not see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.data.dataset_loader import DatasetLoader
from metabench.data.joint_split import join_splits, reserve_mask, with_copies
from metabench.data.paired_split import pair_splits
from metabench.data.split import ClassSplit
from metabench.planning.data_digests import DataDigests
from metabench.planning.run_spec import RunSpec


def run_digests(run: RunSpec, loader: DatasetLoader) -> DataDigests:
    """Return the digests of the datasets of a run; reads the data where they are not known."""
    measured = loader.digests(run.dataset)
    return DataDigests(measured, measured if run.source is None else loader.digests(run.source))


def known_run_digests(run: RunSpec, loader: DatasetLoader) -> DataDigests | None:
    """Return the digests of the datasets of a run; None where data must be read to know one."""
    measured = loader.known_digests(run.dataset)
    trained = measured if run.source is None or measured is None else loader.known_digests(run.source)
    return None if measured is None or trained is None else DataDigests(measured, trained)


def measured_split(run: RunSpec, loader: DatasetLoader) -> ClassSplit:
    """Return the classes that a run measures, joined with base classes or support where its protocol needs them."""
    split = loader.split(run.dataset, run.split)
    if run.support:
        return pair_splits(split, loader.split(run.dataset, run.support))
    if not run.beside:
        return split
    return join_splits(split, loader.split(run.dataset, run.beside), reserved_images(run, loader))


def reserved_images(run: RunSpec, loader: DatasetLoader) -> NDArray[np.bool_]:
    """Return which images (N,) of the base classes of a run are reserved: training never sees them."""
    digest = loader.digests(run.dataset)[run.beside]
    return reserve_mask(loader.split(run.dataset, run.beside), digest, run.reserve)


def withheld_images(run: RunSpec, loader: DatasetLoader, name: str) -> NDArray[np.bool_] | None:
    """Return which images (N,) of a split, or of a union of two, training must not see; None where it may see all.

    They are the reserved images and every copy of one, in whatever class.
    """
    parts = name.split("+")
    if run.beside not in parts:
        return None
    sizes = {part: len(loader.split(run.trained_on, part).images) for part in parts}
    mask = np.concatenate(
        [reserved_images(run, loader) if part == run.beside else np.zeros(sizes[part], dtype=bool) for part in parts]
    )
    return with_copies(loader.split(run.trained_on, name).images, mask)


def unofficial_pixels(run: RunSpec, loader: DatasetLoader) -> dict[str, str]:
    """Return a description of the pixels of each dataset of a run whose pixels are not the official ones, by name."""
    datasets = (run.dataset,) if run.source is None else (run.dataset, run.source)
    texts = {data.name: data.spec.pixels(data.params, loader.digests(data)) for data in datasets}
    return {name: text for name, text in texts.items() if text}
