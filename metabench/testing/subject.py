"""What the groups of algorithm checks share: the algorithm, built, and episodes for it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from metabench.environment import choose_device
from metabench.plugins import Kind
from metabench.specs import AlgorithmSpec
from metabench.testing.conformance import Conformance
from metabench.testing.scorer import Scorer, build_scorer
from metabench.testing.tasks import Episodes, gaussians


class AlgorithmChecks(Conformance):
    """Base of the groups of checks that `AlgorithmConformance` is made of."""

    kind: ClassVar[Kind] = "algorithm"
    algorithm: ClassVar[str] = ""

    @property
    def spec(self) -> AlgorithmSpec:
        """The spec of the algorithm."""
        spec = self.subject.spec
        assert isinstance(spec, AlgorithmSpec)
        return spec

    @property
    def setting(self) -> str:
        """What the algorithm is declared to be, with its present parameters: inductive or transductive."""
        return self.spec.setting

    @property
    def torch_device(self) -> torch.device:
        """Where the checks run."""
        device: torch.device = choose_device(self.device)
        return device

    def scorer(self, seed: int = 0, device: torch.device | None = None) -> Scorer:
        """Build the algorithm anew."""
        return build_scorer(self.subject, self.values, device or self.torch_device, seed)

    def episodes(self, scorer: Scorer, **options: Any) -> Episodes:
        """Make up episodes for it, see `tasks.gaussians`."""
        return gaussians(scorer.item_shape, **options).to(self.torch_device)

    def exempt(self, check: str) -> str:
        """Return why the algorithm, with its present parameters, is exempt from a check; '' if it is not."""
        values = self.values
        for exempt in self.spec.exempt:
            if exempt.check == check and all(values.get(name) == value for name, value in exempt.when.items()):
                return exempt.reason
        return ""
