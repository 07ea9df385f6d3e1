"""mini-ImageNet (Vinyals et al., NeurIPS 2016) in the split of Ravi & Larochelle (ICLR 2017).

100 classes of ImageNet with 600 images each, 84x84: 64 to train on, 16 to validate, 20 to test. ImageNet's terms do not
allow to pass it on, so it is read from the user's copy. Several are in circulation whose pixels differ, because they
were resized or compressed by other hands: any is taken, its digest is in the key of every run, and the known ones have
names (`SPEC.copies`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metabench.api import (
    FINGERPRINT_LENGTH,
    ClassSplit,
    DataContext,
    DatasetSpec,
    FileReader,
    ImageDecoder,
    ImageSource,
    KnownCopy,
    MissingError,
    PreparedCopies,
    SplitSize,
    UsageError,
    cached_images,
    open_array,
)
from metabench_datasets._class_lists import ClassLists, class_lists
from metabench_datasets._mini_imagenet import SPLITS, Layout, find_layout

SIDE = 84
PER_CLASS = 600
SUBFOLDERS = (
    "", "mini-imagenet", "miniimagenet", "mini_imagenet", "miniImagenet", "miniImageNet", "mini-ImageNet",
    "MiniImagenet", "MiniImageNet",
)  # fmt: skip
"""Places of a copy in a user's folder."""

SPEC = DatasetSpec(
    name="mini-imagenet",
    version=1,
    target="metabench_datasets.mini_imagenet:MiniImagenet",
    summary="100 classes of ImageNet, 84x84 (Ravi & Larochelle split); from your own copy",
    reference=(
        "Vinyals et al., Matching networks for one shot learning, NeurIPS 2016; split: Ravi & Larochelle, "
        "Optimization as a model for few-shot learning, ICLR 2017"
    ),
    licence="ImageNet terms: non-commercial research, no redistribution",
    image_shape=(3, SIDE, SIDE),
    sizes={"train": SplitSize(64, 38_400), "val": SplitSize(16, 9_600), "test": SplitSize(20, 12_000)},
    digests={},
    copies={
        "re-encoded as JPEG of quality 75": KnownCopy(
            digests={
                "train": "89d45d6483cc66d1a86260cbe6f31313b23cdad9876b309ef5ac1e2fefa303b3",
                "val": "b1b05675abd5dff45a165395d235584e0705d80ae8b465bdb45a5537af6011ca",
                "test": "9ae39c74457fe17ea1c4bcbc4deed0f01cc7d197535c87b5d8960a8eb89c49e8",
            },
            shared_images=(
                "6b9db2eb179a905d",
                "807bce777ec54113",
                "b5c48df889082e10",
                "33e20fabb6d5afe8",
                "6f0427f9df1acb73",
                "401f39211e7daa13",
            ),
        ),
    },
    download=True,
)


class MiniImagenet:
    """The dataset, from a copy in the user's folders.

    Args:
        lists: classes of each split; None is the published split.
        per_class: images of each class.
    """

    def __init__(self, lists: ClassLists | None = None, per_class: int = PER_CLASS) -> None:
        self.lists, self.per_class = lists or class_lists("mini_imagenet"), per_class

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (3, SIDE, SIDE)

    def fingerprint(self, context: DataContext) -> str:
        """Return what tells the copy that is used from others, in milliseconds.

        Raises:
            MissingError: there is no copy, and none was prepared earlier.
        """
        return self._copy(context)[1][:FINGERPRINT_LENGTH]

    def load(self, split: str, context: DataContext) -> ClassSplit:
        """Return a split, decoding it on first use; later it opens as a memory map in milliseconds.

        Returns:
            images uint8 (N, 84, 84, 3), 600 per class; classes and files in the order of their names, whatever the
            layout. The prepared array is used as long as the copy is as it was, and also when it is gone.

        Raises:
            UsageError: there is no such split.
            MissingError: there is no copy, or files of it are missing.
            MetabenchError: lists of another split, or images that cannot be used.
        """
        if split not in SPLITS:
            raise UsageError(f"mini-imagenet: there is no split {split!r}; use train, val or test")
        layout, mark = self._copy(context)
        prepared, names = self._prepared(context), self.lists[split]
        starts = np.arange(len(names) + 1, dtype=np.int64) * self.per_class
        path, decoder = prepared.path(split, mark), ImageDecoder(SIDE)
        images = open_array(path, (int(starts[-1]), *decoder.shape))
        if images is None and layout is None:
            raise MissingError(f"mini-imagenet: its {split} split was not prepared, and {_how(context)}")
        if images is None:
            assert layout is not None
            files = [file for _, of_class in layout.classes(split) for file in of_class]
            remedy = f"mini-ImageNet's are {SIDE}x{SIDE} in colour; get those files again"
            source = ImageSource(list(map(str, files)), FileReader(files), f"mini-imagenet {split}: images", remedy)
            images = cached_images(path, decoder, source, context, plan=mark, draft=prepared.draft(split))
        return ClassSplit(images, starts, names)

    def _prepared(self, context: DataContext) -> PreparedCopies:
        return PreparedCopies(context.cache / f"v{SPEC.version}")

    def _copy(self, context: DataContext) -> tuple[Layout | None, str]:
        """Return the user's copy and its mark; without a copy, the mark of the one prepared last."""
        layout = find_layout(context.sources, SUBFOLDERS, self.lists, self.per_class)
        if layout is not None:
            return layout, layout.mark()
        mark = self._prepared(context).latest()
        if mark is None:
            raise MissingError(f"mini-imagenet: {_how(context)}")
        return None, mark


def _how(context: DataContext) -> str:
    """Return the message that there is no copy, and how to get one."""
    looked = ", ".join(map(str, context.sources)) or "no folder: none was given"
    folder = Path("DIR") / "mini-imagenet"
    return (
        f"no copy found (looked in {looked}). It cannot be downloaded freely: with an account at image-net.org get "
        "ILSVRC2012's training images, and train.csv, val.csv and test.csv from data/miniImagenet of "
        "https://github.com/twitter-research/meta-learning-lstm; make the 84x84 images with "
        "https://github.com/yaoyao-liu/mini-imagenet-tools; put them as "
        f"{folder}/images/*.jpg beside the three CSV files (or as {folder}/train/nXXXXXXXX/*.jpg, val, test) and give "
        "--data DIR, or set METABENCH_DATA"
    )
