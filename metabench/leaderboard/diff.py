"""Changes of a contribution: a leaderboard folder now against the same folder in a git revision."""

from __future__ import annotations

import io
import subprocess
import tempfile
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.leaderboard.board import Section
from metabench.leaderboard.entries import Entry
from metabench.leaderboard.folder import Contents, Leaderboard
from metabench.leaderboard.row_labels import row_labels
from metabench.leaderboard.rows import BoardRow
from metabench.records.inputs import as_plain
from metabench.reports.score_text import score_text
from metabench.statistics.tied_ranks import rank_text
from metabench.utils.hashing import canonical_json, file_sha256

MAX_ARCHIVE = 2**30
"""Largest size of the old folder, in bytes."""
MAX_WEIGHTS = 2 * 2**20
"""Bytes of weights that a leaderboard keeps beside a record; larger ones have their checksum in the record."""


@dataclass(frozen=True)
class RankChange:
    """A row whose rank in a column changed; None where it had none, or has none any more."""

    where: str
    row: str
    score: str
    before: str | None
    after: str | None


@dataclass
class Changes:
    """Differences between two states of a leaderboard.

    Attributes:
        added, removed, altered: record files; those listed as invalid are not in the last two.
        invalidated: records that counted and no longer do.
        ranks: rows that are new, gone, or have another rank.
        refused: why the contribution cannot be taken as it is, one line each.
        remarks: what a maintainer should look at.
    """

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    invalidated: list[str] = field(default_factory=list)
    ranks: list[RankChange] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the changes as JSON types."""
        return asdict(self)


def changes(folder: Path, ref: str) -> Changes:
    """Compare a leaderboard with its state in a git revision.

    Raises:
        UsageError: the folder is in no git repository, or there is no such revision.
        MissingError: no git.
        MetabenchError: a file of either state is not valid.
    """
    now = Leaderboard(folder).contents()
    with tempfile.TemporaryDirectory() as name:
        old = Path(name)
        _extract(folder, ref, old)
        try:
            before = Leaderboard(old).contents()
        except MetabenchError as problem:
            raise MetabenchError(f"{ref}: {str(problem).replace(f'{old}/', '')}") from None
    differences = Changes()
    _compare_records(before, now, differences)
    _compare_ranks(before, now, differences)
    _check_weights(folder, now, differences)
    return differences


def _extract(folder: Path, ref: str, target: Path) -> None:
    """Write the folder as it was in `ref` to `target`; nothing if it was not there."""
    if _git(folder, "rev-parse", "--is-inside-work-tree").returncode:
        raise UsageError(f"cannot compare {folder}: it is not in a git repository. Run the command in a clone.")
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit.returncode:
        raise UsageError(
            f"cannot compare with {ref!r}: revision not found. Use a branch, tag or commit of this repository."
        )
    revision = commit.stdout.decode().strip()
    prefix, top = (
        _git(folder, "rev-parse", word).stdout.decode().strip() for word in ("--show-prefix", "--show-toplevel")
    )
    if _git(folder, "cat-file", "-e", f"{revision}:{prefix}").returncode:
        return
    # A zip: zipfile keeps members below the target and makes no links. Stored, so that its size bounds the content.
    archive = _git(Path(top), "archive", "--format=zip", "-0", f"{revision}:{prefix}")
    if archive.returncode or len(archive.stdout) > MAX_ARCHIVE:
        reason = archive.stderr.decode(errors="replace").strip() or f"larger than {MAX_ARCHIVE:,} bytes"
        raise MetabenchError(f"cannot read {prefix or '.'} of {ref}: {reason}")
    try:
        with zipfile.ZipFile(io.BytesIO(archive.stdout)) as files:
            files.extractall(target)
    except zipfile.BadZipFile as problem:
        raise MetabenchError(f"cannot read {prefix or '.'} of {ref}: {problem}") from None


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, timeout=120, check=False)
    except FileNotFoundError:
        raise MissingError("cannot compare with a revision: git not found. Install git.") from None


def _compare_records(before: Contents, now: Contents, differences: Changes) -> None:
    old, new = ({entry.key: entry for entry in contents.entries} for contents in (before, now))
    differences.added = sorted(entry.file for key, entry in new.items() if key not in old)
    for key, entry in sorted(old.items(), key=lambda item: item[1].file):
        if key in now.invalidated:
            if key not in before.invalidated:
                differences.invalidated.append(entry.file)
        elif key not in new:
            differences.removed.append(entry.file)
            differences.refused.append(
                f"removed {entry.file}: list it in invalidated.toml, with removed = true and the reason"
            )
        elif _substance(entry) != _substance(new[key]):
            differences.altered.append(entry.file)
            differences.refused.append(f"altered {entry.file}: records are never edited; list it in invalidated.toml")
    for what, old_ones, new_ones in (
        ("published.csv: claims", before.claims, now.claims),
        ("contamination.toml: entries", before.overlaps, now.overlaps),
    ):
        more, fewer = len(set(new_ones) - set(old_ones)), len(set(old_ones) - set(new_ones))
        if more or fewer:
            differences.remarks.append(f"{what}: {more} added, {fewer} removed")
    for key in before.invalidated:
        if key not in now.invalidated:
            differences.refused.append(f"record {key[:12]} is no longer listed in invalidated.toml")


def _substance(entry: Entry) -> str:
    """Return what a record claims: all but its summary, which follows from the scores and may change its wording."""
    return canonical_json(
        {name: value for name, value in as_plain(entry.record).items() if name not in ("schema", "summary")}
    )


def _compare_ranks(before: Contents, now: Contents, differences: Changes) -> None:
    old, new = _places(before), _places(now)
    for place in sorted({*old, *new}, key=lambda place: (new.get(place) or old[place])[0]):
        was, is_now = old.get(place), new.get(place)
        if was is None or is_now is None or was[2] != is_now[2]:
            (where, row, _), score, _ = new.get(place) or old[place]
            differences.ranks.append(RankChange(where, row, score, was and was[2], is_now and is_now[2]))


_Place = tuple[tuple[str, str, int], str, str]


def _places(contents: Contents) -> dict[tuple[str, str, str], _Place]:
    """Return every result by (variant, row, column): ((where, row's name, order), score, rank)."""
    places: dict[tuple[str, str, str], _Place] = {}
    for board in contents.boards():
        several = len(board.sections) > 1
        for section in board.sections:
            where = board.name + (f" ({section.dataset.digest[:8]})" if several else "")
            labels = row_labels(section.rows)
            for row in section.rows:
                places |= _row_places(section, row, where, labels[row.identity])
    return places


def _row_places(section: Section, row: BoardRow, where: str, name: str) -> dict[tuple[str, str, str], _Place]:
    variant = row.first.variant
    places: dict[tuple[str, str, str], _Place] = {}
    for number, cell in enumerate(section.cells):
        if (result := row.cells.get(cell)) is not None:
            seeds = f", {len(result.entries)} seeds" if len(result.entries) > 1 else ""
            score = score_text(result.score, result.ci95, result.open95, cell.metric.digits) + seeds
            title = section.title_of(cell)
            place = (f"{where}, {title}", name, number)
            places[variant, row.identity, str(cell)] = place, score, rank_text(section.ranks[row.identity, cell])
    return places


def _check_weights(folder: Path, now: Contents, differences: Changes) -> None:
    """Check that weights are named by their checksum, are small and belong to a record.

    A trained record should have its weights in the folder.
    """
    wanted: dict[str, str] = {}
    for entry in now.entries:
        if entry.inputs.training is not None:
            wanted[entry.record.weights_sha256] = entry.file
    files = sorted((folder / "weights").glob("*")) if (folder / "weights").is_dir() else []
    for path in files:
        if path.suffix != ".safetensors" or path.stem not in wanted:
            differences.refused.append(f"weights/{path.name}: no record is of these weights")
        elif path.stat().st_size > MAX_WEIGHTS:
            differences.refused.append(f"weights/{path.name}: larger than {MAX_WEIGHTS:,} bytes")
        elif file_sha256(path) != path.stem:
            differences.refused.append(f"weights/{path.name}: the name is not the SHA-256 of the file")
    kept = {path.stem for path in files}
    differences.remarks += [
        f"{file}: its weights are not beside it" for sha, file in sorted(wanted.items()) if sha not in kept
    ]
    _remark_on_rows(now, differences)


def _remark_on_rows(now: Contents, differences: Changes) -> None:
    """Remark on columns without a floor row, and on seeds that are the same model twice."""
    for board in now.boards():
        for section in board.sections:
            for row in section.rows:
                for cell, result in row.cells.items():
                    hashes = [entry.record.weights_sha256 for entry in result.entries]
                    if len(set(hashes)) < len(hashes):
                        differences.remarks.append(
                            f"{result.entries[0].file}: {section.title_of(cell)} has two seeds of the same weights"
                        )
            titles = "; ".join(map(section.title_of, section.floorless))
            if titles:
                differences.remarks.append(f"{board.name}: no floor row is measured for {titles}")
