"""Loose plugin files: loaded from any place on the command line, measured, local, and never stale."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import metabench
from metabench.cli.main import main
from metabench.errors import MissingError, UsageError
from metabench.leaderboard.entries import admit
from metabench.registry.local_files import read_files
from metabench.registry.registry import load_registry, load_target
from tests.record_factory import decoded
from tests.tiny import arguments, record_of, run_json

RIGHT = Path(__file__).parent.parent / "right_plugin.py"
HEAD = "from metabench.api import hookimpl\n"
SPEC = (
    "    return [AlgorithmSpec(name='mine', version=1, target='TARGET', summary='s', reference='r', licence='MIT', "
    "trains=False, backbone='pixels')]\n"
)
MINE = f"""from metabench.api import AlgorithmSpec, hookimpl
from metabench.models.interfaces import FeatureHead
from metabench.models.prototypes import prototypes, squared_distances


@hookimpl
def metabench_algorithms():
{SPEC}

class Mine(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()

    def logits(self, episode):
        return -squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A loose file whose name is that of a module that is already there."""
    path = tmp_path / "json.py"
    path.write_text(MINE.replace("TARGET", "json:Mine"))
    return path


def run(home: Path, plugin: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    (row,) = run_json(capsys, ["--plugin", str(plugin), *_mine(arguments(home, algo="chance"))])
    return row


def _mine(words: list[str]) -> list[str]:
    return ["mine" if word == "chance" else word for word in words]


@pytest.mark.parametrize("command", [["list", "algorithms"], ["show", "mine"], ["plugins"]])
@pytest.mark.parametrize("first", [True, False])
def test_before_or_after_the_command(
    capsys: pytest.CaptureFixture[str], mine: Path, command: list[str], first: bool
) -> None:
    option = ["--plugin", str(mine)]
    assert main([*option, *command] if first else [*command, *option]) == 0
    assert "mine" in capsys.readouterr().out
    assert main(command) == (2 if command[0] == "show" else 0)
    assert "mine" not in capsys.readouterr().out


def test_the_same_file_twice_is_once(capsys: pytest.CaptureFixture[str], mine: Path) -> None:
    assert main(["--plugin", str(mine), "show", "mine", "--plugin", str(mine.parent / "." / "json.py")]) == 0
    assert len(read_files([mine, mine])) == 1


def test_a_file_shadows_no_module(mine: Path) -> None:
    spec = load_registry([mine]).find("algorithm", "mine")
    assert load_target(spec).__name__ == "Mine"
    assert sys.modules["json"] is json
    names = [name for name, module in sys.modules.items() if getattr(module, "__file__", None) == str(mine)]
    assert names == [spec.target.partition(":")[0]]
    assert not list(mine.parent.glob("__pycache__"))


def test_an_edited_file_is_another_plugin(mine: Path) -> None:
    before = load_registry([mine]).find("algorithm", "mine")
    mine.write_text(mine.read_text().replace("return -sq", "return -2 * sq"))
    after = load_registry([mine]).find("algorithm", "mine")
    assert before.file_sha256 != after.file_sha256
    assert before.target != after.target
    assert before.target.partition(":")[0] not in sys.modules
    assert load_target(after) is load_target(after)


def test_runs_are_local_and_measured_again_after_an_edit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, mine: Path
) -> None:
    home = tmp_path / "home"
    first, again = run(home, mine, capsys), run(home, mine, capsys)
    assert (first["cached"], again["cached"]) == (False, True)
    record = record_of(home, first)
    assert record["provenance"]["local"] == ["algorithm mine"]
    assert len(record["inputs"]["algorithm"]["file_sha256"]) == 64
    with pytest.raises(Exception, match="local code or data"):
        admit(decoded(record))
    mine.write_text(mine.read_text() + "# edited\n")
    edited = run(home, mine, capsys)
    assert not edited["cached"]
    assert edited["key"] != first["key"]
    assert edited["accuracy"] == first["accuracy"]


def test_installed_plugins_have_no_source_in_their_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (row,) = run_json(capsys, ["--plugin", str(RIGHT), *arguments(tmp_path, algo="chance")])
    record = record_of(tmp_path, row)
    assert "local" not in record["provenance"]
    assert set(record["inputs"]["algorithm"]) == {"name", "version", "params", "setting"}


def test_from_python(tmp_path: Path, mine: Path) -> None:
    table = metabench.run("mine", home=str(tmp_path / "home"), plugins=mine, episodes=20)
    assert table.algorithm.tolist() == ["mine"]


def test_an_edited_dataset_has_its_own_digest_and_cache(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = (Path(__file__).parent.parent / "wrong_plugins" / "dataset_faults.py").read_text()
    path, home = tmp_path / "dataset_faults.py", tmp_path / "home"
    words = ["run", "--algo", "nearest-mean", "--dataset", "dataset-sound", "--ways", "2", "--query", "2",
             "--episodes", "20", "--home", str(home), "--plugin", str(path)]  # fmt: skip
    digests = []
    for first in (6, 7):  # the first test class; the declared digests are none of theirs
        text = source.replace('"test": 6}', f'"test": {first}}}')
        path.write_text(
            text.replace("split_digest(data) for split, data in loaded.items()", '"0" * 64 for split in loaded')
        )
        (row,) = run_json(capsys, words)
        digests.append(record_of(home, row)["inputs"]["dataset"]["digest"])
    assert len({*digests, "0" * 64}) == 3
    assert len(list((home / "data").glob("dataset-sound-*"))) == 2


BROKEN = {
    "def f(:\n": "line 1: SyntaxError",
    "import os\n\nimport not_there_at_all\n": "line 3: ModuleNotFoundError: No module named 'not_there_at_all'",
    "x = 1\n": ": it has no hook; write one",
    f"{HEAD}@hookimpl\ndef metabench_algoritms():\n    pass\n": "line 2: unknown hook 'metabench_algoritms'; did you",
    f"{HEAD}\n@hookimpl\ndef metabench_algorithms():\n    1 / 0\n": "line 5: metabench_algorithms failed with ZeroDiv",
    f"{HEAD}@hookimpl\ndef metabench_algorithms():\n    return [1]\n": "line 2: metabench_algorithms returned a int",
    "\ndef metabench_algorithms():\n    return []\n": "line 2: metabench_algorithms is not marked with",
    "import sys\nsys.exit(3)\n": "line 2: SystemExit: 3",
    "import beside\n": "line 1: ModuleNotFoundError: No module named 'beside'; a loose plugin is one file",
}  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str) -> None:
    (tmp_path / "beside.py").touch()
    path = tmp_path / "broken.py"
    path.write_text(text)
    assert main(["list", "--plugin", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: --plugin {path}") and err.count("\n") == 1
    assert BROKEN[text] in err
    assert not [name for name in sys.modules if name.startswith("metabench_file_broken")]


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="file not found"):
        read_files([tmp_path / "none.py"])
    with pytest.raises(UsageError, match=r"is not a Python file; give a file that ends in \.py"):
        read_files([tmp_path])


def test_a_name_that_is_taken(capsys: pytest.CaptureFixture[str], mine: Path) -> None:
    mine.write_text(mine.read_text().replace("'mine'", "'protonet'"))
    assert main(["show", "protonet", "--plugin", str(mine)]) == 2
    assert f"is provided by metabench:algorithms and file:{mine}; keep" in capsys.readouterr().err
