"""Base of the algorithm checks: the algorithm, built, and episodes for it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch

from metabench.planning.selection import Selection
from metabench.registry.params import Value
from metabench.registry.registry import load_registry
from metabench.registry.resolved import resolve_params
from metabench.registry.specs import AlgorithmSpec, Kind
from metabench.registry.stage import chain_params
from metabench.runtime.devices import choose_device
from metabench.testing.conformance import Conformance, NotApplicable, Subject, construct, make_subject
from metabench.testing.support.adaptive_scorer import AdaptingScorer, NumbersScorer
from metabench.testing.support.scorer import MAP, VECTOR, FeatureScorer, Scorer
from metabench.testing.support.synthetic_episodes import BaseClasses, Episodes, gaussians

SCORERS: Mapping[str, type[Scorer]] = {"features": FeatureScorer, "images": AdaptingScorer}
"""By what the algorithm takes."""
NO_PARAMS: Mapping[str, Value] = MappingProxyType({})
DATA = Selection.datasets[0]
"""Training dataset: the one that a run has by default, which needs no download."""


class AlgorithmChecks(Conformance[AlgorithmSpec]):
    """Base of the groups of checks that `AlgorithmConformance` is made of.

    Attributes:
        network: parameters of its default backbone where training is checked; a smaller one learns sooner.
    """

    kind: ClassVar[Kind] = "algorithm"
    algorithm: ClassVar[str] = ""
    network: ClassVar[Mapping[str, Value]] = {}

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def load_subject(name: str, files: tuple[Path, ...]) -> Subject[AlgorithmSpec]:
        """Return the algorithm of that name."""
        registry = load_registry(files)
        return make_subject(registry, registry.find("algorithm", name))

    @property
    def setting(self) -> str:
        """Declared setting with the present parameters: inductive or transductive."""
        return self.spec.setting_with(self.values)

    @property
    def torch_device(self) -> torch.device:
        """Device that the checks run on."""
        device: torch.device = choose_device(self.device)
        return device

    def scorer(
        self,
        seed: int = 0,
        device: torch.device | None = None,
        studied: bool = True,
        params: Mapping[str, Value] = NO_PARAMS,
    ) -> Scorer:
        """Build the algorithm anew, with weights that depend on `seed` alone.

        Args:
            seed: of torch's random numbers.
            device: holds the weights; None takes that of the checks.
            studied: it has studied made-up base classes, if it studies any.
            params: other values than the present ones.

        Raises:
            ConstructorError: its constructor raised. Violation: its study did.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            scorer = construct(lambda: self.build(device, params))
        if studied and self.studies:
            scorer.study(self.base_classes().to(device or self.torch_device))
        return scorer

    @property
    def studies(self) -> bool:
        """True if the algorithm, with its present parameters, studies the classes that it was trained on."""
        return "base" in self.spec.uses_with(self.values)

    def base_classes(self, count: int = 12, seed: int = 41) -> BaseClasses:
        """Make up base classes, ten items each, in the order of the classes as datasets have them."""
        shape = MAP if self.spec.reads == "maps" else VECTOR
        drawn = gaussians(shape, way=count, shots=10, queries=count, seed=seed, in_order=True)
        return BaseClasses(1 + drawn.support[0], drawn.labels[0]).to(self.torch_device)

    def build(self, device: torch.device | None = None, params: Mapping[str, Value] = NO_PARAMS) -> Scorer:
        """Build the algorithm with torch's random numbers as they are."""
        scorer: type[Any] = SCORERS[self.spec.takes] if self.labels else NumbersScorer
        built: Scorer = scorer(self.spec, self.subject.target, {**self.values, **params}, device or self.torch_device)
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
