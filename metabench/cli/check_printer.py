"""Results of conformance checks as text, each as it comes."""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import click

from metabench.cli.rendering import cell
from metabench.testing.runner import CheckResult

_WIDTH = 100
COLUMNS = 18, 7
"""Widths of the first two columns: the longest name of a check, and of a status."""
_ROW = "  {:<{}}  {:<{}}  {}"


class CheckPrinter:
    """Prints the results of each plugin as they come, and its summary and remedies after the last one."""

    def __init__(self) -> None:
        self._printed: set[tuple[str, str, str]] = set()
        self._own: list[CheckResult] = []

    def add(self, result: CheckResult) -> None:
        """Print a result, under the name of its plugin if that is another one than before."""
        if self._own and _plugin(self._own[0]) != _plugin(result):
            self._close()
        if not self._own:
            click.echo(("\n" if self._printed else "") + " ".join(_plugin(result)))
            click.echo(_line("check", "result", "what it makes sure of, or why it does not apply"))
        click.echo(_line(result.check, result.status, cell(result.reason or result.promise)))
        self._own.append(result)
        self._printed.add((*_plugin(result), result.check))

    def finish(self, results: Iterable[CheckResult]) -> None:
        """Print the results that never came, and the last summary."""
        for result in results:
            if (*_plugin(result), result.check) not in self._printed:
                self.add(result)
        self._close()

    def _close(self) -> None:
        for line in _summary(self._own):
            click.echo(line)
        self._own = []


def _plugin(result: CheckResult) -> tuple[str, str]:
    return result.kind, result.name


def _line(check: str, status: str, text: str) -> str:
    return _ROW.format(check, COLUMNS[0], status, COLUMNS[1], text).rstrip()


def _summary(results: Sequence[CheckResult]) -> Iterator[str]:
    """Yield how many checks of one plugin had which result, and a remedy for each that failed."""
    if not results:
        return
    counts = Counter("not applicable" if result.status == "skipped" else result.status for result in results)
    order = ("passed", "failed", "missing", "not run", "not applicable")
    totals = ", ".join(f"{counts[status]} {status}" for status in order if counts[status])
    yield f"{' '.join(_plugin(results[0]))}: {totals}"
    same: dict[str, list[CheckResult]] = defaultdict(list)
    for result in results:
        if result.status == "failed":
            same[result.found].append(result)
    for finding, failed in same.items():
        names = ", ".join(result.check for result in failed)
        yield ""
        yield from textwrap.wrap(f"failed: {names} of {failed[0].name}", _WIDTH, break_on_hyphens=False)
        yield from _paragraph("found", cell(finding))
        if len(failed) > 1:  # one fault behind several checks: their own remedies would mislead
            yield from _paragraph("to fix", f"Fix this first: {len(failed)} checks fail for this reason.")
            continue
        for label, text in (("means", failed[0].means), ("to fix", failed[0].fix)):
            yield from _paragraph(label, cell(text)) if text else []
    for finding in dict.fromkeys(result.found for result in results if result.status == "missing"):
        yield ""
        yield from _paragraph("missing", cell(finding))


def _paragraph(label: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"  {label:<8}", subsequent_indent=" " * 10)
