"""Values that the pickle reader returns for byte strings and NumPy arrays: descriptions, checked before use."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_NUMBER = re.compile(r"b1|[iu][1248]|f[248]")
_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class LazyBytes:
    """A long byte string, left where it is in the file until it is wanted."""

    stream: BinaryIO
    offset: int
    length: int

    def read(self) -> bytes:
        """Return the bytes."""
        self.stream.seek(self.offset)
        return self.stream.read(self.length)


PickledBytes = bytes | LazyBytes


@dataclass
class Dtype:
    """Number type of an array: a code such as ``u1``, and the byte order."""

    code: str
    order: str = "<"

    def build(self, state: Any) -> None:
        """Take the byte order of ``numpy.dtype.__setstate__``; the rest of it says what has fields or subarrays."""
        order = state[1]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise ValueError("an array of something other than numbers")
        self.order = "<" if order == "=" else order

    @property
    def numpy(self) -> np.dtype[Any]:
        """As NumPy has it."""
        return np.dtype(self.order + self.code)


@dataclass
class PickledArray:
    """A NumPy array of numbers in a pickle.

    Attributes:
        shape, dtype: as NumPy has them; the bytes of the data are exactly as many as they say.
    """

    shape: tuple[int, ...] = ()
    dtype: Dtype | None = None
    fortran: bool = False
    data: PickledBytes = b""

    def build(self, state: Any) -> None:
        """Take the state of ``numpy.ndarray.__setstate__``: version, shape, type, order, data."""
        _, shape, dtype, fortran, data = state
        self.fill(shape, dtype, bool(fortran), data)

    def fill(self, shape: Any, dtype: Any, fortran: bool, data: Any) -> None:
        """Check and keep what the array is made of; ValueError where that is no array of numbers."""
        if isinstance(data, str):  # Python 2's byte strings
            data = data.encode("latin-1")
        if not isinstance(dtype, Dtype) or not isinstance(data, (bytes, LazyBytes)):
            raise ValueError("an array of something other than numbers")
        sizes = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
        length = data.length if isinstance(data, LazyBytes) else len(data)
        if not sizes or len(shape) > _MOST_DIMENSIONS or math.prod(shape) * dtype.numpy.itemsize != length:
            raise ValueError(f"an array whose size is not that of its {length} bytes")
        self.shape, self.dtype, self.fortran, self.data = shape, dtype, fortran, data

    def load(self) -> NDArray[Any]:
        """Return the array itself, read-only; ValueError for one that was never filled."""
        if self.dtype is None:
            raise ValueError("an array without content")
        data = self.data.read() if isinstance(self.data, LazyBytes) else self.data
        flat = np.frombuffer(data, self.dtype.numpy)
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


@dataclass(frozen=True)
class Call:
    """Stand-in for a function or class that pickles of arrays name; `make` takes its arguments."""

    make: Callable[..., Any]


def _dtype(code: Any, *_: Any) -> Dtype:
    if not isinstance(code, str) or not _NUMBER.fullmatch(code):
        raise ValueError("an array of something other than numbers")
    return Dtype(code)


def _reconstruct(*_: Any) -> PickledArray:
    return PickledArray()  # its shape comes with the state


def _scalar(dtype: Any, data: Any) -> int | float | bool:
    array = PickledArray()
    array.fill((), dtype, False, data)
    value: int | float | bool = array.load().item()
    return value


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    array = PickledArray()
    array.fill(shape, dtype, order == "F", data)
    return array


def _encode(text: Any, encoding: Any) -> bytes:
    """Byte strings as Python 3 writes them for Python 2: ``_codecs.encode(text, "latin1")``."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("text in an unusual encoding")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    return b""


def _class(*_: Any) -> Any:
    raise ValueError("a numpy.ndarray that is called")


KNOWN = {
    **{
        (f"numpy.{core}.{module}", name): Call(make)
        for core in ("core", "_core")
        for module, name, make in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
    ("numpy", "dtype"): Call(_dtype),
    ("numpy", "ndarray"): Call(_class),
    ("_codecs", "encode"): Call(_encode),
    ("__builtin__", "bytes"): Call(_no_bytes),
    ("builtins", "bytes"): Call(_no_bytes),
}
"""(module, name) to what stands for it. None of the real things is ever imported or called."""
