"""The half of the kit that pytest loads (entry point ``pytest11``): no skipped check, and a report for the CLI.

It is loaded in every pytest run of an environment that has metabench, so it imports next to nothing.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from metabench.errors import did_you_mean


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options with which ``metabench check`` chooses checks and gets at their results."""
    group = parser.getgroup("metabench")
    group.addoption("--metabench-report", metavar="FILE", help="write the results of conformance checks as JSON lines")
    group.addoption(
        "--metabench-only", metavar="CHECK", action="append", default=[], help="run this conformance check only"
    )


def _check_of(item: pytest.Item) -> Any:
    """Return the check (see `metabench.testing.conformance.conformance_check`) that a test item runs, or None."""
    return getattr(getattr(item, "function", None), "metabench_check", None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the checks that were not asked for."""
    if only := config.getoption("--metabench-only"):
        known = {check.name for item in items if (check := _check_of(item)) is not None}
        for name in only:
            if name not in known:
                _write(config, {"status": "error", "found": f"there is no check '{name}'{did_you_mean(name, known)}"})
        chosen = [item for item in items if getattr(_check_of(item), "name", None) in only]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def pytest_collection_finish(session: pytest.Session) -> None:
    """Report what is going to run: a check without a result did not pass."""
    for item in session.items:
        if _check_of(item) is not None:
            _write(session.config, {**_about(item), "status": "planned"})


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Turn a skip inside a check into a failure, unless the kit says that the check does not apply."""
    outcome = yield
    if _check_of(item) is None:
        return
    report: pytest.TestReport = outcome.get_result()
    error = call.excinfo.value if call.excinfo else None
    facts: dict[str, Any] = getattr(error, "facts", {})
    if report.when == "call" and report.skipped and "reason" not in facts and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"every case was skipped, so nothing was checked: {error}"
        facts = {"found": report.longrepr, "fix": "Make at least one case possible."}
    if report.when == "call" or not report.passed:
        result = {"status": report.outcome, "seconds": round(report.duration, 3), "found": str(error), **facts}
        _write(item.config, {**_about(item), **result})


def _about(item: pytest.Item) -> dict[str, str]:
    check, owner = _check_of(item), getattr(item, "cls", None)
    kind = getattr(owner, "kind", "")
    name = getattr(owner, kind, "")
    return {"test": item.nodeid, "kind": kind, "name": name, "check": check.name, "promise": check.promise}


def _write(config: pytest.Config, line: dict[str, Any]) -> None:
    """Append a line to the report, if there is to be one."""
    if file := config.getoption("--metabench-report"):
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
