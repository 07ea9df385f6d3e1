"""Two splits of the same classes: one for the support sets, and the measured one for all queries."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit
from metabench.errors import UsageError


@dataclass(frozen=True)
class PairedSplit(ClassSplit):
    """Measured classes with further images of the same classes for support alone.

    Everything that a `ClassSplit` has is of the measured images. The rows of episodes go on after them: those of
    support, class by class.

    Attributes:
        support_starts: int64 (C + 1,); class c has the rows ``support_starts[c] .. support_starts[c+1]`` for support.
    """

    support_starts: NDArray[np.int64] = dataclasses.field(kw_only=True)

    def class_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the class of each row, of whichever part it is."""
        asked, given = (np.searchsorted(s, rows, side="right") - 1 for s in (self.starts, self.support_starts))
        return np.where(rows < self.starts[-1], asked, given)


def pair_splits(measured: ClassSplit, support: ClassSplit) -> PairedSplit:
    """Return the measured split with the images of another split of the same classes for support.

    Raises:
        UsageError: the classes are not the same, in the same order.
    """
    if measured.names != support.names:
        raise UsageError(
            f"support is to be of the classes that are measured, and {len(support.names)} and {len(measured.names)} "
            "classes differ; give both splits the same classes"
        )
    return PairedSplit(
        measured.images,
        measured.starts,
        measured.names,
        measured.groups,
        support_starts=measured.starts[-1] + support.starts,
    )
