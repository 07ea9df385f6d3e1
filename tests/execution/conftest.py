"""Fixtures of tests that execute runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.cli.main import main
from tests.tiny import arguments


@pytest.fixture(scope="package")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a run that nobody interrupted."""
    home = tmp_path_factory.mktemp("whole")
    assert main(arguments(home)) == 0
    return home
