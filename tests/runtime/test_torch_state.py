"""Numbers do not depend on what a caller has set in torch, and it is as before after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

import metabench
from metabench.runtime.torch_state import standard_torch
from tests.photos import make_folder
from tests.tiny import SETTINGS

Setting = Callable[[], AbstractContextManager[Any]]


@contextmanager
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@contextmanager
def meta_device() -> Iterator[None]:
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@contextmanager
def coarse_products() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision("highest")


SETTINGS_OF_CALLERS: dict[str, Setting] = {
    "doubles": doubles,
    "default device": meta_device,
    "device mode": lambda: torch.device("meta"),
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": deterministic,
    "coarse products": coarse_products,
}


def state() -> tuple[Any, ...]:
    return (
        torch.get_default_dtype(), torch.empty(0).device.type, torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
    )  # fmt: skip


def measured(home: Path, algo: str) -> list[float]:
    settings = {**SETTINGS, "train.episodes": 4, "train.validation_way": 5}
    table = metabench.run(algo, home=str(home), episodes=20, settings=settings, device="cpu")
    assert list(table["status"]) == ["ok"], table["note"][0]
    return [*table["accuracy"], *table["ci95"]]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    return {algo: measured(tmp_path_factory.mktemp(algo), algo) for algo in ("protonet", "maml")}


@pytest.mark.parametrize("algo", ["protonet", "maml"])
@pytest.mark.parametrize("name", SETTINGS_OF_CALLERS)
def test_run_gives_the_same_numbers(name: str, algo: str, tmp_path: Path, expected: dict[str, list[float]]) -> None:
    random = torch.get_rng_state()
    with SETTINGS_OF_CALLERS[name]():
        before = state()
        found = measured(tmp_path, algo)
        assert state() == before
    assert found == expected[algo]
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize("name", SETTINGS_OF_CALLERS)
def test_predict_gives_the_same_labels(name: str, tmp_path: Path) -> None:
    make_folder(tmp_path / "known", {"a": 2, "b": 2})
    make_folder(tmp_path / "new", {"a": 2, "b": 2}, 5)

    def labels(setting: Setting) -> list[Any]:
        with setting():
            before = state()
            table = metabench.predict(
                tmp_path / "known", tmp_path / "new", algo="nearest-mean", backbone="pixels", size=16, device="cpu"
            )
            assert state() == before
        return table.to_numpy().tolist()

    assert labels(SETTINGS_OF_CALLERS[name]) == labels(nullcontext)


def test_what_fails_restores_the_state() -> None:
    with doubles():
        before = state()
        with pytest.raises(ValueError, match="stop"), standard_torch():
            assert torch.empty(0).dtype == torch.float32
            raise ValueError("stop")
        assert state() == before


def test_a_block_of_a_plugin_ends_by_itself() -> None:
    """What a plugin converts in a block of `torch.autocast` of its own is converted again in the next one."""
    layer, ones = torch.nn.Linear(4, 1), torch.ones(1, 4)
    results = []
    with standard_torch():
        for _ in range(2):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                results.append(layer(ones).item())
            with torch.no_grad():
                layer.weight += 1
    assert results[1] - results[0] == pytest.approx(4, abs=0.1)
