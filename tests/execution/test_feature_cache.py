"""Features that runs share, in memory and on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from metabench.execution import feature_cache
from metabench.execution.feature_cache import CPU, FeatureCache, SplitImages
from metabench.execution.session import Session
from metabench.models.embedding import embed
from metabench.planning.planner import Selection, plan
from metabench.utils.console import Console
from metabench.utils.home import Home
from metabench_backbones.pixels import Pixels
from tests.tiny import arguments, record_of, run_json


def test_images_are_embedded_once_for_all_that_share_weights(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[int] = []

    def counting(body: Any, images: Tensor, *rest: Any) -> Tensor:
        embedded.append(len(images))
        return embed(body, images, *rest)

    monkeypatch.setattr(feature_cache, "embed", counting)
    first = run_json(capsys, arguments(tmp_path, "--ways", "3,5"))
    assert embedded == [160]  # 8 classes of 20
    (features,) = (tmp_path / "features").glob("*.npy")
    scores = [record_of(tmp_path, row)["scores"] for row in first]
    run_json(capsys, arguments(tmp_path, "--ways", "3,5", "--rerun"))
    assert embedded == [160]
    whole = features.read_bytes()
    for done, damaged in enumerate((b"damaged", whole[:-400] + bytes(400), whole[:-1] + bytes([whole[-1] ^ 1]))):
        features.write_bytes(damaged)
        again = run_json(capsys, arguments(tmp_path, "--ways", "3,5", "--rerun"))
        assert embedded == [160] * (done + 2)
        assert [record_of(tmp_path, row)["scores"] for row in again] == scores


def test_the_features_of_three_splits_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded: list[int] = []

    def counting(body: Any, images: Tensor, *rest: Any) -> Tensor:
        embedded.append(len(images))
        return embed(body, images, *rest)

    monkeypatch.setattr(feature_cache, "embed", counting)
    session = Session(Home(tmp_path), Console(quiet=True), "cpu")
    (run,) = plan(Selection(("nearest-mean",)), session.registry)
    cache, backbone = FeatureCache(session, CPU), Pixels((1, 2, 2))
    splits = [SplitImages(np.full((size, 2, 2, 1), size, dtype=np.uint8), f"{size}" * 64) for size in (1, 2, 3, 4)]
    for split in (*splits, splits[3], splits[1], splits[0]):
        assert cache.embedded(run, backbone, split).shape == (len(split.images), 4)
    assert embedded == [1, 2, 3, 4, 1]
    assert not list(tmp_path.rglob("*.npy"))  # without weights, embedding is cheaper than reading
