"""Measured records that stand on a leaderboard: their column, their file name, and what lets them in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from msgspec import structs

from metabench.errors import MetabenchError
from metabench.records.checks import RecordError
from metabench.records.inputs import Inputs, TrainingInputs, as_plain
from metabench.records.schema import Record
from metabench.registry.metric import ACCURACY, Metric
from metabench.registry.specs import FIXED_WAY, TEST
from metabench.utils.hashing import canonical_json

RESERVED = ("readme", "published", "records", "weights", "index", "invalidated", "contamination")
"""Files of the folder that a dataset's page must not replace."""
FILE_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, order=True)
class Column:
    """A column of a page: one kind of episodes.

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
        """The heading of the column, where no other differs from it in `params` alone."""
        numbers = [f"{self.way}-way"] * (self.way > 0) + [f"{self.shot}-shot"] * (self.shot > 0)
        title = " ".join(filter(None, [self.protocol, *numbers]))
        return title if self.metric == ACCURACY else f"{title}, {self.metric.title}"

    @property
    def full_title(self) -> str:
        """The title and all of `params`."""
        return ", ".join([self.title, *self.params])

    @property
    def word(self) -> str:
        """The title for file names, as in ``5w1s``."""
        numbers = f"{self.way}w" * (self.way > 0) + f"{self.shot}s" * (self.shot > 0)
        return "-".join(filter(None, [self.protocol, numbers]))


@dataclass(frozen=True)
class Entry:
    """A measured record and the name of its file in ``records/``.

    Attributes:
        origin: the inputs of the run that trained the weights which this one had from a file; None if unknown.
    """

    record: Record
    file: str
    origin: Inputs | None = None

    @property
    def inputs(self) -> Inputs:
        """The record's inputs."""
        return self.record.inputs

    @property
    def key(self) -> str:
        """The key of the run."""
        return self.record.key

    @cached_property
    def cell(self) -> Column:
        """The column it belongs to."""
        protocol = self.inputs.protocol
        way, shot = int(protocol.params.get("way", 0)), int(protocol.params.get("shot", 0))
        usual = protocol.name == FIXED_WAY and way and shot
        others = {name: value for name, value in protocol.params.items() if name not in ("way", "shot")}
        params = (*(f"{name}={others[name]}" for name in sorted(others)), f"version={protocol.version}")
        return Column("" if usual else protocol.name, way, shot, self.record.metric, params)

    @cached_property
    def variant(self) -> str:
        """The exact test data (canonical JSON); scores on different variants are not comparable."""
        return canonical_json(as_plain(self.inputs.dataset))

    @property
    def training(self) -> TrainingInputs | None:
        """The training of the weights, here or where they came from; None where nothing was trained."""
        return (self.origin or self.inputs).training

    @property
    def seed(self) -> int | None:
        """The seed of the training; None where nothing was trained or it is unknown."""
        return (self.origin or self.inputs).seed

    @property
    def checkpoint(self) -> str:
        """The digest of the file that the weights came from; '' where they came from none."""
        return "" if self.inputs.training is None else self.inputs.training.checkpoint

    @property
    def stream(self) -> str:
        """Everything that determines the episodes: records that agree in it must have the same `episodes_digest`."""
        parts = (self.inputs.dataset, self.inputs.protocol, structs.replace(self.inputs.evaluation, stop=None))
        return canonical_json([*map(as_plain, parts), len(self.record.measured)])


def file_name(record: Record) -> str:
    """Return the file name of an admitted record."""
    where = Entry(record, "").cell.word
    return f"{record.inputs.algorithm.name}-{record.inputs.dataset.name}-{where}-{record.short_key}.json"


def admit(record: Record) -> None:
    """Check that a valid record may stand on a leaderboard.

    Raises:
        MetabenchError: its run did not succeed or measured another split than test, it is marked as local, or a name
            is not fit for a file.
    """
    short = record.short_key
    if record.status != "ok":
        raise MetabenchError(
            f"cannot add the record {short}: its run is {record.status}. Only a run that succeeded can be added."
        )
    if (split := record.inputs.dataset.split) != TEST:
        raise MetabenchError(
            f"cannot add the record {short}: it measures the split '{split[:20]}', which is for choosing. "
            f"Measure the split {TEST}."
        )
    plugins = record.inputs.plugins
    if record.provenance.local or any(plugin.file_sha256 for plugin in plugins.values()):
        raise MetabenchError(
            f"cannot add the record {short}: it was made with local code or data that others do not have. "
            "Use installed plugins and datasets by name."
        )
    for kind, plugin in plugins.items():
        if not FILE_SAFE_NAME.fullmatch(plugin.name):
            raise RecordError(
                f"cannot add the record {short}: the {kind} name {plugin.name[:80]!r} is not fit for a file name. "
                "Use letters, digits, '.', '_' and '-'."
            )
    if record.inputs.dataset.name.lower() in RESERVED:
        dataset = record.inputs.dataset.name
        raise RecordError(
            f"cannot add the record {short}: a leaderboard cannot have a dataset named {dataset!r}, which is the name "
            "of one of its files. Rename the dataset."
        )
