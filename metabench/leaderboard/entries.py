"""Measured records that stand on a leaderboard: their column, their file name, and what lets them in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from metabench.errors import MetabenchError
from metabench.records.record import RecordError
from metabench.registry.metric import ACCURACY, Metric
from metabench.registry.specs import FIXED_WAY, TEST
from metabench.statistics.episode_scores import answers, metric_of
from metabench.utils.hashing import canonical_json

RESERVED = ("readme", "published", "records", "weights", "index", "invalidated", "contamination")
"""Files of the folder that a data set's page must not replace."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, order=True)
class Cell:
    """A column of a page: what episodes are like.

    These are way and shot, the protocol's name unless it is the usual one (`FIXED_WAY`), the metric, and the protocol's
    other parameters and version, as ``query=15``. Where a protocol draws way or shot anew, or has none, that one is 0.
    Columns of the usual protocol come first.
    """

    protocol: str
    way: int
    shot: int
    metric: Metric = ACCURACY
    params: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What stands above the column, where no other differs from it in `params` alone."""
        numbers = [f"{self.way}-way"] * (self.way > 0) + [f"{self.shot}-shot"] * (self.shot > 0)
        title = " ".join(filter(None, [self.protocol, *numbers]))
        return title if self.metric == ACCURACY else f"{title}, {self.metric.title}"

    @property
    def full_title(self) -> str:
        """The title and all of `params`."""
        return ", ".join([self.title, *self.params])

    @property
    def word(self) -> str:
        """The same for file names, as in ``5w1s``."""
        numbers = f"{self.way}w" * (self.way > 0) + f"{self.shot}s" * (self.shot > 0)
        return "-".join(filter(None, [self.protocol, numbers]))


@dataclass(frozen=True)
class Entry:
    """A measured record and the name of its file in ``records/``.

    Attributes:
        origin: the inputs of the run that trained the weights which this one had from a file; None where not known.
    """

    record: Mapping[str, Any]
    file: str
    origin: Mapping[str, Any] | None = None

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The record's inputs."""
        inputs: Mapping[str, Any] = self.record["inputs"]
        return inputs

    @property
    def key(self) -> str:
        """The key of the run."""
        return str(self.record["key"])

    @cached_property
    def cell(self) -> Cell:
        """The column it belongs to."""
        protocol = self.inputs["protocol"]
        way, shot = protocol["params"].get("way", 0), protocol["params"].get("shot", 0)
        usual = protocol["name"] == FIXED_WAY and way and shot
        others = {name: value for name, value in protocol["params"].items() if name not in ("way", "shot")}
        params = (*(f"{name}={others[name]}" for name in sorted(others)), f"version={protocol['version']}")
        return Cell("" if usual else protocol["name"], way, shot, metric_of(self.record["scores"]), params)

    @cached_property
    def variant(self) -> str:
        """The exact test data (canonical JSON); scores on different variants are not comparable."""
        return canonical_json(self.inputs["dataset"])

    @property
    def training(self) -> Mapping[str, Any] | None:
        """How the weights were trained, here or where they came from; None where nothing was."""
        training: Mapping[str, Any] | None = (self.origin or self.inputs)["training"]
        return training

    @property
    def seed(self) -> int | None:
        """The seed of the training; None where nothing was trained, or nobody knows."""
        seed: int | None = (self.training or {}).get("seed")
        return seed

    @property
    def stream(self) -> str:
        """What determines the episodes: records that agree in it must have the same `episodes_digest`."""
        inputs, scores = self.inputs, self.record["scores"]
        drawn = {name: value for name, value in inputs["evaluation"].items() if name != "stop"}
        return canonical_json([inputs["dataset"], inputs["protocol"], drawn, len(answers(scores))])


def file_name(record: Mapping[str, Any]) -> str:
    """Return the file name of an admitted record."""
    where = Entry(record, "").cell.word
    inputs = record["inputs"]
    return f"{inputs['algorithm']['name']}-{inputs['dataset']['name']}-{where}-{record['key'][:12]}.json"


def admit(record: Mapping[str, Any]) -> None:
    """Check that a valid record may stand on a leaderboard.

    Raises:
        MetabenchError: its run did not succeed or measured another split than test, it is marked as local, or a name
            is not fit for a file.
    """
    short = record["key"][:12]
    if record["status"] != "ok":
        raise MetabenchError(f"record {short} is {record['status']}: only a run that succeeded can be added")
    if (split := record["inputs"]["dataset"]["split"]) != TEST:
        raise MetabenchError(f"record {short} measures the split '{split[:20]}', for choosing: only {TEST} is a result")
    parts = (part for part in record["inputs"].values() if isinstance(part, dict))
    if record["provenance"].get("local") or any("file_sha256" in part for part in parts):
        raise MetabenchError(f"record {short} was made with local code or data that others do not have")
    for part in ("algorithm", "backbone", "dataset", "protocol"):
        name = record["inputs"][part]["name"]
        if not NAME.fullmatch(name):
            raise RecordError(f"record {short}: the {part} name {name[:80]!r} is not fit for a leaderboard")
    if record["inputs"]["dataset"]["name"].lower() in RESERVED:
        raise RecordError(f"record {short}: a leaderboard cannot have a data set of that name")
