"""The built-in suites: what they say stays as it is, or gets another version."""

from __future__ import annotations

import pytest

from metabench.registry import load_registry
from metabench.suites import load_suites, plan_suite

DIGESTS = {
    "fsl-vision@1": "d8a1bb305defe98e1d081fd09b7b5aea5cee4284f42fc57e0c8bf447b795d8c3",
    "quick@1": "b19418bdcbd6aec2e6d3b4be4255c9d453019cdb602a40d792c3d8e6a1ff1111",
}
"""Once a suite is released, a change of its digest means that its version must go up."""


def test_every_suite_is_sound_and_pinned() -> None:
    found, problems = load_suites(load_registry())
    assert not problems
    assert {name: suite.sha256 for name, suite in found.items()} == DIGESTS
    assert all(suite.where.name == f"{name}.toml" for name, suite in found.items())


@pytest.mark.parametrize("algorithm", ["protonet", "maml", "nearest-mean", "linear-probe", "chance"])
@pytest.mark.parametrize("name", DIGESTS)
def test_algorithms_of_every_kind_can_be_planned(name: str, algorithm: str) -> None:
    registry = load_registry()
    suite = load_suites(registry)[0][name]
    runs = plan_suite(suite, (algorithm,), {}, registry)
    cells = {(run.dataset.name, run.protocol.params["way"], run.protocol.params["shot"]) for run in runs}
    assert len(cells) == len(runs)
