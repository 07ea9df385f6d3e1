"""Waiting in tests: for a condition, until a deadline. How long a pause is never decides what a test finds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import filelock
import pytest

_PAUSE_SECONDS = 0.01


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return as soon as a condition holds.

    Args:
        condition: looked at again and again; may raise to end the waiting.
        seconds: the deadline, long enough for a busy machine: a test that passes does not wait for it.

    Raises:
        TimeoutError: it did not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition did not hold within {seconds:g} seconds")
        time.sleep(_PAUSE_SECONDS)


def count_lock_requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which every request for a file lock adds the path, before it is granted."""
    requests: list[str] = []

    class Counted(filelock.FileLock):
        def acquire(self, *arguments: Any, **options: Any) -> Any:
            requests.append(self.lock_file)
            return super().acquire(*arguments, **options)

    monkeypatch.setattr(filelock, "FileLock", Counted)
    return requests
