"""A folder of the user's own images: one sub-folder per class, in formats and sizes of any kind."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit, DataContext
from metabench.data.decode import COLOURS, FITS, Decoder, Form
from metabench.data.folders import Classes, ImageFile, read_classes, visible
from metabench.data.images import quiet_decoders
from metabench.data.rows import cached_rows, first_three
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.files import write_atomic
from metabench.keys import content_key
from metabench.specs import DatasetSpec, Param

VERSION = 1
SPLITS = ("train", "val", "test")

SPEC = DatasetSpec(
    name="folder",
    version=VERSION,
    target="metabench_datasets.folder:Folder",
    summary="Your own images: folder:PATH, with one sub-folder per class (below train/ val/ test/, where there are)",
    reference="yours",
    licence="yours",
    argument="path",
    local=True,
    params=(
        Param("path", "", "the folder with the class sub-folders; records hold its name, not where it is", place=True),
        Param("size", 84, "side of the images in pixels, 8 to 1024"),
        Param("fit", "crop", "crop the middle, pad with white, or stretch", FITS),
        Param("colour", "rgb", "three channels, or one", COLOURS),
        Param("min_images", 0, "leave classes with fewer images out"),
        Param("skip_bad", False, "leave files out that cannot be read, as --skip-bad"),
    ),
    image_shape=(3, 84, 84),
    sizes={},
    digests={},
    download=True,
)


class Folder:
    """The data set of one folder.

    Args:
        path: the folder; relative to where the command is run.
        size, fit, colour: see `metabench.data.decode.Form`.
        min_images: classes with fewer are left out.
        skip_bad: leave files out that cannot be read, instead of refusing.

    Raises:
        MissingError: no path. UsageError: a value out of range.
    """

    def __init__(
        self,
        path: str = "",
        size: int = 84,
        fit: str = "crop",
        colour: str = "rgb",
        min_images: int = 0,
        skip_bad: bool = False,
    ) -> None:
        if not path:
            raise MissingError("folder needs a path: --dataset folder:PATH, a folder with one sub-folder per class")
        if min_images < 0:
            raise UsageError(f"folder: min_images is at least 0, not {min_images}")
        self.path = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - links are not followed
        self.name = f"folder:{self.path.name}"
        self.form, self.min_images, self.skip_bad = Form(size, fit, colour), min_images, skip_bad

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        height, width, channels = self.form.shape
        return channels, height, width

    def splits(self, context: DataContext) -> tuple[str, ...]:
        """Return the splits that the folder has: those of its sub-folders, or ``test`` alone."""
        return tuple(self._places(context))

    def fingerprint(self, context: DataContext) -> str:
        """Return what changes when a file is added, removed, renamed or written to."""
        return content_key([[split, self._classes(split, context).quick_digest()] for split in self.splits(context)])

    def load(self, split: str, context: DataContext) -> ClassSplit:
        """Return a split, decoding it on first use and when a file has changed.

        Raises:
            MissingError, UsageError: the folder is not there, has no classes or no such split.
            MetabenchError: files cannot be read, and they are not to be skipped.
        """
        classes = self._classes(split, context)
        if classes.note:
            context.note(classes.note)
        images, bad = self._prepared(split, classes, context)
        if bad:
            self._report(bad, len(classes.images), context)
        counts = [sum(_within(file, classes.folder) not in bad for file in files) for _, files in classes.items()]
        for name, count in zip(classes.files, counts, strict=True):
            if count == 0:
                raise MetabenchError(f"{self.name}: class '{name}' has no image that can be read; remove it")
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return ClassSplit(images[: starts[-1]], starts, tuple(classes.files))

    def item_names(self, split: str, context: DataContext) -> list[str]:
        """Return the file of each image of a split, below the split's folder."""
        classes = self._classes(split, context)
        bad = self._prepared(split, classes, context)[1]
        return [name for file in classes.images if (name := _within(file, classes.folder)) not in bad]

    def _places(self, context: DataContext) -> dict[str, Path]:
        """Return the folder of every split."""
        root = self._root(context)
        inner = [entry for entry in visible(root, self.name)[0] if entry.is_dir() and entry.name in SPLITS]
        if not any(entry.is_dir() for found in inner for entry in visible(Path(found.path), self.name)[0]):
            return {"test": root}  # sub-folders of that name, if any, hold images: they are classes
        found = {entry.name: Path(entry.path) for entry in inner}
        if "test" not in found:
            have = " and ".join(f"{name}/" for name in found)
            raise UsageError(f"{self.name}: has {have} but no test/, whose classes are measured; add it")
        return {split: found[split] for split in SPLITS if split in found}

    def _root(self, context: DataContext) -> Path:
        """Return the folder; one that is not there may lie in a source, as for a record that has its name only."""
        if not self.path.exists():
            for source in context.sources:
                if (source / self.path.name).is_dir():
                    return source / self.path.name
        return self.path

    def _classes(self, split: str, context: DataContext) -> Classes:
        places = self._places(context)
        if split not in places:
            raise UsageError(
                f"{self.name}: has no {split}/ sub-folder; put classes to train on into train/ and val/ beside test/, "
                "or use what needs no training (an algorithm like nearest-mean on a pre-trained --backbone)"
            )
        classes = read_classes(places[split], self.name).without_small(self.min_images)
        _refuse(classes, self.name)
        if split == "test":
            self._refuse_overlap(places, set(classes.files))
        return classes

    def _refuse_overlap(self, places: Mapping[str, Path], test: set[str]) -> None:
        for split in places.keys() - {"test"}:
            if both := sorted(test & read_classes(places[split], self.name).files.keys()):
                raise UsageError(
                    f"{self.name}: class '{both[0]}' is in {split}/ and in test/; few-shot splits divide the classes, "
                    f"not the images: measure on folder:{places['test']} alone, or move classes"
                )

    def _prepared(self, split: str, classes: Classes, context: DataContext) -> tuple[NDArray[np.uint8], dict[str, str]]:
        """Return the decoded images, those that can be read first, and the reason of each that cannot."""
        files = classes.images
        place = content_key(ascii(classes.folder))[:16]
        form = content_key([VERSION, vars(self.form)])[:8]
        path = context.cache / place / f"{split}-{form}-{classes.quick_digest()[:16]}.npy"
        notes = path.with_suffix(".json")

        def finish(out: NDArray[np.uint8], bad: Mapping[int, str]) -> None:
            good = [row for row in range(len(files)) if row not in bad]
            for target, row in enumerate(good):  # never after the row that it takes
                if target != row:
                    out[target] = out[row]
            write_atomic(notes, json.dumps({_within(files[row], classes.folder): bad[row] for row in sorted(bad)}))

        def report(done: int, total: int) -> None:
            context.progress(split, done, total)

        if not notes.exists():
            path.unlink(missing_ok=True)
        make = Decoder([file.path for file in files], self.form)
        shape = (len(files), *self.form.shape)
        with quiet_decoders():
            images = cached_rows(path, shape, path.name, make, finish, report, most_bad=len(files) + 1)
        for old in path.parent.glob(f"{split}-{form}-*"):
            if not old.name.startswith(path.stem):  # of the folder as it was
                old.unlink(missing_ok=True)
        return images, json.loads(notes.read_text(encoding="utf-8"))

    def _report(self, bad: Mapping[str, str], total: int, context: DataContext) -> None:
        listed = first_three(f"{name} ({why})" for name, why in bad.items())
        what = f"{self.name}: {len(bad)} of {total} images cannot be read: {listed}"
        if not self.skip_bad:
            raise MetabenchError(f"{what}. Mend or remove them, or leave them out with --skip-bad")
        context.note(f"{what}; left out")


def _refuse(classes: Classes, name: str) -> None:
    """Raise UsageError for an empty class, or where there are not two."""
    for label, files in classes.items():
        if not files:
            raise UsageError(
                f"{name}: class '{label}' has no images; remove the folder, or --set data.min_images=1 leaves it out"
            )
    if len(classes.files) < 2:
        have = "one class" if classes.files else "no class"
        raise UsageError(f"{name}: {classes.folder} has {have}; at least two are needed, each a sub-folder with images")


def _within(file: ImageFile, folder: Path) -> str:
    return file.path.relative_to(folder).as_posix()
