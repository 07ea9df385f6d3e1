"""Notes and progress on stderr; results never come this way, they go to stdout."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PLAIN_SECONDS = 10.0
"""At most one plain progress line in this many seconds."""


class ProgressReporter(Protocol):
    """Reporter that `Console.progress` yields."""

    def update(self, done: int, text: str = "", total: int | None = None) -> None:
        """Report `done` of the total; `text` adds a word such as a loss, `total` is a new total."""


@dataclass(frozen=True)
class Console:
    """Messages for the person at the terminal, or for a log file.

    Args:
        quiet: only warnings.
        verbose: whether details are wanted; only kept here for others to read.
    """

    quiet: bool = False
    verbose: bool = False

    def note(self, text: str) -> None:
        """Write a line, unless quiet."""
        if not self.quiet:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Write a line that starts with ``warning:``."""
        click.echo(f"warning: {text}", err=True)

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[ProgressReporter]:
        """Show progress towards `total`: a bar on a terminal, now and then a line elsewhere."""
        if self.quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            yield _Lines(self, label, total)
            return
        from rich.console import Console as RichConsole  # 0.1 s that only a terminal pays for
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        # rich itself leaves colours out when NO_COLOR is set
        with Bars(*columns, TimeRemainingColumn(), console=RichConsole(stderr=True), transient=True) as bars:
            yield _Bar(bars, label, total)


class _Lines:
    def __init__(self, console: Console, label: str, total: int) -> None:
        self._console, self._label, self._total = console, label, total
        self._last = time.monotonic()

    def update(self, done: int, text: str = "", total: int | None = None) -> None:
        self._total = self._total if total is None else total
        now = time.monotonic()
        if now - self._last >= PLAIN_SECONDS:
            self._last = now
            self._console.note(f"{self._label}: {done} of {self._total} {text}".rstrip())


class _Bar:
    def __init__(self, bars: RichProgress, label: str, total: int) -> None:
        self._bars, self._label = bars, label
        self._task = bars.add_task(label, total=total)

    def update(self, done: int, text: str = "", total: int | None = None) -> None:
        self._bars.update(self._task, total=total, completed=done, description=f"{self._label} {text}".rstrip())
