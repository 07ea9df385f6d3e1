"""Scoring episodes in large chunks on the device: integers out, whatever the chunk size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.episodes import EpisodeBatch, EpisodeSource, EpisodeTally
from metabench.errors import MetabenchError
from metabench.modules import FeatureHead
from metabench.rng import below

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


def evaluate(
    learner: Learner,
    data: Tensor,
    source: EpisodeSource,
    episodes: int,
    done: NDArray[np.int32],
    report: Callable[[NDArray[np.int32]], bool | None],
    chunk: int | None = None,
    stops: Sequence[int] = (),
    watch: Watch | None = None,
) -> EpisodeTally:
    """Score episodes ``len(done) <= i < episodes``; hand each chunk's correct counts to `report`.

    Args:
        data: what `learner` scores (`metabench.learner.Learner`), of the images of ``source.split``.
        done: correct counts of the episodes scored before (resume).
        report: called with int32 counts of consecutive episodes; may raise to stop, or return True to end here.
        chunk: episodes at once; chosen by size where not given. It does not change a count.
        stops: numbers of episodes, ascending, at which `report` is asked whatever the chunks are.
        watch: called with each batch of episodes and the answers to its queries.

    Returns:
        The digest of all episodes scored, and their counts by class.

    Raises:
        MetabenchError: where a score is NaN, naming the episode.
    """
    tally = EpisodeTally(source.split.starts)
    size = chunk or learner.chunk_size(data, source.batch(0, 1))
    for start, before in source.chunks(len(done), size):
        tally.update(before, done[start : start + len(before)])
    learner.module.eval()
    with torch.inference_mode():
        for start, batch in source.chunks(episodes, size, len(done), stops):
            logits = learner.scores(data, batch)
            _refuse_nan(logits, start)
            winners = predict(logits, partial(source.tie_words, start, start + len(batch)))
            truth = torch.from_numpy(batch.query_labels).to(winners.device)
            correct = (winners == truth).sum(1, dtype=torch.int32).cpu().numpy()
            tally.update(batch, correct)
            if watch is not None:
                watch(batch, winners.cpu().numpy())
            if report(correct):
                break
    return tally


def _refuse_nan(logits: Tensor, start: int) -> None:
    bad = logits.isnan().flatten(1).any(1)
    if bool(bad.any()):
        raise MetabenchError(f"episode {start + int(bad.int().argmax())} has scores that are not a number")
