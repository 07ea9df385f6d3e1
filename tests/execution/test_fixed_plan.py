"""A fixed plan has the keys and the integers that it had at the first release: records stay valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metabench.cli.main import main
from tests.tiny import run_json

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "fixed_plan.json").read_text())


@pytest.mark.parametrize("words", GOLDEN["keys"])
def test_the_keys_of_a_plan_stay(words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main(["run", *words.split(), "--dry-run", "--json", "--quiet", "--home", str(tmp_path)])
    assert code in (0, 3)  # 3: data that are not here, whose keys are known all the same
    keys = [row["key"] for row in json.loads(capsys.readouterr().out)["runs"]]
    known = [(key, expected) for key, expected in zip(keys, GOLDEN["keys"][words], strict=True) if expected]
    assert [key for key, _ in known] == [expected for _, expected in known]


@pytest.mark.parametrize("words", GOLDEN["scores"])
def test_the_integers_of_a_run_stay(words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Heads on fixed features, whose results hang on no training."""
    rows = run_json(capsys, ["run", *words.split(), "--quiet", "--home", str(tmp_path)])
    expected = GOLDEN["scores"][words]
    assert [row["key"] for row in rows] == list(expected)
    for key, scores in expected.items():
        (file,) = tmp_path.rglob(f"{key}.json")
        measured = json.loads(file.read_text())["scores"]
        assert {name: measured[name] for name in scores} == scores
