"""CUB-200-2011 (Wah et al., 2011): 11,788 photographs of 200 kinds of birds; the split of Chen et al. (ICLR 2019).

Their split (``filelists/CUB`` of wyharveychen/CloserLookFewShot) takes every second class to train on and every fourth
to validate and to test on: 100, 50 and 50. The literature frames the images in three ways, and numbers of one say
nothing of another: the whole photograph resized (the default), its official bounding box resized (FEAT, DeepEMD and
others), and what Chen et al. evaluate on, the middle 84x84 of the photograph resized to 96x96.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np

from metabench.api import (
    FINGERPRINT_LENGTH,
    ArchiveReader,
    ClassSplit,
    DataContext,
    DatasetSpec,
    ImageDecoder,
    ImageSource,
    MissingError,
    OfficialFile,
    Param,
    PreparedCopies,
    SplitSize,
    UsageError,
    cached_images,
    content_key,
    download_folder,
    download_if_allowed,
    find_source,
    open_archive,
    open_array,
    read_cached_json,
    write_atomic,
)
from metabench_datasets._cub import FRAMES, ROOT, Layout, Listing, framed, official_layout, read_listing

SIDE = 84
FILE = OfficialFile(
    f"{ROOT}.tgz",
    (f"https://data.caltech.edu/records/65de6-vp158/files/{ROOT}.tgz",),
    "md5:97eceeb196236b17998738112f37df78",
)
SUBFOLDERS = ("", "cub", "CUB", "CUB-200-2011", "cub200")
"""Places of the archive, or of the folder extracted from it, in a user's folder."""

SPEC = DatasetSpec(
    name="cub",
    version=1,
    target="metabench_datasets.cub:Cub",
    summary="200 kinds of birds, 84x84 (CUB-200-2011; split of Chen et al.)",
    reference=(
        "Wah et al., The Caltech-UCSD Birds-200-2011 dataset, CNS-TR-2011-001; split: Chen et al., A closer look at "
        "few-shot classification, ICLR 2019"
    ),
    licence="images: non-commercial research (rights remain with the photographers)",
    params=(
        Param("frame", "whole", "what is resized: the photograph, the bird's bounding box, or its centre", FRAMES),
    ),
    image_shape=(3, SIDE, SIDE),
    sizes={"train": SplitSize(100, 5_885), "val": SplitSize(50, 2_950), "test": SplitSize(50, 2_953)},
    digests={},
    download=True,
)


class Cub:
    """The dataset in one framing.

    Args:
        frame: ``"whole"``, ``"box"`` or ``"centre"``, see above.
        layout: what is in the archive; None is the published data.

    Raises:
        UsageError: an unknown frame.
    """

    def __init__(self, frame: str = "whole", layout: Layout | None = None) -> None:
        if frame not in FRAMES:
            raise UsageError(f"cub: frame is one of {', '.join(FRAMES)}, not {frame!r}")
        self.frame, self.layout = frame, layout or official_layout()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (3, SIDE, SIDE)

    def fingerprint(self, context: DataContext) -> str:
        """Return the fingerprint of the copy in use, in milliseconds; '' where it is not downloaded yet."""
        source = self._source(context)
        return (_mark(source) if source else self._prepared(context).latest() or "")[:FINGERPRINT_LENGTH]

    def load(self, split: str, context: DataContext) -> ClassSplit:
        """Return a split, decoding it on first use; later it opens as a memory map in milliseconds.

        Returns:
            images uint8 (N, 84, 84, 3), 41 to 60 per class; classes and files in the order of their names.

        Raises:
            UsageError: there is no such split.
            MissingError: the archive is neither here nor downloadable.
            MetabenchError: it is damaged, or images in it cannot be used.
        """
        if split not in self.layout.lists:
            raise UsageError(f"cub: there is no split {split!r}; use train, val or test")
        mark = self.fingerprint(context)
        if mark and (opened := self._opened(split, self._prepared(context).path(split, mark))) is not None:
            return opened
        return self._decoded(self._source(context) or _download(context), context)[split]

    def _opened(self, split: str, path: Path) -> ClassSplit | None:
        """Return what was prepared, or None; how many images each class has is noted beside the array."""
        try:
            starts = np.array(read_cached_json(_notes(path)), dtype=np.int64)
        except (ValueError, TypeError, OverflowError):
            return None
        names = self.layout.lists[split]
        if starts.shape != (len(names) + 1,):
            return None
        images = open_array(path, (int(starts[-1]), SIDE, SIDE, 3))
        return None if images is None else ClassSplit(images, starts, names)

    def _decoded(self, source: Path, context: DataContext) -> dict[str, ClassSplit]:
        """Decode all splits, since every run needs the digests of all, and unpacking the archive takes long."""
        context.progress("reading the archive", 0, 1)
        mark, prepared, splits = _mark(source), self._prepared(context), {}
        prepared.folder.mkdir(parents=True, exist_ok=True)
        with open_archive(source, scratch=prepared.folder) as archive:
            listing = read_listing(archive, self.layout)
            for split in self.layout.lists:
                splits[split] = self._split(split, mark, archive, listing, context)
        return splits

    def _split(
        self, split: str, mark: str, archive: ArchiveReader, listing: Listing, context: DataContext
    ) -> ClassSplit:
        names, prepared = self.layout.lists[split], self._prepared(context)
        files = [file for name in names for file in listing.files[name]]
        starts = np.cumsum([0, *(len(listing.files[name]) for name in names)], dtype=np.int64)

        def decoder(row: int) -> ImageDecoder:
            return ImageDecoder(SIDE, partial(framed, frame=self.frame, box=listing.boxes[files[row]], size=SIDE))

        path = prepared.path(split, mark)
        write_atomic(_notes(path), json.dumps(starts.tolist()))
        remedy = f"get the official {FILE.name} again"
        source = ImageSource(files, lambda row: archive.read(files[row]), f"cub {split}: images", remedy)
        images = cached_images(path, decoder, source, context, plan=mark, draft=prepared.draft(split))
        return ClassSplit(images, starts, names)

    def _prepared(self, context: DataContext) -> PreparedCopies:
        return PreparedCopies(context.cache / f"v{SPEC.version}-{self.frame}")

    def _source(self, context: DataContext) -> Path | None:
        return find_source((ROOT, FILE.name), context, SUBFOLDERS)


def _mark(source: Path) -> str:
    """Return what changes when the archive, or a folder of images in what was extracted from it, does."""
    if not source.is_dir():
        status = source.stat()
        return content_key([status.st_size, status.st_mtime_ns])
    images = source / "images"
    folders = sorted(images.iterdir()) if images.is_dir() else []
    return content_key([[folder.name, folder.stat().st_mtime_ns] for folder in folders])


def _notes(path: Path) -> Path:
    return path.with_suffix(".json")


def _download(context: DataContext) -> Path:
    path, why = download_if_allowed(FILE, context)
    if path is not None:
        return path
    raise MissingError(
        f"cub: {FILE.name} (1.15 GB) {why}; get it from https://data.caltech.edu/records/65de6-vp158 and give the "
        f"folder that holds it, or {ROOT} extracted from it, with --data, or put it into {download_folder(context)}"
    )
