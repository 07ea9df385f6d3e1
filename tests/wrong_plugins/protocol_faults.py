"""Protocols with one fault each, all made from the sound one."""

import dataclasses

import numpy as np

from metabench.api import EpisodeBatch, Param, ProtocolSpec, UsageError, choose, hookimpl

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


class Recalling(Sound):
    """Base classes are asked about with images of training too"""

    n_query = WAY * QUERY + 4

    def __init__(self, reserve):
        pass

    def width(self, split):
        return super().width(split) + 2 * (1 + 3)

    def draw(self, words, split):
        own = super().width(split)
        batch, classes = super().draw(words[:, :own], split), choose(words[:, own : own + 2], len(split.base_names))
        drawn = [
            [self.base(line, label, split) for label, line in zip(labels, lines, strict=True)]
            for labels, lines in zip(classes, words[:, own + 2 :].reshape(-1, 2, 3), strict=True)
        ]
        rows = np.array(drawn)
        return EpisodeBatch(
            support=np.hstack([batch.support, rows[:, :, 0]]),
            support_labels=np.hstack([batch.support_labels, np.tile([WAY, WAY + 1], (len(rows), 1))]),
            query=np.hstack([batch.query, rows[:, :, 1:].reshape(len(rows), -1)]),
            query_labels=np.hstack([batch.query_labels, np.tile(np.repeat([WAY, WAY + 1], 2), (len(rows), 1))]),
            way=WAY + 2,
        )

    def base(self, words, label, split):
        """Two images of training, one of the reserve."""
        known, asked = (starts[label : label + 2] for starts in (split.base_starts, split.reserve_starts))
        pair = known[0] + choose(words[None, :2], int(np.diff(known)[0]))[0]
        return [*pair, asked[0] + choose(words[None, 2:], int(np.diff(asked)[0]))[0, 0]]


class Mixing(Sound):
    """Support is drawn from the split that is asked about too"""

    def draw(self, words, split):
        batch, classes = super().draw(words, split), self.classes(words, split)
        support = batch.support.reshape(-1, WAY, SHOT).copy()
        images = words[:, WAY:].reshape(len(words), WAY, SHOT + QUERY)[:, :, :SHOT]
        for episode in np.flatnonzero(words[:, WAY] % np.uint64(2)):  # the others keep what they have
            for place, label in enumerate(classes[episode]):
                first, end = split.support_starts[label : label + 2]
                support[episode, place] = first + self.places(images[episode, place], int(end - first))
        return dataclasses.replace(batch, support=support.reshape(len(words), -1))


BESIDE = {"params": (Param("reserve", 0.2, "share"),), "beside": "train", "training": "fixed-way"}
FAULTS = (
    Sound,
    Leaking,
    Swapped,
    Neighbours,
    Global,
    InOrder,
    FirstImages,
    Miscounting,
    Trusting,
    Doubling,
    Recalling,
    Mixing,
)
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
    "recalling",
    "mixing",
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
            **{Recalling: BESIDE, Mixing: {"support": "train"}}.get(fault, {}),
        )
        for name, fault in zip(NAMES, FAULTS, strict=True)
    ]
