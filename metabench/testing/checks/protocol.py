"""The conformance class of protocols."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from metabench.data import ClassSplit
from metabench.data.joint_split import JointSplit, joined, reserved
from metabench.data.paired_split import PairedSplit, paired
from metabench.episodes.batch import EpisodeBatch
from metabench.episodes.protocols import DisjointProtocol, EpisodeProtocol
from metabench.errors import UsageError
from metabench.registry.loader import Kind
from metabench.registry.specs import ProtocolSpec
from metabench.testing.checks.spec import SpecChecks
from metabench.testing.conformance import NotApplicable, Violation, check, raised
from metabench.utils.random_streams import Stream
from metabench.utils.text import are, counted

RARE = 1e-6
"""A protocol without the fault fails a statistical check as often as this (if at all: the words are fixed)."""
_EPISODES = 40
_MANY = 1500


class ProtocolConformance(SpecChecks):
    """Every check of a protocol, on made-up splits whose classes are of one size, or of many."""

    kind: ClassVar[Kind] = "protocol"
    protocol: ClassVar[str] = ""

    @check(
        "no image is twice in an episode",
        means="A query that is a support image is answered by looking it up: accuracy is too high.",
        fix="Draw the images of a class together, without replacement, and divide them into support and query.",
    )
    def test_distinct_images(self) -> None:
        """Rows of the split, each at most once, in support and query together."""
        for name, split, batch in self._drawn():
            for episode, rows in enumerate(np.concatenate([batch.support, batch.query], axis=1)):
                if rows.min() < 0 or rows.max() >= _blocks(split)[-1].stop:
                    raise Violation(
                        f"{name}: episode {episode} has row {rows.min()} or {rows.max()}, which do not exist"
                    )
                if twice := len(rows) - len(np.unique(rows)):
                    raise Violation(f"{name}: {counted(twice, 'image')} {are(twice)} twice in episode {episode}")

    @check(
        "labels say which class an image is of",
        means="Right answers count as wrong, or a class competes with itself.",
        fix="Draw distinct classes; label the images of each with one number from 0 to way - 1, in support and query; "
        "queries of a class that the support set lacks have the label -1.",
    )
    def test_labels(self) -> None:
        """One class for each label, all labels in the support set, every query of the class of its label."""
        for name, split, batch in self._drawn():
            for episode in range(len(batch)):
                if problem := _label_problem(batch, episode, split):
                    raise Violation(f"{name}: episode {episode} {problem}")

    @check(
        "an episode depends on its own random words alone",
        means="Chunk size, resuming or the number of episodes changes which are drawn: no result is comparable.",
        fix="Make row b of draw() from words[b] and the split, and from nothing that draw() leaves behind.",
    )
    def test_addressed(self) -> None:
        """Alone as among others, in any order, again, and by a new instance."""
        for name, split, protocol in self._fitting():
            words = self._words(protocol, split, 12)
            whole = [_rows(batch) for batch in _each(protocol, split, words)]
            fresh = self._make()
            for index in (11, 3, 7, 0):
                for maker, made in ((protocol, "again"), (fresh, "by a new instance")):
                    alone = _rows(next(_each(maker, split, words[index : index + 1])))
                    if not np.array_equal(alone, whole[index]):
                        raise Violation(f"{name}: episode {index} is another one when drawn {made} by itself")

    @check(
        "the global random state is neither used nor changed",
        means="The same seed draws other episodes, in another process or after something else was run.",
        fix="Take all randomness from the words that draw() is given.",
    )
    def test_global_rng(self) -> None:
        """NumPy's, seeded in two ways."""
        for name, split, protocol in self._fitting():
            words, found = self._words(protocol, split, 4), []
            before = np.random.get_state(legacy=False)  # noqa: NPY002
            try:
                for seed in (1, 2):
                    np.random.seed(seed)  # noqa: NPY002
                    state = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
                    found.append([_rows(batch) for batch in _each(protocol, split, words)])
                    after = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
                    if not np.array_equal(state, after):
                        raise Violation(f"{name}: draw() uses numpy's global random state")
            finally:
                np.random.set_state(before)  # noqa: NPY002
            if any(not np.array_equal(one, two) for one, two in zip(*found, strict=True)):
                raise Violation(f"{name}: the episodes depend on numpy's global seed")

    @check(
        "every class is drawn, and labels favour none",
        means="The mean over episodes is not of the classes of the test set, or a guess that follows labels is none.",
        fix="Choose among all classes, and give out labels in random order.",
    )
    def test_every_class(self) -> None:
        """Over many episodes; and of two labels the lower one has the lower class in half of them."""
        for name, split, protocol in self._fitting():
            classes = [_classes(batch, split) for batch in _each(protocol, split, self._words(protocol, split, _MANY))]
            seen = np.unique(np.concatenate(classes))
            total = len(split.names) + (len(split.base_names) if isinstance(split, JointSplit) else 0)
            if unseen := total - len(seen):
                raise Violation(f"{name}: {counted(unseen, 'class')} {are(unseen)} in none of {_MANY} episodes")
            ordered = sum(bool(of[0] < of[1]) for of in classes if len(of) > 1)
            if len(classes[0]) > 1 and binomtest(ordered, len(classes), 0.5).pvalue < RARE:
                raise Violation(
                    f"{name}: label 0 has an earlier class than label 1 in {ordered} of {len(classes)} episodes"
                )

    @check(
        "every image of a class can be support and query",
        means="Part of the data is never looked at, or the answers to some images are known by their place.",
        fix="Draw the images of a class in random order.",
    )
    def test_every_image(self) -> None:
        """Over many episodes, by the place of an image in its class, where all classes have one size."""
        for name, split, protocol in self._fitting(("even",)):
            seen = [(block, part, np.zeros(block.size, int)) for block in _blocks(split) for part in block.parts]
            for batch in _each(protocol, split, self._words(protocol, split, _MANY)):
                for block, part, counts in seen:
                    rows = getattr(batch, part)[0]
                    inside = rows[(rows >= block.start) & (rows < block.stop)] - block.start
                    counts += np.bincount(inside % block.size, minlength=block.size)
            for block, part, counts in seen:
                if not counts.all():
                    never = np.flatnonzero(counts == 0)[:3].tolist()
                    raise Violation(f"{name}: images {never} of {block.what} are never {part}")

    @check(
        "what training has seen is never asked about",
        means="Base classes look easier than they are: their queries were learned by heart.",
        fix="Draw the support of base classes from JointSplit.base_starts and their queries from reserve_starts.",
    )
    def test_reserve(self) -> None:
        """Of protocols with base classes beside those that are measured."""
        spec = self.subject.spec
        if not isinstance(spec, ProtocolSpec) or not spec.beside:
            raise NotApplicable("it measures no base classes")
        for name, split, batch in self._drawn():
            assert isinstance(split, JointSplit)
            first, reserve = split.base_starts[0], split.reserve_starts[0]
            if known := int(((batch.query >= first) & (batch.query < reserve)).sum()):
                raise Violation(f"{name}: {counted(known, 'query')} {are(known)} of the images of training")
            if given := int((batch.support >= reserve).sum()):
                raise Violation(f"{name}: {given} support images are of the reserve, which is there to be asked about")
            if not (batch.query >= reserve).any(1).all():
                raise Violation(f"{name}: an episode asks about no base class")

    @check(
        "what is asked about is never support",
        means="A test image is among the labelled ones: accuracy is too high.",
        fix="Draw support from PairedSplit.support_starts and queries from starts.",
    )
    def test_support_split(self) -> None:
        """Of protocols whose support comes from another split; the queries are of the measured one alone."""
        spec = self.subject.spec
        if not isinstance(spec, ProtocolSpec) or not spec.support:
            raise NotApplicable("support and queries are of one split")
        for name, split, batch in self._drawn():
            if given := int((batch.support < split.starts[-1]).sum()):
                raise Violation(f"{name}: {given} support images are of the split that is measured")
            if asked := int((batch.query >= split.starts[-1]).sum()):
                raise Violation(f"{name}: {counted(asked, 'query')} {are(asked)} of the split for support")

    @check(
        "an episode has as many queries as it says",
        means="Counts of correct answers are out of another number, and ties are broken by words that do not exist.",
        fix="Set n_query to the number of queries of an episode, or where episodes differ, to the most.",
    )
    def test_n_query(self) -> None:
        """Against n_query, which where all episodes have one shape is their number of queries."""
        for name, split, protocol in self._fitting():
            queries = {
                batch.query.shape[1] for batch in _each(protocol, split, self._words(protocol, split, _EPISODES))
            }
            if max(queries) > protocol.n_query or (len(queries) == 1 and queries != {protocol.n_query}):
                raise Violation(
                    f"{name}: n_query is {protocol.n_query}, and episodes have {sorted(queries)[-3:]} queries"
                )

    @check(
        "a split that cannot furnish an episode is refused with a remedy",
        means="A user meets a traceback, or episodes that are not what they are said to be.",
        fix="Raise metabench.api.UsageError in check(), saying which class or number is short and what to do.",
    )
    def test_refusal(self) -> None:
        """One class with one image can furnish none, nor can many classes of one image, with nothing left to ask."""
        for classes in (1, 1000):
            words = f"a split of {classes:,} class{'es' if classes > 1 else ''} with one image" + " each" * (
                classes > 1
            )
            try:
                self._make().check(_split([1] * classes))
            except UsageError:
                continue
            except Exception as error:
                raise Violation(f"of {words}: {raised('check()', error)}") from error
            raise Violation(f"check() accepts {words}")

    @check(
        "episodes for open sampling are made of the images given",
        means="Episodes that are said to share no image share some.",
        fix="Use every row of arrange() once, the rows of a class under one label, the first `shot` as its support.",
    )
    def test_open(self) -> None:
        """Where it has way, per_class and arrange."""
        protocol = self._make()
        if not isinstance(protocol, DisjointProtocol):
            raise NotApplicable("it has no open sampling")
        way, each = protocol.way, protocol.per_class
        split = _split([each] * way)
        batch = protocol.arrange(np.arange(way * each, dtype=np.int64).reshape(1, way, each))
        used = np.sort(np.concatenate([batch.support[0], batch.query[0]]))
        if not np.array_equal(used, np.arange(way * each)):
            raise Violation(f"arrange() makes episodes of {len(used)} images out of {way * each}, or not each once")
        if problem := _label_problem(batch, 0, split):
            raise Violation(f"an episode of arrange() {problem}")

    def _make(self) -> EpisodeProtocol:
        protocol: EpisodeProtocol = self.subject.target(**self.values)
        return protocol

    def _fitting(
        self, names: tuple[str, ...] = ("even", "uneven")
    ) -> Iterator[tuple[str, ClassSplit, EpisodeProtocol]]:
        """Yield the splits that the protocol takes; the even one it must."""
        for name in names:
            counts = [60] * 60 if name == "even" else [40 + 7 * label % 61 for label in range(60)]
            spec, split, protocol = self.subject.spec, _split(counts, 3), self._make()
            if isinstance(spec, ProtocolSpec) and spec.beside:
                base = _split(counts[:20])
                split = joined(split, base, reserved(base, name, float(self.values["reserve"])))
            if isinstance(spec, ProtocolSpec) and spec.support:
                split = paired(split, _split(counts[::-1]))
            try:
                protocol.check(split)
            except UsageError as error:
                if isinstance(spec, ProtocolSpec) and spec.episodes:
                    raise NotApplicable("its episodes are a list that a data set of its own lays down") from error
                if name == "even":
                    raise Violation(f"it refuses 60 classes of 60 images: {error}") from error
                continue
            yield name, split, protocol

    def _drawn(self) -> Iterator[tuple[str, ClassSplit, EpisodeBatch]]:
        for name, split, protocol in self._fitting():
            words = self._words(protocol, split, _EPISODES)
            while len(words):  # where shapes differ, as many as are drawn at once
                batch = protocol.draw(words, split)
                yield name, split, batch
                words = words[max(1, len(batch)) :]

    @staticmethod
    def _words(protocol: EpisodeProtocol, split: ClassSplit, episodes: int) -> NDArray[np.uint64]:
        return Stream("conformance episodes", protocol.width(split)).words(0, episodes)


def _split(counts: list[int], groups: int = 0) -> ClassSplit:
    """A split of one-pixel images, its classes in so many groups."""
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    images = np.zeros((int(starts[-1]), 1, 1, 1), dtype=np.uint8)
    names = tuple(f"class{label}" for label in range(len(counts)))
    return ClassSplit(
        images, starts, names, tuple(f"group{label % groups}" for label in range(len(counts))) if groups else ()
    )


def _each(protocol: EpisodeProtocol, split: ClassSplit, words: NDArray[np.uint64]) -> Iterator[EpisodeBatch]:
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


def _rows(batch: EpisodeBatch) -> NDArray[np.int64]:
    return np.concatenate([batch.support[0], batch.support_labels[0], batch.query[0], batch.query_labels[0]])


@dataclass(frozen=True)
class _Block:
    """Rows whose classes all have `size` images, and for what they are used."""

    start: int
    stop: int
    size: int
    parts: tuple[str, ...]
    what: str = "a class"


def _blocks(split: ClassSplit) -> list[_Block]:
    if isinstance(split, PairedSplit):
        ends = (split.starts, "query", "a measured class"), (split.support_starts, "support", "a class for support")
        return [
            _Block(int(starts[0]), int(starts[-1]), int(starts[1] - starts[0]), (part,), what)
            for starts, part, what in ends
        ]
    first = _Block(0, int(split.starts[-1]), int(split.counts[0]), ("support", "query"))
    if not isinstance(split, JointSplit):
        return [first]
    beside = (split.base_starts, "support", "a base class"), (split.reserve_starts, "query", "the reserve of a class")
    return [first] + [
        _Block(int(starts[0]), int(starts[-1]), int(starts[1] - starts[0]), (part,), what)
        for starts, part, what in beside
    ]


def _owners(split: ClassSplit, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return split.class_of(rows)


def _classes(batch: EpisodeBatch, split: ClassSplit) -> NDArray[np.int64]:
    """The class of each label of one episode."""
    first = np.unique(batch.support_labels[0], return_index=True)[1]
    return _owners(split, batch.support[0, first])


def _label_problem(batch: EpisodeBatch, episode: int, split: ClassSplit) -> str:
    """What is wrong with the labels of an episode, '' if nothing is."""
    support, query = batch.support_labels[episode], batch.query_labels[episode]
    owners, asked = _owners(split, batch.support[episode]), _owners(split, batch.query[episode])
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
