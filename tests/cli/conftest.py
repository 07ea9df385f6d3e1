"""Fixtures for the tests of commands: suite files, and ``metabench datasets`` on given specs."""

from __future__ import annotations

from pathlib import Path

import pluggy
import pytest
from PIL import Image

from metabench.cli.main import main
from metabench.registry.loader import PluginSet
from metabench.registry.registry import Registry
from tests.cli.squares import SQUARES
from tests.cli.suite_runs import SUITE


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def with_absent(tmp_path: Path) -> Path:
    """One dataset that is there, and one that is not."""
    path = tmp_path / "more.toml"
    path.write_text(
        'name = "more"\nversion = 1\nsummary = "a try"\nepisodes = 40\n'
        '[[runs]]\ndatasets = ["glyphs"]\nways = [3]\nshots = [1, 2]\n'
        "settings.data = { train_classes = 12, val_classes = 6, test_classes = 8 }\n"
        '[[runs]]\ndatasets = ["omniglot"]\n'
    )
    return path


@pytest.fixture
def with_impossible(tmp_path: Path) -> Path:
    """What can be, then three blocks that cannot: known before a look at the data, at it, and to one algorithm only."""
    (tmp_path / "own" / "a").mkdir(parents=True)
    (tmp_path / "own" / "b").mkdir()
    for path in (tmp_path / "own" / name / f"{index}.png" for name in "ab" for index in range(2)):
        Image.new("L", (8, 8)).save(path)
    path = tmp_path / "partly.toml"
    suite = SUITE.replace("mine", "partly").replace("way = 5", "way = 3").replace("_way = 4", "_way = 3")
    head, _, first = suite.partition("[settings]\n")
    settings, _, rest = first.partition("[[runs]]\n")
    glyphs = "[[runs]]\n" + "".join(f"settings.{line}\n" for line in settings.splitlines())
    path.write_text(
        f"{head}{glyphs}{rest}"
        f'{glyphs}datasets = ["glyphs"]\nprotocols = ["meta-dataset"]\n'
        f'{glyphs}datasets = ["glyphs"]\nways = [9]\n'
        f'[[runs]]\ndatasets = ["folder:{tmp_path / "own"}"]\nways = [2]\nshots = [4]\n'
    )
    return path


@pytest.fixture
def datasets_command(monkeypatch, tmp_path, capsys):
    """Run ``metabench datasets ...`` on the given specs; returns (exit code, stdout, stderr)."""
    monkeypatch.delenv("METABENCH_DATA", raising=False)
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))

    def call(*arguments, specs=(SQUARES,)):
        registry = Registry(
            {}, {spec.name: spec for spec in specs}, {}, {}, PluginSet((), (), pluggy.PluginManager("x")), {}
        )
        monkeypatch.setattr("metabench.cli.plugin_option.load_registry", lambda files: registry)
        code = main(["datasets", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
