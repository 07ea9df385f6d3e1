from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metabench.errors import MetabenchError, UsageError
from metabench.registry.scaffold import create, derive, kind_named
from metabench.registry.specs import PLUGIN_KINDS, Kind
from metabench_algorithms.transfer import _recipes


@pytest.mark.parametrize(
    ("kind", "name", "module", "cls"),
    [
        ("algorithm", "my-algo", "my_algo", "MyAlgo"),
        ("algorithm", "MyAlgo.v2+x", "myalgo_v2_x", "MyAlgoV2X"),
        ("algorithm", "3shot", "algorithm_3shot", "Algorithm3shot"),
        ("algorithm", "random", "algorithm_random", "Random"),  # a module of Python's
        ("dataset", "lambda", "dataset_lambda", "Lambda"),  # a keyword
        ("backbone", "None", "none", "BackboneNone"),
        ("backbone", "tensor", "tensor", "BackboneTensor"),  # a class that the template imports
        ("algorithm", "torch", "algorithm_torch", "Torch"),
        ("dataset", "a--b-", "a_b", "AB"),
    ],
)
def test_python_names_follow_from_the_name(kind, name: str, module: str, cls: str) -> None:
    names = derive(kind, name)
    assert (names.module, names.cls, names.slug) == (module, cls, module.replace("_", "-"))
    compile(f"class {cls}: import {module}", "", "exec")


def test_the_words_of_a_staged_template_are_taken_too() -> None:
    assert derive("algorithm", "parameter").cls == "Parameter"
    assert derive("algorithm", "parameter", staged=True).cls == "AlgorithmParameter"


def test_a_staged_algorithm_is_tried_beside_one_that_shares_its_first_stage(tmp_path: Path) -> None:
    made = create(derive("algorithm", "mine", staged=True), tmp_path, package=True)
    assert made.commands[-1] == "metabench run --algo mine,simpleshot"
    values: dict[str, Any] = {"__name__": "mine"}
    exec((tmp_path / "mine" / "src" / "mine" / "__init__.py").read_text(), values)
    (spec,) = values["metabench_algorithms"]()
    first, last = spec.recipe("glyphs", 5, 1)
    assert (first.is_episodic, last.is_episodic) == (False, True)
    assert first.inputs() == _recipes.PRETRAIN["*"].inputs()


@pytest.mark.parametrize("kind", [kind for kind in PLUGIN_KINDS if kind != "algorithm"])
def test_only_algorithms_are_staged(kind: Kind) -> None:
    with pytest.raises(UsageError, match=f"cannot write a {kind} in stages: only algorithms .* Leave --staged out"):
        derive(kind, "mine", staged=True)


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a b", "naïve", "../a", "a\n"])
def test_a_name_that_no_plugin_may_have(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a plugin's name: use letters and digits"):
        derive("algorithm", name)


def test_kinds() -> None:
    assert [kind_named(kind) for kind in PLUGIN_KINDS] == list(PLUGIN_KINDS)
    with pytest.raises(UsageError, match="unknown kind 'backbones'; did you mean 'backbone'"):
        kind_named("backbones")


@pytest.mark.parametrize("package", [False, True])
def test_nothing_is_ever_overwritten(tmp_path: Path, package: bool) -> None:
    names = derive("algorithm", "mine")
    made = create(names, tmp_path, package)
    first = {file: file.read_text() for file in made.files}
    for file in made.files:
        file.write_text("edited")
    with pytest.raises(UsageError, match="is already there and is left as it is; take another NAME or --dir"):
        create(names, tmp_path, package)
    assert all(file.read_text() == "edited" for file in first)


def test_one_file_in_the_way_and_none_is_written(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("mine")
    with pytest.raises(UsageError, match=r"test_mine\.py is already there"):
        create(derive("algorithm", "mine"), tmp_path, package=False)
    assert [file.name for file in tmp_path.iterdir()] == ["test_mine.py"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MetabenchError, match=r"cannot write .*file/x.*\(Not a directory\)"):
        create(derive("dataset", "mine"), tmp_path / "file" / "x", package=False)


def test_commands_are_ready_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loose = create(derive("backbone", "mine"), Path("my work"), package=False)
    assert loose.commands[0] == "metabench check mine --plugin 'my work/mine.py'"
    assert loose.commands[-1] == "pytest 'my work/test_mine.py'"
    package = create(derive("backbone", "mine"), Path(), package=True)
    assert package.commands[:2] == ("pip install -e ./mine", "metabench check mine")
    elsewhere = create(derive("backbone", "mine"), tmp_path / "there", package=True)
    assert elsewhere.commands[0] == f"pip install -e {tmp_path}/there/mine"
