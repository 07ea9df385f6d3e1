"""The rules for what a dataset's ``load`` returns: for every run, and for ``metabench check``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from metabench.data.split import ClassSplit
from metabench.errors import MetabenchError
from metabench.registry.params import Value
from metabench.registry.specs import DatasetSpec, SplitSize

LAYOUTS = {"images": "(N, height, width, channels)", "text": "(N, bytes)", "functions": "(N, 4 * numbers)"}
"""Kind of data to the shape of its array."""
_SHAPES = {"images": "channels, height, width", "text": "bytes", "functions": "bytes"}
_REPAIRS = {
    "bool": "Convert with (255 * images).astype(np.uint8)",
    "float": "Scale to 0..255 and convert with .astype(np.uint8)",
    "int": "Convert with .astype(np.uint8) if all values are within 0..255",
}


def valid_split(
    loaded: object, split: str, dataset: str, spec: DatasetSpec, params: Mapping[str, Value], loader: object
) -> ClassSplit:
    """Return what a loader returned, if it is a split as its spec declares; reads no item.

    Args:
        loaded: what ``loader.load(split, context)`` returned.
        dataset: name for the message.
        params: the values of all parameters.
        loader: its ``image_shape``, if it has one, is the shape of an item for these parameters.

    Raises:
        MetabenchError: type, layout, boundaries, names or counts are wrong; one line.
    """
    declared = spec.declared(params)
    problem = type_problem(loaded)
    if isinstance(loaded, ClassSplit):
        shape = item_shape(spec, params, loader)
        size = declared.sizes.get(split) if declared else None
        problem = layout_problem(loaded, spec.kind) or shape_problem(loaded, spec, shape) or size_problem(loaded, size)
        if not problem:
            return loaded
    raise MetabenchError(f"cannot load {split} of dataset '{dataset}': {problem}.")


def item_shape(spec: DatasetSpec, params: Mapping[str, Value], loader: object) -> tuple[int, ...] | None:
    """Return the shape of an item that spec or loader promise for these parameters; None where neither does."""
    if spec.declared(params) is not None:
        return spec.image_shape
    shape = getattr(loader, "image_shape", None)
    return shape if isinstance(shape, tuple) else None


def type_problem(loaded: object) -> str:
    """Return what is wrong with the type of a split, '' if nothing is."""
    if isinstance(loaded, ClassSplit):
        return ""
    return f"load() returned {_article(loaded)}, expected a ClassSplit. Return ClassSplit(images, starts, names)"


def layout_problem(data: ClassSplit, kind: str) -> str:
    """Return what is wrong with the array, boundaries or names of a split of this kind, '' if nothing is."""
    return _array_problem(data.images, kind) or _names_problem(data) or _starts_problem(data)


def shape_problem(data: ClassSplit, spec: DatasetSpec, shape: tuple[int, ...] | None) -> str:
    """Return what is wrong with the shape of the items, '' if nothing is.

    Args:
        shape: the promised one, 0 where it varies; None: images have 1 or 3 channels, or as many as the spec declares.
    """
    actual = data.item_shape
    if shape is not None:
        fits = len(actual) == len(shape) and all(want in (0, have) for want, have in zip(shape, actual, strict=True))
    elif spec.kind == "images":
        fits = 0 in spec.image_shape[:1] or actual[0] in (1, 3, *spec.image_shape[:1])
    else:
        fits = True
    if fits:
        return ""
    wanted = "(1 or 3, height, width)" if shape is None else f"{_shape(shape)} ({_SHAPES[spec.kind]})"
    text = (
        f"items have shape {_shape(actual)}, expected {wanted}; the array is {_shape(data.images.shape)}, expected "
        f"{LAYOUTS[spec.kind]}"
    )
    first = data.images.shape[1]
    if spec.kind == "images" and actual[0] != first and first in (1, 3, *(shape or spec.image_shape)[:1]):
        return f"{text}. Put the channels last with .transpose(0, 2, 3, 1)"
    where = "the spec's image_shape" if shape == spec.image_shape else "an image_shape of the loader"
    return f"{text}. Mend the array, or declare its shape by {where}"


def size_problem(data: ClassSplit, size: SplitSize | None) -> str:
    """Return how the numbers of classes and items differ from the declared ones (None: unknown), '' if they do not."""
    actual = len(data.names), len(data.images)
    if size is None or actual == (size.classes, size.images):
        return ""
    return (
        f"it has {actual[0]} classes and {actual[1]} items, declared are {size.classes} and {size.images}. "
        "Mend the data, or sizes in the spec"
    )


def shared_class_problem(names: Mapping[str, Sequence[str]]) -> str:
    """Return which class names stand in more than one split, '' if none do.

    Args:
        names: split to the names of its classes.
    """
    for first, second in combinations(names, 2):
        if shared := sorted(set(names[first]) & set(names[second])):
            count = f"class {shared[0]!r} is" if len(shared) == 1 else f"{len(shared)} classes are"
            such = "" if len(shared) == 1 else f", such as {shared[0]!r}"
            return (
                f"{count} in both {first} and {second}{such}. Divide the classes, not the items, and give different "
                "classes different names"
            )
    return ""


def content_problem(data: ClassSplit, kind: str) -> str:
    """Return what is wrong with the content of texts or functions, '' if nothing is; reads all items."""
    if kind == "functions" and not np.isfinite(np.ascontiguousarray(data.images).view("<f4")).all():
        return "a function has a number that is not finite"
    return _text_problem(data.images) if kind == "text" else ""


def _array_problem(images: object, kind: str) -> str:
    layout, wanted = LAYOUTS[kind], len(LAYOUTS[kind].split(","))
    if type(images) not in (np.ndarray, np.memmap):
        remedy = "Pass np.asarray(images)" if hasattr(images, "__array__") else "Pass a NumPy array"
        return f"images are {_article(images)}, expected a NumPy array, uint8 {layout}. {remedy}"
    assert isinstance(images, np.ndarray)
    actual = f"{kind} are {images.dtype} {_shape(images.shape)}, expected uint8 {layout}"
    if images.dtype != np.uint8:
        repair = next((text for name, text in _REPAIRS.items() if name in str(images.dtype)), "Convert to np.uint8")
        return f"{actual}. {repair}"
    if images.ndim != wanted:
        channel = kind == "images" and images.ndim == 3
        return f"{actual}. {'Add the channel axis with images[..., None]' if channel else f'Give it {wanted} axes'}"
    if 0 in images.shape:
        return f"{actual}. Return at least one class with one item"
    if kind == "functions" and images.shape[1] % 4:
        return f"{actual}. Use the bytes of float32 numbers"
    return ""


def _names_problem(data: ClassSplit) -> str:
    for field, texts in (("names", data.names), ("groups", data.groups)):
        if not isinstance(texts, tuple):
            return f"{field} are {_article(texts)}, expected a tuple of str. Give the name of each class"
        if wrong := [text for text in texts if not isinstance(text, str)]:
            return f"{field} hold {_article(wrong[0])} ({wrong[0]!r:.40}), expected str. Use str(name)"
    if not data.names:
        return "it has no classes. Return at least one class with one item"
    if len(set(data.names)) != len(data.names):
        name = next(name for name in data.names if data.names.count(name) > 1)
        return f"two classes are named {name!r}. Give each class a name of its own"
    if data.groups and len(data.groups) != len(data.names):
        return f"groups are {len(data.groups)} for {len(data.names)} classes. Give one for each class, or none"
    return ""


def _starts_problem(data: ClassSplit) -> str:
    starts, classes, items = data.starts, len(data.names), len(data.images)
    remedy = "Class c owns rows starts[c] to starts[c+1]: from 0 to N, as np.concatenate([[0], np.cumsum(counts)])"
    if not isinstance(starts, np.ndarray) or starts.dtype != np.int64 or starts.ndim != 1:
        kind = f"{starts.dtype} {_shape(starts.shape)}" if isinstance(starts, np.ndarray) else _article(starts)
        return f"starts are {kind}, expected int64 ({classes + 1},). {remedy}"
    if len(starts) != classes + 1:
        return f"starts have {len(starts)} entries for {classes} classes, expected {classes + 1}. {remedy}"
    if starts[0] != 0 or starts[-1] != items:
        return f"starts go from {starts[0]} to {starts[-1]}, expected 0 to {items}, the number of items. {remedy}"
    counts = np.diff(starts)
    if (counts < 0).any():
        return f"starts do not rise at class {data.names[int(np.argmax(counts < 0))]!r}. {remedy}"
    if (counts == 0).any():
        return f"class {data.names[int(np.argmin(counts))]!r} has no items. Leave it out, or add items"
    return ""


def _text_problem(rows: NDArray[np.uint8]) -> str:
    """Return what is wrong with the first text that `encode_texts` would not have made, '' if nothing is."""
    for number, row in enumerate(np.asarray(rows)):
        data = row.tobytes().rstrip(b"\0")
        if not data or b"\0" in data:
            return f"text {number} is empty, or zeros stand before its end"
        try:
            data.decode()
        except UnicodeDecodeError:
            return f"text {number} is not UTF-8"
    return ""


def _article(value: object) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeio' else 'a'} {kind}"


def _shape(shape: Sequence[object]) -> str:
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
