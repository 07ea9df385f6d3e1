from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metabench.data.image_arrays import quiet_decoders
from metabench.data.image_decoding import ImagePreprocessing, decode_image
from metabench.data.parallel_rows import Unusable
from metabench.errors import UsageError

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def halves(left: Any, right: Any, mode: str = "RGB", size: tuple[int, int] = (64, 32)) -> Image.Image:
    """An image whose left half has one colour and whose right half another."""
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, size[0], size[1]))
    return image


def corners(path: Path, form: ImagePreprocessing) -> list[list[int]]:
    """The colours in the middle of the left and of the right half, and of the upper and lower."""
    found = decode_image(path, form)
    assert found.shape == form.shape
    assert found.dtype == np.uint8
    side, middle = form.size, form.size // 2
    return [found[middle, side // 4].tolist(), found[middle, 3 * side // 4].tolist()]


@pytest.mark.parametrize("ending", ["png", "bmp", "gif", "tif", "webp", "jpg", "ppm"])
@pytest.mark.parametrize("size", [(64, 32), (30, 90), (16, 16)])
def test_every_format_and_size(tmp_path: Path, ending: str, size: tuple[int, int]) -> None:
    path = tmp_path / f"one.{ending}"
    halves(RED, GREEN, size=size).save(path, **({"quality": 100} if ending in ("jpg", "webp") else {}))
    left, right = corners(path, ImagePreprocessing(16))
    assert np.abs(np.subtract(left, RED)).max() < 12
    assert np.abs(np.subtract(right, GREEN)).max() < 12


@pytest.mark.parametrize(
    ("mode", "left", "right", "want"),
    [
        ("L", 10, 200, ([10] * 3, [200] * 3)),
        ("1", 0, 1, ([0] * 3, [255] * 3)),
        ("RGBA", (255, 0, 0, 255), (0, 255, 0, 0), (RED, WHITE)),
        ("LA", (10, 255), (10, 0), ([10] * 3, WHITE)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 255, 0), (RED, GREEN)),
    ],
)
def test_every_mode(tmp_path: Path, mode: str, left: Any, right: Any, want: Any) -> None:
    path = tmp_path / "one.tif"
    halves(left, right, mode).save(path)
    found = corners(path, ImagePreprocessing(16))
    assert np.abs(np.subtract(found, want)).max() <= 1


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits(tmp_path: Path, ending: str) -> None:
    pixels = np.full((32, 64), 0x1234, dtype=np.uint16)
    pixels[:, 32:] = 0xFF00
    path = tmp_path / f"one.{ending}"
    Image.fromarray(pixels).save(path)
    assert corners(path, ImagePreprocessing(16, colour="grey")) == [[0x12], [0xFF]]
    assert corners(path, ImagePreprocessing(16)) == [[0x12] * 3, [0xFF] * 3]


def test_transparent_colour_of_a_palette(tmp_path: Path) -> None:
    image = halves(RED, GREEN).quantize(2)
    transparent = image.getpixel((0, 0))
    image.save(tmp_path / "one.png", transparency=transparent)
    image.save(tmp_path / "one.gif", transparency=transparent)
    for name in ("one.png", "one.gif"):
        left, right = corners(tmp_path / name, ImagePreprocessing(16))
        assert (tuple(left), tuple(right)) == (WHITE, GREEN)


def test_grey_has_one_channel(tmp_path: Path) -> None:
    halves(RED, GREEN).save(tmp_path / "one.png")
    assert decode_image(tmp_path / "one.png", ImagePreprocessing(16, colour="grey")).shape == (16, 16, 1)


def test_it_stands_upright(tmp_path: Path) -> None:
    """Orientation 6: the camera was turned, and what is stored on the left belongs on top."""
    exif = Image.Exif()
    exif[0x0112] = 6
    halves(RED, GREEN).save(tmp_path / "one.jpg", exif=exif, quality=100)
    found = decode_image(tmp_path / "one.jpg", ImagePreprocessing(16)).astype(int)
    assert found[2, 8, 0] > 200 > 50 > found[13, 8, 0]


def test_fits(tmp_path: Path) -> None:
    halves(RED, GREEN, size=(400, 100)).save(tmp_path / "one.png")
    cropped, padded, stretched = (
        decode_image(tmp_path / "one.png", ImagePreprocessing(20, fit)) for fit in ("crop", "pad", "stretch")
    )
    assert {tuple(pixel) for pixel in cropped[:, 0]} == {RED}
    assert {tuple(pixel) for pixel in padded[0]} == {WHITE}
    assert tuple(padded[10, 2]) == RED
    assert tuple(stretched[0, 2]) == RED


def test_a_large_photograph_is_decoded_small_but_like_in_full(tmp_path: Path) -> None:
    y, x = np.mgrid[:1200, :1600]
    pixels = np.stack([x * 255 // 1600, y * 255 // 1200, (x + y) // 12 % 256], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.jpg", quality=95)
    with Image.open(tmp_path / "one.jpg") as image:
        whole = np.asarray(image.crop((200, 0, 1400, 1200)).resize((84, 84), Image.Resampling.BICUBIC))
    assert np.abs(decode_image(tmp_path / "one.jpg", ImagePreprocessing(84)).astype(int) - whole)[..., :2].max() <= 6


def test_the_first_picture_of_an_animation(tmp_path: Path) -> None:
    halves(RED, RED).save(tmp_path / "one.gif", save_all=True, append_images=[halves(GREEN, GREEN)])
    assert corners(tmp_path / "one.gif", ImagePreprocessing(16)) == [list(RED), list(RED)]


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    halves(RED, GREEN).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    Image.new("F", (16, 16)).save(tmp_path / "float.tif")
    Image.fromarray(np.full((16, 16), 70_000, dtype=np.int32)).save(tmp_path / "wide.tif")
    Image.fromarray(np.full((16, 16), -1, dtype=np.int32)).save(tmp_path / "signed.tif")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    for name, content, why in (
        ("empty.png", b"", "is no image"),
        ("text.jpg", b"hello", "is no image"),
        ("cut.png", whole[:60], "."),
        ("float.tif", None, "32 bits"),
        ("wide.tif", None, "32 bits"),
        ("signed.tif", None, "^has negative values"),
        ("link.png", None, "^is a link to nothing$"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(Unusable, match=why):
            decode_image(tmp_path / name, ImagePreprocessing(16))


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halves(RED, GREEN).save(tmp_path / "one.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with quiet_decoders(), pytest.raises(Unusable, match="more than 179 million pixels"):
        decode_image(tmp_path / "one.png", ImagePreprocessing(16))


def test_a_long_reason_ends_with_a_whole_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halves(RED, GREEN).save(tmp_path / "one.png")
    for error, words in (
        (ValueError("words " * 30), "words " * 11 + "words"),
        (ValueError("x" * 200), "ValueError"),
        (PermissionError(13, "Permission denied", "/a/long/path"), "Permission denied"),
    ):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("PIL.ImageOps.exif_transpose", fail)
        with pytest.raises(Unusable) as caught:
            decode_image(tmp_path / "one.png", ImagePreprocessing(16))
        assert str(caught.value) == words


def test_forms_are_checked() -> None:
    for wrong in ({"size": 4}, {"size": 5000}, {"fit": "squeeze"}, {"colour": "blue"}):
        with pytest.raises(UsageError):
            ImagePreprocessing(**wrong)  # type: ignore[arg-type]
