"""MAML's own test: as many queries of each class as shots."""

from __future__ import annotations

import numpy as np

from metabench.api import ClassSplit, ProtocolSpec, UsageError
from metabench_protocols._draw import SHOT, WAY, fewer_shots, need_classes
from metabench_protocols.fixed_way import FixedWay

SPEC = ProtocolSpec(
    name="k-query",
    version=1,
    target="metabench_protocols.k_query:KQuery",
    summary="N-way K-shot episodes with K queries of each class, as MAML's authors test",
    reference="Finn et al. 2017, Model-Agnostic Meta-Learning; main.py of the authors' code (2 K images a class)",
    licence="MIT",
    params=(WAY, SHOT),
    training="fixed-way",
)


class KQuery(FixedWay):
    """`fixed-way` with `query` equal to `shot`.

    So few queries make wide intervals: MAML's 5-way 1-shot task has five, and its printed ± is twice that of others
    for the same number of tasks.
    """

    def __init__(self, way: int, shot: int) -> None:
        super().__init__(way, shot, shot)

    def check(self, split: ClassSplit) -> None:
        """Raise UsageError if there are too few classes, or too few images in one of them."""
        need_classes(split, self.way)
        smallest = int(np.argmin(split.counts))
        images = int(split.counts[smallest])
        if self.per_class > images:
            raise UsageError(
                f"{self.shot} shot and as many query images are more than the {images} of class "
                f"'{split.names[smallest]}'; {fewer_shots(images // 2)}"
            )
