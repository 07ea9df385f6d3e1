"""Fixtures of the tests of built-in plugins."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.photos import make_folder
from tests.plugins.folder_cases import COUNTS


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", COUNTS)


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (60, 16, 16, 1), generator=generator, dtype=torch.uint8)
