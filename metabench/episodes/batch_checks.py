"""Checks of the episodes that a protocol draws: NumPy and PyTorch would broadcast what does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.errors import MetabenchError

if TYPE_CHECKING:
    from metabench.episodes.batch import EpisodeBatch

_EVERY = 32
"""Values are looked at in one episode of so many, chosen by its images: a fault shows, and it costs 1 % of scoring."""


def require_episodes(
    batch: EpisodeBatch, wanted: int, owner: str, starts: NDArray[np.int64], values: bool = True
) -> None:
    """Raise MetabenchError where drawn episodes are not what `EpisodeBatch` promises.

    Args:
        wanted: random words that episodes were asked for, each for one episode at most.
        owner: the method that drew them, for the message.
        starts: int64 (C + 1,) class boundaries of the split; rows beyond the last are of other splits beside it.
        values: look at rows and labels too, not only at types and shapes.
    """
    if not isinstance(getattr(batch, "support", None), np.ndarray):
        raise MetabenchError(f"{owner} returned a {type(batch).__name__}, expected an EpisodeBatch")
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
    if values:
        _require_values(batch, owner, starts)


def _require_values(batch: EpisodeBatch, owner: str, starts: NDArray[np.int64]) -> None:
    """Raise MetabenchError where rows or labels of some of the episodes are wrong."""
    some = slice(int(batch.query[0, 0]) % min(_EVERY, len(batch)), None, _EVERY)
    for name, least in (("support", 0), ("query", -1)):  # -1: a query of a class that is not in the support set
        labels = getattr(batch, f"{name}_labels")[some]
        if labels.min() < least or labels.max() >= batch.way:
            raise MetabenchError(
                f"{owner} returned {name} labels from {labels.min()} to {labels.max()} for {batch.way} classes"
            )
    rows = np.concatenate([batch.support[some], batch.query[some]], axis=1)
    ordered = np.sort(rows, axis=1)
    if bool((ordered[:, 1:] == ordered[:, :-1]).any()):
        raise MetabenchError(f"{owner} returned an episode that has an image twice, in support or query or both")
    if bool((rows < 0).any()):
        raise MetabenchError(f"{owner} returned an image row below 0")
    given = np.concatenate([batch.support_labels[some], batch.query_labels[some]], axis=1)
    classes = np.searchsorted(starts, rows, side="right") - 1
    place = np.argsort(classes, axis=1, kind="stable")
    classes, given = np.take_along_axis(classes, place, 1), np.take_along_axis(given, place, 1)
    same = (classes[:, 1:] == classes[:, :-1]) & (classes[:, 1:] < len(starts) - 1)
    if bool((same & (given[:, 1:] != given[:, :-1])).any()):
        raise MetabenchError(f"{owner} returned an episode in which a class has two labels")
