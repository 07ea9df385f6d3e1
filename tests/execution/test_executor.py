"""One run to one record: failed runs, plugins that listen, and costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metabench.cli.main import main
from metabench.execution import score_run
from metabench.registry.loader import PluginSet
from tests.execution.resuming import weights_of
from tests.tiny import SETTINGS, arguments, record_of, run_json


def test_a_rerun_that_fails_does_not_replace_what_succeeded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = run_json(capsys, arguments(tmp_path, algo="chance"))
    before = record_of(tmp_path, row)

    def broken(*args: object) -> str:
        raise ValueError

    monkeypatch.setattr(score_run, "evaluate", broken)
    (failed,) = run_json(capsys, arguments(tmp_path, "--rerun", algo="chance"), code=1)
    assert failed["status"] == "failed"
    assert record_of(tmp_path, row) == before


def test_plugins_hear_of_what_was_measured_and_cannot_break_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, str]] = []

    def finished(plugins: PluginSet, record: Any, path: str) -> list[str]:
        heard.append((record.status, path))
        return ["plugin 'x' raised"]

    monkeypatch.setattr(PluginSet, "run_finished", finished)
    for _ in range(2):  # the second time there is nothing to tell
        assert main(arguments(tmp_path, algo="chance")) == 0
    assert capsys.readouterr().err == "warning: plugin 'x' raised\n"
    assert heard == [("ok", str(next((tmp_path / "records").glob("*.json"))))]


def test_what_a_record_says_of_the_cost(capsys: pytest.CaptureFixture[str], whole: Path) -> None:
    (row,) = run_json(capsys, arguments(whole))
    record = record_of(whole, row)
    cost = record["cost"]
    parts = sum(cost[name] for name in ("training_seconds", "embedding_seconds", "scoring_seconds"))
    assert cost["seconds"] == pytest.approx(parts, abs=0.01)
    assert cost["parameters"] == sum(
        value.numel()
        for name, value in weights_of(whole).items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )
    assert record["inputs"]["backbone"]["params"]["channels"] == SETTINGS["backbone.channels"]
