"""The built-in suites: what they say stays as it is, or gets another version."""

from __future__ import annotations

import pytest

from metabench.planning.run_spec import require_valid
from metabench.planning.suites import load_suites, plan_suite
from metabench.registry.registry import load_registry
from metabench.utils.hashing import canonical_json

DIGESTS = {
    "cross-domain@1": "151fa7a0af61fb78e6925f3c815506c45cd3914cbf4217cdc728b9d0ab25430e",
    "fsl-text@1": "5dcd8be56e95abd3f0955528d56ae81f32efa3e171af50cca816c71c3b46fb12",
    "fsl-vision@1": "4ea463390401f6dc33d3b7fc701ae9bcf5edc3b28b02422875a5acdf782c7608",
    "multi-domain@1": "8d63ad43f54e796c6f0d216219dd07df9110c5bf47cdf5e33d80533536388e88",
    "quick@1": "b19418bdcbd6aec2e6d3b4be4255c9d453019cdb602a40d792c3d8e6a1ff1111",
}
"""Once a suite is released, a change of its digest means that its version must go up."""


def test_every_suite_is_sound_and_pinned() -> None:
    found, problems = load_suites(load_registry())
    assert not problems
    assert {name: suite.sha256 for name, suite in found.items()} == DIGESTS
    assert all(suite.path.name == f"{name}.toml" for name, suite in found.items())


@pytest.mark.parametrize("algorithm", ["protonet", "maml", "nearest-mean", "linear-probe", "meta-baseline", "chance"])
@pytest.mark.parametrize("name", DIGESTS)
def test_algorithms_of_every_kind_can_be_planned(name: str, algorithm: str) -> None:
    if (name, algorithm) == ("multi-domain@1", "maml"):
        pytest.skip("its network is made for one number of classes, and episodes of the suite differ in it")
    registry = load_registry()
    runs = require_valid(plan_suite(load_suites(registry)[0][name], (algorithm,), {}, registry))
    cells = {canonical_json([run.dataset.identity, run.protocol.identity]) for run in runs}
    assert len(cells) == len(runs) > 0
