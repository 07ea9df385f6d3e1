"""Building learners: what the spec of an algorithm asks of the backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from metabench.errors import UsageError
from metabench.learners.base import Learner
from metabench.learners.factory import make_learner
from metabench.planning.resolve import resolve_plugin
from metabench.registry.registry import load_registry

HEADS = Path(__file__).parent.parent / "right_heads.py"


def made(algorithm: str, backbone: str, shape: tuple[int, ...] = (3, 32, 32), **params: Any) -> Learner:
    registry = load_registry([HEADS])
    plugins = registry.algorithms[algorithm], registry.backbones[backbone]
    resolved = resolve_plugin(plugins[0], {}), resolve_plugin(plugins[1], params)
    return make_learner(*resolved, shape, torch.device("cpu"), way=5)


@pytest.mark.parametrize(
    ("backbone", "params", "map_shape"),
    [
        ("conv4", {}, (64, 2, 2)),
        ("conv4-strided-flat", {"channels": 8}, (8, 2, 2)),
        ("resnet12", {"pool": False, "widths": "64-128-256-512"}, (512, 2, 2)),
        ("pixels", {}, (3, 32, 32)),
    ],
)
def test_a_head_that_reads_maps_is_made_for_those_of_the_backbone(
    backbone: str, params: dict[str, Any], map_shape: tuple[int, ...]
) -> None:
    learner: Any = made("local-match", backbone, **params)
    assert learner.module.item_shape == learner.module.head.map_shape == map_shape
    assert (learner.frozen is not None) == (backbone == "pixels")


@pytest.mark.parametrize(
    ("backbone", "remedy"),
    [
        ("resnet12", "--set backbone.pool=false or --backbone conv4"),
        ("conv4-strided", "--backbone conv4"),
        ("wrn-28-10", "--backbone conv4"),
    ],
)
def test_a_head_that_reads_maps_is_refused_where_there_are_none(backbone: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        made("local-match", backbone)
    assert str(caught.value) == (
        f"cannot run local-match on backbone '{backbone}': it reads feature maps, and the features of this backbone "
        f"are none. Use {remedy}."
    )
