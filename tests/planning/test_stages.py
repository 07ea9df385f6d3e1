"""Chains of stages: their keys, their settings, and chains that cannot be."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from metabench.errors import UsageError
from metabench.planning.planner import plan
from metabench.planning.run_spec import RunSpec
from metabench.planning.selection import Selection
from metabench.registry.params import Param
from metabench.registry.registry import Registry
from metabench.registry.specs import AlgorithmSpec, SplitSize
from metabench.registry.stage import Stage
from metabench.utils.hashing import content_key
from tests.planning.small_registry import COMMON, DIGESTS, REGISTRY, by_name

CLASSES = Stage(name="pretrain", objective="classes", epochs=3, batch=8, validation_query=2)
TAUGHT = dataclasses.replace(CLASSES, name="distill", teacher=True)
COSINE = dataclasses.replace(CLASSES, classifier="cosine")
EPISODES = Stage(way=4, query=2, episodes=50)


def learner(name: str, *stages: Stage, **fields: Any) -> AlgorithmSpec:
    return AlgorithmSpec(name=name, trains=True, backbone="net", recipes={"*": stages}, **COMMON, **fields)


def registry_of(*algorithms: AlgorithmSpec) -> Registry:
    return dataclasses.replace(REGISTRY, algorithms=by_name(*algorithms))


def runs(*algorithms: AlgorithmSpec, **options: Any) -> list[RunSpec]:
    names = tuple(spec.name for spec in algorithms if not spec.name.startswith("_"))
    return plan(Selection(names, **{"datasets": ("digits",), **options}), registry_of(*algorithms))


CHAIN = learner("chain", CLASSES, EPISODES)
ALONE = learner("alone", CLASSES, own_weights=False)


def test_a_stage_of_classes_is_shared_by_algorithms_ways_and_shots() -> None:
    planned = runs(CHAIN, ALONE, ways=(3, 5), shots=(1, 5))
    assert len(planned) == 8
    assert len({run.stage_keys(DIGESTS)[0] for run in planned}) == 1
    assert len({run.stage_keys(DIGESTS)[-1] for run in planned if run.algorithm.name == "chain"}) == 2  # by shot
    assert len({content_key(run.inputs(DIGESTS)) for run in planned}) == 8


@pytest.mark.parametrize("setting", ["pretrain.lr=0.5", "train.lr=0.5", "backbone.channels=8"])
def test_a_key_holds_its_stage_and_those_before(setting: str) -> None:
    name, value = setting.split("=")
    (usual,), (other,) = runs(CHAIN), runs(CHAIN, settings={name: value})
    same = [a == b for a, b in zip(usual.stage_keys(DIGESTS), other.stage_keys(DIGESTS), strict=True)]
    assert same == [name == "train.lr", False]
    assert content_key(usual.inputs(DIGESTS)) != content_key(other.inputs(DIGESTS))


def test_a_seed_is_in_the_key_of_every_stage() -> None:
    first, second = runs(CHAIN, seeds=(0, 1))
    assert not set(first.stage_keys(DIGESTS)) & set(second.stage_keys(DIGESTS))


def test_the_record_holds_the_stages_before_the_last() -> None:
    (run,) = runs(CHAIN)
    training = run.inputs(DIGESTS)["training"]
    assert (training["episodes"], training["seed"]) == (50, 0)
    assert [(stage["name"], stage["objective"], stage["epochs"]) for stage in training["before"]] == [
        ("pretrain", "classes", 3)
    ]
    assert "way" not in training["before"][0] and "objective" not in training


def test_a_chain_of_one_stage_of_episodes_has_the_key_of_ever() -> None:
    (run,) = runs(learner("learner", dataclasses.replace(EPISODES, name="train")))
    assert not {"name", "objective", "before", "momentum"} & set(run.inputs(DIGESTS)["training"])


def test_a_scoring_parameter_is_in_the_key_of_the_run_alone() -> None:
    spec = learner("chain", CLASSES, EPISODES, params=(Param("k", 1, "k", scoring=True), Param("m", 1, "m")))
    keys = {}
    for name in ("", "k", "m"):
        (run,) = runs(spec, settings={f"algo.{name}": 2} if name else {})
        keys[name] = content_key(run.inputs(DIGESTS)), run.stage_keys(DIGESTS)[-1]
    assert len({key for key, _ in keys.values()}) == 3
    assert keys[""][1] == keys["k"][1] != keys["m"][1]


def test_a_repeated_stage_is_several_and_none_is_left_out() -> None:
    spec = learner("chain", CLASSES, dataclasses.replace(TAUGHT, repeat=0), own_weights=False)
    for repeat in (0, 1, 3):
        (run,) = runs(spec, settings={"distill.repeat": repeat})
        assert [stage.name for stage in run.stages] == ["pretrain", *["distill"] * repeat]
        assert len(set(run.stage_keys(DIGESTS))) == 1 + repeat


def test_a_backbone_without_weights_skips_the_stages_of_classes() -> None:
    (run,) = runs(CHAIN, backbones=("plain",))
    assert [stage.name for stage in run.stages] == ["train"]
    (run,) = runs(ALONE, backbones=("plain",))
    assert run.stages == ()


def test_an_algorithm_trained_as_another_shares_its_weights() -> None:
    other = dataclasses.replace(learner("other"), recipes={}, trained_as="chain", params=(Param("k", 1, "k"),))
    first, second = runs(CHAIN, other)
    assert first.stage_keys(DIGESTS) == second.stage_keys(DIGESTS)
    assert second.weights_are_assembled and not first.weights_are_assembled
    assert second.inputs(DIGESTS)["training"]["algorithm"]["name"] == "chain"


@pytest.mark.parametrize(
    ("stages", "problem"),
    [
        ((dataclasses.replace(CLASSES, teacher=True),), "stage 'pretrain' cannot have a teacher: it is the first one"),
        (
            (CLASSES, dataclasses.replace(EPISODES, teacher=True)),
            "stage 'train' of episodes cannot be taught by stage 'pretrain' of classes",
        ),
        ((CLASSES, EPISODES, CLASSES), "two stages of a recipe have the name 'pretrain'"),
        ((dataclasses.replace(CLASSES, epochs=0),), "pretrain.epochs must be at least 1: it is a stage of classes"),
        ((dataclasses.replace(CLASSES, objective="batches"),), "pretrain.objective must be one of episodes, classes"),
        ((dataclasses.replace(CLASSES, momentum=0.9),), "pretrain.momentum is for optimizer sgd, not adam"),
        ((dataclasses.replace(CLASSES, milestones="20 10"),), "pretrain.milestones must be in ascending order"),
        ((dataclasses.replace(CLASSES, milestones="ten"),), "pretrain.milestones must be whole numbers"),
        ((dataclasses.replace(EPISODES, select="best"),), "train.select must be one of loss, score, last"),
        ((dataclasses.replace(CLASSES, select="last", patience=2),), "pretrain.patience"),
        ((dataclasses.replace(CLASSES, way=3),), "pretrain.way is for a stage of episodes, and this is one of classes"),
        ((dataclasses.replace(EPISODES, epochs=3),), "train.epochs is for a stage of classes"),
        ((dataclasses.replace(EPISODES, classifier="cosine"),), "train.classifier is for a stage of classes"),
        ((dataclasses.replace(CLASSES, teacher_weight=0.3),), "pretrain.teacher_weight needs pretrain.teacher=true"),
        ((dataclasses.replace(CLASSES, classifier_scale=2),), "pretrain.classifier_scale needs pretrain.classifier"),
        (
            (CLASSES, dataclasses.replace(TAUGHT, classifier="cosine")),
            "stage 'distill' cannot be taught by stage 'pretrain': distill.classifier=cosine, and",
        ),
        (
            (COSINE, dataclasses.replace(TAUGHT, classifier="cosine", classifier_scale=2)),
            "stage 'distill' cannot be taught by stage 'pretrain': distill.classifier_scale=2, and",
        ),
        (
            (CLASSES, dataclasses.replace(TAUGHT, train_on="train+val")),
            "stage 'distill' cannot be taught by stage 'pretrain': distill.train_on=train+val, and",
        ),
        (
            (CLASSES, dataclasses.replace(COSINE, name="distill")),
            "stage 'distill' cannot keep all weights of stage 'pretrain': distill.classifier=cosine, and",
        ),
    ],
)
def test_a_chain_that_cannot_be_is_one_line(stages: tuple[Stage, ...], problem: str) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)) as caught:
        runs(learner("chain", *stages))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"pretrian.lr": 1}, "--set pretrian.lr: write SCOPE.NAME=VALUE with a scope of algo, backbone, data,"
         " protocol, pretrain, train"),
        ({"pretrain.rate": 1}, "--set pretrain.rate: no such setting"),
        ({"pretrain.teacher": "perhaps"}, "--set pretrain.teacher must be true or false, not 'perhaps'"),
        ({"pretrain.epochs": 0}, "--set pretrain.epochs must be a number of at least 1, not 0"),
        ({"pretrain.objective": "episodes"}, "--set pretrain.objective: no such setting"),
    ],
)  # fmt: skip
def test_a_setting_of_a_stage_that_cannot_be_is_one_line(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem.replace(".", r"\.")):
        runs(CHAIN, settings=settings)


def test_training_episodes_need_a_stage_of_episodes() -> None:
    with pytest.raises(UsageError, match=r"cannot set train\.episodes \(--train-episodes\): .* stage of pretrain, or"):
        runs(ALONE, settings={"train.episodes": 5})


def test_one_class_cannot_be_classified() -> None:
    digits = REGISTRY.datasets["digits"]
    one = dataclasses.replace(digits, sizes={"train": SplitSize(1, 20)})
    registry = dataclasses.replace(registry_of(CHAIN), datasets=by_name(one))
    with pytest.raises(UsageError, match="'digits' has one class to train on, and needs two"):
        plan(Selection(("chain",), datasets=("digits",)), registry)
