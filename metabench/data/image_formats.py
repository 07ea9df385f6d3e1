"""Kinds of image files: which are read, by their names, and what reads the others."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from pathlib import Path

_MARKED: Mapping[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "QOI": (".qoi",),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    "HEIF": (".heic", ".heif", ".hif"),
}
"""Formats whose files say in their first bytes what they are, so that their names may be wrong."""
_UNMARKED: Mapping[str, tuple[str, ...]] = {
    "DIB": (".dib",),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
    "PCX": (".pcx",),
    "SGI": (".sgi",),
    "SUN": (".ras",),
}
"""Formats with a weak mark or none: read by name alone, since nearly any bytes may pass for one.

Pillow's other formats are never read: EPS and PDF run programs, PSD and icons hold layers or several sizes, and the
rest (FITS, HDF5, WMF, ...) is read with the help of further packages or on one system only.
"""
_OPTIONAL: Mapping[str, str] = {"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000"}
"""Formats that Pillow may be built without, by the name of the feature."""
_REMEDY = {"HEIF": "pip install pillow-heif", **dict.fromkeys(_OPTIONAL, "pip install -U pillow")}


@functools.cache
def readable() -> Mapping[str, str]:
    """Return the ending of every file that is read here, in lower case, with its format."""
    known = {**_MARKED, **_UNMARKED}
    return {ending: name for name, endings in known.items() if _is_available(name) for ending in endings}


def is_image(name: str) -> bool:
    """Return whether a file is an image that is read here, by its name."""
    return ending_of(name) in readable()


def ending_of(name: str) -> str:
    """Return the ending of a file's name in lower case, '' where it has none."""
    return Path(name).suffix.lower()


def formats_of(path: Path) -> tuple[str, ...]:
    """Return the names of the formats that a file is taken for, for `PIL.Image.open`."""
    named = readable().get(ending_of(path.name), "")
    marked = tuple(name for name in dict.fromkeys(readable().values()) if name in _MARKED)
    return (named, *marked) if named in _UNMARKED else marked


def remedy_for(ending: str) -> str:
    """Return the command that makes files with this ending readable; '' where they are readable or never are."""
    if ending in readable():
        return ""
    return next((_REMEDY[name] for name, endings in _MARKED.items() if ending in endings), "")


def _is_available(name: str) -> bool:
    from PIL import features  # here, because datasets are listed without Pillow

    if name == "HEIF":
        return _has_heif()
    feature = _OPTIONAL.get(name)
    if feature is None:
        return True
    return (feature in features.modules or feature in features.codecs) and bool(features.check(feature))


def _has_heif() -> bool:
    """Return whether HEIF files are read, after asking pillow-heif to add its format to Pillow."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True
