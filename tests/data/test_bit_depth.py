from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from metabench.data import ClassSplit, DataContext, split_digest
from metabench.data.bit_depth import BitDepth, measure_depth
from metabench.data.image_decoding import ImagePreprocessing, decode_image
from metabench.data.parallel_rows import Unusable
from metabench_datasets.folder import Folder


def save(path: Path, value: int, dtype: type = np.uint16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 16), value, dtype)).save(path)
    return path


def save_rgb_16(path: Path, pixels: NDArray[np.uint16]) -> Path:
    """Write a PNG with 16 bits per colour, which Pillow reads but cannot write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(
    ("largest", "bits"), [(0, 8), (255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14), (16384, 16), (65535, 16)]
)
def test_the_bits_that_hold_the_largest_value(largest: int, bits: int) -> None:
    assert BitDepth(3, largest).bits == bits
    assert f"taken as {bits} bits (divided by {1 << (bits - 8)})" in BitDepth(3, largest).note


def test_all_images_are_measured_together(tmp_path: Path) -> None:
    files = [save(tmp_path / "a.png", 700), save(tmp_path / "b.tif", 4000), save(tmp_path / "c.png", 200, np.uint8)]
    (tmp_path / "d.png").write_bytes(b"no")
    seen: list[tuple[int, int]] = []
    depth = measure_depth([*files, tmp_path / "d.png"], lambda done, total: seen.append((done, total)))
    assert (depth, depth.bits) == (BitDepth(2, 4000), 12)
    assert seen == [(done, 4) for done in range(5)]
    assert [decode_image(file, ImagePreprocessing(16), depth.bits)[0, 0, 0] for file in files] == [
        700 >> 4,
        4000 >> 4,
        200,
    ]
    assert (measure_depth(files[2:]).note, measure_depth(files[2:]).bits) == ("", 16), "nothing of 16 bits"


def test_whole_numbers_of_32_bits_that_fit(tmp_path: Path) -> None:
    files = [save(tmp_path / "a.tif", 200, np.int32), save(tmp_path / "wide.tif", 70_000, np.int32)]
    depth = measure_depth(files)
    assert (depth, decode_image(files[0], ImagePreprocessing(16), depth.bits)[0, 0, 0]) == (BitDepth(1, 200), 200)
    with pytest.raises(Unusable, match="32 bits"):
        decode_image(files[1], ImagePreprocessing(16), depth.bits)


def test_colours_of_16_bits(tmp_path: Path) -> None:
    """Pillow keeps the upper 8 bits of them: right for 16 bits, nearly nothing of 12."""
    full = save_rgb_16(tmp_path / "full.png", np.full((16, 16, 3), 0xC000, np.uint16))
    assert measure_depth([full]).bits == 16
    assert decode_image(full, ImagePreprocessing(16))[0, 0].tolist() == [0xC0] * 3
    few = save_rgb_16(tmp_path / "few.png", np.full((16, 16, 3), 4000, np.uint16))
    assert measure_depth([few]) == BitDepth(1, 4095)
    with pytest.raises(Unusable, match="16 bits per colour that use 12"):
        decode_image(few, ImagePreprocessing(16), 12)


def test_more_than_the_bits_of_the_others(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="a value of 4096, more than the 12 bits"):
        decode_image(save(tmp_path / "a.png", 4096), ImagePreprocessing(16), 12)


def test_splits_of_a_folder_share_the_rule(tmp_path: Path) -> None:
    """By themselves the training classes would need 10 bits."""
    root, notes = tmp_path / "cells", list[str]()
    for split, value in (("train", 800), ("test", 3000)):
        for name in "ab":
            for number in range(3):
                save(root / split / f"{split}{name}" / f"{number}.png", value + number)
    context = DataContext(tmp_path / "cache", note=notes.append)
    train, test = (Folder(str(root), size=16).load(split, context) for split in ("train", "test"))
    assert train.images[:, 0, 0, 0].tolist() == [800 >> 4] * 6
    assert test.images[:, 0, 0, 0].tolist() == [3000 >> 4] * 6
    assert set(notes) == {
        "folder:cells: 12 images of more than 8 bits, the largest value 3002: all taken as 12 bits (divided by 16)"
    }
    before = split_digest(train)
    save(root / "test" / "testa" / "0.png", 5000)  # of another split, but the rule changes
    assert Folder(str(root), size=16).load("train", context).images[0, 0, 0, 0] == 800 >> 6
    save(root / "test" / "testa" / "0.png", 3000)
    assert split_digest(Folder(str(root), size=16).load("train", context)) == before


def test_true_16_bits_stay_as_they_were(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    for name, value in (("a", 0x1234), ("b", 0xFF00)):
        save(root / name / "0.png", value)
    split = Folder(str(root), size=8).load("test", DataContext(tmp_path / "cache"))
    assert split.images[:, 0, 0, 0].tolist() == [0x12, 0xFF]
    upper = np.repeat(np.array([0x12, 0xFF], np.uint8), 8 * 8 * 3).reshape(2, 8, 8, 3)
    assert split_digest(split) == split_digest(ClassSplit(upper, np.array([0, 1, 2]), ("a", "b")))


def test_one_image_is_no_plural() -> None:
    assert BitDepth(1, 900).note.startswith("1 image of more than 8 bits, the largest value 900: taken as 10 bits")
    assert BitDepth(2, 900).note.startswith("2 images of more than 8 bits, the largest value 900: all taken as 10 bits")
