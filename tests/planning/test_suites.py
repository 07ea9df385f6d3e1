"""Suites: what a file may say, one line for what it may not, and the runs that come of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from metabench.errors import UsageError
from metabench.planning.run_spec import RejectedRun, require_valid, run_of
from metabench.planning.suites import find_suite, load_suites, plan_suite, read_suite
from metabench.registry.loader import SuiteFile
from metabench.registry.registry import Registry, load_registry

HEAD = 'name = "mine"\nversion = 1\nsummary = "a try"\n'
RUNS = '[[runs]]\ndatasets = ["glyphs"]\n'


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def with_files(registry: Registry, *files: tuple[Path, str]) -> Registry:
    suites = tuple(SuiteFile(path, origin) for path, origin in files)
    return dataclasses.replace(registry, plugins=dataclasses.replace(registry.plugins, suites=suites))


def test_blocks_inherit_what_stands_above_them(tmp_path: Path, registry: Registry) -> None:
    text = HEAD + (
        "episodes = 30\nshots = [1, 5]\n[settings]\ndata.test_classes = 8\ntrain.episodes = 9\n"
        + RUNS
        + "shots = [2]\nsettings.train.episodes = 4\n"
        + RUNS
        + 'ways = [3]\nseeds = [4, 5]\nbackbones = ["conv4"]\n'
    )
    runs = require_valid(plan_suite(read_suite(written(tmp_path, text), registry), ("protonet",), {}, registry))
    found = [
        (run.protocol.params["way"], run.protocol.params["shot"], run.seed, run.stages and run.stages[-1].episodes)
        for run in runs
    ]
    assert found == [(5, 2, 0, 4), (3, 1, 4, 9), (3, 1, 5, 9), (3, 5, 4, 9), (3, 5, 5, 9)]
    assert {(run.episodes, run.dataset.params["test_classes"]) for run in runs} == {(30, 8)}


def test_a_run_that_two_blocks_name_is_one(tmp_path: Path, registry: Registry) -> None:
    suite = read_suite(written(tmp_path, HEAD + RUNS + "shots = [1, 5]\n" + RUNS + "shots = [5, 1]\n"), registry)
    runs = require_valid(plan_suite(suite, ("chance", "chance"), {}, registry))
    assert [run.protocol.params["shot"] for run in runs] == [1, 5]


def test_runs_that_cannot_be_are_told_unless_none_can(tmp_path: Path, registry: Registry) -> None:
    text = HEAD + RUNS + RUNS + 'protocols = ["meta-dataset"]\n'
    suite = read_suite(written(tmp_path, text), registry)
    found = plan_suite(suite, ("maml", "chance"), {}, registry)
    assert [(run_of(each).protocol.name, isinstance(each, RejectedRun)) for each in found] == [
        ("fixed-way", False), ("fixed-way", False), ("meta-dataset", True), ("meta-dataset", False)
    ]  # fmt: skip
    hopeless = read_suite(written(tmp_path, HEAD + RUNS + 'protocols = ["meta-dataset"]\n'), registry)
    with pytest.raises(UsageError, match="maml is made for one number of classes"):
        plan_suite(hopeless, ("maml",), {}, registry)


def test_where_a_suite_trains_does_not_concern_what_is_not_trained(tmp_path: Path, registry: Registry) -> None:
    text = HEAD + 'train_dataset = "omniglot"\n' + RUNS
    suite = read_suite(written(tmp_path, text), registry)
    runs = require_valid(plan_suite(suite, ("protonet", "chance"), {}, registry))
    assert [run.trained_on.name for run in runs] == ["omniglot", "glyphs"]
    (run,) = require_valid(plan_suite(suite, ("chance",), {}, registry))
    assert run.identity == runs[1].identity


def test_the_digest_is_of_what_is_measured(tmp_path: Path, registry: Registry) -> None:
    one = read_suite(written(tmp_path, HEAD + "ways = [5]\n" + RUNS), registry)
    same = read_suite(written(tmp_path, "# a remark\n" + HEAD + RUNS + "ways = [ 5, ]\n"), registry)
    other = read_suite(written(tmp_path, HEAD + RUNS + "ways = [6]\n"), registry)
    assert one.sha256 == same.sha256 != other.sha256
    assert one.provenance() == {"name": "mine", "version": 1, "sha256": one.sha256}


def test_what_the_suite_leaves_open_is_the_users(tmp_path: Path, registry: Registry) -> None:
    suite = read_suite(written(tmp_path, HEAD + RUNS + "seeds = [0, 1]\nsettings.train.lr = 0.01\n"), registry)
    given = {"seeds": (7,), "backbones": ("conv4-strided",), "settings": {"train.episodes": 3}}
    (run,) = require_valid(plan_suite(suite, ("protonet",), given, registry))
    assert run.stages
    assert (run.seed, run.backbone.name, run.stages[-1].episodes, run.stages[-1].lr) == (7, "conv4-strided", 3, 0.01)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"ways": (3,)}, "ways"),
        ({"backbones": ("conv4-strided",)}, "backbones"),
        ({"settings": {"train.lr": "1"}}, "train.lr"),
        ({"settings": {"data.test_classes": "9"}, "episodes": 3}, "episodes, data.test_classes"),
    ],
)
def test_what_it_settles_is_not(tmp_path: Path, registry: Registry, given: dict[str, object], named: str) -> None:
    text = HEAD + RUNS + 'backbones = ["conv4"]\nsettings.train.lr = 0.01\n'
    suite = read_suite(written(tmp_path, text), registry)
    with pytest.raises(UsageError, match=f"^suite mine@1 settles {named}; leave that to it, or copy .*mine.toml"):
        plan_suite(suite, ("protonet",), given, registry)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name mine", "is not TOML (Expected '=' after a key in a key/value pair (at line 1, column 6))"),
        (HEAD.replace("mine", "mi ne") + RUNS, "name: must be letters, digits and any of _.+-, as text, not 'mi ne'"),
        (HEAD.replace("version = 1", "version = 0") + RUNS, "version: must be a whole number of at least 1, not 0"),
        (HEAD.replace('"a try"', "3") + RUNS, "summary: must be text, not 3"),
        (RUNS, "name: must be letters, digits and any of _.+-, as text, and is missing"),
        (HEAD, "runs: must be at least one block [[runs]], and is missing"),
        (HEAD + "runs = []\n", "runs: must be at least one block [[runs]], not []"),
        (HEAD + "runs = [3]\n", "runs: must be at least one block [[runs]], not [3]"),
        (HEAD + "shot = [1]\n" + RUNS, "unknown key 'shot'; did you mean 'shots'?"),
        (HEAD + "[[runs]]\nways = [5]\n", "[[runs]] 1, datasets: is missing"),
        (HEAD + RUNS + RUNS + "ways = []\n", "[[runs]] 2, ways: must be a list of whole numbers of at least 2, not []"),
        (HEAD + RUNS + "ways = 5\n", "[[runs]] 1, ways: must be a list of whole numbers of at least 2, not 5"),
        (HEAD + RUNS + "ways = [5, 1]\n",
         "[[runs]] 1, ways: must be a list of whole numbers of at least 2, not [5, 1]"),
        (HEAD + RUNS + "shots = [true]\n",
         "[[runs]] 1, shots: must be a list of whole numbers of at least 1, not [True]"),
        (HEAD + RUNS + 'query = "15"\n', "[[runs]] 1, query: must be a whole number of at least 1, not '15'"),
        (HEAD + RUNS + "episodes = 2000000\n",
         "[[runs]] 1, episodes: must be a whole number from 1 to 1000000, not 2000000"),
        (HEAD + "until_ci = nan\n" + RUNS,
         "until_ci: must be a half-width in points, above 0 and at most 100, not nan"),
        (HEAD + RUNS + "settings = " + "{a=" * 3000 + "1" + "}" * 3000 + "\n", "is not TOML (nested too deeply)"),
        (HEAD + "until_ci = 0\n" + RUNS, "until_ci: must be a half-width in points, above 0 and at most 100, not 0"),
        (HEAD + RUNS + 'sampling = "openly"\n', "[[runs]] 1, sampling: must be one of closed, open, not 'openly'"),
        (HEAD + RUNS + "way = [5]\n", "[[runs]] 1, unknown key 'way'; did you mean 'ways'?"),
        (HEAD + "[[runs]]\ndatasets = [\"glyph\"]\n",
         "[[runs]] 1, datasets: unknown dataset 'glyph'; did you mean 'glyphs'?"),
        (HEAD + "[[runs]]\ndatasets = \"glyphs\"\n",
         "[[runs]] 1, datasets: must be a list of names in quotes, not 'glyphs'"),
        (HEAD + RUNS + 'backbones = ["conv5"]\n',
         "[[runs]] 1, backbones: unknown backbone 'conv5'; did you mean 'conv4'?"),
        (HEAD + RUNS + "settings = 3\n", "[[runs]] 1, settings: must be a table of SCOPE.NAME = VALUE, not 3"),
        (HEAD + RUNS + "settings.data.split = []\n",
         "[[runs]] 1, settings: data.split must be a number, a word, true or false, not []"),
        (HEAD + RUNS + "settings.trian.lr = 1\n",
         "[[runs]] 1, settings: trian.lr: write SCOPE.NAME=VALUE with a scope of algo, backbone, data, protocol, "
         "distill, pretrain, train"),
        (HEAD + RUNS + "settings.train.epsodes = 1\n",
         "[[runs]] 1, settings: train.epsodes: no such setting; did you mean 'episodes'?"),
        (HEAD + RUNS + "settings.data.test_clases = 1\n",
         "[[runs]] 1, settings: data.test_clases: dataset 'glyphs' has no parameter 'test_clases'; "
         "did you mean 'test_classes'?"),
        (HEAD + RUNS + 'settings.data.test_classes = "many"\n',
         "[[runs]] 1, settings: data.test_classes: parameter 'test_classes' of dataset 'glyphs' is a whole number, "
         "not 'many'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_file_and_key(
    tmp_path: Path, registry: Registry, text: str, problem: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_suite(path, registry)
    assert str(caught.value) == f"{path}: {problem}"


def test_a_file_that_cannot_be_read(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(UsageError, match=r"cannot read the suite .*none.toml \(No such file"):
        find_suite(str(tmp_path / "none.toml"), registry)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe4"')
    with pytest.raises(UsageError, match=r"latin.toml: is not TOML \('utf-8' codec"):
        find_suite(str(tmp_path / "latin.toml"), registry)


def test_a_name_means_the_latest_version(tmp_path: Path, registry: Registry) -> None:
    files = [
        (written(tmp_path, HEAD.replace("= 1", f"= {version}") + RUNS, f"{version}.toml"), f"dist:{version}")
        for version in (2, 10, 9)
    ]
    some = with_files(registry, *files)
    assert find_suite("mine", some).id == "mine@10"
    assert find_suite("mine@9", some).id == "mine@9"
    with pytest.raises(UsageError, match="unknown suite 'mine@3'; did you mean 'mine@9'"):
        find_suite("mine@3", some)
    with pytest.raises(UsageError, match="unknown suite 'mine'; no plugin provides any"):
        find_suite("mine", with_files(registry))


def test_a_broken_suite_and_one_that_two_plugins_claim_are_left_out_and_told(
    tmp_path: Path, registry: Registry
) -> None:
    sound = written(tmp_path, HEAD.replace("mine", "sound") + RUNS, "sound.toml")
    mine, broken = written(tmp_path, HEAD + RUNS), written(tmp_path, "x = 1", "broken.toml")
    some = with_files(registry, (sound, "a:a"), (mine, "a:a"), (mine, "b:b"), (broken, "c:c"))
    found, problems = load_suites(some)
    assert list(found) == ["sound@1"]
    assert problems == [
        f"plugin c:c: {broken}: unknown key 'x'; known: " + problems[0].partition("known: ")[2],
        "suite 'mine@1' is provided by a:a and b:b; neither is used",
    ]
    with pytest.raises(UsageError, match=r"unknown suite 'mine'.*neither is used"):
        find_suite("mine", some)


def test_a_plugin_brings_suites(tmp_path: Path) -> None:
    written(tmp_path, HEAD + RUNS)
    plugin = written(
        tmp_path,
        "from pathlib import Path\n\nfrom metabench.api import hookimpl\n\n\n@hookimpl\n"
        'def metabench_suites():\n    return [Path(__file__).parent / "mine.toml"]\n',
        "brings.py",
    )
    registry = load_registry([plugin])
    assert find_suite("mine", registry).id == "mine@1"
    assert registry.plugins.infos[-1].provides == ("suite mine",)


def test_a_plugin_that_returns_no_paths_is_refused(tmp_path: Path) -> None:
    plugin = written(
        tmp_path,
        "from metabench.api import hookimpl\n\n\n@hookimpl\ndef metabench_suites():\n    return [3]\n",
        "no.py",
    )
    with pytest.raises(UsageError, match="metabench_suites returned a int where the path of a file is wanted"):
        load_registry([plugin])
