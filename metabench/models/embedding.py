"""Embedding images: each one once, in fixed batches, kept on disk by content key."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.models.output_checks import OutputError, require_finite, require_range, require_tensor
from metabench.utils.random_streams import Stream

if TYPE_CHECKING:
    from metabench.models.interfaces import Backbone

BATCH = {"cpu": 64, "cuda": 4096}
"""Images in one forward pass. Fixed by device type, so that features do not depend on anything else.

On a CPU the activations of a small batch stay in cache.
"""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def to_device(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return a dataset's items as one uint8 tensor on `device`; on a CPU it is the array itself: do not change it.

    A memory map stays one: an item is read from the file when an episode needs it, and a set larger than memory works.
    """
    return shared_tensor(images).to(device)


def shared_tensor(array: NDArray[Any]) -> Tensor:
    """Return a tensor of the memory of an array, a read-only one too."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array if min(array.strides, default=0) >= 0 else np.ascontiguousarray(array))


@contextlib.contextmanager
def autocast(device: torch.device, precision: str, cache: bool = True) -> Iterator[None]:
    """Run backbones at `precision`; `cache` keeps converted weights, until the end of the block and no longer.

    torch itself keeps them until the outermost of nested blocks ends, and so would use the weights of earlier updates.
    """
    if precision == "float32":
        yield
        return
    with torch.autocast(device.type, dtype=DTYPES[precision], cache_enabled=cache):
        try:
            yield
        finally:
            torch.clear_autocast_cache()


def embedded_width(backbone: Backbone) -> int:
    """Return how many numbers `embed` makes of an item: its features, and those that are to be predicted of it."""
    return backbone.feature_dim + backbone.outputs


def embed(
    backbone: Backbone,
    images: Tensor,
    precision: str = "float32",
    progress: Callable[[int], None] = lambda done: None,
    out: Tensor | None = None,
    owner: str = "the backbone",
) -> Tensor:
    """Return the float32 features (N, feature_dim) of a dataset's items, uint8 (N, ...), a batch at a time.

    They are on the device of the items, or in `out`, on the device of which the backbone must be. Where numbers are to
    be predicted of an item, they stand behind its features (`embedded_width`). Items are batched in a random order, the
    same every time: sorted by class, what a batch has in common would tell the class.

    Args:
        owner: how messages name the backbone.

    Raises:
        OutputError: features of another shape, type or device than promised, or that float32 cannot compare.
    """
    body, dim = backbone.eval().for_inference(), backbone.feature_dim
    features = torch.empty(len(images), embedded_width(backbone), device=images.device) if out is None else out
    batch = BATCH.get(features.device.type, BATCH["cuda"])
    order = _embedding_order(len(images))
    dtypes = tuple({torch.float32, DTYPES[precision]})
    extremes = features.new_empty(-(-len(images) // batch), 2)  # small tensors kept one by one would fragment memory
    with torch.inference_mode(), autocast(features.device, precision):
        for start in range(0, len(images), batch):
            rows = order[start : start + batch].to(images.device)
            items, places = images[rows].to(features.device), rows.to(features.device)
            if backbone.outputs:  # first: `inputs` may be a view of the items, which `forward` may change
                features[places, dim:] = checked_targets(backbone, items, owner).float()
            made = require_tensor(body(backbone.inputs(items)), (len(rows), dim), owner, items.device, dtypes)
            extremes[start // batch] = torch.stack(made.aminmax())
            features[places, :dim] = made.float()
            progress(min(start + batch, len(images)))
    if len(extremes):
        low, high = extremes.unbind(1)
        if not bool((high - low).isfinite().all()):
            require_finite(features, owner)
        require_range(float(low.min()), float(high.max()), owner)
    return features


def checked_targets(backbone: Backbone, items: Tensor, owner: str) -> Tensor:
    """Return the numbers (N, outputs) to be predicted of items; OutputError for anything else."""
    owner = f"the targets of {owner}"
    shape = (len(items), backbone.outputs)
    numbers = require_tensor(backbone.targets(items), shape, owner, items.device, (torch.float32, torch.float64))
    require_finite(numbers, owner)
    return numbers


def _embedding_order(items: int) -> Tensor:
    return torch.from_numpy(Stream("order of embedding", items).words(0, 1)[0].argsort())


_INDEPENDENT = {"float32": 1e-2, "bfloat16": 0.1}
"""Largest difference that rounding makes between two batches, as a share of the spread of a feature, with room."""
_ROUNDING = 1e-5
"""The same as a share of the largest feature: what is far from zero is rounded more coarsely."""
_PROBED = 8


def require_item_independence(
    backbone: Backbone, images: Tensor, features: Tensor, precision: str = "float32", owner: str = "the backbone"
) -> None:
    """Raise OutputError where the features of an item depend on the items beside it, or on chance.

    Args:
        images: all items, as `embed` had them. features: what it made of them.
    """
    order = _embedding_order(len(images))
    last = len(images) - 1
    rows = order[torch.linspace(min(1, last), max(0, last - 1), min(_PROBED, last + 1)).long()]  # first to last batch
    again = embed(backbone, images[rows.to(images.device)].to(features.device), precision, owner=owner)
    before = features[rows.to(features.device)]
    spread = float((before.amax(0) - before.amin(0)).amax())
    apart = float((again - before).abs().amax())
    if apart > _INDEPENDENT[precision] * spread + _ROUNDING * float(before.abs().amax()):
        raise OutputError(
            f"{owner} gives an item other features beside other items (they differ by {apart:.2g}, and features of "
            f"different items by {spread:.2g}). In evaluation it must use no statistics of the batch and no random "
            "numbers; 'metabench check' tells more"
        )
