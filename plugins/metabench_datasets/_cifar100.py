"""CIFAR-100 as its author distributes it, and the few-shot datasets that divide its classes.

The official files split every class into 500 images for training and 100 for testing; few-shot datasets take
all 600 and divide the classes. Within a class the images are in the order of their bytes, so neither the order of
the rows in a copy nor the file that they came from moves an episode.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metabench.api import (
    ArchiveReader,
    ClassSplit,
    DataContext,
    DatasetSpec,
    MetabenchError,
    MissingError,
    OfficialFile,
    PickledArray,
    UsageError,
    cached_array,
    download_folder,
    download_if_allowed,
    find_source,
    open_archive,
    read_pickle,
    split_digest,
)

SIDE = 32
IMAGES = 600
"""Of each class, in both files together."""
FOLDER = "cifar-100-python"
ARCHIVE = OfficialFile(
    "cifar-100-python.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
    "md5:eb9058c3a382ffc7106e4002c42a8d85",
)
SUBFOLDERS = ("", "cifar100", "cifar-100", "cifar", "CIFAR100")
LICENCE = "none stated; the authors ask to cite Krizhevsky 2009"
_MOST_BYTES = 256 << 20
_REMEDY = "get the official file again"


@dataclass(frozen=True)
class Category:
    """One of the 100 classes: its superclass, and its split in each dataset."""

    name: str
    superclass: str
    splits: Mapping[str, str]


@cache
def categories() -> tuple[Category, ...]:
    """Return the classes in the order of their official labels, from the list in this package."""
    text = (resources.files("metabench_datasets") / "data" / "cifar100.txt").read_text("utf-8")
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(Category(name, above, {"cifar-fs": fs, "fc100": fc}) for name, above, fs, fc in rows)


class Cifar100Classes:
    """A few-shot dataset of CIFAR-100's classes; `name` is its column in the list of classes."""

    name: ClassVar[str]
    spec: ClassVar[DatasetSpec]

    def load(self, split: str, context: DataContext) -> ClassSplit:
        """Return a split, made on first use and memory-mapped from then on.

        Returns:
            images uint8 (N, 32, 32, 3), 600 per class; classes by name, with their superclasses as groups.

        Raises:
            UsageError: there is no such split.
            MissingError: the official files are neither here nor downloadable.
            MetabenchError: they are damaged, hold other things than numbers, or other pixels than published.
        """
        chosen = sorted((c for c in categories() if c.splits[self.name] == split), key=lambda c: c.name)
        if not chosen:
            raise UsageError(f"{self.name}: there is no split {split!r}; use train, val or test")
        names = tuple(category.name for category in chosen)
        starts = np.arange(len(names) + 1, dtype=np.int64) * IMAGES

        def build(out: NDArray[np.uint8]) -> None:
            self._fill(names, split, context, out)
            self._verify(split, split_digest(ClassSplit(out, starts, names)))

        path = context.cache / f"v{self.spec.version}" / f"{split}.npy"
        images = cached_array(path, (len(names) * IMAGES, SIDE, SIDE, 3), build)
        return ClassSplit(images, starts, names, tuple(category.superclass for category in chosen))

    def _fill(self, names: tuple[str, ...], split: str, context: DataContext, out: NDArray[np.uint8]) -> None:
        """Read both official files and put the images of `names` into `out`."""
        label_of = {category.name: label for label, category in enumerate(categories())}
        parts: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in names}
        with _open(self.name, context) as files:
            for done, (images, labels) in enumerate(_read(files)):
                context.progress(f"{split} split", done, 3)
                for name in names:
                    parts[name].append(images[labels == label_of[name]])
        context.progress(f"{split} split", 2, 3)
        for place, name in enumerate(names):
            rows = np.concatenate(parts[name])
            if len(rows) != IMAGES:
                raise MetabenchError(f"{FOLDER}: {name} has {len(rows)} images instead of {IMAGES}; {_REMEDY}")
            order = sorted(range(IMAGES), key=lambda row: rows[row].tobytes())
            out[place * IMAGES : (place + 1) * IMAGES] = _images(rows[order])
        context.progress(f"{split} split", 3, 3)

    def _verify(self, split: str, actual: str) -> None:
        expected = self.spec.digests[split]
        if actual != expected:
            raise MetabenchError(
                f"{self.name} {split}: the images have digest {actual[:12]}, expected {expected[:12]}: "
                f"these are not the published ones; get {ARCHIVE.name} again"
            )


def _images(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn rows of 3,072 bytes (all red, all green, all blue) into images (N, 32, 32, 3)."""
    return rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def _read(files: ArchiveReader) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Yield rows uint8 (N, 3072) and fine labels (N,) of the two files, once the names of the labels are checked."""
    names = [category.name for category in categories()]
    if _pickle(files, "meta").get("fine_label_names") != names:
        raise MetabenchError(f"{files.path}: meta names other classes than those of CIFAR-100; {_REMEDY}")
    for file in ("train", "test"):
        content = _pickle(files, file)
        labels, data = content.get("fine_labels"), content.get("data")
        if not isinstance(data, PickledArray) or not _are_labels(labels, data.shape):
            raise MetabenchError(f"{files.path}: {file} has no fine_labels and data that belong together; {_REMEDY}")
        rows = data.load()
        if rows.dtype != np.uint8:
            raise MetabenchError(f"{files.path}: {file} has data of type {rows.dtype} instead of uint8; {_REMEDY}")
        yield rows, np.array(labels, dtype=np.int64)


def _are_labels(labels: Any, shape: tuple[int, ...]) -> bool:
    """Return whether these are fine labels of an array of images of that shape."""
    sound = isinstance(labels, list) and all(type(label) is int and 0 <= label < 100 for label in labels)
    return sound and shape == (len(labels), 3 * SIDE * SIDE)


def _pickle(files: ArchiveReader, file: str) -> dict[Any, Any]:
    """Return the dict in one of the files, keys as text whichever Python wrote them."""
    content = read_pickle(io.BytesIO(files.read(f"{FOLDER}/{file}")), f"{files.path}: {file}")
    if not isinstance(content, dict):
        raise MetabenchError(f"{files.path}: {file} holds no dict; {_REMEDY}")
    return {_text(key): [_text(item) for item in value] if isinstance(value, list) else value
            for key, value in content.items()}  # fmt: skip


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _open(name: str, context: DataContext) -> ArchiveReader:
    """Open the extracted folder or the archive: the user's, our download, or from the network."""
    path, why = find_source((FOLDER, ARCHIVE.name), context, SUBFOLDERS), ""
    if path is None:
        path, why = download_if_allowed(ARCHIVE, context)
    if path is None:
        raise MissingError(
            f"{name}: {ARCHIVE.name} {why}; put it, or the folder {FOLDER} that it holds, into "
            f"{download_folder(context)} "
            f"or run `metabench datasets download {name} --from DIR` with the folder that holds it"
        )
    return open_archive(path, member_limit=_MOST_BYTES)
