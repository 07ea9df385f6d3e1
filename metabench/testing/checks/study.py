"""Checks of heads that study the base classes once, after training."""

from __future__ import annotations

import torch

from metabench.models.output_checks import score_gap
from metabench.testing.checks.state import frozen, moved
from metabench.testing.conformance import NotApplicable, Violation, conformance_check
from metabench.testing.support.algorithm_case import AlgorithmChecks
from metabench.testing.support.randomness import watch
from metabench.testing.support.scorer import TOLERANCE, Scorer, expect_same
from metabench.testing.support.synthetic_episodes import BaseClasses, permutation


class StudyChecks(AlgorithmChecks):
    """Checks of what `FeatureHead.study` learns, keeps and moves."""

    @conformance_check(
        "what it studied is a function of the base classes alone, and a copy of its own",
        means="Scores depend on how often or in what order it studied, or change with memory that is not its own.",
        fix="Compute buffers anew from all features, register copies (clone() what is kept as it is), and change "
        "neither weights nor what it is given.",
    )
    def test_study(self) -> None:
        """Study twice, rows in another order, and then overwrite what was studied."""
        self._need_base()
        scorer, base = self.scorer(), self.base_classes()
        episodes = self.episodes(scorer, batch=3)
        first, weights = scorer.scores(episodes), _weights(scorer)
        scorer.study(base)
        expect_same(scorer.scores(episodes), first, "the base classes studied twice")
        order = permutation(len(base.classes), seed=6)
        scorer.study(BaseClasses(base.features[order], base.classes[order]))
        expect_same(scorer.scores(episodes), first, "the base classes studied in another order")
        watch("study", lambda: scorer.study(base))
        if any(not torch.equal(value, weights[name]) for name, value in _weights(scorer).items()):
            raise Violation("study changes a weight")
        same = self.base_classes()
        if not (torch.equal(base.features, same.features) and torch.equal(base.classes, same.classes)):
            raise Violation("study changes what it is given in place")
        scorer.study(base)
        first, before = scorer.scores(episodes), frozen(scorer.module)
        base.features.fill_(7.0)
        base.classes.zero_()
        if name := moved(before, scorer.module):
            raise Violation(f"'{name}' is the memory of the features that it studied, and changes with it")
        expect_same(scorer.scores(episodes), first, "the features overwritten after they were studied")

    @conformance_check(
        "an algorithm that studies the base classes uses them",
        means="Its rows say that it had more to learn from than it took, and its weights are kept once more for it.",
        fix="Leave uses out, limit it by uses_when, or find out why study has no effect.",
    )
    def test_base_use(self) -> None:
        """Study two sets of classes of different numbers; require that some score differs."""
        self._need_base()
        scorer = self.scorer()
        episodes = [self.episodes(scorer, shots=shots, batch=3) for shots in (1, 5)]
        before = [scorer.scores(part) for part in episodes]
        scorer.study(self.base_classes(count=7, seed=42))
        if all(
            score_gap(scorer.scores(part), first) <= TOLERANCE for part, first in zip(episodes, before, strict=True)
        ):
            raise Violation("other base classes change no score")

    def _need_base(self) -> None:
        if not self.studies:
            raise NotApplicable("it studies no base classes")


def _weights(scorer: Scorer) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in scorer.module.named_parameters()}
