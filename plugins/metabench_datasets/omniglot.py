"""Omniglot (Lake, Salakhutdinov & Tenenbaum, 2015): 1,623 characters of 50 alphabets, 20 drawings each.

Prepared as Prototypical Networks did (jakesnell/prototypical-networks, ``protonets/data/omniglot.py``):
rotate, resize to 28x28, invert, so that ink is 255 and paper 0. The drawings are 1-bit PNGs, and Pillow
resizes 1-bit images by NEAREST whatever filter it is asked for, so that is what they got and what we use.
Not copied: their transposition, which is the same for every image.
"""

from __future__ import annotations

from contextlib import ExitStack

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
    Param,
    SplitSize,
    UsageError,
    cached_array,
    download_folder,
    download_if_allowed,
    find_source,
    open_archive,
    split_digest,
)
from metabench_datasets._omniglot import DRAWINGS, Layout, Run, official_layout, read_alphabet

URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
FILES = {
    "images_background": OfficialFile(
        "images_background.zip", (URL + "images_background.zip",), "md5:68d2efa1b9178cc56df9314c21c6e718"
    ),
    "images_evaluation": OfficialFile(
        "images_evaluation.zip", (URL + "images_evaluation.zip",), "md5:6b91aef0f799c5bb55b94e3f2daec811"
    ),
}
SUBFOLDERS = ("", "omniglot", "python", "omniglot/python", "omniglot-py")
"""Places of a copy in a user's folder: loose, in a clone of the authors' repository, in torchvision's."""

FILTERS = {"nearest": "NEAREST", "average": "BOX"}
"""Choice of resampling to Pillow's filter."""

SPEC = DatasetSpec(
    name="omniglot",
    version=1,
    target="metabench_datasets.omniglot:Omniglot",
    summary="Handwritten characters of 50 alphabets, 28x28, with rotations as classes (Vinyals split)",
    reference="Lake, Salakhutdinov & Tenenbaum, Science 350 (2015); split: Vinyals et al., NeurIPS 2016",
    licence="MIT",
    params=(
        Param("split", "vinyals", "Vinyals' lists, or the authors' two sets", ("vinyals", "background")),
        Param("rotations", True, "add each character turned by 90, 180 and 270 degrees as separate classes"),
        Param("size", 28, "side of the images in pixels, 8 to 256"),
        Param("resample", "nearest", "resizing: as the published results have it, or by averaging", tuple(FILTERS)),
    ),
    image_shape=(1, 28, 28),
    sizes={
        "train": SplitSize(4112, 82240),
        "val": SplitSize(688, 13760),
        "test": SplitSize(1692, 33840),
    },
    digests={
        "train": "b3ac013ffd01880935c0e0ac84bf534ce93451780f037b504155722f2351a55d",
        "val": "3ad85c8cf89db3a581c0c26cc6b9d36a5543c224b202ec49c09c4fae451f6ad4",
        "test": "d9a80b1b37d2777f368dae79e0027867b28a4caf7afe387e6020a73c65ba2a2e",
    },
    download=True,
)


class Omniglot:
    """The dataset with one choice of split, rotations and size.

    Args:
        split: ``"vinyals"`` (1,028 + 172 characters train and validate, 423 test, alphabets mixed over the
            two archives) or ``"background"`` (see `Layout.background`).
        rotations: whether every character also appears turned counter-clockwise by 90, 180 and 270
            degrees, each a class of its own, as in the published few-shot results.
        size: side of the images.
        resample: ``"nearest"`` (1-bit images, many strokes broken, see above) or ``"average"`` (grey images, as several
            replications use them).
        layout: what is in the archives; None is the published data.

    Raises:
        UsageError: an unknown split or a size out of range.
    """

    def __init__(
        self,
        split: str = "vinyals",
        rotations: bool = True,
        size: int = 28,
        resample: str = "nearest",
        layout: Layout | None = None,
    ) -> None:
        """Choose the form; nothing is read yet."""
        if split not in ("vinyals", "background"):
            raise UsageError(f"omniglot: split must be 'vinyals' or 'background', not {split!r}")
        if not 8 <= size <= 256:
            raise UsageError(f"omniglot: size must be 8 to 256, not {size}")
        if resample not in FILTERS:
            raise UsageError(f"omniglot: resample must be {' or '.join(FILTERS)}, not {resample!r}")
        self.split, self.size, self.resample = split, size, resample
        self.turns = (0, 90, 180, 270) if rotations else (0,)
        self.layout = layout or official_layout()
        self._published = layout is None and (split, rotations, size, resample) == ("vinyals", True, 28, "nearest")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (1, self.size, self.size)

    def runs(self, split: str) -> tuple[Run, ...]:
        """Return the characters of ``"train"``, ``"val"`` or ``"test"``, in class order."""
        splits = self.layout.vinyals if self.split == "vinyals" else self.layout.background()
        if split not in splits:
            raise UsageError(f"omniglot: there is no split {split!r}; use train, val or test")
        return splits[split]

    def load(self, split: str, context: DataContext) -> ClassSplit:
        """Return a split, decoding it on first use; later it opens as a memory map in milliseconds.

        Returns:
            images uint8 (N, size, size, 1), 20 per class; classes in the order of the published lists,
            the rotations of a character next to each other; the groups are the alphabets.

        Raises:
            MissingError: the archives are neither here nor downloadable.
            MetabenchError: an archive is damaged or holds other pixels than the published ones.
        """
        names = self._names(split)
        starts = np.arange(len(names) + 1, dtype=np.int64) * DRAWINGS
        shape = (len(names) * DRAWINGS, self.size, self.size, 1)
        form = f"v{SPEC.version}-{self.split}-rot{len(self.turns)}-{self.size}-{self.resample}"

        def build(out: NDArray[np.uint8]) -> None:
            self._decode(split, context, out)
            if self._published:
                _verify(split, split_digest(ClassSplit(out, starts, names)))

        images = cached_array(context.cache / form / f"{split}.npy", shape, build)
        return ClassSplit(images, starts, names, tuple(name.partition("/")[0] for name in names))

    def _names(self, split: str) -> tuple[str, ...]:
        plain = [
            f"{run.alphabet}/character{number:02}"
            for run in self.runs(split)
            for number in range(run.first, run.last + 1)
        ]
        if len(self.turns) == 1:
            return tuple(plain)
        return tuple(f"{name}/rot{turn:03}" for name in plain for turn in self.turns)

    def _decode(self, split: str, context: DataContext, out: NDArray[np.uint8]) -> None:
        """Fill `out` with a split's images, verifying every alphabet on the way."""
        runs, row, done = self.runs(split), 0, 0
        total = sum(map(len, runs))
        with ExitStack() as stack:
            archives = _open({self.layout.alphabets[run.alphabet].archive for run in runs}, context, stack)
            context.progress(f"{split} split", 0, total)
            for run in runs:
                alphabet = self.layout.alphabets[run.alphabet]
                drawings = read_alphabet(archives[alphabet.archive], alphabet)
                for character in drawings[run.first - 1 : run.last]:
                    for turn in self.turns:
                        for drawing in character:
                            out[row, :, :, 0] = scaled(drawing, turn, self.size, self.resample)
                            row += 1
                done += len(run)
                context.progress(f"{split} split", done, total)


def scaled(drawing: NDArray[np.uint8], turn: int, size: int, resample: str) -> NDArray[np.uint8]:
    """Return a drawing turned counter-clockwise by `turn` degrees, then resized to `size`."""
    from PIL import Image  # here, because this module is imported to list the datasets

    image = Image.fromarray(drawing).rotate(turn)
    return np.asarray(image.resize((size, size), Image.Resampling[FILTERS[resample]]))


def _verify(split: str, actual: str) -> None:
    """Refuse to publish prepared images other than those that results were measured on."""
    expected = SPEC.digests[split]
    if actual != expected:
        raise MetabenchError(
            f"omniglot {split}: the prepared images have digest {actual[:12]}, expected {expected[:12]}, "
            "though the drawings are right: this Pillow resizes differently; install another version"
        )


def _open(stems: set[str], context: DataContext, stack: ExitStack) -> dict[str, ArchiveReader]:
    """Open the archives named `stems` from the user's folders, our downloads, or the network."""
    archives = {stem: find_source((f"{stem}.zip", stem), context, SUBFOLDERS) for stem in sorted(stems)}
    why = ""
    for stem in [stem for stem, path in archives.items() if path is None]:
        archives[stem], why = download_if_allowed(FILES[stem], context)
    if absent := [stem for stem, path in archives.items() if path is None]:
        names = " and ".join(f"{stem}.zip" for stem in absent)
        raise MissingError(
            f"omniglot: {names} {why}; put the official files into {download_folder(context)} "
            "or run `metabench datasets download omniglot --from DIR` with the folder that holds them"
        )
    return {stem: stack.enter_context(open_archive(path)) for stem, path in archives.items() if path is not None}
