"""Scoring episodes in large chunks on the device: one number out for each, whatever the chunk size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.episodes import EpisodeBatch, EpisodeSource, EpisodeTally, ValuedProtocol
from metabench.errors import MetabenchError
from metabench.modules import FeatureHead
from metabench.rng import below
from metabench.scores import Floats

if TYPE_CHECKING:
    from metabench.learner import Learner

Watch = Callable[[EpisodeBatch, NDArray[np.int64]], None]
"""Is shown episodes and the labels (B, Q) that their queries were given."""
_FLOATS_PER_CHUNK = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Gathered feature values in one chunk: about the cache of a CPU core, or a share of a GPU's memory."""


def chunk_size(batch: EpisodeBatch, feature_dim: int, device: torch.device) -> int:
    """Return how many episodes like the one in `batch` make a chunk."""
    rows = batch.support.shape[1] + batch.query.shape[1]
    budget = _FLOATS_PER_CHUNK.get(device.type, _FLOATS_PER_CHUNK["cuda"])
    return int(max(1, min(4096, budget // (rows * feature_dim))))


def gather(features: Tensor, rows: NDArray[np.int64]) -> Tensor:
    """Return features (N, D) at rows (B, M) as (B, M, D)."""
    index = torch.from_numpy(rows.reshape(-1)).to(features.device)
    return features.index_select(0, index).view(*rows.shape, -1)


def batch_logits(head: FeatureHead, features: Tensor, batch: EpisodeBatch) -> Tensor:
    """Return the head's scores (B, Q, way) for a batch of episodes."""
    labels = torch.from_numpy(batch.support_labels).to(features.device)
    return head.logits(gather(features, batch.support), labels, gather(features, batch.query), batch.way)


def predict(logits: Tensor, tie_words: Callable[[], NDArray[np.uint64]]) -> Tensor:
    """Return the winning class (B, Q) of scores (B, Q, way).

    Equal largest scores are broken at random, each with the same chance, by `tie_words()` (B, Q): the first
    index would favour some class, and labels follow the order of the support set.
    """
    largest = logits.max(-1)
    tied = logits == largest.values[..., None]
    n_tied = tied.sum(-1)
    if int(n_tied.max()) == 1:
        return largest.indices
    counts = n_tied.cpu().numpy().astype(np.uint64)
    which = torch.from_numpy(below(tie_words(), counts)).to(logits.device)
    # The (which+1)-th of the tied classes: its running count is the first to exceed `which`.
    return (tied.cumsum(-1) > which[..., None]).to(torch.uint8).argmax(-1)


def score_batch(source: EpisodeSource, start: int, outputs: Tensor, truth: Tensor) -> tuple[Floats, Tensor]:
    """Return the score (B,) of each of the episodes from `start` on, and the answers to their queries.

    The score is the share of correct answers, in [0, 1], and the answers are labels (B, Q); or the score is the value
    of the metric that the protocol has, with its parts (B, 1 + parts) if any, and the answers are the outputs.

    Args:
        outputs, truth: of the queries, as in `metabench.learner.Learner`.
    """
    if isinstance(source.protocol, ValuedProtocol):
        return source.protocol.values(outputs, truth).double().cpu().numpy(), outputs
    winners = predict(outputs, partial(source.tie_words, start, start + len(outputs), outputs.shape[1]))
    return ((winners == truth).sum(1).double() / truth.shape[1]).cpu().numpy(), winners


def evaluate(
    learner: Learner,
    data: Tensor,
    source: EpisodeSource,
    episodes: int,
    done: Floats,
    report: Callable[[Floats], bool | None],
    chunk: int | None = None,
    stops: Sequence[int] = (),
    watch: Watch | None = None,
) -> EpisodeTally:
    """Score episodes ``len(done) <= i < episodes``; hand each chunk's scores to `report`.

    Args:
        data: what `learner` scores (`metabench.learner.Learner`), of the images of ``source.split``.
        done: scores (see `score_batch`) of the episodes scored before (resume).
        report: called with the scores of consecutive episodes; may raise to stop, or return True to end here.
        chunk: episodes at once; chosen by size where not given. It does not change a score.
        stops: numbers of episodes, ascending, at which `report` is asked whatever the chunks are.
        watch: called with each batch of episodes and the answers to its queries.

    Returns:
        Which episodes were scored.

    Raises:
        MetabenchError: where a score is not a number, naming the episode.
    """
    tally = source.tally()
    size = chunk or learner.chunk_size(data, source.batch(0, 1))
    for _, before in source.chunks(len(done), size):
        tally.update(before)
    learner.module.eval()
    with torch.inference_mode(), learner.scoring(data):
        for start, batch in source.chunks(episodes, size, len(done), stops):
            outputs = learner.scores(data, batch)
            _refuse(outputs.isnan().flatten(1).any(1).cpu().numpy(), start)
            scores, answers = score_batch(source, start, outputs, learner.truth(data, batch))
            _refuse(np.any(~np.isfinite(scores).reshape(len(scores), -1), axis=1), start)
            tally.update(batch)
            if watch is not None:
                watch(batch, answers.cpu().numpy())
            if report(scores):
                break
    return tally


def _refuse(bad: NDArray[np.bool_], start: int) -> None:
    if bad.any():
        raise MetabenchError(f"episode {start + int(bad.argmax())} has scores that are not a number")
