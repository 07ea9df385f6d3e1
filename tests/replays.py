"""Which committed records are replayed whole: those that a change adds or alters, or with ``--replay=all`` all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import binom

from metabench.records.schema import Record

SECONDS = 3.0
"""What the replay of every other record may take, by the time that its record gives: whole, all 175 take more than an
hour on two cores."""
LEAST, MOST = 8, 50
"""Episodes of such a replay, whatever they take."""
RARE = 0.01
"""Largest probability that more episodes of a part differ than may, where of all as many differ as may."""


@dataclass(frozen=True)
class Replays:
    """The records to be replayed whole.

    Attributes:
        whole: names of their files; None for all.
        reason: how they were found, in a few words.
    """

    whole: frozenset[str] | None
    reason: str

    def episodes(self, file: str, record: Record) -> int | None:
        """Return how many episodes of a record to replay; None for all."""
        if self.whole is None or file in self.whole:
            return None
        seconds = (record.cost.scoring_seconds or 0.0) / len(record.measured)
        return max(LEAST, min(MOST, int(SECONDS / max(seconds, 1e-9))))

    def __str__(self) -> str:
        if self.whole is None:
            return f"replays: every episode of every record ({self.reason})"
        count = f"{len(self.whole)} record{'' if len(self.whole) == 1 else 's'}"
        return f"replays: the first {LEAST} to {MOST} episodes of each record, all episodes of {count} ({self.reason})"


def choose_replays(mode: str, records: Path, environ: Mapping[str, str] = os.environ) -> Replays:
    """Return what to replay of the records in a folder.

    Args:
        mode: all, or changed: compared with the commit at which the checkout left main, or on main with the parent.
        records: the folder.
        environ: where GitHub says which branch a pull request is for.
    """
    if mode == "all":
        return Replays(None, "--replay=all")
    if _git(records, "rev-parse", "--is-inside-work-tree") != "true":
        return Replays(frozenset(), "no git repository tells which records changed")
    base = _base(records, environ)
    if not base:
        return Replays(frozenset(), "the git history does not reach back far enough to tell which changed")
    altered = _git(records, "diff", "--name-only", "--diff-filter=AM", "--find-renames=100%", base, "--", ".")
    untracked = _git(records, "ls-files", "--others", "--exclude-standard", "--", ".")
    names = {Path(line).name for line in [*altered.splitlines(), *untracked.splitlines()]}
    return Replays(frozenset(names), f"those that differ from commit {base[:12]}")


def most_differing(share: float, episodes: int, whole: bool) -> float:
    """Return how many episodes may differ where `share` of all may; of a part, as many as chance may bring (`RARE`)."""
    return share * episodes if whole else float(binom.isf(RARE, episodes, share))


def _base(folder: Path, environ: Mapping[str, str]) -> str:
    """Return the commit that a change starts from; '' where the history does not reach so far."""
    head = _git(folder, "rev-parse", "HEAD")
    target = environ.get("GITHUB_BASE_REF")
    for branch in (*([f"origin/{target}"] if target else []), "origin/main", "main"):
        fork = _git(folder, "merge-base", "HEAD", branch)
        if fork and fork != head:
            return fork
    return _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^")


def _git(folder: Path, *words: str) -> str:
    """Return what git prints; '' where it fails or is not installed."""
    try:
        result = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
