"""A folder of the user's own images: one sub-folder per class, in formats and sizes of any kind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.api import (
    COLOUR_MODES,
    FIT_MODES,
    SAME_CLASSES,
    TABLE_BYTES,
    BitDepth,
    ClassSplit,
    DataContext,
    DatasetSpec,
    ImageFileDecoder,
    ImagePreprocessing,
    MetabenchError,
    MissingError,
    Param,
    UnreadFiles,
    UsageError,
    cached_rows,
    content_key,
    first_three,
    is_folder,
    measure_depth,
    path_exists,
    quiet_decoders,
    read_cached_json,
    read_layout,
    read_split_names,
    require_images,
    write_atomic,
)
from metabench_datasets._folder_listing import PAIRED, Listing, refuse_overlap, require_same_classes

VERSION = 1
READING = 2
"""Of the way from files to pixels; what was prepared in another way is prepared again."""

SPEC = DatasetSpec(
    name="folder",
    version=VERSION,
    target="metabench_datasets.folder:Folder",
    summary="Your own images: folder:PATH, with class folders (below train/ val/ test/, where there are) or labels.csv",
    reference="yours",
    licence="yours",
    argument="path",
    local=True,
    params=(
        Param(
            "path",
            "",
            "the folder with the class sub-folders; records hold its name, not where it is",
            is_local_path=True,
        ),
        Param("size", 84, "side of the images in pixels, 8 to 1024"),
        Param("fit", "crop", "crop the middle, pad with white, or stretch", FIT_MODES),
        Param("colour", "rgb", "three channels, or one", COLOUR_MODES),
        Param("min_images", 0, "leave classes with fewer images out"),
        Param("skip_bad", False, "leave files out that cannot be read, as --skip-bad"),
        Param(SAME_CLASSES, False, "train/ and test/ have the same classes; the protocol says it", omit_default=True),
    ),
    image_shape=(3, 84, 84),
    sizes={},
    digests={},
    download=True,
)


class Folder:
    """The dataset of one folder.

    Args:
        path: the folder; relative to where the command is run.
        size, fit, colour: see `metabench.api.ImagePreprocessing`.
        min_images: classes with fewer are left out.
        skip_bad: leave files out that cannot be read, instead of refusing.
        same_classes: whether train/ and test/ must have the same classes, and not others; then val/ is not read.

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
        same_classes: bool = False,
    ) -> None:
        if not path:
            raise MissingError(
                "folder needs a path: --dataset folder:PATH, a folder with one sub-folder per class or a labels.csv"
            )
        if min_images < 0:
            raise UsageError(f"folder: min_images is at least 0, not {min_images}")
        self.path = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - links are not followed
        self.name = f"folder:{self.path.name}"
        self.form, self.min_images, self.skip_bad = ImagePreprocessing(size, fit, colour), min_images, skip_bad
        self.same_classes = same_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        height, width, channels = self.form.shape
        return channels, height, width

    def splits(self, context: DataContext) -> tuple[str, ...]:
        """Return the splits that the folder has: those of its sub-folders, or ``test`` alone."""
        names = read_split_names(self._root(context), self.name)
        return tuple(name for name in names if self._reads(name))

    def _reads(self, split: str) -> bool:
        return split in PAIRED or not self.same_classes

    def fingerprint(self, context: DataContext) -> str:
        """Return a digest of the names, sizes and times of the files, and of the way of reading them."""
        every = self._listing(context).splits
        return content_key([READING, [[split, classes.quick_digest()] for split, classes in every.items()]])

    def load(self, split: str, context: DataContext) -> ClassSplit:
        """Return a split, decoding it on first use and when a file has changed.

        Raises:
            MissingError, UsageError: the folder is not there, has no classes or no such split.
            MetabenchError: files cannot be read, and they are not to be skipped.
        """
        listing = self._listing(context)
        if split not in listing.splits:
            raise UsageError(
                f"{self.name}: has no {split}/ sub-folder; put classes to train on into train/ and val/ beside test/ "
                "(or name these in a column 'split' of labels.csv), "
                "or use what needs no training (an algorithm like nearest-mean on a pre-trained --backbone)"
            )
        classes = listing.splits[split]
        require_images(classes, self.name, "--set data.min_images=1")
        if self.same_classes:
            require_same_classes(listing, self.name)
        else:
            refuse_overlap(listing, self.name)
        if listing.note:
            context.note(f"{self.name}: {listing.note}")
        images, bad = self._prepared(split, listing, context)
        if bad:
            self._report(bad, len(classes.images), context)
        counts = [sum(classes.within(file) not in bad for file in files) for _, files in classes.items()]
        for name, count in zip(classes.files, counts, strict=True):
            if count == 0:
                raise MetabenchError(
                    f"cannot read {self.name}: no image of class '{name}' can be read. "
                    "Replace or repair some, or give a folder without this class"
                )
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return ClassSplit(images[: starts[-1]], starts, tuple(classes.files))

    def unread(self, context: DataContext) -> Iterator[UnreadFiles]:
        """Yield the files that are skipped, and of each split those that cannot be decoded, by the reason."""
        listing = self._listing(context)
        for reason, names in listing.skipped.files.items():
            yield UnreadFiles("-", "skipped", reason, tuple(names))
        for split, classes in listing.splits.items():
            if len(classes.files) < 2 or not all(classes.files.values()):
                continue
            reasons: dict[str, list[str]] = {}
            for name, reason in self._prepared(split, listing, context)[1].items():
                reasons.setdefault(reason, []).append(name)
            for reason, names in reasons.items():
                yield UnreadFiles(split, "unreadable", reason, tuple(names))

    def item_names(self, split: str, context: DataContext) -> list[str]:
        """Return the file of each image of a split, below the split's folder."""
        listing = self._listing(context)
        classes, bad = listing.splits[split], self._prepared(split, listing, context)[1]
        return [name for file in classes.images if (name := classes.within(file)) not in bad]

    def _root(self, context: DataContext) -> Path:
        """Return the folder; one that is not there may lie in a source, as for a record that has its name only."""
        if not path_exists(self.path):
            for source in context.sources:
                if is_folder(source / self.path.name):
                    return source / self.path.name
        return self.path

    def _listing(self, context: DataContext) -> Listing:
        layout = read_layout(self._root(context), self.name)
        every = {
            split: classes.without_small(self.min_images)
            for split, classes in layout.splits.items()
            if self._reads(split)
        }
        return Listing(every, layout.skipped)

    def _depth(self, listing: Listing, context: DataContext) -> BitDepth:
        """Return the depth of the images of all splits together, measured once."""
        place = content_key(ascii(self._root(context)))[:16]
        digest = content_key([READING, [classes.quick_digest() for classes in listing.splits.values()]])[:16]
        path = context.cache / place / f"depth-{digest}.json"
        if (known := _read_depth(path)) is not None:
            return known
        files = [file.path for classes in listing.splits.values() for file in classes.images]
        with quiet_decoders():
            depth = measure_depth(files, lambda done, total: context.progress("headers", done, total))
        for old in path.parent.glob("depth-*"):
            old.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(vars(depth)))
        return depth

    def _prepared(self, split: str, listing: Listing, context: DataContext) -> tuple[NDArray[np.uint8], dict[str, str]]:
        """Return the decoded images, those that can be read first, and the reason of each that cannot."""
        classes, depth = listing.splits[split], self._depth(listing, context)
        if depth.note:
            context.note(f"{self.name}: {depth.note}")
        files = classes.images
        place = content_key(ascii(classes.folder))[:16]
        form = content_key([READING, depth.bits, vars(self.form)])[:8]
        path = context.cache / place / f"{split}-{form}-{classes.quick_digest()[:16]}.npy"
        notes = path.with_suffix(".json")

        def finish(out: NDArray[np.uint8], bad: Mapping[int, str]) -> None:
            good = [row for row in range(len(files)) if row not in bad]
            for target, row in enumerate(good):  # never after the row that it takes
                if target != row:
                    out[target] = out[row]
            write_atomic(notes, json.dumps({classes.within(files[row]): bad[row] for row in sorted(bad)}))

        def report(done: int, total: int) -> None:
            context.progress(split, done, total)

        if _read_bad(notes) is None:
            path.unlink(missing_ok=True)
        make = ImageFileDecoder([file.path for file in files], self.form, depth.bits)
        shape = (len(files), *self.form.shape)
        with quiet_decoders():
            images = cached_rows(path, shape, path.name, make, finish, report, most_bad=len(files) + 1)
        for old in path.parent.glob(f"{split}-{form}-*"):
            if not old.name.startswith(path.stem):  # of the folder as it was
                old.unlink(missing_ok=True)
        if (noted := _read_bad(notes)) is None:
            raise MetabenchError(f"{notes}: changed while it was read; run again")
        return images, noted

    def _report(self, bad: Mapping[str, str], total: int, context: DataContext) -> None:
        listed = first_three(f"{name} ({why})" for name, why in bad.items())
        what = f"{len(bad)} of {total} images"
        every = f"; 'metabench datasets verify folder:{self.path}' lists all" if len(bad) > 3 else ""
        if not self.skip_bad:
            raise MetabenchError(
                f"cannot read {self.name}: {what} cannot be read: {listed}{every}. "
                "Replace or repair them, or leave them out with --skip-bad"
            )
        context.note(f"{self.name}: left out {what} that cannot be read: {listed}{every}")


def _read_depth(path: Path) -> BitDepth | None:
    """Return the depth that was measured before; None where the file has none."""
    known = read_cached_json(path)
    if not isinstance(known, dict) or known.keys() != vars(BitDepth()).keys():
        return None
    is_depth = all(type(value) is int and value >= 0 for value in known.values()) and known["largest"] < 1 << 16
    return BitDepth(**known) if is_depth else None


def _read_bad(path: Path) -> dict[str, str] | None:
    """Return the reason of each file that could not be decoded; None where the file does not say."""
    known = read_cached_json(path, TABLE_BYTES)
    is_text = isinstance(known, dict) and all(isinstance(reason, str) for reason in known.values())
    return known if is_text else None
