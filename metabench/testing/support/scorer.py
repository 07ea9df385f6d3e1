"""Adapter of a built algorithm for the checks: episodes in, scores out. Each kind of algorithm has its scorer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from metabench.models.head_scores import head_scores
from metabench.models.interfaces import FeatureHead
from metabench.models.output_checks import OutputError, require_finite, require_tensor, score_gap
from metabench.registry.specs import AlgorithmSpec
from metabench.testing.conformance import Violation, describe_raised
from metabench.testing.support.synthetic_episodes import BaseClasses, Episodes, gaussians

WAYS = (2, 4, 5, 20)
"""Those of the checks, for an algorithm that is built for one way."""
VECTOR, MAP = (32,), (8, 5, 5)
"""Shapes of the items that heads are checked on."""
TOLERANCE = 1e-4
"""Of the spread of an episode's scores: far above what float32 loses, far below what a query can gain."""


class Scorer(ABC):
    """An instance of the algorithm under test, built as the harness builds it.

    Attributes:
        given: leading arguments of its constructor that come from the harness and are no parameters.
        module: its weights and buffers.
        item_shape: what one support item or query is for it.
        trials: independent episodes in a statistical check.
    """

    given: ClassVar[int]
    trials: ClassVar[int] = 1000
    module: nn.Module
    item_shape: tuple[int, ...]

    def episodes(self, **options: Any) -> Episodes:
        """Make up episodes for it; the options are those of `tasks.gaussians`."""
        return gaussians(self.item_shape, **options)

    @abstractmethod
    def logits(self, episodes: Episodes) -> Tensor:
        """Return the algorithm's answer for a batch of episodes, unchecked."""

    @abstractmethod
    def learn(self, episodes: Episodes) -> Tensor:
        """Leave the gradient of the training loss in ``.grad`` of the weights, as the harness does; return the loss."""

    def study(self, base: BaseClasses) -> None:
        """Let the heads, if it has any, study base classes as the harness does after training.

        Raises:
            Violation: a head raised.
        """
        self.module.eval()
        heads = [part for part in self.module.modules() if isinstance(part, FeatureHead)]
        with torch.no_grad():
            try:
                for head in heads:
                    head.study(base.features, base.classes)
            except Exception as error:  # the plugin's own code may fail in any way
                raise Violation(describe_raised(f"studying {len(base.classes)} items", error)) from error

    def scores(self, episodes: Episodes) -> Tensor:
        """Score as the harness does when it evaluates; finite scores (B, Q, way).

        Raises:
            Violation: the algorithm raised, or answered with something else.
        """
        self.module.eval()
        with torch.inference_mode():
            try:
                scores = self.logits(episodes)
            except Exception as error:  # the plugin's own code may fail in any way
                raise Violation(describe_raised(f"scoring {episodes}", error)) from error
        try:
            expected = (*episodes.query.shape[:2], episodes.way)
            scores = require_tensor(scores, expected, f"scoring {episodes}", episodes.query.device)
            require_finite(scores, f"scoring {episodes}", unit="episode")
        except OutputError as error:
            raise Violation(str(error)) from error
        return scores.clone()


class FeatureScorer(Scorer):
    """A feature head alone, on made-up feature vectors or maps."""

    given = 1

    def __init__(
        self, spec: AlgorithmSpec, target: Callable[..., FeatureHead], params: Mapping[str, Any], device: torch.device
    ) -> None:
        self.item_shape = MAP if spec.reads == "maps" else VECTOR
        given: Any = self.item_shape if spec.reads == "maps" else self.item_shape[0]
        self._heads: dict[int, FeatureHead] = {}
        if spec.ways == "one":
            self._heads = {way: target(given, way=way, **params).to(device) for way in WAYS}
            self.module = nn.ModuleDict({str(way): head for way, head in self._heads.items()})
        else:
            self.module = target(given, **params).to(device)

    def logits(self, episodes: Episodes) -> Tensor:
        """Call the head."""
        return head_scores(self._head(episodes.way), episodes.seen)

    def _head(self, way: int) -> FeatureHead:
        """Return the head for episodes of `way` classes."""
        if self._heads:
            return self._heads[way]
        assert isinstance(self.module, FeatureHead)
        return self.module

    def learn(self, episodes: Episodes) -> Tensor:
        """Call the head's loss, which may have no weight of its own to give a gradient to."""
        self.module.train()
        loss = self._head(episodes.way).loss(episodes.seen, episodes.truth)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def expect_same(a: Tensor, b: Tensor, where: str) -> None:
    """Raise Violation, saying where, if two scores of the same queries differ."""
    if (apart := score_gap(a, b)) > TOLERANCE:
        if a.shape[-1] == 1:
            raise Violation(f"{where}: the predictions differ by {apart:.1%} of the largest")
        changed = int((a.argmax(-1) != b.argmax(-1)).sum())
        predictions = a.shape[0] * a.shape[1]
        raise Violation(
            f"{where}: the scores differ by {apart:.1%} of their spread "
            f"and {changed} of {predictions} predictions with them"
        )


def trained(scorer: Scorer, batches: Sequence[Episodes], lr: float = 1e-2) -> None:
    """Train the algorithm's own weights on made-up episodes, one step of Adam for each batch."""
    weights = [weight for weight in scorer.module.parameters() if weight.requires_grad]
    if not weights:
        return
    optimizer = torch.optim.Adam(weights, lr=lr)
    for batch in batches:
        optimizer.zero_grad()
        scorer.learn(batch)
        optimizer.step()
