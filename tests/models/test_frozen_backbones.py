"""Backbones with nothing to learn: embedded once, outside of the weights; on text of a loose file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from metabench.cli.main import main
from metabench.models.checkpoints import load_tensors
from metabench_backbones.ngrams import NGrams
from tests.tiny import record_of, run_json

PLUGIN = """
import numpy as np
from metabench.api import ClassSplit, DatasetSpec, SplitSize, hookimpl
from metabench.data.encoded_sentences import encode_texts

@hookimpl
def metabench_datasets():
    return [DatasetSpec(name="words", version=1, target="words:Words", summary="words", reference="none",
                        licence="CC0", kind="text", backbone="ngrams", image_shape=(24,), digests={},
                        sizes={split: SplitSize(4, 40) for split in ("train", "val", "test")})]

class Words:
    def load(self, split, context):
        first = {"train": 0, "val": 4, "test": 8}[split]
        texts = [f"topic{c} word{c * 7 + j % 3} number{j}" for c in range(first, first + 4) for j in range(10)]
        names = tuple(f"class {c}" for c in range(first, first + 4))
        return ClassSplit(encode_texts(texts, 24), np.arange(5) * 10, names)
"""
TINY = ["--ways", "3", "--query", "4", "--episodes", "40", "--quiet"]
TRAIN = ["train.validate_every=8", "train.validation_episodes=4", "train.validation_way=3", "train.way=3"]


@pytest.fixture
def plugin(tmp_path: Path) -> list[str]:
    file = tmp_path / "words.py"
    file.write_text(PLUGIN)
    return ["--plugin", str(file), "--home", str(tmp_path / "home"), "--dataset", "words", *TINY]


def trained(*more: str) -> list[str]:
    return [word for setting in (*TRAIN, *more) for word in ("--set", setting)]


def test_what_is_adapted_and_saved_is_the_classifier(
    capsys: pytest.CaptureFixture[str], plugin: list[str], tmp_path: Path
) -> None:
    (row,) = run_json(capsys, ["run", "--algo", "anil", *plugin, *trained("train.episodes=16", "train.query=2")])
    record = record_of(tmp_path / "home", row)
    assert (row["setting"], row["backbone"]) == ("inductive", "ngrams")
    assert row["accuracy"] > 60
    (weights,) = (tmp_path / "home/models").rglob("weights.safetensors")
    assert sorted(load_tensors(weights)[0]) == ["classifier.bias", "classifier.weight"]
    assert record["cost"]["parameters"] == 3 * (2048 + 1)


def test_every_item_is_embedded_once(
    capsys: pytest.CaptureFixture[str], plugin: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    inputs = NGrams.inputs

    def counted(self: NGrams, items: Tensor) -> Tensor:
        seen.append(len(items))
        return inputs(self, items)

    monkeypatch.setattr(NGrams, "inputs", counted)
    args = ["run", "--algo", "matching-net,nearest-mean", *plugin, *trained("train.episodes=16", "train.query=2")]
    rows = run_json(capsys, args)
    assert [row["status"] for row in rows] == ["ok", "ok"]
    # Of train, val and test, and eight of each again beside others; the second run takes what the first made.
    assert seen == [40, 8] * 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--algo", "boil"], "boil on backbone 'ngrams' adapts only what this backbone lacks, weights to learn"),
        (
            ["--algo", "protonet", "--backbone", "conv4"],
            "backbone 'conv4' takes images, and the items of 'words' are text",
        ),
    ],
)
def test_what_cannot_be(capsys: pytest.CaptureFixture[str], plugin: list[str], words: list[str], message: str) -> None:
    settings: Any = trained("train.episodes=8", "train.query=2") if "boil" in words else []
    assert main(["run", *words, *plugin, *settings]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert "boil" in words or "ngrams" in error
