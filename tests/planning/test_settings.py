"""Settings reach the plugins and recipes that they are for."""

from __future__ import annotations

from metabench.utils.hashing import content_key
from tests.planning.small_registry import DIGESTS, runs


def test_settings_reach_their_scope_converted() -> None:
    settings = {
        "algo.k": "3", "backbone.channels": "16", "data.size": "4", "protocol.extra": "9",
        "train.lr": "1e-2", "train.episodes": "70", "train.optimizer": "sgd",
    }  # fmt: skip
    (run,) = runs(settings=settings)
    assert run.algorithm.params == {"k": 3}
    assert run.backbone.params == {"channels": 16}
    assert run.dataset.params == {"size": 4}
    assert run.protocol.params["extra"] == 9
    assert run.stages
    assert (run.stages[-1].lr, run.stages[-1].episodes, run.stages[-1].optimizer) == (0.01, 70, "sgd")


def test_a_setting_is_for_those_that_have_it() -> None:
    settings = {"algo.k": 3, "backbone.channels": 16, "data.size": 4, "train.episodes": 1}
    planned = runs(("floor", "learner"), datasets=("letters", "digits"), settings=settings)
    assert [dict(run.algorithm.params) for run in planned] == [{}, {}, {"k": 3}, {"k": 3}]
    assert [dict(run.backbone.params) for run in planned] == [{}, {}, {"channels": 16}, {"channels": 16}]
    assert [dict(run.dataset.params) for run in planned] == [{}, {"size": 4}, {}, {"size": 4}]


def test_augmentation_is_in_the_key_only_where_there_is_any() -> None:
    (plain,), (other,) = runs(), runs(settings={"train.augment": "crop-flip"})
    (same,) = runs(settings={"train.augment": "none"})
    assert "augment" not in plain.inputs(DIGESTS)["training"]
    assert other.inputs(DIGESTS)["training"]["augment"] == "crop-flip"
    assert content_key(same.inputs(DIGESTS)) == content_key(plain.inputs(DIGESTS))
    assert plain.stage_keys(DIGESTS)[-1] != other.stage_keys(DIGESTS)[-1]
