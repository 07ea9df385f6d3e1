"""The tensors that a learner is trained and scored on, embedded once for all runs that share weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.execution.feature_files import load_features, room_for_features, save_features
from metabench.execution.session import Session
from metabench.models.embedding import embed, embedded_width, require_item_independence, to_device
from metabench.models.fingerprints import weights_digest
from metabench.models.interfaces import Backbone
from metabench.planning.run_spec import RunSpec
from metabench.utils.hashing import content_key

CPU = torch.device("cpu")
_SPLITS_KEPT = 3
"""Splits whose features stay in memory for the next run."""


@dataclass(frozen=True)
class SplitImages:
    """The images (N, H, W, C) of a split, and its digest."""

    images: NDArray[np.uint8]
    digest: str


class FeatureCache:
    """Features of splits in memory and on disk.

    Args:
        session: holds the folder of features, the memory budget and the console.
        device: that features are moved to.
    """

    def __init__(self, session: Session, device: torch.device) -> None:
        self.device = device
        self._session = session
        self._kept: dict[str, Tensor] = {}

    def embedded(self, run: RunSpec, backbone: Backbone, split: SplitImages) -> Tensor:
        """Return the features (N, D) of a split, from memory, disk or the backbone."""
        key = self._key(run, backbone, split.digest)
        if key not in self._kept:
            features = self._computed(run, backbone, split.images, key)
            if len(self._kept) == _SPLITS_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = features.to(self.device)
        return self._kept[key]

    def concatenated(self, first: Tensor, second: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Return the features of a split, followed by `rows` of the features of another."""
        shape = (len(first) + len(rows), first.shape[1])
        both = room_for_features(shape, self.device, self._session.home.features, self._session.memory)
        both[: len(first)] = first
        torch.index_select(second, 0, torch.from_numpy(rows).to(second.device), out=both[len(first) :])
        return both

    def _key(self, run: RunSpec, backbone: Backbone, digest: str) -> str:
        return content_key(
            {
                "backbone": run.backbone.inputs(),
                "weights": weights_digest(backbone),
                "images": digest,
                "precision": run.precision,
                "device": self.device.type,
                "torch": torch.__version__,
            }
        )

    def _computed(self, run: RunSpec, backbone: Backbone, images: NDArray[np.uint8], key: str) -> Tensor:
        """Return features from disk, or from the backbone; without weights embedding is cheaper than reading."""
        has_weights = any(True for _ in backbone.parameters())
        path = self._session.home.features / f"{key}.npy"
        shape = (len(images), embedded_width(backbone))
        features = load_features(path, shape) if has_weights else None
        if features is not None:
            return features
        features = room_for_features(shape, self.device, path.parent, self._session.memory)
        items, owner = to_device(images, CPU), f"backbone '{run.backbone.name}'"
        with self._session.console.progress(f"embedding {run.dataset.name}", len(images)) as bar:
            embed(backbone, items, run.precision, bar.update, features, owner)
        require_item_independence(backbone, items, features, run.precision, owner)
        if has_weights:
            save_features(path, features)
        return features
