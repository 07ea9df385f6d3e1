from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.models.episode import Episode
from metabench.models.interfaces import FeatureHead
from metabench_algorithms.metric.chance import Chance
from metabench_algorithms.metric.matching_net import MatchingNet
from metabench_algorithms.metric.protonet import ProtoNet

WAY, DIM = 4, 8
HEADS = ["chance", "protonet", "cosine", "euclidean", "fce"]


def make(name: str) -> FeatureHead:
    torch.manual_seed(5)
    heads = {
        "chance": lambda: Chance(DIM),
        "protonet": lambda: ProtoNet(DIM),
        "cosine": lambda: MatchingNet(DIM),
        "euclidean": lambda: MatchingNet(DIM, metric="euclidean"),
        "fce": lambda: MatchingNet(DIM, fce=True, steps=3),
    }
    return heads[name]()


def episodes(shot: int = 3, query: int = 6, batch: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Support (B, S, D) in a random order, its labels, and queries."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.stack([torch.randperm(WAY * shot, generator=generator) % WAY for _ in range(batch)])
    centres = torch.randn(batch, WAY, DIM, generator=generator)
    support = centres.gather(1, labels[..., None].expand(-1, -1, DIM))
    support = support + torch.randn(batch, WAY * shot, DIM, generator=generator)
    return support, labels, torch.randn(batch, query, DIM, generator=generator)


def naive_attention(similarity: Tensor, labels: Tensor) -> Tensor:
    """log sum_i a(x, x_i) [y_i = k] of one episode, (Q, S) similarities, in double precision."""
    attention = similarity.double().softmax(-1)
    return torch.stack([attention[:, labels == k].sum(-1) for k in range(WAY)], -1).log()


@pytest.mark.parametrize("name", HEADS)
def test_scores_have_their_shape_and_are_finite(name: str) -> None:
    scores = make(name).logits(Episode(*episodes(), WAY))
    assert scores.shape == (5, 6, WAY)
    assert scores.isfinite().all()


@pytest.mark.parametrize("name", HEADS)
def test_relabelling_the_classes_relabels_the_scores(name: str) -> None:
    head, (support, labels, query) = make(name), episodes()
    renamed = torch.tensor([2, 0, 3, 1])
    scores, moved = (
        head.logits(Episode(support, labels, query, WAY)),
        head.logits(Episode(support, renamed[labels], query, WAY)),
    )
    torch.testing.assert_close(moved[..., renamed], scores)


@pytest.mark.parametrize("name", ["chance", "protonet", "cosine", "euclidean"])
def test_the_order_of_the_support_does_not_matter(name: str) -> None:
    head, (support, labels, query) = make(name), episodes()
    order = torch.randperm(support.shape[1], generator=torch.Generator().manual_seed(1))
    scores = head.logits(Episode(support, labels, query, WAY))
    torch.testing.assert_close(head.logits(Episode(support[:, order], labels[:, order], query, WAY)), scores)


def test_full_context_depends_on_the_order_of_the_support() -> None:
    """The bi-LSTM of appendix A.2 reads the support as a sequence."""
    head, (support, labels, query) = make("fce"), episodes()
    scores, turned = (
        head.logits(Episode(support, labels, query, WAY)),
        head.logits(Episode(support.flip(1), labels.flip(1), query, WAY)),
    )
    assert (scores - turned).abs().max() > 1e-3


@pytest.mark.parametrize("name", HEADS)
def test_an_episode_is_scored_alone(name: str) -> None:
    head, (support, labels, query) = make(name).eval(), episodes()
    together = head.logits(Episode(support, labels, query, WAY))
    alone = [head.logits(Episode(support[i : i + 1], labels[i : i + 1], query[i : i + 1], WAY)) for i in range(5)]
    torch.testing.assert_close(torch.cat(alone), together)


@pytest.mark.parametrize("name", HEADS)
def test_a_query_is_scored_alone(name: str) -> None:
    """All of these are inductive: a query's score does not depend on the other queries."""
    head, (support, labels, query) = make(name).eval(), episodes()
    together = head.logits(Episode(support, labels, query, WAY))
    alone = [head.logits(Episode(support, labels, query[:, i : i + 1], WAY)) for i in range(query.shape[1])]
    torch.testing.assert_close(torch.cat(alone, 1), together)


def test_chance_ties_every_class() -> None:
    assert (make("chance").logits(Episode(*episodes(), WAY)) == 0).all()


@pytest.mark.parametrize("shot", [1, 3])
def test_protonet_is_the_distance_to_class_means(shot: int) -> None:
    support, labels, query = episodes(shot)
    scores = make("protonet").logits(Episode(support, labels, query, WAY))
    for b in range(5):
        for k in range(WAY):
            centre = support[b][labels[b] == k].mean(0)
            expected = -(query[b] - centre).square().sum(-1)
            torch.testing.assert_close(scores[b, :, k], expected, rtol=1e-4, atol=1e-4)
    per_feature = ProtoNet(support.shape[-1], per_feature=True).logits(Episode(support, labels, query, WAY))
    torch.testing.assert_close(per_feature, scores / support.shape[-1])


def test_protonet_learns_the_cross_entropy_of_negative_distances() -> None:
    support, labels, query = episodes(1)
    truth = torch.arange(6).remainder(WAY).expand(5, 6)
    loss = make("protonet").loss(Episode(support, labels, query, WAY), truth)
    centres = torch.stack([support[b][labels[b].argsort()] for b in range(5)])
    odds = torch.cdist(query, centres).square().neg().softmax(-1)
    torch.testing.assert_close(loss, -odds.gather(2, truth[..., None]).log().mean(), rtol=1e-4, atol=1e-5)


def test_euclidean_matching_is_protonet_at_one_shot_and_not_at_three() -> None:
    for shot in (1, 3):
        case = episodes(shot, query=40)
        matching, proto = (make(name).logits(Episode(*case, WAY)).argmax(-1) for name in ("euclidean", "protonet"))
        assert torch.equal(matching, proto) == (shot == 1)


def test_cosine_matching_is_log_class_attention() -> None:
    support, labels, query = episodes()
    scores = make("cosine").logits(Episode(support, labels, query, WAY)).log_softmax(-1)
    for b in range(5):
        similarity = 10 * F.cosine_similarity(query[b][:, None], support[b][None], dim=-1)
        expected = naive_attention(similarity, labels[b])
        torch.testing.assert_close(scores[b].double(), expected, rtol=1e-4, atol=1e-4)


def test_euclidean_matching_is_log_class_attention() -> None:
    support, labels, query = episodes()
    scores = make("euclidean").logits(Episode(support, labels, query, WAY)).log_softmax(-1)
    for b in range(5):
        similarity = -(query[b][:, None] - support[b][None]).double().square().sum(-1)
        expected = naive_attention(similarity, labels[b])
        torch.testing.assert_close(scores[b].double(), expected, rtol=1e-4, atol=1e-4)


def test_cosine_does_not_depend_on_lengths() -> None:
    head, (support, labels, query) = make("cosine"), episodes()
    scaled = head.logits(Episode(support * 7, labels, query / 100, WAY))
    torch.testing.assert_close(scaled, head.logits(Episode(support, labels, query, WAY)))


def test_uneven_classes_count_by_their_images() -> None:
    labels = torch.tensor([[0, 0, 0, 1]])
    scores = make("cosine").logits(Episode(torch.ones(1, 4, DIM), labels, torch.ones(1, 1, DIM), 2))
    torch.testing.assert_close(scores.softmax(-1), torch.tensor([[[0.75, 0.25]]]))


def test_far_classes_do_not_underflow() -> None:
    """exp(-1000 * 1000) is 0 in float32: a plain softmax would tie the two far classes."""
    support = torch.tensor([0.0, 1.0, 1000.0, 1001.0, 3000.0, 3001.0])[None, :, None]
    labels = torch.tensor([[0, 0, 1, 1, 2, 2]])
    query = torch.tensor([0.0, 1900.0, 2900.0])[None, :, None]
    scores = MatchingNet(1, metric="euclidean").logits(Episode(support, labels, query, 3))
    assert scores.isfinite().all()
    assert scores[0].argsort(-1, descending=True).tolist() == [[0, 1, 2], [1, 2, 0], [2, 1, 0]]
    far = MatchingNet(1, metric="euclidean")
    moving = query.clone().requires_grad_()
    far.loss(Episode(support, labels, moving, 3), torch.tensor([[2, 2, 0]])).backward()
    assert moving.grad is not None and moving.grad.isfinite().all() and (moving.grad != 0).all()


@pytest.mark.parametrize("fce", [False, True])
def test_gradients_reach_every_parameter_and_the_features(fce: bool) -> None:
    torch.manual_seed(0)
    head = MatchingNet(DIM, fce=fce, steps=2)
    support, labels, query = episodes()
    support.requires_grad_()
    query.requires_grad_()
    truth = torch.arange(6).remainder(WAY).expand(5, 6)
    head.loss(Episode(support, labels, query, WAY), truth).backward()
    learned = {name: parameter.grad for name, parameter in head.named_parameters()}
    assert ("log_scale" in learned) and (len(learned) == (13 if fce else 1))
    for gradient in (*learned.values(), support.grad, query.grad):
        assert gradient is not None and gradient.isfinite().all() and (gradient != 0).any()


def test_the_gradient_is_that_of_the_formula() -> None:
    """Each class's largest similarity is taken out as a constant; the derivative must not notice."""
    support, labels, query = (part.double() if part.is_floating_point() else part for part in episodes(2, 2, 1))
    head = MatchingNet(DIM).double()
    truth = torch.tensor([[1, 3]])
    assert torch.autograd.gradcheck(
        lambda s, q: head.loss(Episode(s, labels, q, WAY), truth), (support.requires_grad_(), query.requires_grad_())
    )


def test_temperature_is_the_scale_of_the_similarities() -> None:
    support, labels, query = episodes(1)
    soft, sharp = (MatchingNet(DIM, temperature=t).logits(Episode(support, labels, query, WAY)) for t in (2.0, 20.0))
    torch.testing.assert_close(sharp, 10 * soft)


def test_full_context_is_the_recurrence_of_the_appendix() -> None:
    head = make("fce")
    assert isinstance(head, MatchingNet) and head.context is not None
    support, _, query = episodes()
    context, attended = head.context(support, query)
    assert context.shape == support.shape and attended.shape == query.shape
    cell, b, q = head.context.query_cell, 2, 4
    f, g = query[b, q], context[b]
    h, r, c = f, torch.zeros(DIM), torch.zeros(2 * DIM)
    for _ in range(3):
        state, c = cell(f, (torch.cat([h, r]), c))
        h = state[:DIM] + f
        r = (g @ h).softmax(0) @ g
    torch.testing.assert_close(attended[b, q], h)
    assert not torch.allclose(context, support)
