"""Checks of the episodes that a protocol draws: NumPy and PyTorch would broadcast what does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metabench.errors import MetabenchError

if TYPE_CHECKING:
    from metabench.episodes import EpisodeBatch

_EVERY = 8
"""Images are compared in one episode of so many: a fault shows in a few hundred, and sorting costs 1 % of scoring."""


def require_episodes(batch: EpisodeBatch, wanted: int, owner: str) -> None:
    """Raise MetabenchError where drawn episodes are not what `EpisodeBatch` promises.

    Args:
        wanted: random words that episodes were asked for, each for one episode at most.
        owner: the method that drew them, for the message.
    """
    if not 0 < len(batch) <= wanted:
        raise MetabenchError(f"{owner} made {len(batch)} episodes of {wanted} rows of words")
    for name in ("support", "query"):
        rows, labels = getattr(batch, name), getattr(batch, f"{name}_labels")
        for part, value in ((name, rows), (f"{name}_labels", labels)):
            if not isinstance(value, np.ndarray) or value.dtype != np.int64 or value.ndim != 2:
                kind = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
                raise MetabenchError(f"{owner} returned {part} as {kind}, expected an int64 array (episodes, items)")
        if rows.shape != labels.shape or len(rows) != len(batch) or not rows.shape[1]:
            raise MetabenchError(f"{owner} returned {name} {rows.shape} with labels {labels.shape}")
        least = 0 if name == "support" else -1  # a query of a class that is not in the support set
        if labels.min() < least or labels.max() >= batch.way:
            raise MetabenchError(
                f"{owner} returned {name} labels from {labels.min()} to {labels.max()} for {batch.way} classes"
            )
    rows = np.sort(np.concatenate([batch.support[::_EVERY], batch.query[::_EVERY]], axis=1), axis=1)
    if bool((rows[:, 1:] == rows[:, :-1]).any()):
        raise MetabenchError(f"{owner} returned an episode that has an image twice, in support or query or both")
