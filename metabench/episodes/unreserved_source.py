"""Episodes of generalised few-shot that leave reserved images out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from metabench.data import ClassSplit
from metabench.data.joint_split import Mask, starts_of
from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.protocols import EpisodeProtocol
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError


class UnreservedSource(EpisodeSource):
    """Episodes of the images of a split that are not reserved, as rows of the whole split.

    Args:
        mask: (N,) the images that no episode may have.

    Attributes:
        split: the whole, of which the episodes are rows.
    """

    def __init__(self, protocol: EpisodeProtocol, split: ClassSplit, name: Any, mask: Mask) -> None:
        self._open = np.flatnonzero(~mask)
        narrow = dataclasses.replace(split, starts=starts_of(split, ~mask))  # its rows number the images left
        try:
            super().__init__(protocol, narrow, ["unreserved", name])
        except UsageError as error:
            raise UsageError(f"{error} (of its images {mask.mean():.0%} are reserved and not trained on)") from error
        self.split, self._narrow = split, narrow

    def runs(self, start: int, stop: int) -> Iterator[EpisodeBatch]:
        """Yield episodes ``start <= i < stop`` in batches of the same shape."""
        for batch in self._drawn(start, stop, self._narrow):
            yield dataclasses.replace(batch, support=self._open[batch.support], query=self._open[batch.query])
