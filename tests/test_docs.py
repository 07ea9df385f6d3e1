"""Every command of the README is run, and the plugin of the documentation is installed and measured."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from metabench import hookspecs

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def _blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def _commands() -> list[str]:
    lines = [line for block in _blocks("README.md", "sh") for line in block.splitlines()]
    return [line.removeprefix("pip install . && ") for line in lines if "tox" not in line]


def _run(command: str, home: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    environment = {**os.environ, "METABENCH_HOME": str(home), "PATH": path, "OMP_NUM_THREADS": "2", **extra}
    return subprocess.run(
        command.split(), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_the_readme_has_its_two_set_up_commands() -> None:
    blocks = _blocks("README.md", "sh")
    assert blocks[:2] == [
        "pip install . && metabench run --algo protonet --shots 1,5\n",
        "pip install tox && tox\n",
    ]


@pytest.mark.parametrize("command", _commands())
def test_readme_command(command: str, home: Path) -> None:
    """In the order of the README and in one home, as a reader would type them."""
    if "run" in command and "omniglot" in command:
        pytest.skip("trains for hours and needs the official data")
    result = _run(command, home)
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout
    if command.startswith("metabench run"):
        accuracies = re.findall(r"protonet .*?(\d+\.\d+) ±", result.stdout)
        # JSON has its own tests; here what matters is that a trained model is far above chance.
        assert "--json" in command or all(float(accuracy) > 70 for accuracy in accuracies)
        assert "--json" in command or len(accuracies) == 2


def test_readme_python(home: Path) -> None:
    (code,) = _blocks("README.md", "python")
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(table.accuracy.tolist())"],
        env={**os.environ, "METABENCH_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    one_shot, five_shot = json.loads(result.stdout)
    assert 20 < one_shot < five_shot < 100


def test_documented_plugin_is_found_and_measured(tmp_path: Path, home: Path) -> None:
    for block in _blocks("docs/plugins.md", "python"):
        name = block.split("\n", 1)[0].removeprefix("# ").strip()
        (tmp_path / name).write_text(block, encoding="utf-8")
    info = tmp_path / "my_algorithm-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-algorithm\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[metabench]\nnearest-support = my_algorithm\nmy-maml = my_maml\n")
    command = "metabench run --algo nearest-support,nearest-mean --backbone pixels --episodes 200 --json"
    result = _run(command, home, PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    # With one shot the nearest support image is the nearest class mean.
    accuracies = re.findall(r'"accuracy": ([\d.]+)', result.stdout)
    assert len(accuracies) == 2
    assert accuracies[0] == accuracies[1]

    small = "--set train.episodes=8 --set train.validation_episodes=4 --set backbone.channels=8 --episodes 20"
    result = _run(f"metabench run --algo my-maml {small} --json", home, PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)["rows"]
    assert (row["setting"], row["status"]) == ("transductive", "ok")
    assert row["accuracy"] > 20


def test_every_hook_is_documented_with_its_arguments() -> None:
    text = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    for name in (name for name in vars(hookspecs) if name.startswith("metabench_")):
        arguments = ", ".join(getattr(hookspecs, name).__code__.co_varnames)
        assert f"`{name}({arguments})`" in text
