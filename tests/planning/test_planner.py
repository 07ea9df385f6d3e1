"""From a selection to runs: the order, the keys, which settings go where, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pluggy
import pytest

from metabench.errors import MissingError, UsageError
from metabench.planning.planner import Selection, plan, plan_each
from metabench.planning.run_spec import RejectedRun, RunSpec
from metabench.registry.loader import PluginSet
from metabench.registry.params import Param
from metabench.registry.recipe import Recipe
from metabench.registry.registry import Registry
from metabench.registry.specs import AlgorithmSpec, BackboneSpec, DatasetSpec, ProtocolSpec
from metabench.utils.hashing import content_key, file_sha256

COMMON: dict[str, Any] = {"version": 1, "target": "none:None", "summary": "", "reference": "", "licence": "MIT"}
OWN = Recipe(way=4, shot=0, query=3, episodes=50, source="invented")
ANY = Recipe(way=3, shot=2, query=1, episodes=20)
DIGESTS = {"train": "a", "val": "b", "test": "c"}


def by_name(*specs: Any) -> dict[str, Any]:
    return {spec.name: spec for spec in specs}


REGISTRY = Registry(
    by_name(
        AlgorithmSpec(
            name="learner", trains=True, backbone="net", recipes={"digits": OWN, "*": ANY},
            params=(Param("k", 1, "a number"),), **COMMON,
        ),
        AlgorithmSpec(name="picky", trains=True, backbone="net", recipes={"digits": OWN}, **COMMON),
        AlgorithmSpec(name="floor", trains=False, backbone="plain", **COMMON),
    ),
    by_name(
        DatasetSpec(
            name="digits", image_shape=(1, 8, 8), sizes={}, digests={}, params=(Param("size", 8, "pixels"),), **COMMON
        ),
        DatasetSpec(name="letters", image_shape=(1, 8, 8), sizes={}, digests={}, **COMMON),
        DatasetSpec(name="unseen", image_shape=(1, 8, 8), sizes={}, digests={}, splits=("test",), **COMMON),
        DatasetSpec(
            name="folder", image_shape=(1, 8, 8), sizes={}, digests={}, argument="path",
            params=(Param("path", "", "where"),), **COMMON,
        ),
        DatasetSpec(
            name="intents", kind="text", backbone="words", image_shape=(9,), sizes={}, digests={}, splits=("test",),
            **COMMON,
        ),
        DatasetSpec(name="poems", kind="text", backbone="words", image_shape=(9,), sizes={}, digests={}, **COMMON),
    ),
    by_name(
        BackboneSpec(name="net", params=(Param("channels", 64, "width"),), **COMMON),
        BackboneSpec(name="plain", trains=False, **COMMON),
        BackboneSpec(name="words", takes="text", trains=False, **COMMON),
        BackboneSpec(name="zoo", argument="model", params=(Param("model", "small", "which"),), **COMMON),
    ),
    by_name(
        ProtocolSpec(
            name="fixed-way",
            params=tuple(Param(n, v, n) for n, v in (("way", 5), ("shot", 1), ("query", 15), ("extra", 1))),
            **COMMON,
        ),
        ProtocolSpec(
            name="uneven", training="fixed-way",
            params=tuple(Param(n, v, n) for n, v in (("way", 5), ("shot", 1), ("query", 15), ("alpha", 2.0))), **COMMON,
        ),
        ProtocolSpec(name="varying", training="fixed-way", **COMMON),
    ),
    PluginSet((), (), pluggy.PluginManager("metabench")),
    {},
)  # fmt: skip


def runs(algorithms: tuple[str, ...] = ("learner",), **options: Any) -> list[RunSpec]:
    return plan(Selection(algorithms, **{"datasets": ("digits",), **options}), REGISTRY)


def test_every_combination_once_in_order() -> None:
    planned = runs(("learner", "floor", "learner"), ways=(5, 3), shots=(1, 2, 1), seeds=(0, 7))
    found = [(run.algorithm.spec.name, *(run.protocol.params[n] for n in ("way", "shot")), run.seed) for run in planned]
    learner = [("learner", way, shot, seed) for way in (5, 3) for shot in (1, 2) for seed in (0, 7)]
    floor = [("floor", way, shot, 0) for way in (5, 3) for shot in (1, 2)]  # nothing is trained: one seed
    assert found == learner + floor


def test_the_backbone_is_the_algorithms_own_unless_asked() -> None:
    assert [run.backbone.spec.name for run in runs(("learner", "floor"))] == ["net", "plain"]
    assert [run.backbone.spec.name for run in runs(("learner",), backbones=("plain", "net"))] == ["plain", "net"]


def test_the_recipe_of_the_data_set_and_the_shot_of_the_evaluation() -> None:
    own, other = runs(datasets=("digits", "letters"), shots=(5,))
    assert own.recipe is not None
    assert other.recipe is not None
    assert (own.recipe.episodes, own.recipe.shot) == (50, 5)
    assert (other.recipe.episodes, other.recipe.shot) == (20, 2)
    with pytest.raises(UsageError, match="picky has no training recipe for letters"):
        runs(("picky",), datasets=("letters",))


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
    assert run.recipe is not None
    assert (run.recipe.lr, run.recipe.episodes, run.recipe.optimizer) == (0.01, 70, "sgd")


def test_a_setting_is_for_those_that_have_it() -> None:
    settings = {"algo.k": 3, "backbone.channels": 16, "data.size": 4, "train.episodes": 1}
    planned = runs(("floor", "learner"), datasets=("letters", "digits"), settings=settings)
    assert [dict(run.algorithm.params) for run in planned] == [{}, {}, {"k": 3}, {"k": 3}]
    assert [dict(run.backbone.params) for run in planned] == [{}, {}, {"channels": 16}, {"channels": 16}]
    assert [dict(run.dataset.params) for run in planned] == [{}, {"size": 4}, {}, {"size": 4}]


def test_what_is_trained_once() -> None:
    def keys(**options: Any) -> set[str]:
        return {run.training_key(DIGESTS) for run in runs(**options)}

    assert len(keys(ways=(2, 3, 4))) == 1
    assert keys() == keys(query=3) == keys(episodes=5) == keys(episode_seed=9)
    assert len(keys(shots=(1, 5))) == 2
    assert len(keys(seeds=(0, 1))) == 2
    for settings in ({"train.lr": 0.5}, {"backbone.channels": 8}, {"algo.k": 2}, {"data.size": 9}):
        assert not keys() & keys(settings=settings)
    (run,) = runs()
    assert run.training_key(DIGESTS) != run.training_key({**DIGESTS, "train": "other"})
    assert run.training_key(DIGESTS) != run.training_key({**DIGESTS, "val": "other"})
    assert run.training_key(DIGESTS) == run.training_key({**DIGESTS, "test": "other"})


def test_the_keys_of_stored_results_stay_what_they_are() -> None:
    """A change here orphans every record and every trained model that anyone has stored."""
    learner, floor = runs(("learner", "floor"), ways=(5,), shots=(1,), seeds=(3,), settings={"train.lr": 0.5})
    assert content_key(learner.inputs(DIGESTS)) == "1f255675d8ccba16ce1506793adc2f84204ad4b15876d210e4aaab30beb9fd55"
    assert learner.training_key(DIGESTS) == "7e88827e8617f0af2fcfb91d4cca36411bf2017b8b539889866255957db44426"
    assert content_key(floor.inputs(DIGESTS)) == "e1344e6fdea721204578dc7add834d9e1cd06c33afb0ab1dced6545733a48d36"
    assert "source" not in learner.inputs(DIGESTS)["training"]
    assert floor.inputs(DIGESTS)["training"] is None


def test_a_checkpoint_replaces_training_and_counts_by_its_bytes(tmp_path: Path) -> None:
    path, copy = tmp_path / "weights.safetensors", tmp_path / "copy.safetensors"
    path.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    learner, floor = runs(("learner", "floor"), checkpoint=path, seeds=(0, 1))
    assert learner.recipe is None
    assert learner.training_inputs(DIGESTS) == {"checkpoint": file_sha256(path)}
    assert (floor.checkpoint, floor.training_inputs(DIGESTS)) == (None, None)
    (same,) = runs(checkpoint=copy)
    assert same.inputs(DIGESTS) == learner.inputs(DIGESTS)
    with pytest.raises(MissingError, match=r"no checkpoint at .*gone; --checkpoint takes a \.safetensors file"):
        runs(checkpoint=tmp_path / "gone")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithms": ()}, "no algorithms given"),
        ({"seeds": ()}, "no seeds given"),
        ({"datasets": ("digit",)}, "unknown dataset 'digit'; did you mean 'digits'?"),
        ({"ways": (5, 1)}, "--ways must be at least 2, not 1"),
        ({"seeds": (-1,)}, "--seed must be at least 0, not -1"),
        ({"seeds": (2**63,)}, "--seed must be at most 9223372036854775807"),
        ({"episode_seed": 2**63}, "--episode-seed must be at most 9223372036854775807"),
        ({"episodes": 1_000_001}, "--episodes must be at most 1000000, not 1000001"),
        ({"precision": "float16"}, "unknown precision 'float16'; use float32 or bfloat16"),
        ({"settings": {"lr": 1}}, "--set lr: write SCOPE.NAME=VALUE with a scope of algo, backbone"),
        ({"settings": {"trains.lr": 1}}, "--set trains.lr: write SCOPE.NAME=VALUE"),
        ({"settings": {"algo.kk": 1}}, "algorithm 'learner' has no parameter 'kk'; did you mean 'k'?"),
        ({"settings": {"backbone.k": 1}}, "backbone 'net' has no parameter 'k'; known: channels"),
        ({"settings": {"protocol.ways": 3}}, "protocol 'fixed-way' has no parameter 'ways'; did you mean 'way'?"),
        ({"settings": {"protocol.way": 3}}, "--set protocol.way: use --ways"),
        ({"settings": {"protocol.shot": 3}}, "--set protocol.shot: use --shots"),
        ({"settings": {"algo.k": "x"}}, "parameter 'k' of algorithm 'learner' is a whole number, not 'x'"),
        ({"settings": {"train.source": "me"}}, "--set train.source: no such setting"),
        ({"settings": {"train.episodes": 1.5}}, "--set train.episodes is a int, not 1.5"),
        ({"settings": {"train.episodes": float("inf")}}, "--set train.episodes is a int, not inf"),
        ({"settings": {"train.lr": "nan"}}, "--set train.lr must be a number of at least 0, not 'nan'"),
        ({"settings": {"train.lr": "inf"}}, "--set train.lr must be a number of at least 0, not 'inf'"),
        ({"settings": {"train.patience": -1}}, "--set train.patience must be a number of at least 0, not -1"),
        ({"settings": {"train.validate_every": 0}}, "--set train.validate_every must be a number of at least 1"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        runs(**options)
    assert message in str(caught.value)


def test_how_episodes_are_sampled_and_when_they_end_is_part_of_the_key() -> None:
    options: list[dict[str, Any]] = [
        {},
        {"sampling": "open"},
        {"until_ci": 0.5},
        {"until_ci": 0.5, "bound": "bernstein"},
    ]
    found = [runs(**each)[0] for each in options]
    assert len({content_key(run.inputs(DIGESTS)) for run in found}) == 4
    assert len({run.training_key(DIGESTS) for run in found}) == 1  # the weights are the same


def test_the_number_of_episodes_follows_the_stop_rule() -> None:
    assert runs()[0].episodes == 2_000
    assert (runs(until_ci=0.2)[0].episodes, runs(until_ci=0.2, episodes=500)[0].episodes) == (100_000, 500)
    (run,) = runs(until_ci=0.2)
    assert run.inputs(DIGESTS)["evaluation"]["stop"] == {"half_width": 0.2, "bound": "asymptotic", "tightest": 23_028}
    assert runs()[0].inputs(DIGESTS)["evaluation"]["stop"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "other"}, "unknown --sampling 'other'; use closed or open"),
        ({"until_ci": 1, "bound": "z"}, "unknown --bound 'z'"),
        ({"until_ci": float("nan")}, "half-width"),
        ({"until_ci": 101}, "half-width"),
        ({"until_ci": 1, "sampling": "open"}, "leave --sampling open out"),
        ({"episodes": 0}, "--episodes must be at least 1"),
    ],
)
def test_evaluations_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        runs(**options)


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"datasets": ("folder",)}, "dataset 'folder' needs its path: write folder:PATH"),
        ({"datasets": ("folder:",)}, "dataset 'folder' needs its path after ':'"),
        ({"datasets": ("digits:8",)}, "dataset 'digits' takes no ':8'; write digits"),
        ({"datasets": ("fodler:x",)}, "unknown dataset 'fodler'; did you mean 'folder'"),
        ({"datasets": ("unseen",)}, "'unseen' has no classes to meta-train learner on; use a pre-trained --backbone"),
        (
            {"datasets": ("poems",), "settings": {"train.augment": "crop-flip"}},
            "train.augment=crop-flip is for images, and the items of 'poems' are text",
        ),
        ({"datasets": ("intents",), "backbones": ("net",)}, "'intents' are text; use --backbone words"),
        ({"backbones": ("words",)}, "items of 'digits' are images; use --backbone net or plain or zoo"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        runs(**options)


def test_what_does_not_fit_is_told_beside_what_does() -> None:
    sets = ("digits", "letters", "unseen", "intents")
    found = plan_each(Selection(("picky", "floor"), sets, backbones=("net",), seeds=(0, 1)), REGISTRY)
    sound, lacking = ([each for each in found if isinstance(each, kind)] for kind in (RunSpec, RejectedRun))
    assert [(run.algorithm.name, run.dataset.name, run.seed) for run in sound] == [
        ("picky", "digits", 0), ("picky", "digits", 1), *(("floor", name, 0) for name in sets[:3])
    ]  # fmt: skip
    assert [(each.run.algorithm.name, each.run.dataset.name, str(each.error)[:25]) for each in lacking] == [
        ("picky", "letters", "picky has no training rec"),
        ("picky", "unseen", "'unseen' has no classes t"),
        ("picky", "intents", "backbone 'net' takes imag"),
        ("floor", "intents", "backbone 'net' takes imag"),
    ]
    for wrong in ({"algorithms": ("floor", "pciky")}, {"settings": {"algo.kk": 1}}, {"ways": (1,)}):  # no matter where
        with pytest.raises(UsageError):
            plan_each(Selection(**{"algorithms": ("floor",), "datasets": sets, **wrong}), REGISTRY)


def test_a_data_set_may_choose_the_backbone() -> None:
    (run,) = runs(("floor",), datasets=("intents",))
    assert run.backbone.spec.name == "words"


def test_the_split_that_is_measured_is_in_the_key_and_not_in_that_of_the_weights() -> None:
    (test,), (val,) = runs(), runs(split="val")
    assert [run.inputs(DIGESTS)["dataset"]["digest"] for run in (test, val)] == ["c", "b"]
    assert content_key(test.inputs(DIGESTS)) != content_key(val.inputs(DIGESTS))
    assert test.training_key(DIGESTS) == val.training_key(DIGESTS)
    assert (test.label, val.label) == ("learner on digits, 5-way 1-shot", "learner on digits (val), 5-way 1-shot")


def test_classes_that_are_trained_on_are_not_measured() -> None:
    both = {"train.train_on": "train+val"}
    assert runs(settings=both)
    with pytest.raises(UsageError, match=r"train_on=train\+val trains on the classes of 'val'"):
        runs(settings=both, split="val")


def test_training_on_another_data_set() -> None:
    """Recipe, backbone and digests are of A, the measured split of B; the weights are those that A has of its own."""
    (cross,) = runs(datasets=("letters",), train_dataset="digits", settings={"data.size": 9})
    (own,) = runs(datasets=("digits",), settings={"data.size": 9})
    assert cross.recipe == own.recipe
    assert (cross.label, cross.trained_on.params) == ("learner on digits -> letters, 5-way 1-shot", {"size": 9})
    digests = {"train": "a", "val": "b", "test": "of no use", cross.measured: "c"}
    inputs = cross.inputs(digests)
    assert (inputs["dataset"]["name"], inputs["dataset"]["digest"]) == ("letters", "c")
    assert inputs["training"]["dataset"] == {"name": "digits", "version": 1, "params": {"size": 9}}
    assert inputs["training"]["digests"] == {"train": "a", "val": "b"}
    assert cross.training_key(digests) == own.training_key(DIGESTS)


def test_a_data_set_beside_itself_is_the_ordinary_run() -> None:
    (run,), (own,) = runs(train_dataset="digits"), runs()
    assert run == own
    both = runs(datasets=("digits", "letters"), train_dataset="digits")
    assert [run.source is None for run in both] == [True, False]


def test_what_is_not_trained_does_not_care_what_others_train_on() -> None:
    learner, floor = runs(("learner", "floor"), datasets=("letters",), train_dataset="digits")
    assert (learner.source is None, floor.source) == (False, None)
    (alone,) = runs(("floor",), datasets=("letters",))
    assert floor == alone


def test_training_on_another_data_set_that_could_have_no_effect_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weights")
    with pytest.raises(UsageError, match="--train-dataset needs an algorithm that is trained"):
        runs(("floor",), train_dataset="letters")
    with pytest.raises(UsageError, match="leave --train-dataset out"):
        runs(train_dataset="letters", checkpoint=tmp_path / "weights")
    with pytest.raises(UsageError, match="unknown dataset 'leters'; did you mean 'letters'"):
        runs(train_dataset="leters")


def test_a_split_that_another_data_set_trains_on_may_be_measured() -> None:
    with pytest.raises(UsageError, match="trains on the classes of 'val'"):
        runs(split="val", settings={"train.train_on": "train+val"})
    (run,) = runs(datasets=("letters",), train_dataset="digits", split="val", settings={"train.train_on": "train+val"})
    digests = {"train": "a", "val": "b", run.measured: "c"}
    assert run.inputs(digests)["dataset"]["digest"] == "c"
    assert run.inputs(digests)["training"]["digests"]["val"] == "b"


def test_a_protocol_that_trains_by_another() -> None:
    """Its weights are those of the other, and the key says which that was."""
    (odd,), (own,) = runs(protocol="uneven", query=15), runs()
    assert odd.training_protocol is not None
    assert odd.training_protocol == own.protocol
    assert odd.training_key(DIGESTS) == own.training_key(DIGESTS)
    assert odd.inputs(DIGESTS)["training"]["protocol"] == {"name": "fixed-way", "version": 1, "params": {"extra": 1}}
    assert "protocol" not in own.inputs(DIGESTS)["training"]
    (floor,) = runs(("floor",), protocol="uneven")
    assert floor.training_protocol is None


def test_a_protocol_that_draws_way_and_shot_itself() -> None:
    planned = runs(("floor",), protocol="varying", ways=(5, 20), shots=(1, 5))
    assert [run.label for run in planned] == ["floor on digits, varying"]
    trained = runs(protocol="varying", datasets=("digits",), shots=(1, 5))
    assert [run.recipe and run.recipe.shot for run in trained] == [1, 5]  # its recipe leaves the shot open
    with pytest.raises(UsageError, match="protocol 'varying' has its own number of queries; leave --query out"):
        runs(("floor",), protocol="varying", query=15)


def test_augmentation_is_in_the_key_only_where_there_is_any() -> None:
    (plain,), (other,) = runs(), runs(settings={"train.augment": "crop-flip"})
    (same,) = runs(settings={"train.augment": "none"})
    assert "augment" not in plain.inputs(DIGESTS)["training"]
    assert other.inputs(DIGESTS)["training"]["augment"] == "crop-flip"
    assert content_key(same.inputs(DIGESTS)) == content_key(plain.inputs(DIGESTS))
    assert plain.training_key(DIGESTS) != other.training_key(DIGESTS)


@pytest.mark.parametrize("ways", [(0,), (0, 5), (1,)])
def test_too_few_ways_are_refused_as_such(ways: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=f"^--ways must be at least 2, not {ways[0]}$"):
        plan(Selection(["floor"], ["digits"], ways=ways), REGISTRY)
