"""A batch of episodes: rows of a split, labels, and which episodes they are."""

from __future__ import annotations

from dataclasses import dataclass

from metabench.data.split import RowIndices


@dataclass(frozen=True)
class EpisodeBatch:
    """B episodes as row numbers into a split's image array.

    Attributes:
        support, query: int64 (B, S) and (B, Q) image rows.
        support_labels, query_labels: int64 (B, S) and (B, Q), in ``[0, way)``.
        way: number of classes in each episode.
    """

    support: RowIndices
    support_labels: RowIndices
    query: RowIndices
    query_labels: RowIndices
    way: int

    def __len__(self) -> int:
        return len(self.support)

    def __getitem__(self, which: slice) -> EpisodeBatch:
        support, query = (
            (self.support[which], self.support_labels[which]),
            (self.query[which], self.query_labels[which]),
        )
        return EpisodeBatch(*support, *query, self.way)
