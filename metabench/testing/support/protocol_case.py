"""Base of the protocol checks: instances, made-up splits and the episodes drawn from them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit
from metabench.data.joint_split import JointSplit, join_splits, reserve_mask
from metabench.data.paired_split import PairedSplit, pair_splits
from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.protocols import EpisodeProtocol
from metabench.errors import UsageError
from metabench.registry.registry import load_registry
from metabench.registry.specs import Kind, ProtocolSpec
from metabench.testing.conformance import Conformance, NotApplicable, Subject, Violation, construct, make_subject
from metabench.utils.random_streams import Stream

CHECKED_EPISODES = 40


class ProtocolCase(Conformance[ProtocolSpec]):
    """Base of the checks of a protocol: splits whose classes are of one size, or of many."""

    kind: ClassVar[Kind] = "protocol"
    protocol: ClassVar[str] = ""

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def load_subject(name: str, files: tuple[Path, ...]) -> Subject[ProtocolSpec]:
        """Return the protocol of that name."""
        registry = load_registry(files)
        return make_subject(registry, registry.find("protocol", name))

    def make(self) -> EpisodeProtocol:
        """Return a new instance of the protocol."""
        protocol: EpisodeProtocol = construct(lambda: self.subject.target(**self.values))
        return protocol

    def fitting(self, names: tuple[str, ...] = ("even", "uneven")) -> Iterator[tuple[str, ClassSplit, EpisodeProtocol]]:
        """Yield the splits that the protocol takes, with an instance; the even one it must take."""
        for name in names:
            counts = [60] * 60 if name == "even" else [40 + 7 * label % 61 for label in range(60)]
            spec, split, protocol = self.spec, made_up_split(counts, 3), self.make()
            if spec.beside:
                base = made_up_split(counts[:20])
                split = join_splits(split, base, reserve_mask(base, name, float(self.values["reserve"])))
            if spec.support:
                split = pair_splits(split, made_up_split(counts[::-1]))
            try:
                protocol.check(split)
            except UsageError as error:
                if spec.episodes:
                    raise NotApplicable("its episodes are a list that a dataset of its own lays down") from error
                if name == "even":
                    raise Violation(f"it refuses 60 classes of 60 images: {error}") from error
                continue
            yield name, split, protocol

    def drawn(self) -> Iterator[tuple[str, ClassSplit, EpisodeBatch]]:
        """Yield batches of episodes, as many as are drawn at once where shapes differ."""
        for name, split, protocol in self.fitting():
            words = self.words(protocol, split, CHECKED_EPISODES)
            while len(words):
                batch = protocol.draw(words, split)
                yield name, split, batch
                words = words[max(1, len(batch)) :]

    @staticmethod
    def words(protocol: EpisodeProtocol, split: ClassSplit, episodes: int) -> NDArray[np.uint64]:
        """Return the random words of some episodes, the same every time."""
        return Stream("conformance episodes", protocol.width(split)).words(0, episodes)


def made_up_split(counts: list[int], groups: int = 0) -> ClassSplit:
    """Return a split of one-pixel images, its classes in so many groups."""
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    images = np.zeros((int(starts[-1]), 1, 1, 1), dtype=np.uint8)
    names = tuple(f"class{label}" for label in range(len(counts)))
    return ClassSplit(
        images, starts, names, tuple(f"group{label % groups}" for label in range(len(counts))) if groups else ()
    )


def single_episodes(protocol: EpisodeProtocol, split: ClassSplit, words: NDArray[np.uint64]) -> Iterator[EpisodeBatch]:
    """Yield one episode for each row of words, drawn together where they have one shape."""
    while len(words):
        batch = protocol.draw(words, split)
        if not 0 < len(batch) <= len(words):
            raise Violation(f"draw() makes {len(batch)} episodes of {len(words)} rows of words")
        for index in range(len(batch)):
            parts: dict[str, Any] = {
                name: getattr(batch, name)[index : index + 1]
                for name in ("support", "support_labels", "query", "query_labels")
            }
            yield EpisodeBatch(**parts, way=batch.way)
        words = words[len(batch) :]


def rows_and_labels(batch: EpisodeBatch) -> NDArray[np.int64]:
    """Return rows and labels of the first episode of a batch in one line, for comparisons."""
    return np.concatenate([batch.support[0], batch.support_labels[0], batch.query[0], batch.query_labels[0]])


@dataclass(frozen=True)
class RowBlock:
    """Rows whose classes all have `size` images, and what they are used for."""

    start: int
    stop: int
    size: int
    parts: tuple[str, ...]
    what: str = "a class"


def blocks_of(split: ClassSplit) -> list[RowBlock]:
    """Return the blocks of rows that episodes of a split draw from."""
    if isinstance(split, PairedSplit):
        ends = (split.starts, "query", "a measured class"), (split.support_starts, "support", "a class for support")
        return [
            RowBlock(int(starts[0]), int(starts[-1]), int(starts[1] - starts[0]), (part,), what)
            for starts, part, what in ends
        ]
    first = RowBlock(0, int(split.starts[-1]), int(split.counts[0]), ("support", "query"))
    if not isinstance(split, JointSplit):
        return [first]
    beside = (split.base_starts, "support", "a base class"), (split.reserve_starts, "query", "the reserve of a class")
    return [first] + [
        RowBlock(int(starts[0]), int(starts[-1]), int(starts[1] - starts[0]), (part,), what)
        for starts, part, what in beside
    ]


def classes_of(batch: EpisodeBatch, split: ClassSplit) -> NDArray[np.int64]:
    """Return the class of each label of the first episode of a batch."""
    first = np.unique(batch.support_labels[0], return_index=True)[1]
    return split.class_of(batch.support[0, first])


def label_problem(batch: EpisodeBatch, episode: int, split: ClassSplit) -> str:
    """Return the problem with the labels of an episode, '' where there is none."""
    support, query = batch.support_labels[episode], batch.query_labels[episode]
    owners, asked = split.class_of(batch.support[episode]), split.class_of(batch.query[episode])
    if sorted(set(support.tolist())) != list(range(batch.way)):
        return f"is {batch.way}-way and its support set has the labels {sorted(set(support.tolist()))[:8]}"
    pairs = set(zip(support.tolist(), owners.tolist(), strict=True))
    if len(pairs) != batch.way:
        return "has support images of two classes under one label"
    classes = dict(pairs)
    if len(set(classes.values())) != batch.way:
        return "has one class under two labels"
    for label, owner in zip(query.tolist(), asked.tolist(), strict=True):
        if label >= 0 and classes.get(label) != owner:
            return f"has a query of class {owner} with the label {label}"
        if label < 0 and owner in classes.values():
            return f"has a query without a label that is of class {owner}, which the support set has"
    return ""
