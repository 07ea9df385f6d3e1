from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from metabench.execution.feature_files import load_features, room_for_features, save_features
from metabench.models.embedding import BATCH, autocast, embed, to_device
from metabench.models.interfaces import normalise
from metabench.runtime.memory_budget import MemoryBudget
from metabench.runtime.torch_state import standard_torch
from metabench_backbones.conv4 import Conv4
from metabench_backbones.pixels import Pixels

CPU = torch.device("cpu")
SHAPE = (1, 16, 16)


@pytest.fixture(scope="module")
def images() -> Tensor:
    """More than two batches, the last one short."""
    words = np.random.Philox(1).random_raw((2 * BATCH["cpu"] + 22) * 256)
    return to_device((words & np.uint64(255)).astype(np.uint8).reshape(-1, 16, 16, 1), CPU)


@pytest.fixture(scope="module")
def backbone() -> Conv4:
    torch.manual_seed(0)
    return Conv4(SHAPE, channels=8)


def test_images_on_a_cpu_stay_where_they_are(tmp_path: Path) -> None:
    """A map is not read into memory; what is in the file later shows."""
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 3, 1), dtype=np.uint8))
    moved = to_device(np.load(tmp_path / "a.npy", mmap_mode="r"), CPU)
    assert moved.dtype == torch.uint8 and moved.shape == (2, 3, 3, 1) and not moved.any()
    np.load(tmp_path / "a.npy", mmap_mode="r+")[1] = 7
    assert moved[1].unique().tolist() == [7] and not moved[0].any()


def test_features_that_memory_cannot_hold_get_a_file_without_a_name(tmp_path: Path) -> None:
    small, large = (room_for_features((100, 50), CPU, tmp_path / "f", MemoryBudget(limit)) for limit in (0, 1))
    for features in (small, large):
        features[:] = torch.arange(5000.0).view(100, 50)
    assert torch.equal(small, large) and large[99, 49] == 4999
    assert list((tmp_path / "f").iterdir()) == []
    save_features(tmp_path / "kept.npy", large)
    loaded = load_features(tmp_path / "kept.npy", (100, 50))
    assert loaded is not None and torch.equal(loaded, small)


def test_embedding_into_a_given_tensor(images: Tensor, backbone: Conv4) -> None:
    out = torch.empty(len(images), 8)
    assert embed(backbone, images, out=out) is out
    assert torch.equal(out, embed(backbone, images))


def test_a_set_larger_than_what_may_be_allocated(tmp_path: Path) -> None:
    """768 MiB of images, 200 MiB of memory: embedded, and gathered as a training step does, from the map."""
    code = """
import os, resource, sys, numpy as np, torch
from torch import nn
from metabench.models.embedding import embed, to_device
from metabench.execution.feature_files import room_for_features
from metabench.models.interfaces import Backbone

class Mean(Backbone):
    feature_dim = 1
    def forward(self, images):
        return images.mean((1, 2, 3))[:, None]

shape = (3 << 16, 64, 64, 1)
images = np.lib.format.open_memmap(sys.argv[1], mode="w+", dtype=np.uint8, shape=shape)  # a file of holes
images[-1] = 255
images = np.load(sys.argv[1], mmap_mode="r")
in_use = next(int(l.split()[1]) << 10 for l in open("/proc/self/status") if l.startswith("VmData"))
limit = in_use + (200 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    np.array(images)
    print("no limit")
except MemoryError:
    pass
held = to_device(images, torch.device("cpu"))
features = embed(Mean(), held, out=room_for_features((len(held), 1), held.device, "."))
assert features.sum() == 1, features.sum()
rows = torch.tensor([5, len(held) - 1])
assert held[rows].sum() == 64 * 64 * 255
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big.npy")], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_normalise_puts_channels_first_and_scales_to_one() -> None:
    images = torch.arange(24, dtype=torch.uint8).reshape(1, 2, 4, 3) * 11
    scaled = normalise(images)
    assert scaled.shape == (1, 3, 2, 4) and scaled.dtype == torch.float32
    for h, w, c in np.ndindex(2, 4, 3):
        assert scaled[0, c, h, w] == torch.tensor(float(images[0, h, w, c])) / 255
    assert normalise(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)).item() == 1.0


def test_embedded_pixels_are_the_pixels(images: Tensor) -> None:
    features = embed(Pixels(SHAPE), images)
    assert torch.equal(features, images.flatten(1).float() / 255)


def test_each_image_is_embedded_in_its_place(images: Tensor, backbone: Conv4) -> None:
    features = embed(backbone, images)
    assert features.shape == (len(images), 8) and features.dtype == torch.float32
    with torch.no_grad():
        for row in (0, BATCH["cpu"] - 1, BATCH["cpu"], len(images) - 1):
            torch.testing.assert_close(features[row : row + 1], backbone(normalise(images[row : row + 1])))


def test_what_follows_a_whole_batch_does_not_change_it(images: Tensor, backbone: Conv4) -> None:
    whole, size = embed(backbone, images), BATCH["cpu"]
    assert torch.equal(embed(backbone, images[: 2 * size]), whole[: 2 * size])
    assert torch.equal(embed(backbone, images[size:]), whole[size:])


def test_progress_counts_images(images: Tensor) -> None:
    seen: list[int] = []
    embed(Pixels(SHAPE), images, progress=seen.append)
    assert seen == [BATCH["cpu"], 2 * BATCH["cpu"], len(images)]


def test_bfloat16_rounds_but_returns_float32(images: Tensor, backbone: Conv4) -> None:
    exact, rounded = embed(backbone, images[:20]), embed(backbone, images[:20], precision="bfloat16")
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.02)


def test_float32_turns_autocast_off_by_not_entering_it() -> None:
    with autocast(CPU, "float32"):
        assert not torch.is_autocast_enabled("cpu")
    with autocast(CPU, "bfloat16"):
        assert torch.is_autocast_enabled("cpu")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "features.npy"
    save_features(path, torch.arange(12.0).reshape(4, 3))
    return path


def test_saved_features_come_back(saved: Path) -> None:
    loaded = load_features(saved, (4, 3))
    assert loaded is not None and torch.equal(loaded, torch.arange(12.0).reshape(4, 3))
    assert {path.name for path in saved.parent.iterdir()} == {"features.npy", "features.sha256"}


def test_another_shape_or_dtype_is_not_taken(saved: Path) -> None:
    assert load_features(saved, (3, 4)) is None
    assert load_features(saved, (12, 1)) is None
    np.save(saved, np.zeros((4, 3), dtype=np.float64))
    assert load_features(saved, (4, 3)) is None


def test_an_absent_file_is_not_taken(tmp_path: Path) -> None:
    assert load_features(tmp_path / "none.npy", (4, 3)) is None


@pytest.mark.parametrize("keep", [0, 5, 60, 127, 128, 175])
def test_a_truncated_file_is_not_taken(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    assert load_features(saved, (4, 3)) is None


def test_a_pickle_is_not_opened(saved: Path) -> None:
    np.save(saved, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert load_features(saved, (1, 1)) is None


def test_a_failed_save_keeps_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def half(stream: object, array: np.ndarray) -> None:
        stream.write(array.tobytes()[:10])  # type: ignore[attr-defined]
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(OSError, match="disk full"):
        save_features(saved, torch.zeros(4, 3))
    assert saved.read_bytes() == before
    assert {path.name for path in saved.parent.iterdir()} == {"features.npy"}


def test_a_save_replaces_the_old_file(saved: Path) -> None:
    save_features(saved, torch.ones(2, 2))
    loaded = load_features(saved, (2, 2))
    assert loaded is not None and torch.equal(loaded, torch.ones(2, 2))


@pytest.mark.parametrize("outer", [contextlib.nullcontext, standard_torch, lambda: torch.autocast("cpu")])
def test_half_precision_uses_the_weights_of_now_in_any_outer_block(
    outer: Callable[[], contextlib.AbstractContextManager[object]],
) -> None:
    """torch keeps converted weights until the outermost block ends: training would never see its own updates."""
    layer, ones = torch.nn.Linear(4, 1), torch.ones(1, 4)
    with outer():
        results = []
        for _ in range(2):
            with autocast(torch.device("cpu"), "bfloat16"):
                results.append(layer(ones).item())
            with torch.no_grad():
                layer.weight += 1
    assert results[1] - results[0] == pytest.approx(4, abs=0.1)
