"""The helper that tests wait with."""

import pytest

from tests.waiting import wait_until


def test_it_looks_until_the_condition_holds() -> None:
    seen: list[int] = []
    wait_until(lambda: seen.append(1) or len(seen) == 3)
    assert len(seen) == 3


def test_after_the_deadline_it_is_an_error() -> None:
    with pytest.raises(TimeoutError, match=r"did not hold within 0\.05 seconds"):
        wait_until(lambda: False, seconds=0.05)
