"""Checks that other queries, other episodes, order and names change no score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from metabench.models.output_checks import score_gap
from metabench.testing.conformance import NotApplicable, Violation, conformance_check
from metabench.testing.support.algorithm_case import AlgorithmChecks
from metabench.testing.support.scorer import TOLERANCE, Scorer, expect_same
from metabench.testing.support.synthetic_episodes import Episodes, gaussians, permutation


class InvarianceChecks(AlgorithmChecks):
    """Checks of the inputs that a score may depend on."""

    @conformance_check(
        "every legal episode is scored: shape, finite numbers, device",
        means="Some benchmark cells fail, or silently measure something else.",
        fix="Take way from the episode, S and Q from its tensors; classes may have uneven numbers of images. A head "
        "that takes gradients in evaluation sets needs_grad = True.",
    )
    def test_shapes(self) -> None:
        """Score ways 2, 5, 20; shots 1, 5 and uneven; one query and many; one episode and several."""
        scorer = self.scorer()
        for way in (2, 5, 20):
            for shots in (1, 5, [1 + k % 3 for k in range(way)]):
                for queries, batch in ((1, 1), (1, 3), (2 * way, 1), (2 * way, 3)):
                    scorer.scores(self.episodes(scorer, way=way, shots=shots, queries=queries, batch=batch))

    @conformance_check(
        "the score of a query does not depend on the other queries",
        means="It is transductive: it learns from the queries together, often through batch statistics, and has an "
        "advantage over every inductive algorithm in the table.",
        fix="Keep batch normalisation in eval mode and use no statistic of the query set, or declare "
        "setting='transductive'.",
    )
    def test_query_independence(self) -> None:
        """Compare half of the queries, single ones, and some among strangers with the whole set."""
        if self.setting == "transductive":
            raise NotApplicable("it is declared transductive")
        scorer = self.scorer()
        for episodes in self._varied(scorer, queries=75):
            whole = scorer.scores(episodes)
            for name, part in (("the first half", slice(0, 37)), ("the second half", slice(37, 75))):
                expect_same(scorer.scores(episodes.queries(part)), whole[:, part], f"{name} of the queries alone")
            for index in (0, 40, 74):
                alone = scorer.scores(episodes.queries([index]))
                expect_same(alone, whole[:, [index]], "a query alone")
            among = scorer.scores(_among_strangers(episodes, keep=37))
            expect_same(among[:, :37], whole[:, :37], "half of the queries among very different others")

    @conformance_check(
        "an algorithm declared transductive uses the query set",
        means="Its row is marked as having an advantage that it does not take.",
        fix="Declare setting='inductive', or find out why the query set has no effect.",
    )
    def test_query_use(self) -> None:
        """Require the converse of query-independence."""
        if self.setting == "inductive":
            raise NotApplicable("it is declared inductive")
        scorer = self.scorer()
        gaps = [
            score_gap(scorer.scores(_among_strangers(episodes, keep=37))[:, :37], scorer.scores(episodes)[:, :37])
            for episodes in self._varied(scorer, queries=75)
        ]
        if max(gaps) <= TOLERANCE:
            raise Violation("replacing half of the queries changes none of the other half's scores")

    @conformance_check(
        "scores go with their queries, whatever the order of the queries",
        means="It reads something from the order of the queries, which are drawn class by class: label leakage.",
        fix="Treat the queries as a set; never use a query's position.",
    )
    def test_query_order(self) -> None:
        """Compare queries sorted by class, as the protocol draws them, with the same queries shuffled."""
        scorer = self.scorer()
        for way in (2, 5):
            episodes = self.episodes(scorer, way=way, queries=6 * way, batch=2, in_order=True)
            order = permutation(6 * way, seed=3)
            shuffled = scorer.scores(episodes.queries(order))
            expect_same(shuffled, scorer.scores(episodes)[:, order], "the queries in another order")

    @conformance_check(
        "a batch of episodes is scored like the episodes one by one",
        means="Results depend on how many episodes fit into memory.",
        fix="Never mix along the first dimension: every episode has support, labels and queries of its own.",
    )
    def test_batch_equals_loop(self) -> None:
        """Compare episodes whose labels are in different orders, so that none can stand in for another."""
        scorer = self.scorer()
        for episodes in self._varied(scorer, queries=10, batch=6):
            together = scorer.scores(episodes)
            alone = torch.cat([scorer.scores(episodes[[index]]) for index in range(len(episodes))])
            expect_same(alone, together, f"each of {len(episodes)} episodes alone")

    @conformance_check(
        "the score of an episode does not depend on the episodes beside it",
        means="Results change with the chunk size, and an episode can profit from the labels of others.",
        fix="Never mix along the first dimension; batch normalisation over episodes does.",
    )
    def test_batch_composition(self) -> None:
        """Score the same episodes in another order, fewer of them, and beside very different ones."""
        scorer = self.scorer()
        for episodes in self._varied(scorer, queries=10, batch=6):
            whole = scorer.scores(episodes)
            for rows in ([5, 2, 0, 4, 1, 3], [1, 4], [3, 3, 3]):
                expect_same(scorer.scores(episodes[rows]), whole[rows], "the batch in another composition")
            wild = [part.clone() for part in (episodes.support, episodes.query)]
            for part in wild:
                part[3:] = 50 + 20 * part[3:]
            beside = scorer.scores(replace(episodes, support=wild[0], query=wild[1]))
            expect_same(beside[:3], whole[:3], "episodes beside very different ones")

    @conformance_check(
        "renaming the classes renames the scores",
        means="Some labels are better than others: the algorithm knows them, though they mean nothing.",
        fix="Use labels only to tell which support items belong together.",
    )
    def test_label_permutation(self) -> None:
        """Permute the support labels: column k of the scores must move to its new name."""
        self.need_labels()
        scorer, gaps = self.scorer(), []
        for episodes in self._varied(scorer, queries=10, batch=2):
            names = permutation(episodes.way, seed=5)
            renamed = scorer.scores(replace(episodes, labels=names[episodes.labels.cpu()].to(self.torch_device)))
            gaps.append((renamed[..., names.to(self.torch_device)], scorer.scores(episodes)))
        self._judge("label-permutation", gaps, "the classes renamed")

    @conformance_check(
        "the order of the support set does not matter",
        means="It relies on how the protocol sorts the support, and measures something else on any other protocol.",
        fix="Group support items by their labels, never by position; if it reads a sequence by design, declare "
        "exempt=(Exempt('support-order', 'why'),).",
    )
    def test_support_order(self) -> None:
        """Compare support sorted by class, as the protocol draws it, with the same support shuffled."""
        scorer, gaps = self.scorer(), []
        for in_order in (True, False):
            for episodes in self._varied(scorer, queries=10, batch=2, in_order=in_order):
                order = permutation(episodes.support.shape[1], seed=7)
                gaps.append((scorer.scores(episodes.reordered(order)), scorer.scores(episodes)))
        self._judge("support-order", gaps, "the support in another order")

    def _judge(self, name: str, pairs: list[tuple[Tensor, Tensor]], where: str) -> None:
        """Require that all pairs agree; where the algorithm is declared exempt, that not all of them do."""
        if reason := self.exempt(name):
            if max(score_gap(a, b) for a, b in pairs) <= TOLERANCE:
                raise Violation(f"it is declared exempt ({reason}), yet {where} changes nothing; remove the exemption")
            raise NotApplicable(f"exempt, and lacking as declared: {reason}")
        for a, b in pairs:
            expect_same(a, b, where)

    def _varied(self, scorer: Scorer, queries: int, batch: int = 1, in_order: bool = False) -> Iterator[Episodes]:
        """Yield episodes of a few forms; 1-shot hides averages over shots."""
        for way, shots in ((5, 1), (5, 5), (2, 3), (4, [1, 3, 2, 4])):
            yield self.episodes(scorer, way=way, shots=shots, queries=queries, batch=batch, in_order=in_order)


def _among_strangers(episodes: Episodes, keep: int) -> Episodes:
    """Return the episodes with all but the first `keep` queries replaced by far-away ones."""
    query = episodes.query.clone()
    query[:, keep:] = 20 + 10 * gaussians(
        query.shape[2:], way=2, queries=query.shape[1] - keep, batch=len(query), seed=11
    ).query.to(query.device)
    return replace(episodes, query=query)
