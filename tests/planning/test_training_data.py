"""What runs are trained on: recipes, other datasets, checkpoints, and the keys of the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metabench.errors import MissingError, UsageError
from metabench.planning.data_digests import DataDigests
from metabench.utils.hashing import file_sha256
from tests.planning.small_registry import DIGESTS, runs


def test_the_recipe_of_the_dataset_and_the_shot_of_the_evaluation() -> None:
    own, other = runs(datasets=("digits", "letters"), shots=(5,))
    assert own.stages
    assert other.stages
    assert (own.stages[-1].episodes, own.stages[-1].shot) == (50, 5)
    assert (other.stages[-1].episodes, other.stages[-1].shot) == (20, 2)
    with pytest.raises(UsageError, match="picky has no training recipe for letters"):
        runs(("picky",), datasets=("letters",))


def test_what_is_trained_once() -> None:
    def keys(**options: Any) -> set[str]:
        return {run.stage_keys(DIGESTS)[-1] for run in runs(**options)}

    assert len(keys(ways=(2, 3, 4))) == 1
    assert keys() == keys(query=3) == keys(episodes=5) == keys(episode_seed=9)
    assert len(keys(shots=(1, 5))) == 2
    assert len(keys(seeds=(0, 1))) == 2
    for settings in ({"train.lr": 0.5}, {"backbone.channels": 8}, {"algo.k": 2}, {"data.size": 9}):
        assert not keys() & keys(settings=settings)
    (run,) = runs()
    assert run.stage_keys(DIGESTS)[-1] != run.stage_keys(DataDigests.of_one({**DIGESTS.trained, "train": "other"}))[-1]
    assert run.stage_keys(DIGESTS)[-1] != run.stage_keys(DataDigests.of_one({**DIGESTS.trained, "val": "other"}))[-1]
    assert run.stage_keys(DIGESTS)[-1] == run.stage_keys(DataDigests.of_one({**DIGESTS.trained, "test": "other"}))[-1]


def test_a_checkpoint_replaces_training_and_counts_by_its_bytes(tmp_path: Path) -> None:
    path, copy = tmp_path / "weights.safetensors", tmp_path / "copy.safetensors"
    path.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    learner, floor = runs(("learner", "floor"), checkpoint=path, seeds=(0, 1))
    assert not learner.stages
    assert learner.training_inputs(DIGESTS) == {"checkpoint": file_sha256(path)}
    assert (floor.checkpoint, floor.training_inputs(DIGESTS)) == (None, None)
    (same,) = runs(checkpoint=copy)
    assert same.inputs(DIGESTS) == learner.inputs(DIGESTS)
    with pytest.raises(MissingError, match=r"no checkpoint at .*gone; --checkpoint takes a \.safetensors file"):
        runs(checkpoint=tmp_path / "gone")


def test_classes_that_are_trained_on_are_not_measured() -> None:
    both = {"train.train_on": "train+val"}
    assert runs(settings=both)
    with pytest.raises(
        UsageError, match=r"cannot train on the classes of 'val' \(train.train_on=train\+val\): they are measured"
    ):
        runs(settings=both, split="val")


def test_training_on_another_dataset() -> None:
    """Stage, backbone and digests are of A, the measured split of B; the weights are those that A has of its own."""
    (cross,) = runs(datasets=("letters",), train_dataset="digits", settings={"data.size": 9})
    (own,) = runs(datasets=("digits",), settings={"data.size": 9})
    assert cross.stages == own.stages
    assert (cross.label, cross.trained_on.params) == ("learner on digits -> letters, 5-way 1-shot", {"size": 9})
    digests = DataDigests({"test": "c"}, {"train": "a", "val": "b", "test": "of no use"})
    inputs = cross.inputs(digests)
    assert (inputs["dataset"]["name"], inputs["dataset"]["digest"]) == ("letters", "c")
    assert inputs["training"]["dataset"] == {"name": "digits", "version": 1, "params": {"size": 9}}
    assert inputs["training"]["digests"] == {"train": "a", "val": "b"}
    assert cross.stage_keys(digests)[-1] == own.stage_keys(DIGESTS)[-1]


def test_a_dataset_beside_itself_is_the_ordinary_run() -> None:
    (run,), (own,) = runs(train_dataset="digits"), runs()
    assert run == own
    both = runs(datasets=("digits", "letters"), train_dataset="digits")
    assert [run.source is None for run in both] == [True, False]


def test_what_is_not_trained_does_not_care_what_others_train_on() -> None:
    learner, floor = runs(("learner", "floor"), datasets=("letters",), train_dataset="digits")
    assert (learner.source is None, floor.source) == (False, None)
    (alone,) = runs(("floor",), datasets=("letters",))
    assert floor == alone


def test_training_on_another_dataset_that_could_have_no_effect_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weights")
    with pytest.raises(UsageError, match="cannot apply --train-dataset: no algorithm is trained"):
        runs(("floor",), train_dataset="letters")
    with pytest.raises(UsageError, match="cannot apply --train-dataset: with --checkpoint nothing is trained"):
        runs(train_dataset="letters", checkpoint=tmp_path / "weights")
    with pytest.raises(UsageError, match="unknown dataset 'leters'; did you mean 'letters'"):
        runs(train_dataset="leters")


def test_a_split_that_another_dataset_trains_on_may_be_measured() -> None:
    with pytest.raises(UsageError, match="cannot train on the classes of 'val'"):
        runs(split="val", settings={"train.train_on": "train+val"})
    (run,) = runs(datasets=("letters",), train_dataset="digits", split="val", settings={"train.train_on": "train+val"})
    digests = DataDigests({"val": "c"}, {"train": "a", "val": "b"})
    assert run.inputs(digests)["dataset"]["digest"] == "c"
    assert run.inputs(digests)["training"]["digests"]["val"] == "b"


def test_a_protocol_that_trains_by_another() -> None:
    """Its weights are those of the other, and the key says which that was."""
    (odd,), (own,) = runs(protocol="uneven", query=15), runs()
    assert odd.training_protocol is not None
    assert odd.training_protocol == own.protocol
    assert odd.stage_keys(DIGESTS)[-1] == own.stage_keys(DIGESTS)[-1]
    assert odd.inputs(DIGESTS)["training"]["protocol"] == {"name": "fixed-way", "version": 1, "params": {"extra": 1}}
    assert "protocol" not in own.inputs(DIGESTS)["training"]
    (floor,) = runs(("floor",), protocol="uneven")
    assert floor.training_protocol is None
