"""The conformance class of protocols."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest

from metabench.data.joint_split import JointSplit
from metabench.episodes.protocols import DisjointProtocol
from metabench.errors import UsageError
from metabench.registry.specs import ProtocolSpec
from metabench.testing.checks.spec import SpecChecks
from metabench.testing.conformance import RARE, NotApplicable, Violation, conformance_check, describe_raised
from metabench.testing.support.protocol_case import (
    CHECKED_EPISODES,
    ProtocolCase,
    blocks_of,
    classes_of,
    label_problem,
    made_up_split,
    rows_and_labels,
    single_episodes,
)
from metabench.utils.text import is_or_are, pluralise

_MANY = 1500


class ProtocolConformance(ProtocolCase, SpecChecks[ProtocolSpec]):
    """Every check of a protocol, on made-up splits whose classes are of one size, or of many."""

    @conformance_check(
        "no image is twice in an episode",
        means="A query that is a support image is answered by looking it up: accuracy is too high.",
        fix="Draw the images of a class together, without replacement, and divide them into support and query.",
    )
    def test_distinct_images(self) -> None:
        """Require rows of the split, each at most once, in support and query together."""
        for name, split, batch in self.drawn():
            for episode, rows in enumerate(np.concatenate([batch.support, batch.query], axis=1)):
                if rows.min() < 0 or rows.max() >= blocks_of(split)[-1].stop:
                    raise Violation(
                        f"{name}: episode {episode} has row {rows.min()} or {rows.max()}, which do not exist"
                    )
                if twice := len(rows) - len(np.unique(rows)):
                    raise Violation(
                        f"{name}: {pluralise(twice, 'image')} {is_or_are(twice)} twice in episode {episode}"
                    )

    @conformance_check(
        "labels say which class an image is of",
        means="Right answers count as wrong, or a class competes with itself.",
        fix="Draw distinct classes; label the images of each with one number from 0 to way - 1, in support and query; "
        "queries of a class that the support set lacks have the label -1.",
    )
    def test_labels(self) -> None:
        """Require one class for each label, all labels in the support set, every query of the class of its label."""
        for name, split, batch in self.drawn():
            for episode in range(len(batch)):
                if problem := label_problem(batch, episode, split):
                    raise Violation(f"{name}: episode {episode} {problem}")

    @conformance_check(
        "an episode depends on its own random words alone",
        means="Chunk size, resuming or the number of episodes changes which are drawn: no result is comparable.",
        fix="Make row b of draw() from words[b] and the split, and from nothing that draw() leaves behind.",
    )
    def test_addressed(self) -> None:
        """Draw episodes alone and among others, in any order, again, and by a new instance."""
        for name, split, protocol in self.fitting():
            words = self.words(protocol, split, 12)
            whole = [rows_and_labels(batch) for batch in single_episodes(protocol, split, words)]
            fresh = self.make()
            for index in (11, 3, 7, 0):
                for maker, made in ((protocol, "again"), (fresh, "by a new instance")):
                    alone = rows_and_labels(next(single_episodes(maker, split, words[index : index + 1])))
                    if not np.array_equal(alone, whole[index]):
                        raise Violation(f"{name}: episode {index} is another one when drawn {made} by itself")

    @conformance_check(
        "the global random state is neither used nor changed",
        means="The same seed draws other episodes, in another process or after something else was run.",
        fix="Take all randomness from the words that draw() is given.",
    )
    def test_global_rng(self) -> None:
        """Draw with NumPy's state seeded in two ways."""
        for name, split, protocol in self.fitting():
            words, drawn = self.words(protocol, split, 4), []
            before = np.random.get_state(legacy=False)  # noqa: NPY002
            try:
                for seed in (1, 2):
                    np.random.seed(seed)  # noqa: NPY002
                    state = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
                    drawn.append([rows_and_labels(batch) for batch in single_episodes(protocol, split, words)])
                    after = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
                    if not np.array_equal(state, after):
                        raise Violation(f"{name}: draw() uses numpy's global random state")
            finally:
                np.random.set_state(before)  # noqa: NPY002
            if any(not np.array_equal(one, two) for one, two in zip(*drawn, strict=True)):
                raise Violation(f"{name}: the episodes depend on numpy's global seed")

    @conformance_check(
        "every class is drawn, and labels favour none",
        means="The mean over episodes is not of the classes of the test set, or a guess that follows labels is none.",
        fix="Choose among all classes, and give out labels in random order.",
    )
    def test_every_class(self) -> None:
        """Count classes over many episodes; of two labels the lower one must have the lower class in half of them."""
        for name, split, protocol in self.fitting():
            classes = [
                classes_of(batch, split)
                for batch in single_episodes(protocol, split, self.words(protocol, split, _MANY))
            ]
            seen = np.unique(np.concatenate(classes))
            total = len(split.names) + (len(split.base_names) if isinstance(split, JointSplit) else 0)
            if unseen := total - len(seen):
                raise Violation(f"{name}: {pluralise(unseen, 'class')} {is_or_are(unseen)} in none of {_MANY} episodes")
            ordered = sum(bool(of[0] < of[1]) for of in classes if len(of) > 1)
            if len(classes[0]) > 1 and binomtest(ordered, len(classes), 0.5).pvalue < RARE:
                raise Violation(
                    f"{name}: label 0 has an earlier class than label 1 in {ordered} of {len(classes)} episodes"
                )

    @conformance_check(
        "every image of a class can be support and query",
        means="Part of the data is never looked at, or the answers to some images are known by their place.",
        fix="Draw the images of a class in random order.",
    )
    def test_every_image(self) -> None:
        """Count images over many episodes, by their place in the class, where all classes have one size."""
        for name, split, protocol in self.fitting(("even",)):
            seen = [(block, part, np.zeros(block.size, int)) for block in blocks_of(split) for part in block.parts]
            for batch in single_episodes(protocol, split, self.words(protocol, split, _MANY)):
                for block, part, counts in seen:
                    rows = getattr(batch, part)[0]
                    inside = rows[(rows >= block.start) & (rows < block.stop)] - block.start
                    counts += np.bincount(inside % block.size, minlength=block.size)
            for block, part, counts in seen:
                if not counts.all():
                    never = np.flatnonzero(counts == 0)[:3].tolist()
                    raise Violation(f"{name}: images {never} of {block.what} are never {part}")

    @conformance_check(
        "what training has seen is never asked about",
        means="Base classes look easier than they are: their queries were learned by heart.",
        fix="Draw the support of base classes from JointSplit.base_starts and their queries from reserve_starts.",
    )
    def test_reserve(self) -> None:
        """Check protocols with base classes beside the measured ones."""
        if not self.spec.beside:
            raise NotApplicable("it measures no base classes")
        for name, split, batch in self.drawn():
            assert isinstance(split, JointSplit)
            first, reserve = split.base_starts[0], split.reserve_starts[0]
            if known := int(((batch.query >= first) & (batch.query < reserve)).sum()):
                raise Violation(f"{name}: {pluralise(known, 'query')} {is_or_are(known)} of the images of training")
            if given := int((batch.support >= reserve).sum()):
                raise Violation(f"{name}: {given} support images are of the reserve, which is there to be asked about")
            if not (batch.query >= reserve).any(1).all():
                raise Violation(f"{name}: an episode asks about no base class")

    @conformance_check(
        "what is asked about is never support",
        means="A test image is among the labelled ones: accuracy is too high.",
        fix="Draw support from PairedSplit.support_starts and queries from starts.",
    )
    def test_support_split(self) -> None:
        """Check protocols whose support comes from another split; all queries must be of the measured one."""
        if not self.spec.support:
            raise NotApplicable("support and queries are of one split")
        for name, split, batch in self.drawn():
            if given := int((batch.support < split.starts[-1]).sum()):
                raise Violation(f"{name}: {given} support images are of the split that is measured")
            if asked := int((batch.query >= split.starts[-1]).sum()):
                raise Violation(f"{name}: {pluralise(asked, 'query')} {is_or_are(asked)} of the split for support")

    @conformance_check(
        "an episode has as many queries as it says",
        means="Counts of correct answers are out of another number, and ties are broken by words that do not exist.",
        fix="Set n_query to the number of queries of an episode, or where episodes differ, to the most.",
    )
    def test_n_query(self) -> None:
        """Compare with n_query, which where all episodes have one shape is their number of queries."""
        for name, split, protocol in self.fitting():
            queries = {
                batch.query.shape[1]
                for batch in single_episodes(protocol, split, self.words(protocol, split, CHECKED_EPISODES))
            }
            if max(queries) > protocol.n_query or (len(queries) == 1 and queries != {protocol.n_query}):
                raise Violation(
                    f"{name}: n_query is {protocol.n_query}, and episodes have {sorted(queries)[-3:]} queries"
                )

    @conformance_check(
        "a split that cannot furnish an episode is refused with a remedy",
        means="A user meets a traceback, or episodes that are not what they are said to be.",
        fix="Raise metabench.api.UsageError in check(), saying which class or number is short and what to do.",
    )
    def test_refusal(self) -> None:
        """Offer one class with one image, and many classes of one image, which leave no query."""
        for classes in (1, 1000):
            words = f"a split of {classes:,} class{'es' if classes > 1 else ''} with one image" + " each" * (
                classes > 1
            )
            try:
                self.make().check(made_up_split([1] * classes))
            except UsageError:
                continue
            except Exception as error:
                raise Violation(f"of {words}: {describe_raised('check()', error)}") from error
            raise Violation(f"check() accepts {words}")

    @conformance_check(
        "episodes for open sampling are made of the images given",
        means="Episodes that are said to share no image share some.",
        fix="Use every row of arrange() once, the rows of a class under one label, the first `shot` as its support.",
    )
    def test_open(self) -> None:
        """Check protocols with way, per_class and arrange."""
        protocol = self.make()
        if not isinstance(protocol, DisjointProtocol):
            raise NotApplicable("it has no open sampling")
        way, per_class = protocol.way, protocol.per_class
        split = made_up_split([per_class] * way)
        batch = protocol.arrange(np.arange(way * per_class, dtype=np.int64).reshape(1, way, per_class))
        used = np.sort(np.concatenate([batch.support[0], batch.query[0]]))
        if not np.array_equal(used, np.arange(way * per_class)):
            raise Violation(
                f"arrange() makes episodes of {len(used)} images out of {way * per_class}, or not each once"
            )
        if problem := label_problem(batch, 0, split):
            raise Violation(f"an episode of arrange() {problem}")
