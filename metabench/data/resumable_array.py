"""Arrays made row by row: in parallel, with progress, and resumed after an interruption."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.data.array_cache import ArrayMap, create_array, made_once, open_array
from metabench.data.parallel_rows import Make, made_blocks
from metabench.errors import MetabenchError
from metabench.utils.atomic_files import replacing, sync
from metabench.utils.bounded_files import read_bounded

Finish = Callable[[NDArray[np.uint8], Mapping[int, str]], None]
ReportProgress = Callable[[int, int], None]

MOST_BAD = 100
"""So many unusable rows end the work: more of them would tell nothing new."""
_BLOCK_BYTES = 1 << 20
_LINE_BYTES = 32
"""The longest line of a journal: two numbers of at most ten digits are less."""
_SYNC_EVERY = 64
"""Blocks after which the disk is waited for, while others are being made: not for all of them at the end."""


@dataclass(frozen=True)
class Journal:
    """The blocks of a draft that are done, each with the CRC-32 of its bytes, one line for each.

    The checksum tells whether a block really reached the file: a killed process loses nothing that it wrote, but a
    power cut may keep the line and lose the pixels.

    Attributes:
        path: its file.
        plan: names what the rows are made of and how; what was noted for another plan counts for nothing.
    """

    path: Path
    plan: str

    @property
    def draft(self) -> Path:
        """The file that the blocks are in."""
        return self.path.with_suffix("")

    def read(self, count: int) -> dict[int, int]:
        """Return the checksum of every block noted down, of `count` blocks; none where the file is larger than that."""
        head = self._head()
        try:
            first, *lines = read_bounded(self.path, len(head) + _LINE_BYTES * (count + 1), ValueError).splitlines()
        except (OSError, ValueError):
            return {}
        if first != head:
            return {}
        blocks = {}
        for line in lines:
            number, _, crc = line.partition(b" ")
            # The last line may be cut short: then its checksum is wrong.
            if number.isdigit() and crc.isdigit() and len(line) < _LINE_BYTES:
                blocks[int(number)] = int(crc)
        return blocks

    def start(self, blocks: Mapping[int, int]) -> None:
        """Begin anew with the blocks that are known to be good."""
        lines = [self._head(), *(b"%d %d" % item for item in blocks.items())]
        with replacing(self.path, durable=False) as temporary:
            temporary.write_bytes(b"\n".join(lines) + b"\n")

    def _head(self) -> bytes:
        return json.dumps(self.plan).encode()


def cached_rows(
    path: Path,
    shape: tuple[int, ...],
    plan: str,
    make: Make,
    finish: Finish,
    report: ReportProgress = lambda done, total: None,
    draft: Path | None = None,
    most_bad: int | None = None,
) -> NDArray[np.uint8]:
    """Return the uint8 array at `path`, first making its rows with ``make(index)``, in parallel, if it is not there.

    Hundreds of rows are made in processes if `make` can be pickled and there are any (`metabench.runtime.forked_pool`),
    else in threads, which share the files that are read. The array appears under its name only when complete.
    Interrupted, even by SIGKILL, the work goes on from its draft with the blocks that are not done.

    Args:
        path: of the array; what identifies its content belongs into the name.
        shape: of the array, (rows, ...).
        plan: names what the rows are made of; a draft made by another plan is not gone on with.
        make: returns a row; called in any order, by several threads or in copies of this process; raises `Unusable`
            where it cannot.
        finish: called with all rows and the reasons of the unusable ones (which are zeros) before
            the array is published; raises to refuse that, and may change the rows.
        report: called with rows done and rows in all.
        draft: the file it is made in; one beside `path` where not given.
        most_bad: so many unusable rows end the work; `MOST_BAD` where not given.

    Raises:
        MetabenchError: the folder cannot be written; or whatever `make` and `finish` raise.
    """

    def build(place: Path) -> None:
        report(0, shape[0])
        journal = Journal(place.with_name(place.name + ".done"), plan)
        size = max(1, _BLOCK_BYTES // max(1, int(np.prod(shape[1:]))))
        blocks = [range(first, min(first + size, shape[0])) for first in range(0, shape[0], size)]
        with replacing(path, draft=place, keep=True):
            out, done = _resumed(place, shape, journal.read(len(blocks)), blocks)
            journal.start(done)
            finish(out, _fill(out, blocks, done, make, journal, report, most_bad or MOST_BAD))
            out.flush()
        journal.path.unlink()

    return made_once(path, shape, draft or path.with_name(path.name + ".partial"), build)


def refuse_bad(what: str, names: Callable[[int], str], remedy: str) -> Finish:
    """Return a `Finish` that refuses unusable rows: how many, the first three, and what to do."""

    def finish(out: NDArray[np.uint8], bad: Mapping[int, str]) -> None:
        if bad:
            listed = [f"{names(row)} ({bad[row]})" for row in sorted(bad)]
            count = f"at least {len(bad)}" if len(bad) >= MOST_BAD else str(len(bad))
            raise MetabenchError(f"{what}: {count} of {len(out)} cannot be used: {first_three(listed)}; {remedy}")

    return finish


def first_three(names: Iterable[str]) -> str:
    """Return three names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + more


def cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _resumed(
    draft: Path, shape: tuple[int, ...], noted: Mapping[int, int], blocks: list[range]
) -> tuple[ArrayMap, dict[int, int]]:
    """Return the array to be filled, and which of the noted blocks it really holds."""
    if not noted or open_array(draft, shape) is None:
        return create_array(draft, shape), {}
    out = np.lib.format.open_memmap(draft, mode="r+")
    known = {number: crc for number, crc in noted.items() if number < len(blocks)}
    return out, {number: crc for number, crc in known.items() if _checksum(out, blocks[number]) == crc}


def _checksum(out: NDArray[np.uint8], rows: range) -> int:
    return zlib.crc32(out[rows.start : rows.stop].data)


def _fill(
    out: NDArray[np.uint8],
    blocks: list[range],
    done: Mapping[int, int],
    make: Make,
    journal: Journal,
    report: ReportProgress,
    most_bad: int,
) -> dict[int, str]:
    """Make the blocks that are not done and note each; return the reasons of the unusable rows."""
    bad: dict[int, str] = {}
    rows_done = sum(len(blocks[number]) for number in done)
    report(rows_done, len(out))
    left = {number: rows for number, rows in enumerate(blocks) if number not in done}
    with closing(made_blocks(make, out, left, cores())) as made, journal.path.open("ab", buffering=0) as stream:
        for count, (number, (crc, unusable)) in enumerate(made, 1):
            bad |= unusable
            if len(bad) >= most_bad:
                break
            if not unusable:
                stream.write(b"%d %d\n" % (number, crc))
            if count % _SYNC_EVERY == 0:
                sync(journal.draft)
            rows_done += len(blocks[number])
            report(rows_done, len(out))
    return bad
