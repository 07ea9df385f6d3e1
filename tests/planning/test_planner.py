"""From a selection to runs: the order, the keys, defaults and names."""

from __future__ import annotations

import pytest

from metabench.errors import UsageError
from metabench.utils.hashing import content_key
from tests.planning.small_registry import DIGESTS, runs


def test_every_combination_once_in_order() -> None:
    planned = runs(("learner", "floor", "learner"), ways=(5, 3), shots=(1, 2, 1), seeds=(0, 7))
    found = [(run.algorithm.spec.name, *(run.protocol.params[n] for n in ("way", "shot")), run.seed) for run in planned]
    learner = [("learner", way, shot, seed) for way in (5, 3) for shot in (1, 2) for seed in (0, 7)]
    floor = [("floor", way, shot, 0) for way in (5, 3) for shot in (1, 2)]  # nothing is trained: one seed
    assert found == learner + floor


def test_the_backbone_is_the_algorithms_own_unless_asked() -> None:
    assert [run.backbone.spec.name for run in runs(("learner", "floor"))] == ["net", "plain"]
    assert [run.backbone.spec.name for run in runs(("learner",), backbones=("plain", "net"))] == ["plain", "net"]


def test_the_keys_of_stored_results_stay_what_they_are() -> None:
    """A change here orphans every record and every trained model that anyone has stored."""
    learner, floor = runs(("learner", "floor"), ways=(5,), shots=(1,), seeds=(3,), settings={"train.lr": 0.5})
    assert content_key(learner.inputs(DIGESTS)) == "1f255675d8ccba16ce1506793adc2f84204ad4b15876d210e4aaab30beb9fd55"
    assert learner.stage_keys(DIGESTS)[-1] == "7e88827e8617f0af2fcfb91d4cca36411bf2017b8b539889866255957db44426"
    assert content_key(floor.inputs(DIGESTS)) == "e1344e6fdea721204578dc7add834d9e1cd06c33afb0ab1dced6545733a48d36"
    assert "source" not in learner.inputs(DIGESTS)["training"]
    assert floor.inputs(DIGESTS)["training"] is None


@pytest.mark.parametrize("word", ["zoo/large", "zoo:large"])
def test_the_argument_of_a_plugin_is_part_of_its_name(word: str) -> None:
    (run,) = runs(backbones=(word,))
    assert run.backbone.params == {"model": "large"}
    assert run.inputs(DIGESTS)["backbone"]["name"] == "zoo:large"
    assert run.inputs(DIGESTS)["backbone"]["params"] == {"model": "large"}


def test_an_argument_may_hold_separators() -> None:
    (run,) = runs(("floor",), datasets=("folder:/a/b:c",))
    assert run.dataset.params["path"] == "/a/b:c"


def test_an_argument_has_its_default() -> None:
    (run,) = runs(backbones=("zoo",))
    assert run.backbone.params == {"model": "small"}


def test_a_dataset_may_choose_the_backbone() -> None:
    (run,) = runs(("floor",), datasets=("intents",))
    assert run.backbone.spec.name == "words"


def test_the_split_that_is_measured_is_in_the_key_and_not_in_that_of_the_weights() -> None:
    (test,), (val,) = runs(), runs(split="val")
    assert [run.inputs(DIGESTS)["dataset"]["digest"] for run in (test, val)] == ["c", "b"]
    assert content_key(test.inputs(DIGESTS)) != content_key(val.inputs(DIGESTS))
    assert test.stage_keys(DIGESTS)[-1] == val.stage_keys(DIGESTS)[-1]
    assert (test.label, val.label) == ("learner on digits, 5-way 1-shot", "learner on digits (val), 5-way 1-shot")


def test_a_protocol_that_draws_way_and_shot_itself() -> None:
    planned = runs(("floor",), protocol="varying", ways=(5, 20), shots=(1, 5))
    assert [run.label for run in planned] == ["floor on digits, varying"]
    trained = runs(protocol="varying", datasets=("digits",), shots=(1, 5))
    assert [run.stages and run.stages[-1].shot for run in trained] == [1, 5]  # its recipe leaves the shot open
    with pytest.raises(UsageError, match="protocol 'varying' has its own number of queries"):
        runs(("floor",), protocol="varying", query=15)
