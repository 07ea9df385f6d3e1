"""Counting copies among the items of a run, once for each prepared split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metabench.data.array_cache import mapped_array
from metabench.data.duplicates import ItemDigests, count_copies, items_of
from metabench.execution.training_data import seen_by
from metabench.planning.run_spec import RunSpec
from metabench.records.copy_counts import BETWEEN_CLASSES, BETWEEN_SPLITS, WITHIN_CLASS
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import DatasetSpec
from metabench.utils.atomic_files import replacing

if TYPE_CHECKING:
    from metabench.execution.session import Session


class CopyCounter:
    """A counter of copies by the digests of items, which are kept on disk by the digest of their split.

    Args:
        session: loads the splits and knows their digests.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._items: dict[str, ItemDigests] = {}
        self._counts: dict[tuple[str, ...], dict[str, int]] = {}
        self._seen: dict[str, list[tuple[ResolvedPlugin[DatasetSpec], str]]] = {}

    def count(self, run: RunSpec) -> dict[str, int]:
        """Return the number of copies of each kind in a run (see `copy_counts`), without those that are 0.

        ``within_class`` and ``between_classes`` are of the measured split. ``between_splits`` are its items that are
        also in a split which the run trains on, chooses weights by or takes support from, or which the user's weights
        have seen, where that is known here (see `training_data.seen_by`). Where support is drawn from another split,
        copies within a class of the measured one do no harm.
        """
        learned = [(run.trained_on, split) for split in learned_from(run)]
        learned += [(run.dataset, run.support)] if run.support else []
        weights = run.checkpoint_sha256 or run.backbone.weights_sha256
        if weights:
            if weights not in self._seen:
                self._seen[weights] = seen_by(weights, run, self._session)
            measured_digest = self._session.loader.digests(run.dataset)[run.split]
            learned += [
                (dataset, split)
                for dataset, split in self._seen[weights]
                if split != "val" or self._session.loader.digests(dataset)[split] != measured_digest
            ]
        places = [(run.dataset, run.split), *learned]
        key = (run.support, *(self._session.loader.digests(dataset)[split] for dataset, split in places))
        if key not in self._counts:
            measured, *others = (self._items_of(dataset, split) for dataset, split in places)
            within, between = count_copies(measured)
            within = 0 if run.support else within
            seen = np.concatenate([items.digests for items in others]) if others else np.array([], np.uint64)
            shared = len(np.intersect1d(measured.digests, seen))
            counts = {WITHIN_CLASS: within, BETWEEN_CLASSES: between, BETWEEN_SPLITS: shared}
            self._counts[key] = {kind: number for kind, number in counts.items() if number}
        return self._counts[key]

    def _items_of(self, dataset: ResolvedPlugin[DatasetSpec], split: str) -> ItemDigests:
        """Return the digests of the items of a split, from memory, disk or the split."""
        digest = self._session.loader.digests(dataset)[split]
        if digest not in self._items:
            path = self._session.home.dataset_cache(dataset.spec.cache_name) / f"items-{digest[:16]}.npy"
            items = _read(path)
            if items is None:
                items = self._computed(dataset, split)
                _write(path, items)
            self._items[digest] = items
        return self._items[digest]

    def _computed(self, dataset: ResolvedPlugin[DatasetSpec], split: str) -> ItemDigests:
        data = self._session.loader.split(dataset, split)
        with self._session.console.progress(f"comparing items of {dataset.name}", len(data.images)) as bar:
            return items_of(data, bar.update)


def learned_from(run: RunSpec) -> list[str]:
    """Return the splits that a run trains on or chooses weights by, without the measured split."""
    splits: dict[str, None] = {}
    for stage in run.stages:
        splits |= dict.fromkeys([*stage.train_on.split("+"), *(["val"] if stage.is_validated else [])])
    splits |= {"train": None} if run.uses_base else {}
    return [split for split in splits if run.source is not None or split != run.split]


def _read(path: Path) -> ItemDigests | None:
    array = mapped_array(path)
    if array is None or array.ndim != 2 or len(array) != 2 or array.dtype != np.uint64:
        return None
    return ItemDigests(array[0], array[1].astype(np.int64))


def _write(path: Path, items: ItemDigests) -> None:
    with replacing(path, durable=False) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.stack([items.digests, items.classes.astype(np.uint64)]))
