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


def test_a_test_that_ends_its_process_is_not_run_again(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = []
    monkeypatch.setattr(Spread, "_reschedule", lambda self, node: offered.append(node))
    spread.workqueue = OrderedDict()
    work = {"a.py": {"a.py::done": True}, "b.py": {"b.py::done": True, "b.py::hangs": False, "b.py::next": False}}
    spread.assigned_work = {"gw0": work, "gw1": {}}
    assert spread.remove_node("gw0") == "b.py::hangs"
    assert spread.workqueue == {"b.py": {"b.py::done": True, "b.py::hangs": True, "b.py::next": False}}
    assert offered == ["gw1"] and "gw0" not in spread.assigned_work
    spread.assigned_work["gw2"] = {"b.py": {"b.py::next": False}}
    spread.workqueue.clear()
    assert spread.remove_node("gw2") == "b.py::next" and not spread.workqueue
    assert spread.remove_node("gw1") is None  # it had nothing left: no crash


def test_what_is_taken_apart_is_there() -> None:
    """A test or a file that is renamed would quietly be one long piece again."""
    names = {path.name for path in TESTS.rglob("test_*.py")}
    assert {*BY_CLASS, FIRST} <= names
    sources = (path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*records.py"))
    assert any(f"def {ONE_BY_ONE[:-1]}(" in source for source in sources)


def test_another_way_to_spread_them_is_left_alone() -> None:
    config: Any = SimpleNamespace(getvalue={"dist": "worksteal"}.get)
    assert make_scheduler(config, None) is None
