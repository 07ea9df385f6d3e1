"""Running the conformance kit: pytest in a process of its own, through this interpreter. Loads no torch."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.registry.params import Value
from metabench.registry.specs import Kind

CHECKED_KINDS: tuple[Kind, ...] = ("algorithm", "dataset", "backbone", "protocol")
"""Kinds of plugins that have a conformance class."""
Status = Literal["passed", "failed", "skipped", "missing", "not run"]
"""``not run``: it needs the plugin's object, and another check failed because that cannot be constructed."""


@dataclass(frozen=True)
class CheckTarget:
    """A plugin to check."""

    kind: Kind
    name: str
    params: Mapping[str, Value] = field(default_factory=dict)
    plugin: tuple[Path, ...] = ()
    """Loose plugin files to load."""


@dataclass(frozen=True)
class CheckResult:
    """Result of one check of one plugin.

    Attributes:
        promise: what the check makes sure of.
        found: what it found wrong; `means` and `fix`: what that means and how to fix it.
        reason: why it does not apply, where it was skipped, or was not run.
    """

    kind: str
    name: str
    check: str
    status: Status
    promise: str
    found: str = ""
    means: str = ""
    fix: str = ""
    reason: str = ""
    seconds: float = 0.0


def run_checks(
    targets: Sequence[CheckTarget],
    *,
    only: Sequence[str] = (),
    device: str = "cpu",
    environment: Mapping[str, str] | None = None,
    report: Callable[[CheckResult, int, int], None] = lambda result, done, total: None,
    log: Callable[[str], None] = lambda text: None,
) -> list[CheckResult]:
    """Check plugins; a check that was planned and has no result has failed.

    Args:
        only: names of checks; all where none is given.
        environment: variables on top of this process's own, such as METABENCH_DATA.
        report: called with each result as it comes, how many there are by now, and of how many.
        log: called with what pytest printed, tracebacks included.

    Raises:
        UsageError: there is no such check. MissingError: pytest is not installed. MetabenchError: nothing could be run.
    """
    if importlib.util.find_spec("pytest") is None:
        raise MissingError("the checks need pytest; pip install pytest")
    with tempfile.TemporaryDirectory(prefix="metabench-check-") as folder:
        place = Path(folder)
        (place / "test_conformance.py").write_text(_module(targets, device), encoding="utf-8")
        (place / "pytest.ini").write_text("[pytest]\n")
        lines_file, output = place / "report.jsonl", place / "output.txt"
        lines_file.touch()
        with output.open("wb") as stream:
            process = subprocess.Popen(
                _command(place, lines_file, only), env=_environment(environment or {}), stdout=stream, stderr=stream
            )
            try:
                lines = _follow(process, lines_file, report)
            except BaseException:
                process.kill()
                process.wait()
                raise
        log(output.read_text(errors="replace"))
        return _results(lines, process.returncode, output.read_text(errors="replace"))


def _module(targets: Sequence[CheckTarget], device: str) -> str:
    """Return a test module with one conformance class for each target: what an author writes by hand."""
    lines = ["import metabench.api as kit", ""]
    for index, target in enumerate(targets):
        lines += [
            f"class Test{index}(kit.{target.kind.capitalize()}Conformance):",
            f"    {target.kind} = {target.name!r}",
            f"    plugin = {tuple(str(path.absolute()) for path in target.plugin)!r}",
            f"    params = {dict(target.params)!r}",
            f"    device = {device!r}",
            "",
        ]
    return "\n".join(lines)


def _command(place: Path, report: Path, only: Sequence[str]) -> list[str]:
    words = [sys.executable, "-P", "-m", "pytest", "-p", "metabench", "-p", "no:cacheprovider", "-q", "--tb=short"]
    words += ["-c", str(place / "pytest.ini"), "--rootdir", str(place), "--metabench-report", str(report)]
    for name in only:
        words += ["--metabench-only", name]
    return [*words, str(place / "test_conformance.py")]


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the checks: nothing of the user's own pytest settings and plugins."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")}
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **extra}


def _follow(
    process: subprocess.Popen[bytes], lines_file: Path, report: Callable[[CheckResult, int, int], None]
) -> list[dict[str, Any]]:
    """Return the lines of the file, passing each result to `report` as it comes."""
    lines: list[dict[str, Any]] = []
    planned, done = dict[str, dict[str, Any]](), set[str]()
    with lines_file.open(encoding="utf-8") as stream:
        ended, rest = False, ""
        while not ended:
            ended = process.poll() is not None  # before reading: what comes last is still read
            rest += stream.read()
            *whole, rest = rest.split("\n")
            for line in map(json.loads, whole):
                lines.append(line)
                if line["status"] == "planned":
                    planned[line["test"]] = line
                elif line["status"] != "error" and line["test"] not in done:
                    done.add(line["test"])
                    report(_result({**planned[line["test"]], **line}), len(done), len(planned))
            if not ended:
                time.sleep(0.05)
    return lines


def _results(lines: Sequence[Mapping[str, Any]], code: int, log: str) -> list[CheckResult]:
    """Pair what was planned with what came out."""
    if errors := [line["found"] for line in lines if line["status"] == "error"]:
        raise UsageError(errors[0])
    planned = [line for line in lines if line["status"] == "planned"]
    done = {line["test"]: line for line in lines if line["status"] != "planned"}
    if not planned:
        last = log.strip().splitlines()[-1] if log.strip() else f"exit code {code}"
        raise MetabenchError(f"no check could be run: {last}")
    ended = f"pytest ended with code {code} before this check had a result"
    return [_result({**line, "status": "failed", "found": ended, **done.get(line["test"], {})}) for line in planned]


def _result(line: Mapping[str, Any]) -> CheckResult:
    status: Status = "missing" if line.get("missing") else line["status"]
    finding = line["found"] if status in ("failed", "missing") else ""
    texts = {name: line.get(name, "") for name in ("means", "fix", "reason")}
    return CheckResult(
        line["kind"], line["name"], line["check"], status, line["promise"], finding, **texts,
        seconds=line.get("seconds", 0.0),
    )  # fmt: skip
