from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from metabench.registry.loader import PluginInfo, PluginSet, load_plugins
from tests.conftest import Command
from tests.record_factory import make_record

WRONG = {
    "cannot-import": "ModuleNotFoundError: No module named 'toy_dependency_that_is_not_installed'",
    "exits": "SystemExit: a licence is needed",
    "hook-raises": "metabench_algorithms failed with ValueError: the hook fell over",
    "no-iterable": "metabench_algorithms failed with TypeError: returned int, not a list of specs",
    "none": "metabench_algorithms failed with TypeError: returned NoneType, not a list of specs",
    "not-marked": "metabench_algorithms is not marked with @metabench.api.hookimpl",
    "not-there": "AttributeError: module 'toy_broken' has no attribute 'NOT_THERE'",
    "path-name": "metabench_algorithms returned the name '../up'",
    "same-name": "metabench_algorithms returned 'toy-broken' twice",
    "signature": "Argument(s) {'folder'} are declared in the hookimpl but can not be found in the hookspec",
    "wrong-spec": "metabench_algorithms returned a BackboneSpec where AlgorithmSpec is wanted",
    "misspelt": "unknown hook 'metabench_algoritms'; did you mean 'metabench_algorithms'?",
}


@pytest.fixture
def plugins(toys: None) -> PluginSet:
    return load_plugins()


def info(plugins: PluginSet, entry: str) -> PluginInfo:
    (found,) = [info for info in plugins.infos if info.entry == entry and info.dist.startswith("toy-")]
    return found


@pytest.mark.parametrize("entry", WRONG)
def test_what_is_wrong_is_one_line(plugins: PluginSet, entry: str) -> None:
    found = info(plugins, entry)
    assert found.status == "broken"
    assert WRONG[entry] in found.error
    assert "\n" not in found.error
    assert found.provides == ()


def test_every_broken_toy_is_covered(plugins: PluginSet) -> None:
    assert {found.entry for found in plugins.broken if found.dist.startswith("toy-")} == set(WRONG)


def test_broken_plugins_leave_the_others_alone(plugins: PluginSet) -> None:
    good = info(plugins, "good")
    assert (good.status, good.error, good.version, good.module) == ("ok", "", "1.2", "toy_good")
    assert {"toy-median", "toy-dots", "toy-bone", "toy-way"} <= set(good.provides)
    assert info(plugins, "clashing").status == "ok"


def test_broken_plugins_are_unregistered(plugins: PluginSet) -> None:
    registered = {name for name, _ in plugins.manager.list_name_plugin()}
    assert not registered & {found.origin for found in plugins.broken}
    plugins.manager.check_pending()


def test_specs_know_their_kind_and_origin(plugins: PluginSet) -> None:
    backbones = {(item.spec.name, item.origin) for item in plugins.of("backbone")}
    assert ("toy-bone", "toy-good:good") in backbones
    claims = {item.origin for item in plugins.of("algorithm") if item.spec.name == "toy-mean"}
    assert claims == {"toy-good:good", "toy-clashing:clashing"}


def test_run_finished_cannot_fail_or_change_the_record(plugins: PluginSet) -> None:
    record = make_record()
    warnings = plugins.run_finished(record, "records/1.json")
    assert record == make_record()
    assert warnings == [
        "plugin toy-good:good failed in metabench_run_finished: RuntimeError: cannot upload records/1.json"
    ]


def test_run_finished_reaches_every_plugin_with_its_own_record(plugins: PluginSet) -> None:
    from metabench.api import hookimpl

    seen = []

    def metabench_run_finished(record, path):
        seen.append((record.summary_fields["accuracy"], path))

    late = ModuleType("late")
    late.metabench_run_finished = hookimpl(metabench_run_finished)
    plugins.manager.register(late, "late:late")
    plugins.run_finished(make_record(), "somewhere")
    assert seen == [(make_record().score, "somewhere")]  # although the good toy sets it to 100 in its copy


def test_an_entry_point_listed_by_two_names_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "toy_twice-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-twice\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[metabench]\na = toy_twice\nb = toy_twice\n")
    (tmp_path / "toy_twice.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    plugins = load_plugins()
    assert (info(plugins, "a").status, info(plugins, "b").status) == ("ok", "broken")
    assert "already registered" in info(plugins, "b").error
    del sys.modules["toy_twice"]


def test_the_plugins_command_shows_each_on_one_line(command: Command) -> None:
    done = command("plugins")
    assert done.returncode == 0
    assert done.stderr == ""
    for entry, wrong in WRONG.items():
        (line,) = [line for line in done.stdout.splitlines() if f":{entry} " in line]
        assert " broken " in line
        assert wrong in line
    (heavy,) = [line for line in done.stdout.splitlines() if line.startswith("toy-good:good ")]
    assert "toy-heavy unavailable: needs toy_no_such_module; pip install 'metabench[toys]'" in heavy
