"""A run under way, and the tensors that it is trained and scored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metabench.data.joint_split import base_rows
from metabench.execution.feature_cache import FeatureCache, SplitImages
from metabench.execution.run_data import reserved_images
from metabench.execution.session import Session
from metabench.learners.base import Learner
from metabench.learners.views import with_views
from metabench.models.embedding import to_device
from metabench.planning.data_digests import DataDigests
from metabench.planning.run_spec import RunSpec


@dataclass(frozen=True)
class ActiveRun:
    """A run that is being measured.

    Attributes:
        run: what is measured.
        digests: of its data.
        learner: trained or loaded in place.
        session: shared with other runs.
        features: shared with other runs.
    """

    run: RunSpec
    digests: DataDigests
    learner: Learner
    session: Session
    features: FeatureCache

    def items(self, split: SplitImages) -> Tensor:
        """Return what the learner is trained on: the images of a split, or their features by its frozen backbone."""
        if self.learner.frozen is not None:
            return self.features.embedded(self.run, self.learner.frozen, split)
        return to_device(split.images, self.features.device)

    def embedded(self, split: SplitImages) -> Tensor:
        """Return the features (N, D) of a split, of an algorithm on features."""
        backbone = self.learner.frozen or self.learner.embedder
        assert backbone is not None
        return self.features.embedded(self.run, backbone, split)

    def scorable(self) -> Tensor:
        """Return what the learner scores: the images of the measured split, or their features.

        Those of support or of base classes follow, where the protocol has them.
        """
        run = self.run
        measured = self._scorable_split(run.split)
        if run.support:
            support = self._scorable_split(run.support)
            return self.features.concatenated(measured, support, np.arange(len(support)))
        if not run.beside:
            return measured
        base = self._scorable_split(run.beside)
        return self.features.concatenated(measured, base, base_rows(reserved_images(run, self.session.loader)))

    def _scorable_split(self, name: str) -> Tensor:
        images = self.session.loader.split(self.run.dataset, name).images
        digest = self.digests.measured[name]
        if self.learner.frozen is None and self.learner.embedder is None:
            return self.items(SplitImages(images, digest))
        if not self.learner.views:
            return self.embedded(SplitImages(images, digest))

        def embed(images: NDArray[np.uint8], view: str) -> Tensor:
            return self.embedded(SplitImages(images, f"{digest} {view}".rstrip()))

        return with_views(images, digest, self.learner.views, embed)
