"""How the tests are spread over processes."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

import tests
from tests.scheduling import BY_CLASS, FIRST, ONE_BY_ONE, Spread, make_scheduler

TESTS = Path(tests.__file__).parent


@pytest.fixture
def spread() -> Spread:
    return Spread.__new__(Spread)  # without the machinery of a run


@pytest.mark.parametrize(
    ("test", "scope"),
    [
        ("tests/test_rng.py::test_words[a::b]", "tests/test_rng.py"),
        ("tests/x/test_other.py::TestOne::test_spec", "tests/x/test_other.py"),
        (f"tests/x/{BY_CLASS[0]}::TestOne::test_spec", f"tests/x/{BY_CLASS[0]}::TestOne"),
        (f"tests/x/{BY_CLASS[1]}::TestOne::test_spec", f"tests/x/{BY_CLASS[1]}::TestOne"),
        (f"tests/test_committed_records.py::{ONE_BY_ONE}maml-1]", None),
    ],
)
def test_a_file_stays_together_but_the_longest(spread: Spread, test: str, scope: str | None) -> None:
    assert spread._split_scope(test) == (scope or test)


def test_the_longest_file_is_begun_first(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LoadFileScheduling, "_assign_work_unit", lambda self, node: self.workqueue.popitem(last=False))
    spread.workqueue = OrderedDict.fromkeys(["tests/test_a.py", f"tests/{FIRST}", "tests/test_b.py"], {})
    spread._assign_work_unit(None)
    assert list(spread.workqueue) == ["tests/test_a.py", "tests/test_b.py"]


def test_what_is_taken_apart_is_there() -> None:
    """A test or a file that is renamed would quietly be one long piece again."""
    names = {path.name for path in TESTS.rglob("test_*.py")}
    assert {*BY_CLASS, FIRST} <= names
    sources = (path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*records.py"))
    assert any(f"def {ONE_BY_ONE[:-1]}(" in source for source in sources)


def test_another_way_to_spread_them_is_left_alone() -> None:
    config: Any = SimpleNamespace(getvalue={"dist": "worksteal"}.get)
    assert make_scheduler(config, None) is None
