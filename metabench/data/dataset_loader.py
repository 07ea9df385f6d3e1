"""Loading datasets: each split once, validated, with its digest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.data.array_cache import cached_array
from metabench.data.digest_files import DataPlaces, declared_digests, read_digests, write_digests
from metabench.data.loader_context import DataContext
from metabench.data.skipped_files import UnreadFiles
from metabench.data.split import ClassSplit, merge_splits, split_digest
from metabench.data.split_checks import content_problem, shared_class_problem, valid_split
from metabench.errors import MetabenchError
from metabench.registry.registry import load_target
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import SAME_CLASSES, DatasetSpec
from metabench.utils.console import Console
from metabench.utils.hashing import content_key
from metabench.utils.home import Home


@dataclasses.dataclass
class _LoadedParts:
    """Facts about the splits of one dataset loaded so far, by the name of the split."""

    names: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    error: MetabenchError | None = None


class DatasetLoader:
    """A loader of splits that keeps them in memory, and remembers their digests on disk.

    Args:
        home: holds decoded data and digests.
        console: shows progress.
        allow_download: fetch missing data.
    """

    def __init__(self, home: Home, console: Console, allow_download: bool = True) -> None:
        self.home, self.console, self.allow_download = home, console, allow_download
        self.places = DataPlaces(home)
        self._splits: dict[str, ClassSplit] = {}
        self._loaded: dict[str, _LoadedParts] = {}
        self._noted: set[str] = set()

    def split(self, dataset: ResolvedPlugin[DatasetSpec], name: str) -> ClassSplit:
        """Return a split, or the union of two (``train+val``); loads it once, and prepares or downloads it if needed.

        Raises:
            MissingError, MetabenchError: it cannot be loaded; a dataset that failed once is not loaded again.
        """
        key = content_key([dataset.identity, name])
        if key not in self._splits:
            first, plus, second = name.partition("+")
            self._splits[key] = self._union(dataset, first, second) if plus else self._load(dataset, name)
        return self._splits[key]

    def splits(self, dataset: ResolvedPlugin[DatasetSpec]) -> tuple[str, ...]:
        """Return the names of the splits that a dataset has, according to its spec or its files."""
        spec = dataset.spec
        list_splits = getattr(load_target(spec), "splits", None)
        if list_splits is None:
            return spec.splits
        names: tuple[str, ...] = list_splits(load_target(spec)(**dataset.params), self._context(dataset))
        return names

    def unread(self, dataset: ResolvedPlugin[DatasetSpec]) -> list[UnreadFiles]:
        """Return the files that the loader of a dataset reports as not read; prepares the dataset if needed."""
        loader = load_target(dataset.spec)(**dataset.params)
        return list(loader.unread(self._context(dataset))) if hasattr(loader, "unread") else []

    def item_names(self, dataset: ResolvedPlugin[DatasetSpec], name: str) -> Sequence[str]:
        """Return the name of each item of a split, such as its file; empty where the dataset has no names."""
        loader = load_target(dataset.spec)(**dataset.params)
        if not hasattr(loader, "item_names"):
            return ()
        names: Sequence[str] = loader.item_names(name, self._context(dataset))
        return names if len(names) == len(self.split(dataset, name).images) else ()

    def digests(self, dataset: ResolvedPlugin[DatasetSpec]) -> dict[str, str]:
        """Return the digest of each split: declared, or computed once and remembered.

        The digests of a dataset whose files may change are remembered for its ``fingerprint``.
        """
        if declared := declared_digests(dataset):
            return declared
        path, splits = self._digests_file(dataset), self.splits(dataset)
        if known := read_digests(path, splits):
            return known
        digests = {split: self._digest(dataset, split) for split in splits}
        write_digests(path, digests)
        self.places.remember(dataset, digests)
        return digests

    def known_digests(self, dataset: ResolvedPlugin[DatasetSpec]) -> dict[str, str] | None:
        """Return the digests that are declared or remembered; None where the data must be read first."""
        if declared := declared_digests(dataset):
            return declared
        try:
            return read_digests(self._digests_file(dataset), self.splits(dataset))
        except MetabenchError:  # the fingerprint needs the files, and they are missing
            return None

    def _union(self, dataset: ResolvedPlugin[DatasetSpec], first: str, second: str) -> ClassSplit:
        """Return two splits as one. Two memory maps give a memory map, which may be larger than memory."""
        parts = self.split(dataset, first), self.split(dataset, second)
        maps = parts[0].images, parts[1].images
        if not all(isinstance(images, np.memmap) for images in maps) or maps[0].shape[1:] != maps[1].shape[1:]:
            return merge_splits(*parts)

        def build(out: NDArray[np.uint8]) -> None:
            out[: len(maps[0])], out[len(maps[0]) :] = maps

        digests = self.digests(dataset)
        name = f"union-{content_key([digests[first], digests[second]])[:16]}.npy"
        path = self.home.dataset_cache(dataset.spec.cache_name) / name
        return merge_splits(*parts, cached_array(path, (sum(map(len, maps)), *maps[0].shape[1:]), build))

    def _load(self, dataset: ResolvedPlugin[DatasetSpec], name: str) -> ClassSplit:
        loaded = self._loaded.setdefault(content_key(dataset.identity), _LoadedParts())
        if loaded.error is not None:
            raise loaded.error
        try:
            loader = load_target(dataset.spec)(**dataset.params)
            with self.console.progress(f"preparing {dataset.name}", 1) as bar:
                context = dataclasses.replace(
                    self._context(dataset),
                    progress=lambda text, done, total: bar.update(done, text, total),
                    note=self._note_once,
                )
                split = loader.load(name, context)
                return _validated(dataset, name, loader, split, loaded)
        except (MetabenchError, OSError, MemoryError) as error:
            loaded.error = error if isinstance(error, MetabenchError) else None
            raise
        except Exception as error:  # the plugin's own code may fail in any way
            why = " ".join(f"{type(error).__name__}: {error}".split())
            loaded.error = _load_error(dataset, name, f"its loader raised {why}")
            raise loaded.error from error

    def _note_once(self, text: str) -> None:
        """Write a line once: every split of a dataset may report the same about the whole dataset."""
        if text not in self._noted:
            self._noted.add(text)
            self.console.note(text)

    def _digest(self, dataset: ResolvedPlugin[DatasetSpec], name: str) -> str:
        """Return the digest of a split after checking its content."""
        split = self.split(dataset, name)
        if problem := content_problem(split, dataset.spec.kind):
            raise _load_error(dataset, name, f"{problem}.")
        return split_digest(split)

    def _digests_file(self, dataset: ResolvedPlugin[DatasetSpec]) -> Path:
        """Return the file that remembers the digests of a dataset.

        Files that a user may exchange are identified by the dataset's fingerprint, generated data by their inputs.
        Version 2 holds digests of splits that were validated when they were loaded.

        Raises:
            MetabenchError: the fingerprint needs the files, and they are missing.
        """
        loader = load_target(dataset.spec)(**dataset.params)
        mark = loader.fingerprint(self._context(dataset)) if hasattr(loader, "fingerprint") else ""
        identity = content_key([dataset.identity, mark] if mark else dataset.inputs())
        return self.home.dataset_cache(dataset.spec.cache_name) / f"digests-v2-{identity[:16]}.json"

    def _context(self, dataset: ResolvedPlugin[DatasetSpec]) -> DataContext:
        return DataContext(
            cache=self.home.dataset_cache(dataset.spec.cache_name),
            sources=self.home.sources,
            allow_download=self.allow_download,
        )


def _validated(
    dataset: ResolvedPlugin[DatasetSpec], name: str, loader: object, returned: object, loaded: _LoadedParts
) -> ClassSplit:
    """Return what a loader returned, if it is a valid split and agrees with the splits that were loaded before.

    Raises:
        MetabenchError: it is not valid, or shares a class with another split, or its images have another shape.
    """
    split = valid_split(returned, name, dataset.name, dataset.spec, dataset.params, loader)
    if getattr(loader, SAME_CLASSES, False):
        return split  # `paired` requires the same classes
    if problem := shared_class_problem({**loaded.names, name: split.names}):
        raise _load_error(dataset, name, f"{problem}.")
    loaded.names[name] = split.names
    shape = split.images.shape[1:] if split.images.ndim == 4 else ()  # texts may differ in length
    other = next((other for other, known in loaded.shapes.items() if known != shape), "")
    if other:
        problem = f"its images are {shape} and those of {other} {loaded.shapes[other]}. All splits must have one shape."
        raise _load_error(dataset, name, problem)
    loaded.shapes[name] = shape
    return split


def _load_error(dataset: ResolvedPlugin[DatasetSpec], name: str, problem: str) -> MetabenchError:
    return MetabenchError(f"cannot load {name} of dataset '{dataset.name}': {problem}")
