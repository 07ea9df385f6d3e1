"""What the runs of one command share: where things are, how to report, and the data already loaded."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit, DataContext, merge, split_digest
from metabench.data.array_cache import cached_array
from metabench.data.joint_split import joined, reserved, with_copies
from metabench.data.paired_split import paired
from metabench.data.skipped_files import Unread
from metabench.data.validation import content_problem, shared_class_problem, valid_split
from metabench.errors import MetabenchError
from metabench.execution.copy_counter import CopyCounter
from metabench.planning.run_spec import RunSpec
from metabench.records.store import Store
from metabench.registry.params import Value
from metabench.registry.registry import Registry, load_registry, load_target
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import SAME_CLASSES, DatasetSpec
from metabench.runtime.devices import check_device_name
from metabench.utils.atomic_files import write_atomic
from metabench.utils.console import Console
from metabench.utils.hashing import content_key
from metabench.utils.home import Home


class Session:
    """What runs share: where things are, how to report, which device.

    Args:
        home: the user's folder.
        console: progress and warnings.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        rerun: measure again what the store already holds.
        allow_download: fetch missing data.
        max_memory: bytes that the process may take (on a GPU: the tensors there); 0: what there is.
    """

    def __init__(
        self,
        home: Home,
        console: Console,
        device: str = "auto",
        rerun: bool = False,
        allow_download: bool = True,
        max_memory: int = 0,
        registry: Registry | None = None,
    ) -> None:
        check_device_name(device)  # even where nothing is left to measure
        home.ensure()
        self.home, self.console, self.device_name = home, console, device
        self.rerun, self.allow_download, self.max_memory = rerun, allow_download, max_memory
        self.registry = registry or load_registry()
        self.store = Store(home.root, console.warn)
        self._splits: dict[str, ClassSplit] = {}
        self._shapes: dict[str, dict[str, tuple[int, ...]]] = {}
        self._names: dict[str, dict[str, tuple[str, ...]]] = {}
        self._lacking: dict[str, MetabenchError] = {}
        self._noted: set[str] = set()
        self._copies = CopyCounter(self)

    def split(self, dataset: ResolvedPlugin, name: str) -> ClassSplit:
        """Load a split, or the union of two (``train+val``), once; prepares or downloads it if need be.

        Raises:
            MissingError, MetabenchError: it cannot be had; a data set that failed once is not asked again.
        """
        key = content_key([dataset.identity, name])
        first, plus, second = name.partition("+")
        if key not in self._splits and plus:
            self._splits[key] = self._union(dataset, first, second)
        if key not in self._splits:
            self._splits[key] = self._load(dataset, name)
        return self._splits[key]

    def measured(self, run: RunSpec) -> ClassSplit:
        """Return the classes that a run measures, with base classes or support beside them as its protocol wants."""
        split = self.split(run.dataset, run.split)
        if run.support:
            return paired(split, self.split(run.dataset, run.support))
        if not run.beside:
            return split
        return joined(split, self.split(run.dataset, run.beside), self.reserve(run))

    def reserve(self, run: RunSpec) -> NDArray[np.bool_]:
        """Return which images (N,) of the base classes of a run training never sees."""
        digest = self.digests(run.dataset)[run.beside]
        return reserved(self.split(run.dataset, run.beside), digest, run.reserve)

    def withheld(self, run: RunSpec, name: str) -> NDArray[np.bool_] | None:
        """Return which images (N,) of a split, or of a union of two, training must not see; None where it may all.

        Those are the reserve and what is the same as an image of it, in whatever class.
        """
        parts = name.split("+")
        if run.beside not in parts:
            return None
        sizes = {part: len(self.split(run.trained_on, part).images) for part in parts}
        mask = np.concatenate(
            [self.reserve(run) if part == run.beside else np.zeros(sizes[part], dtype=bool) for part in parts]
        )
        return with_copies(self.split(run.trained_on, name).images, mask)

    def _union(self, dataset: ResolvedPlugin, first: str, second: str) -> ClassSplit:
        """Return two splits as one. Memory maps make a memory map, so that it may be larger than memory."""
        parts = self.split(dataset, first), self.split(dataset, second)
        maps = parts[0].images, parts[1].images
        if not all(isinstance(images, np.memmap) for images in maps) or maps[0].shape[1:] != maps[1].shape[1:]:
            return merge(*parts)

        def build(out: NDArray[np.uint8]) -> None:
            out[: len(maps[0])], out[len(maps[0]) :] = maps

        digests = self.digests(dataset)
        name = f"union-{content_key([digests[first], digests[second]])[:16]}.npy"
        path = self.home.dataset_cache(dataset.spec.cache_name) / name
        return merge(*parts, cached_array(path, (sum(map(len, maps)), *maps[0].shape[1:]), build))

    def _load(self, dataset: ResolvedPlugin, name: str) -> ClassSplit:
        known = content_key(dataset.identity)
        if known in self._lacking:
            raise self._lacking[known]
        try:
            loader = load_target(dataset.spec)(**dataset.params)
            with self.console.progress(f"preparing {dataset.name}", 1) as bar:
                context = dataclasses.replace(
                    self._context(dataset),
                    progress=lambda text, done, total: bar.update(done, text, total),
                    note=self._note_once,
                )
                return self._valid(dataset, name, loader, loader.load(name, context))
        except (MetabenchError, OSError, MemoryError) as error:
            if isinstance(error, MetabenchError):
                self._lacking[known] = error
            raise
        except Exception as error:  # the plugin's own code may fail in any way
            why = " ".join(f"{type(error).__name__}: {error}".split())
            self._lacking[known] = MetabenchError(
                f"cannot load {name} of data set '{dataset.name}': its loader raised {why}"
            )
            raise self._lacking[known] from error

    def _note_once(self, text: str) -> None:
        """Write a line unless it was written before: every split of a data set may say the same of all of it."""
        if text not in self._noted:
            self._noted.add(text)
            self.console.note(text)

    def unread(self, dataset: ResolvedPlugin) -> list[Unread]:
        """Return the files of a data set that are not read, as far as its loader says it; prepares it if need be."""
        loader = load_target(dataset.spec)(**dataset.params)
        return list(loader.unread(self._context(dataset))) if hasattr(loader, "unread") else []

    def _valid(self, dataset: ResolvedPlugin, name: str, loader: object, loaded: object) -> ClassSplit:
        """Return what a loader returned, if it is a sound split that shares no class with others but where it may.

        Raises:
            MetabenchError: it is not; one line.
        """
        split = valid_split(loaded, name, dataset.name, _dataset_spec(dataset), dataset.params, loader)
        if getattr(loader, SAME_CLASSES, False):
            return split  # `paired` requires the same classes
        names = self._names.setdefault(content_key(dataset.identity), {})
        if problem := shared_class_problem({**names, name: split.names}):
            raise MetabenchError(f"cannot load {name} of data set '{dataset.name}': {problem}.")
        names[name] = split.names
        shapes = self._shapes.setdefault(content_key(dataset.identity), {})
        shape = split.images.shape[1:] if split.images.ndim == 4 else ()  # texts may differ in length
        other = next((other for other, known in shapes.items() if known != shape), "")
        if other:
            raise MetabenchError(
                f"cannot load {name} of data set '{dataset.name}': its images are {shape} and those of {other} "
                f"{shapes[other]}. All splits must have one shape."
            )
        shapes[name] = shape
        return split

    def splits(self, dataset: ResolvedPlugin) -> tuple[str, ...]:
        """Return the splits that a data set has: as its spec says, or as its files do."""
        spec = _dataset_spec(dataset)
        find = getattr(load_target(spec), "splits", None)
        if find is None:
            return spec.splits
        found: tuple[str, ...] = find(load_target(spec)(**dataset.params), self._context(dataset))
        return found

    def digests_of(self, run: RunSpec) -> dict[str, str]:
        """Return the digests that a run depends on: of what it is trained on, and as `run.measured` of the rest."""
        measured = self.digests(run.dataset)
        return measured if run.source is None else {**self.digests(run.source), run.measured: measured[run.split]}

    def known_digests_of(self, run: RunSpec) -> dict[str, str] | None:
        """Return the same as far as it is declared or remembered; None where data must be read to know it."""
        measured = self.known_digests(run.dataset)
        if run.source is None or measured is None:
            return measured
        learned = self.known_digests(run.source)
        return None if learned is None else {**learned, run.measured: measured[run.split]}

    def pixels(self, run: RunSpec) -> dict[str, str]:
        """Return what is to be said of the pixels of each data set of a run that are not the official ones, by name."""
        sets = (run.dataset,) if run.source is None else (run.dataset, run.source)
        told = {dataset.name: _dataset_spec(dataset).pixels(dataset.params, self.digests(dataset)) for dataset in sets}
        return {name: text for name, text in told.items() if text}

    def copies(self, run: RunSpec) -> dict[str, int]:
        """Return the numbers of copies among the items of a run, see `CopyCounter.count`."""
        return self._copies.count(run)

    def item_names(self, dataset: ResolvedPlugin, name: str) -> Sequence[str]:
        """Return the name of each item of a split, such as its file; empty where the data set has none."""
        loader = load_target(dataset.spec)(**dataset.params)
        if not hasattr(loader, "item_names"):
            return ()
        names: Sequence[str] = loader.item_names(name, self._context(dataset))
        return names if len(names) == len(self.split(dataset, name).images) else ()

    def digests(self, dataset: ResolvedPlugin) -> dict[str, str]:
        """Return the digest of each split: as declared, or computed once and remembered.

        Those of a data set whose files may change are remembered for its ``fingerprint``.
        """
        if declared := _declared(dataset):
            return declared
        path, splits = self._digests_file(dataset), self.splits(dataset)
        if known := _remembered(path, splits):
            return known
        digests = {split: self._digest(dataset, split) for split in splits}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(digests, indent=1))
        self._remember(dataset, digests)
        return digests

    def _digest(self, dataset: ResolvedPlugin, name: str) -> str:
        """Return the digest of a split, whose content is looked at on the way."""
        split = self.split(dataset, name)
        if problem := content_problem(split, _dataset_spec(dataset).kind):
            raise MetabenchError(f"cannot load {name} of data set '{dataset.name}': {problem}.")
        return split_digest(split)

    def known_digests(self, dataset: ResolvedPlugin) -> dict[str, str] | None:
        """Return the digests that are declared or remembered; None where the data must be read to know them."""
        if declared := _declared(dataset):
            return declared
        try:
            return _remembered(self._digests_file(dataset), self.splits(dataset))
        except MetabenchError:  # the files are not here to be told apart
            return None

    def _digests_file(self, dataset: ResolvedPlugin) -> Path:
        """Where the digests are remembered; MetabenchError where the data set must see its files and they are missing.

        Data from files that a user may exchange say which they are; what the code makes itself is told by its inputs.
        Version 2 is of splits that were validated when they were loaded.
        """
        loader = load_target(dataset.spec)(**dataset.params)
        mark = loader.fingerprint(self._context(dataset)) if hasattr(loader, "fingerprint") else ""
        identity = content_key([dataset.identity, mark] if mark else dataset.inputs())
        return self.home.dataset_cache(dataset.spec.cache_name) / f"digests-v2-{identity[:16]}.json"

    def place_of(self, digest: str) -> dict[str, Value]:
        """Return the parameters that say where data of that digest were on this machine; records do not hold them."""
        try:
            found = json.loads(self._places.read_text())[digest]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def _places(self) -> Path:
        return self.home.root / "places.json"

    def _remember(self, dataset: ResolvedPlugin, digests: Mapping[str, str]) -> None:
        """Note where data are that records name by digest alone."""
        places = {
            param.name: os.path.abspath(os.path.expanduser(str(dataset.params[param.name])))  # noqa: PTH100, PTH111
            for param in dataset.spec.params
            if param.is_local_path
        }
        if places:
            try:
                known = json.loads(self._places.read_text())
            except (OSError, ValueError):
                known = {}
            write_atomic(self._places, json.dumps({**known, **dict.fromkeys(digests.values(), places)}, indent=1))

    def _context(self, dataset: ResolvedPlugin) -> DataContext:
        return DataContext(
            cache=self.home.dataset_cache(dataset.spec.cache_name),
            sources=self.home.sources,
            allow_download=self.allow_download,
        )


def _remembered(path: Path, splits: Sequence[str]) -> dict[str, str] | None:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) and set(known) == set(splits) else None


def _declared(dataset: ResolvedPlugin) -> dict[str, str]:
    """Return the digests that are known before the data are; none where a file that may be edited declares them."""
    spec = _dataset_spec(dataset)
    declared = None if spec.file_sha256 else spec.declared(dataset.params)
    return dict(declared.digests) if declared else {}


def _dataset_spec(dataset: ResolvedPlugin) -> DatasetSpec:
    assert isinstance(dataset.spec, DatasetSpec)
    return dataset.spec
