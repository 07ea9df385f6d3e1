"""Protocols with one fault each, all made from the sound one."""

import numpy as np

from metabench.api import ProtocolSpec, UsageError, hookimpl
from metabench.episodes import EpisodeBatch
from metabench.rng import choose

WAY, SHOT, QUERY = 3, 2, 4


class Sound:
    """Classes, then images of each; of fixed size."""

    way = WAY
    per_class = SHOT + QUERY
    n_query = WAY * QUERY

    def check(self, split):
        if len(split.names) < WAY or split.counts.min() < SHOT + QUERY:
            raise UsageError(f"needs {WAY} classes of {SHOT + QUERY} images")

    def width(self, split):
        return WAY * (1 + SHOT + QUERY)

    def classes(self, words, split):
        return choose(words[:, :WAY], len(split.names))

    def places(self, words, size):
        return choose(words[None], size)[0]

    def draw(self, words, split):
        classes = self.classes(words, split)
        images = words[:, WAY:].reshape(len(words), WAY, SHOT + QUERY)
        rows = [
            [
                split.starts[label] + self.places(line, int(split.counts[label]))
                for label, line in zip(*episode, strict=True)
            ]
            for episode in zip(classes, images, strict=True)
        ]
        return self.arrange(np.array(rows))

    def arrange(self, rows):
        return EpisodeBatch(
            support=rows[:, :, :SHOT].reshape(len(rows), -1),
            support_labels=np.tile(np.repeat(np.arange(WAY), SHOT), (len(rows), 1)),
            query=rows[:, :, SHOT:].reshape(len(rows), -1),
            query_labels=np.tile(np.repeat(np.arange(WAY), QUERY), (len(rows), 1)),
            way=WAY,
        )


class Leaking(Sound):
    """Support and query are drawn independently"""

    def places(self, words, size):
        return np.concatenate([choose(words[None, :SHOT], size)[0], choose(words[None, SHOT:], size)[0]])


class Swapped(Sound):
    """The query labels stand in the opposite order"""

    def draw(self, words, split):
        batch = super().draw(words, split)
        return EpisodeBatch(
            batch.support, batch.support_labels, batch.query, np.ascontiguousarray(batch.query_labels[:, ::-1]), WAY
        )


class Neighbours(Sound):
    """An episode takes its classes from the words of the one before"""

    def classes(self, words, split):
        return np.roll(super().classes(words, split), 1, axis=0)


class Global(Sound):
    """Images are drawn by numpy's global random numbers"""

    def places(self, words, size):
        return np.random.permutation(size)[: SHOT + QUERY]  # noqa: NPY002


class InOrder(Sound):
    """The labels follow the order of the classes"""

    def classes(self, words, split):
        return np.sort(super().classes(words, split), axis=1)


class FirstImages(Sound):
    """The first images of a class are always its support"""

    def places(self, words, size):
        return np.concatenate([np.arange(SHOT), SHOT + choose(words[None, SHOT:], size - SHOT)[0]])


class Miscounting(Sound):
    """The number of queries is that of one class"""

    n_query = QUERY


class Trusting(Sound):
    """The split is never looked at before episodes are drawn"""

    def check(self, split):
        pass


class Doubling(Sound):
    """Open episodes take the images of the first class twice"""

    def arrange(self, rows):
        if len(rows) == 1 and rows.max() == rows.size - 1:
            rows = np.repeat(rows[:, :1], WAY, axis=1)
        return super().arrange(rows)


FAULTS = (Sound, Leaking, Swapped, Neighbours, Global, InOrder, FirstImages, Miscounting, Trusting, Doubling)
NAMES = (
    "sound",
    "leaking",
    "swapped",
    "neighbours",
    "global",
    "in-order",
    "first-images",
    "miscounting",
    "trusting",
    "doubling",
)


@hookimpl
def metabench_protocols():
    return [
        ProtocolSpec(
            name=f"protocol-{name}",
            version=1,
            target=f"protocol_faults:{fault.__name__}",
            summary="3-way 2-shot",
            reference="none",
            licence="MIT",
        )
        for name, fault in zip(NAMES, FAULTS, strict=True)
    ]
