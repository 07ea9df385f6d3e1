"""Base of the algorithm checks: the algorithm, built, and episodes for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from metabench.planning.selection import Selection
from metabench.registry.params import Value
from metabench.registry.resolved import resolve_params
from metabench.registry.specs import AlgorithmSpec, Kind
from metabench.registry.stage import chain_params
from metabench.runtime.devices import choose_device
from metabench.testing.conformance import Conformance, NotApplicable, Violation, describe_raised
from metabench.testing.support.adaptive_scorer import AdaptingScorer, NumbersScorer
from metabench.testing.support.scorer import FeatureScorer, Scorer
from metabench.testing.support.synthetic_episodes import Episodes

SCORERS = {"features": FeatureScorer, "images": AdaptingScorer}
"""By what the algorithm takes."""
DATA = Selection.datasets[0]
"""Training dataset: the one that a run has by default, which needs no download."""


class AlgorithmChecks(Conformance):
    """Base of the groups of checks that `AlgorithmConformance` is made of.

    Attributes:
        network: parameters of its default backbone where training is checked; a smaller one learns sooner.
    """

    kind: ClassVar[Kind] = "algorithm"
    algorithm: ClassVar[str] = ""
    network: ClassVar[Mapping[str, Value]] = {}

    @property
    def spec(self) -> AlgorithmSpec:
        """The spec of the algorithm."""
        spec = self.subject.spec
        assert isinstance(spec, AlgorithmSpec)
        return spec

    @property
    def setting(self) -> str:
        """Declared setting with the present parameters: inductive or transductive."""
        return self.spec.setting_with(self.values)

    @property
    def torch_device(self) -> torch.device:
        """Device that the checks run on."""
        device: torch.device = choose_device(self.device)
        return device

    def scorer(self, seed: int = 0, device: torch.device | None = None) -> Scorer:
        """Build the algorithm anew, with weights that depend on `seed` alone.

        Raises:
            Violation: its constructor raised.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                return self.build(device)
            except Exception as error:  # the plugin's own code may fail in any way
                raise Violation(describe_raised("its constructor", error)) from error

    def build(self, device: torch.device | None = None) -> Scorer:
        """Build the algorithm with torch's random numbers as they are."""
        scorer: type[Any] = SCORERS[self.spec.takes] if self.labels else NumbersScorer
        built: Scorer = scorer(self.subject.target, self.values, device or self.torch_device)
        return built

    @property
    def labels(self) -> bool:
        """True if the algorithm is checked on classes, as all that can predict them are; else on numbers."""
        return "labels" in self.spec.answers

    def need_labels(self) -> None:
        """Raise NotApplicable where there are no classes."""
        if not self.labels:
            raise NotApplicable("it predicts numbers, and what is checked are labels")

    @property
    def data(self) -> str:
        """The dataset that it is trained on."""
        if self.labels:
            return DATA
        functions = (name for name, spec in self.subject.registry.datasets.items() if spec.kind == "functions")
        return next((name for name in functions if not self.subject.registry.datasets[name].download), "")

    @property
    def values(self) -> dict[str, Value]:
        """Every parameter with its value: as given, as in the recipe for the data that checks train on, or default."""
        return resolve_params(self.spec, {**chain_params(self.spec.recipe(self.data, 5, 1)), **self.params})

    def episodes(self, scorer: Scorer, **options: Any) -> Episodes:
        """Make up episodes for it, see `tasks.gaussians`."""
        return scorer.episodes(**options).to(self.torch_device)

    def exempt(self, check: str) -> str:
        """Return why the algorithm, with its present parameters, is exempt from a check; '' if it is not."""
        values = self.values
        for exempt in self.spec.exempt:
            if exempt.check == check and all(values.get(name) == value for name, value in exempt.when.items()):
                return exempt.reason
        return ""
