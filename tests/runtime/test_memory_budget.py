"""The memory that a run may take."""

from __future__ import annotations

import pytest

from metabench.runtime.memory_budget import NO_LIMIT, MemoryBudget


@pytest.mark.parametrize(("budget", "limit"), [(NO_LIMIT, 500), (MemoryBudget(200), 200), (MemoryBudget(900), 900)])
def test_the_limit_is_what_is_allowed_or_available(budget: MemoryBudget, limit: int) -> None:
    assert budget.limit(available=500) == limit


def test_accepted_work_keeps_its_limit_and_is_not_refused() -> None:
    budget = MemoryBudget(200).accepted()
    assert budget == MemoryBudget(200, is_strict=False)
    assert MemoryBudget(200).is_strict
