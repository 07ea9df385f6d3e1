"""Every command of the README is run, and the plugin of the documentation is installed and measured."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from metabench.cli import reference
from metabench.registry import hookspecs, specs
from tests.pages import Reader
from tests.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def _blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def _commands() -> list[str]:
    lines = [line for block in _blocks("README.md", "sh") for line in block.splitlines()]
    return [line.removeprefix("pip install . && ") for line in lines if "tox" not in line]


def _run(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    environment = {**os.environ, "METABENCH_HOME": str(home), "PATH": path}
    folder = ROOT if "leaderboard" in command else home  # what `metabench new` writes is not for the repository
    return subprocess.run(
        command.split(), cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
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
    if command.startswith("metabench run") and "--suite" not in command:
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


PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name not in ("cli.md",))


@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, tmp_path: Path, home: Path) -> None:
    """What a page says is typed, written and edited, from its first block to its last."""
    Reader(Sandbox(tmp_path, home)).follow(ROOT / "docs" / page)


def test_the_command_line_page_is_fresh() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == reference.page(), "run: python -m metabench.cli.reference > docs/cli.md"


def test_the_site_is_whole_and_fetches_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    built = list(tmp_path.glob("*.html"))
    assert len(built) > len(PAGES)
    for file in built:
        loaded = re.findall(
            r"<(?:link|script|img)\b[^>]*?(?:href|src)=[\"']?([^\"' >]+)", file.read_text(encoding="utf-8")
        )
        assert loaded
        assert not [address for address in loaded if re.match(r"(\w+:)?//", address)]


REFERENCE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_every_hook_is_documented_with_its_arguments() -> None:
    hooks = {
        f"{name}({', '.join(getattr(hookspecs, name).__code__.co_varnames)})"
        for name in vars(hookspecs)
        if name.startswith("metabench_")
    }
    assert set(re.findall(r"`(metabench_\w+\(.*?\))`", REFERENCE)) == hooks


@pytest.mark.parametrize(
    ("heading", "spec"),
    [
        ("Every spec", specs.Spec),
        ("AlgorithmSpec", specs.AlgorithmSpec),
        ("Recipe", specs.Recipe),
        ("BackboneSpec", specs.BackboneSpec),
        ("DatasetSpec", specs.DatasetSpec),
    ],
)
def test_every_field_of_a_spec_is_documented(heading: str, spec: type) -> None:
    section = REFERENCE.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    inherits = issubclass(spec, specs.Spec) and spec is not specs.Spec
    common = {field.name for field in dataclasses.fields(specs.Spec)} if inherits else set()
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    documented = [name for line in rows for name in re.findall(r"`(\w+)`", line.split(" | ")[0])]
    assert sorted(documented) == sorted({field.name for field in dataclasses.fields(spec)} - common)
