"""Checks of predictions: right on easy tasks, chance on unknowable ones, fair on ties."""

from __future__ import annotations

from dataclasses import replace

import torch
from scipy.stats import binomtest
from torch import Tensor

from metabench.evaluation.scoring import winning_classes
from metabench.testing.conformance import RARE, NotApplicable, Violation, conformance_check
from metabench.testing.support.algorithm_case import AlgorithmChecks
from metabench.testing.support.scorer import Scorer, trained
from metabench.testing.support.synthetic_episodes import Episodes, generator
from metabench.utils.random_streams import Stream

_NOISE = 0.15
"""Within-class deviation of classes that anything separates, where class means have deviation 1."""
_LEAST = 0.95
_MOST = 0.5
"""Of the variance of functions that differ in little but their level: what learns nothing errs by all of it."""
_COURSES, _STEPS = 24, 25
"""Steps on 8 episodes each, for algorithms whose own weights must learn before they can tell anything.

Looking after each course lets an algorithm pass at a peak (MAML++ moves between 35 and 95 % at 5-way), but none that is
blind to its support: with shuffled labels three algorithms stay at 18 to 25 % through twelve looks.
"""


class OutcomeChecks(AlgorithmChecks):
    """Checks of predictions made as the harness makes them."""

    @conformance_check(
        "shuffled support labels give chance",
        means="It knows the answers from somewhere other than the support labels: a leak.",
        fix="Look for what else tells the class: the order of queries or support, the names of labels, stored state.",
    )
    def test_shuffled_labels(self) -> None:
        """Score well separated classes in the protocol's order, with support labels shuffled.

        Queries of one episode depend on each other, so each episode gives one query to a binomial test. The loss
        comes first, where there is one: it is given query labels, and may have kept them.
        """
        self.need_labels()
        scorer = self.scorer()
        for way, shots in ((2, 5), (5, 1), (5, 5)):
            episodes = self._easy(scorer, way, shots, queries=way, batch=scorer.trials, in_order=True)
            if self.spec.trains:
                scorer.learn(episodes[:4])
            order = torch.rand(episodes.labels.shape, generator=generator(21)).argsort(1).to(self.torch_device)
            episodes = replace(episodes, labels=episodes.labels.gather(1, order))
            right = self._winners(scorer, episodes) == episodes.truth
            column = torch.randint(way, (scorer.trials,), generator=generator(22)).to(self.torch_device)
            hits = int(right[torch.arange(scorer.trials, device=self.torch_device), column].sum())
            if binomtest(hits, scorer.trials, 1 / way).pvalue < RARE:
                raise Violation(
                    f"{hits / scorer.trials:.1%} of queries are right at {way}-way {shots}-shot though the support "
                    f"labels are shuffled; chance is {1 / way:.0%}"
                )

    @conformance_check(
        "well separated classes are told apart",
        means="It does not learn from the support set, so that its rows mean nothing.",
        fix="Check how support items and labels are paired; if it guesses by design, declare "
        "exempt=(Exempt('separable-classes', 'why'),).",
    )
    def test_separable_classes(self) -> None:
        """Require at least 95 %, if need be after a short training of its own weights; if exempt, less somewhere.

        How far a short training brings an algorithm that adapts a network of its own to each task is a matter of its
        meta-learning: halfway from chance to perfect is asked of it, and not at 20-way.
        """
        self.need_labels()
        reason, adapts = self.exempt("separable-classes"), self.spec.takes == "images"
        lacking, scorer = False, self.scorer()
        for way, shots in ((2, 1), (5, 1), (5, 5)) if adapts else ((2, 1), (5, 1), (5, 5), (20, 1)):
            least = (1 + 1 / way) / 2 if adapts else _LEAST
            share = self._share(scorer, way, shots)
            for course in range(_COURSES if self.spec.trains and not reason else 0):
                if share >= least:
                    break
                self._train(scorer, way, shots, 2 * way, course)
                share = self._share(scorer, way, shots)
            lacking |= share < least
            if not reason and share < least:
                raise Violation(f"{share:.1%} of queries are right at {way}-way {shots}-shot, less than {least:.0%}")
        if reason and not lacking:
            raise Violation(f"it is declared exempt ({reason}), yet tells them apart everywhere; remove the exemption")
        if reason:
            raise NotApplicable(f"exempt, and lacking as declared: {reason}")

    @conformance_check(
        "functions of different levels are told apart",
        means="It does not learn from the numbers in the support set, so that its rows mean nothing.",
        fix="Check how support items and their numbers are paired, and that the scale of what is predicted is theirs.",
    )
    def test_levels(self) -> None:
        """Require an error of at most half the variance of nearly constant functions, if need be after training."""
        if self.labels:
            raise NotApplicable("it predicts labels, and what is checked are numbers")
        scorer = self.scorer()
        for points in (5, 20):
            share = self._unexplained(scorer, points)
            for course in range(_COURSES if self.spec.trains else 0):
                if share <= _MOST:
                    break
                self._train(scorer, 1, points, 10, course)
                share = self._unexplained(scorer, points)
            if share > _MOST:
                raise Violation(
                    f"from {points} points the squared error is {share:.0%} of the variance of the functions, more "
                    f"than {_MOST:.0%}"
                )

    @conformance_check(
        "classes that cannot be told apart win equally often",
        means="Ties go to some label more often. Labels follow the order of classes, so accuracy is not what it seems.",
        fix="Return scores, equal where classes are equal, and no decision: the harness breaks ties at random.",
    )
    def test_fair_ties(self) -> None:
        """Score two classes with the same support: which of them wins must be a fair coin's choice."""
        self.need_labels()
        if reason := self.exempt("support-order") or self.exempt("label-permutation"):
            raise NotApplicable(f"no two classes are the same to it: {reason}")
        scorer, way = self.scorer(), 5
        for shots in (1, 3):
            episodes = self._easy(scorer, way, shots, queries=1, batch=scorer.trials, in_order=True)
            support, pairs = episodes.support.clone(), torch.randint(way - 1, (scorer.trials,), generator=generator(31))
            twins = torch.stack([pairs, pairs + 1], 1).to(self.torch_device)
            trials = torch.arange(scorer.trials, device=self.torch_device)
            for offset in range(shots):  # they are in order: class k owns rows k * shots and on
                rows = twins * shots + offset
                support[trials, rows[:, 1]] = support[trials, rows[:, 0]]
            query = support[trials, twins[:, 0] * shots][:, None]
            winners = self._winners(scorer, replace(episodes, support=support, query=query))[:, 0]
            low, high = (int((winners == twins[:, side]).sum()) for side in (0, 1))
            if low + high < scorer.trials / 5:
                raise Violation(f"of two equal classes nearest to the query, neither wins in {scorer.trials} episodes")
            if binomtest(low, low + high, 0.5).pvalue < RARE:
                raise Violation(f"of two equal classes the one with the lower label wins {low} of {low + high} times")

    def _easy(
        self, scorer: Scorer, way: int, shots: int, queries: int, batch: int, seed: int = 20, in_order: bool = False
    ) -> Episodes:
        options = {"way": way, "shots": shots, "queries": queries, "batch": batch, "seed": seed}
        return scorer.episodes(noise=_NOISE, in_order=in_order, **options).to(self.torch_device)

    def _train(self, scorer: Scorer, way: int, shots: int, queries: int, course: int) -> None:
        seeds = range(100 + _STEPS * course, 100 + _STEPS * (course + 1))
        trained(scorer, [self._easy(scorer, way, shots, queries, batch=8, seed=seed) for seed in seeds])

    def _share(self, scorer: Scorer, way: int, shots: int) -> float:
        """Return the share of right answers in new episodes of separable classes."""
        episodes = self._easy(scorer, way, shots, queries=3 * way, batch=50)
        return float((self._winners(scorer, episodes) == episodes.truth).float().mean())

    def _unexplained(self, scorer: Scorer, points: int) -> float:
        """Return the squared error in new episodes of nearly constant functions, as a share of their variance."""
        episodes = self._easy(scorer, 1, points, queries=5, batch=100)
        error = (scorer.scores(episodes) - episodes.truth).square().mean()
        return float(error / episodes.truth.var())

    def _winners(self, scorer: Scorer, episodes: Episodes) -> Tensor:
        """Return the predicted classes (B, Q), ties broken by the harness."""
        queries = episodes.query.shape[1]
        scores = [scorer.scores(episodes[start : start + 100]) for start in range(0, len(episodes), 100)]
        return winning_classes(torch.cat(scores), lambda: Stream("conformance ties", queries).words(0, len(episodes)))
