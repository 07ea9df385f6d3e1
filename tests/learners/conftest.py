"""Fixtures of tests of learners."""

from __future__ import annotations

import pytest

from metabench.episodes.source import EpisodeSource
from metabench_protocols.fixed_way import FixedWay
from tests.conftest import MakeSplit


@pytest.fixture(scope="module")
def source(make_split: MakeSplit) -> EpisodeSource:
    return EpisodeSource(FixedWay(3, 1, 2), make_split([5, 5, 5, 5]), "trial")
