"""Scoring episodes in large chunks on the device; scores do not depend on the chunk size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.protocols import ValuedProtocol
from metabench.episodes.source import EpisodeSource
from metabench.episodes.tally import EpisodeTally
from metabench.learners.augmentation import own_items
from metabench.learners.base import Learner
from metabench.models.embedding import embed
from metabench.models.output_checks import OutputError, require_finite, require_tensor, score_gap
from metabench.statistics.episode_scores import Floats
from metabench.utils.random_streams import integers_below

Watch = Callable[[EpisodeBatch, NDArray[np.int64]], None]
"""Takes episodes and the labels (B, Q) that their queries were given."""


def winning_classes(logits: Tensor, tie_words: Callable[[], NDArray[np.uint64]]) -> Tensor:
    """Return the winning class (B, Q) of scores (B, Q, way).

    Ties are broken uniformly at random by `tie_words()` (B, Q): the first index would favour some class, and labels
    follow the order of the support set.
    """
    largest = logits.max(-1)
    tied = logits == largest.values[..., None]
    n_tied = tied.sum(-1)
    if int(n_tied.max()) == 1:
        return largest.indices
    counts = n_tied.cpu().numpy().astype(np.uint64)
    which = torch.from_numpy(integers_below(tie_words(), counts)).to(logits.device)
    # The (which+1)-th of the tied classes: its running count is the first to exceed `which`.
    return (tied.cumsum(-1) > which[..., None]).to(torch.uint8).argmax(-1)


def answer(
    learner: Learner, data: Tensor, source: EpisodeSource, start: int, batch: EpisodeBatch
) -> tuple[Tensor, Tensor]:
    """Return the checked outputs of a learner for the queries of episodes from `start` on, and their targets.

    Outputs and targets are as in `metabench.learners.base.Learner`. The learner gets the queries of each episode in a
    random order and without their labels, so that their position reveals nothing; its outputs are put back in order.

    Raises:
        OutputError: an output of another shape, type or device than promised, or one that is not finite.
    """
    shape = batch.query.shape
    order = source.query_orders(start, start + len(batch), shape[1])
    place = (order + shape[1] * np.arange(len(order))[:, None]).reshape(-1)
    query = batch.query.reshape(-1)[place].reshape(shape)
    outputs = checked_outputs(learner, data, replace(batch, query=query, query_labels=np.zeros_like(query)), start)
    flat = outputs.reshape(-1, outputs.shape[-1])
    back = torch.empty_like(flat).index_copy_(0, torch.from_numpy(place).to(flat.device), flat)
    return back.view(outputs.shape), learner.truth(data, batch)


def checked_outputs(learner: Learner, data: Tensor, batch: EpisodeBatch, start: int = 0) -> Tensor:
    """Return the outputs (B, Q, way), or predicted numbers (B, Q, D), of a learner; episode `start` is the first.

    Raises:
        OutputError: an output of another shape, type or device than promised, or one that is not finite.
    """
    owner = learner.algorithm
    outputs = require_tensor(
        learner.scores(data, batch), (*batch.query.shape, learner.width(batch)), owner, data.device
    )
    require_finite(outputs, owner, start, "episode")
    return outputs


_INDEPENDENT = 0.05
"""Largest difference between two batches that counts as rounding, as a share of the spread of scores."""


def require_independent_scores(
    learner: Learner, data: Tensor, source: EpisodeSource, start: int, episode: EpisodeBatch, outputs: Tensor
) -> None:
    """Raise OutputError where the scores of an episode depend on other episodes, or on other queries undeclared.

    The episode is drawn and scored again, alone; among other queries where the algorithm says that it is inductive:
    the second half of them are copies of the first one.

    Args:
        start: its number.
        episode: a batch of one.
        outputs: (1, Q, way) of it.
    """
    drawn = next(source.runs(start, start + 1))
    if not (np.array_equal(drawn.support, episode.support) and np.array_equal(drawn.query, episode.query)):
        raise OutputError(
            f"protocol {type(source.protocol).__name__} drew another episode {start} by itself than among others. An "
            "episode must depend on its own random words alone; 'metabench check' tells more"
        )
    order = source.query_orders(start, start + 1, episode.query.shape[1])
    kept = -(-order.size // 2) if learner.inductive else order.size
    query = np.take_along_axis(episode.query, order, axis=1)
    query[:, kept:] = query[:, :1]
    again = checked_outputs(learner, data, replace(episode, query=query), start)[:, :kept]
    before = outputs[:, torch.from_numpy(order[0, :kept]).to(outputs.device)]
    apart = score_gap(again, before)
    if apart > _INDEPENDENT:
        others = "queries or episodes" if learner.inductive else "episodes"
        raise OutputError(
            f"{learner.algorithm} scores a query otherwise beside other {others} (by {apart:.0%} of the spread of "
            "scores). Use each query by itself, or declare setting='transductive'; 'metabench check' tells more"
        )


def rehearse(learner: Learner, images: Tensor, source: EpisodeSource) -> None:
    """Score one episode before hours of training, so that an output of another shape or type is noticed.

    Args:
        learner: about to be trained.
        images: of ``source.split``, as `learner` is trained on them.
        source: training episodes.

    Raises:
        OutputError: an output is not what was promised.
    """
    few, batch = own_items(images, source.batch(0, 1))
    if learner.embedder is not None:
        few = embed(learner.embedder, few, owner=learner.backbone)
    learner.module.eval()
    with torch.inference_mode():
        checked_outputs(learner, few, batch)


def score_batch(source: EpisodeSource, start: int, outputs: Tensor, truth: Tensor) -> tuple[Floats, Tensor]:
    """Return the score (B,) of each of the episodes from `start` on, and the answers to their queries.

    The score is the share of correct answers, in [0, 1], and the answers are labels (B, Q). Where the protocol has a
    metric of its own, the score is its value, with its parts (B, 1 + parts) if it has any, and the answers are the
    outputs.

    Args:
        source: the episodes.
        start: index of the first one.
        outputs, truth: of the queries, as in `metabench.learners.base.Learner`.

    Raises:
        OutputError: the protocol returned values of another shape or type than promised, or not finite ones.
    """
    if isinstance(source.protocol, ValuedProtocol):
        values, owner = source.protocol.values(outputs, truth), f"{type(source.protocol).__name__}.values"
        if isinstance(values, Tensor) and values.ndim == 2:
            require_tensor(values, (len(outputs), values.shape[1]), owner)
        else:
            require_tensor(values, (len(outputs),), owner)
        require_finite(values, owner, start, "episode")
        alone = source.protocol.values(outputs[-1:], truth[-1:])
        if not torch.allclose(alone[0], values[-1], rtol=1e-3, atol=1e-6):
            raise OutputError(f"{owner} gives episode {start + len(outputs) - 1} another value beside other episodes")
        return values.double().cpu().numpy(), outputs
    winners = winning_classes(outputs, partial(source.tie_words, start, start + len(outputs), outputs.shape[1]))
    return ((winners == truth).sum(1).double() / truth.shape[1]).cpu().numpy(), winners


def evaluate(
    learner: Learner,
    data: Tensor,
    source: EpisodeSource,
    episodes: int,
    done: Floats,
    report: Callable[[Floats], bool | None],
    *,
    chunk: int | None = None,
    stops: Sequence[int] = (),
    watch: Watch | None = None,
) -> EpisodeTally:
    """Score episodes ``len(done) <= i < episodes``, pass the scores of each chunk to `report`, and return their tally.

    Args:
        learner: in place on its device.
        data: what `learner` scores (`metabench.learners.base.Learner`), of the images of ``source.split``.
        source: the episodes.
        episodes: number of episodes in all.
        done: scores (see `score_batch`) of the episodes scored before.
        report: called with the scores of consecutive episodes; may raise to stop, or return True to end here.
        chunk: episodes at once; None chooses by size. It does not change a score.
        stops: numbers of episodes, ascending, after which `report` is called whatever the chunk size.
        watch: called with each batch of episodes and the answers to its queries.

    Raises:
        OutputError: a plugin returned something else than its interface promises; names the episode.
    """
    tally = source.tally()
    size = chunk or learner.chunk_size(data, source.batch(0, 1))
    for _, before in source.chunks(len(done), size):
        tally.update(before)
    learner.module.eval()
    with torch.inference_mode(), learner.scoring(data):
        for start, batch in source.chunks(episodes, size, len(done), stops):
            outputs, truth = answer(learner, data, source, start, batch)
            # What a learner keeps from its first call shows in the first episode, what it keeps later in the last one.
            places = {0, len(batch) - 1} if start == len(done) else set[int]()
            if start + len(batch) == episodes:
                places.add(len(batch) - 1)
            for place in sorted(places):
                one = slice(place, place + 1)
                require_independent_scores(learner, data, source, start + place, batch[one], outputs[one])
            scores, answers = score_batch(source, start, outputs, truth)
            tally.update(batch)
            if watch is not None:
                watch(batch, answers.cpu().numpy())
            if report(scores):
                break
    return tally
