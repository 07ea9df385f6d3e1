from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from metabench.data.image_decoding import ImagePreprocessing, decode_image
from metabench.data.image_folders import read_classes
from metabench.data.image_formats import is_image, readable, remedy_for
from metabench.data.parallel_rows import Unusable

RED = (255, 0, 0)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What can be read is asked anew, before and after."""
    readable.cache_clear()
    yield
    readable.cache_clear()


def test_names_of_images() -> None:
    assert all(is_image(name) for name in ("a.JPG", "b.c.jpeg", "c.Tiff", "d.tga", "e.qoi"))
    assert not any(is_image(name) for name in ("jpg", "a.txt", "b.jpg.txt", "c.eps", "d.pdf", "e.psd", "f.ico"))


@pytest.mark.parametrize(
    ("ending", "feature"),
    [("avif", "avif"), ("jp2", "jpg_2000"), ("j2k", "jpg_2000"), ("jpx", "jpg_2000")]
    + [(ending, "") for ending in ("tga", "qoi", "pcx", "sgi", "dib", "pnm", "apng")],
)
def test_more_formats(tmp_path: Path, ending: str, feature: str) -> None:
    if feature and not features.check(feature):
        pytest.skip(f"this Pillow has no {feature}")
    path = tmp_path / f"one.{ending}"
    form = {"apng": "PNG"}.get(ending)
    Image.new("RGB", (40, 30), RED).save(path, form)
    assert is_image(path.name)
    assert np.abs(decode_image(path, ImagePreprocessing(16)).astype(int) - RED).max() < 12


def test_a_wrong_name_does_no_harm(tmp_path: Path) -> None:
    """What says in its bytes what it is, is read under another name; what could run a program never is."""
    Image.new("RGB", (40, 30), RED).save(tmp_path / "one.jpg", "PNG")
    assert decode_image(tmp_path / "one.jpg", ImagePreprocessing(16))[0, 0].tolist() == list(RED)
    for form in ("EPS", "TGA", "PCX", "ICO"):
        Image.new("RGB", (40, 30), RED).save(tmp_path / "two.png", form)
        with pytest.raises(Unusable, match="is no image"):
            decode_image(tmp_path / "two.png", ImagePreprocessing(16))


@pytest.mark.usefixtures("forgotten")
def test_without_support_for_a_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    assert not is_image("a.avif")
    assert not is_image("a.jp2")
    assert (is_image("a.jpg"), remedy_for(".jp2"), remedy_for(".dcm")) == (True, "pip install -U pillow", "")


@pytest.mark.usefixtures("forgotten")
def test_heic_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # importing it fails
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "IMG_1.HEIC").write_bytes(b"x")
    skipped = read_classes(tmp_path, "x").skipped
    assert skipped.note == "skipped 1 file: 1 .heic ('pip install pillow-heif' reads them)"


@pytest.mark.usefixtures("forgotten")
def test_heic_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of that name adds an opener to Pillow, here one that takes a PNG after some bytes of its own."""
    import io

    from PIL.PngImagePlugin import PngImageFile

    def opened(stream: io.BytesIO, name: str = "") -> PngImageFile:
        with stream:
            return PngImageFile(io.BytesIO(stream.read()[8:]), name)

    fake = types.ModuleType("pillow_heif")
    fake.register_heif_opener = (
        lambda: Image.register_open(  # type: ignore[attr-defined]
            "HEIF", opened, lambda head: head[4:8] == b"heic"
        )
    )
    monkeypatch.setitem(sys.modules, "pillow_heif", fake)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), RED).save(stream, "PNG")
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(b"ftypheic" + stream.getvalue())
    assert is_image(path.name)
    assert decode_image(path, ImagePreprocessing(16))[0, 0].tolist() == list(RED)


def test_a_real_heic_file(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    assert is_image("a.heic")
    Image.new("RGB", (64, 48), RED).save(tmp_path / "one.heic", "HEIF")
    assert np.abs(decode_image(tmp_path / "one.heic", ImagePreprocessing(16)).astype(int) - RED).max() < 12
