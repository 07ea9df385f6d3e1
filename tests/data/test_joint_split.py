"""Images that training never sees, and base classes that stand beside those that are measured."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metabench.cli.main import main
from metabench.data import ClassSplit
from metabench.data.joint_split import JointSplit, base_rows, join_splits, reserve_mask, starts_of, with_copies
from metabench.episodes.unreserved_source import UnreservedSource
from metabench.errors import UsageError
from metabench.execution.active_run import ActiveRun
from metabench.execution.episode_sources import training_source
from metabench.execution.executor import Executor
from metabench.execution.feature_cache import FeatureCache
from metabench.execution.run_data import measured_split, reserved_images, run_digests
from metabench.execution.session import Session
from metabench.learners.factory import make_run_learner
from metabench.learners.feature_learner import FeatureLearner
from metabench.planning.planner import plan
from metabench.planning.selection import Selection
from metabench.training.objectives import ClassObjective
from metabench.utils.console import Console
from metabench.utils.home import Home
from metabench_protocols.fixed_way import FixedWay
from tests.plugins.protocol_facts import assert_sound, owners, split_of
from tests.tiny import SETTINGS, arguments, record_of, run_json

WORDS = ["--protocol", "generalised", "--ways", "3", "--query", "4"]


@given(st.lists(st.integers(2, 40), min_size=1, max_size=6), st.floats(0.01, 0.99), st.integers(0, 99))
def test_a_share_of_each_class_is_reserved(counts: list[int], share: float, digest: int) -> None:
    split = split_of(counts)
    mask = reserve_mask(split, str(digest), share)
    taken = np.add.reduceat(mask, split.starts[:-1], dtype=int)
    for count, found in zip(counts, taken, strict=True):
        assert 1 <= found <= count - 1
        assert abs(found - share * count) <= 0.5 or found in (1, count - 1)
    np.testing.assert_array_equal(np.diff(starts_of(split, mask)), taken)
    more = reserve_mask(split, str(digest), min(0.995, share + 0.2))
    assert more[mask].all(), "what was reserved stays reserved where the share grows"


def test_the_reserve_is_that_of_the_content() -> None:
    """Other data have another one; the same have it for ever."""
    split = split_of([20, 31, 5])
    mask = reserve_mask(split, "ab", 0.2)
    assert (mask != reserve_mask(split, "cd", 0.2)).any()
    assert hashlib.sha256(mask.tobytes()).hexdigest()[:16] == "db3360e200159870"


def test_a_reserve_that_cannot_be() -> None:
    for share in (0.0, 1.0, 1.5, -0.1):
        with pytest.raises(UsageError, match="between 0 and 1"):
            reserve_mask(split_of([5]), "", share)
    with pytest.raises(UsageError, match="class 'c1' has one image"):
        reserve_mask(split_of([5, 1]), "", 0.5)


@given(st.lists(st.integers(5, 20), min_size=4, max_size=6), st.floats(0.05, 0.6), st.integers(0, 99))
def test_no_episode_has_a_reserved_image(counts: list[int], share: float, name: int) -> None:
    split = split_of(counts)
    mask = reserve_mask(split, "digest", share)
    source = UnreservedSource(FixedWay(3, 1, 1), split, name, mask)
    batch = source.batch(0, 150)
    assert_sound(batch, split)
    rows = np.concatenate([batch.support, batch.query], axis=1)
    assert not mask[rows].any()
    assert source.split is split
    again = np.concatenate([source.batch(i, i + 1).support for i in range(3)])
    np.testing.assert_array_equal(again, batch.support[:3])


def test_every_image_left_is_drawn() -> None:
    split = split_of([6, 8, 7])
    mask = reserve_mask(split, "digest", 0.3)
    batch = UnreservedSource(FixedWay(3, 1, 2), split, 0, mask).batch(0, 400)
    seen = np.unique(np.concatenate([batch.support, batch.query], axis=1))
    np.testing.assert_array_equal(seen, np.flatnonzero(~mask))


def test_a_class_that_the_reserve_makes_too_small_is_named() -> None:
    split = split_of([6, 8])
    with pytest.raises(UsageError, match=r"class 'c0'.*of its images 50% are reserved and not trained on"):
        UnreservedSource(FixedWay(2, 1, 3), split, 0, reserve_mask(split, "", 0.5))


def test_the_rows_of_base_classes_follow_those_measured() -> None:
    measured, base = split_of([3, 4]), split_of([5, 6, 4])
    mask = reserve_mask(base, "digest", 0.3)
    joint = join_splits(measured, base, mask)
    original = base_rows(mask)
    assert sorted(original) == list(range(15))
    rows = np.arange(7 + 15)
    of = joint.class_of(rows)
    np.testing.assert_array_equal(of[:7], owners(measured, rows[:7]))
    np.testing.assert_array_equal(of[7:], 2 + owners(base, original))
    held = rows[7:] >= joint.reserve_starts[0]
    np.testing.assert_array_equal(held, mask[original])
    assert (joint.base_starts[0], joint.base_starts[-1], joint.reserve_starts[-1]) == (7, joint.reserve_starts[0], 22)


def _executor(home: Path, train_on: str = "train", **more: Any) -> tuple[Executor, Any]:
    selection = Selection(
        algorithms=("protonet",),
        ways=(3,),
        query=4,
        episodes=20,
        protocol="generalised",
        settings={**SETTINGS, "train.train_on": train_on, **more},
    )
    session = Session(Home.resolve(str(home)), Console(quiet=True), "cpu")
    (run,) = plan(selection, session.registry)
    return Executor(session), run


@pytest.mark.parametrize("train_on", ["train", "train+val"])
def test_training_draws_from_what_is_not_reserved(tmp_path: Path, train_on: str) -> None:
    executor, run = _executor(tmp_path, train_on)
    digests = run_digests(run, executor.session.loader)
    mask = reserved_images(run, executor.session.loader)
    assert 0.15 < mask.mean() < 0.25
    source = training_source(run, run.stages[-1], executor.session.loader, train_on, digests)
    batch = source.batch(0, 400)
    rows = np.unique(np.concatenate([batch.support, batch.query], axis=1))
    left = np.flatnonzero(~mask)
    np.testing.assert_array_equal(rows[rows < len(mask)], left)
    assert (len(rows) > len(left)) == (train_on == "train+val")
    validation = training_source(run, run.stages[-1], executor.session.loader, "val", digests)
    assert not isinstance(validation, UnreservedSource)


def test_a_mask_grows_by_the_copies_of_its_images() -> None:
    images = np.array([1, 2, 3, 1, 4, 3], dtype=np.uint8)[:, None, None, None]
    mask = np.array([True, False, False, False, True, False])
    assert with_copies(images, mask).tolist() == [True, False, False, True, True, False]
    assert mask.tolist() == [True, False, False, False, True, False]


@pytest.mark.parametrize("train_on", ["train", "train+val"])
def test_training_does_not_see_the_copy_of_a_reserved_image(tmp_path: Path, train_on: str) -> None:
    executor, run = _executor(tmp_path, train_on)
    session, digests = executor.session, run_digests(run, executor.session.loader)
    mask, split = reserved_images(run, session.loader), session.loader.split(run.dataset, "train")
    asked, open_rows = np.flatnonzero(mask)[3], np.flatnonzero(~mask)
    images = split.images.copy()
    images[open_rows[0]] = images[open_rows[-1]] = images[asked]
    (key,) = (key for key, value in session.loader._splits.items() if value is split)
    session.loader._splits[key] = replace(split, images=images)
    source = training_source(run, run.stages[-1], executor.session.loader, train_on, digests)
    batch = source.batch(0, 400)
    rows = np.unique(np.concatenate([batch.support, batch.query], axis=1))
    np.testing.assert_array_equal(rows[rows < len(mask)], open_rows[1:-1])
    np.testing.assert_array_equal(reserved_images(run, session.loader), mask)  # what is asked about stays what it was


def test_what_is_scored_are_the_images_of_both_splits(tmp_path: Path) -> None:
    executor, run = _executor(tmp_path)
    session, digests = executor.session, run_digests(run, executor.session.loader)
    learner = make_run_learner(run, session.loader.split(run.dataset, "test").item_shape, executor.device)
    data = ActiveRun(run, digests, learner, session, FeatureCache(session, executor.device)).scorable()
    joint = measured_split(run, executor.session.loader)
    assert isinstance(joint, JointSplit)
    test, train = (executor.session.loader.split(run.dataset, name) for name in ("test", "train"))
    assert joint.names == test.names and joint.base_names == train.names and not set(joint.names) & set(train.names)
    images = np.concatenate([test.images, train.images[base_rows(reserved_images(run, executor.session.loader))]])
    assert len(images) == len(data)
    rows = np.random.default_rng(0).choice(len(images), 40, replace=False)
    with torch.inference_mode():
        body = learner.embedder.eval().for_inference()
        expected = body(learner.embedder.inputs(torch.from_numpy(images[rows])))
    torch.testing.assert_close(data[torch.from_numpy(rows)], expected)


def test_a_run_never_learns_what_it_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen from outside: the pixels that training meets, and those of the base classes' queries."""
    learned: set[bytes] = set()
    backward = FeatureLearner.backward

    def spy(self: FeatureLearner, images: torch.Tensor, batch: Any, recipe: Any, episode: int) -> torch.Tensor:
        rows = np.unique(np.concatenate([batch.support, batch.query], axis=1))
        learned.update(image.numpy().tobytes() for image in images[torch.from_numpy(rows)])
        return backward(self, images, batch, recipe, episode)

    monkeypatch.setattr(FeatureLearner, "backward", spy)
    (row,) = run_json(capsys, arguments(tmp_path, *WORDS, settings={"train.episodes": 60}))
    assert row["status"] == "ok"
    executor, run = _executor(tmp_path, **{"train.episodes": 60})
    images, mask = (
        executor.session.loader.split(run.dataset, "train").images,
        reserved_images(run, executor.session.loader),
    )
    asked = {image.tobytes() for image in images[mask]}
    assert len(asked) == mask.sum() and len(learned) > 100
    assert not learned & asked
    assert learned <= {image.tobytes() for image in images[~mask]}


def test_a_stage_of_classes_never_learns_what_the_run_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray[Any, Any]] = []
    init = ClassObjective.__init__

    def spy(self: ClassObjective, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        seen.extend(self._order_of(epoch) for epoch in range(2))

    monkeypatch.setattr(ClassObjective, "__init__", spy)
    settings = {"pretrain.epochs": 1, "pretrain.validation_episodes": 6}
    data = {name: value for name, value in SETTINGS.items() if not name.startswith("train.")}
    words = [word for name, value in {**data, **settings}.items() for word in ("--set", f"{name}={value}")]
    run_json(capsys, ["run", "--algo", "rfs", "--episodes", "60", "--home", str(tmp_path), "--quiet", *WORDS, *words])
    executor, run = _executor(tmp_path)
    reserved = reserved_images(run, executor.session.loader)
    copies = with_copies(executor.session.loader.split(run.dataset, "train").images, reserved)
    for order in seen:
        assert sorted(order) == np.flatnonzero(~copies).tolist()


def test_weights_belong_to_their_reserve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of another share, or of no reserve, are others; what is asked afterwards changes none."""

    def trained(*more: str, protocol: bool = True, **settings: Any) -> dict[str, Any]:
        words = WORDS if protocol else ["--ways", "3", "--query", "4"]
        (row,) = run_json(capsys, arguments(tmp_path, *words, *more, settings=settings))
        return record_of(tmp_path, row)

    usual = trained()
    assert usual["inputs"]["training"]["reserve"] == {"train": 0.2}
    digests = usual["inputs"]["training"]["digests"]
    assert usual["inputs"]["dataset"]["beside"] == {"train": digests["train"]}
    same = [trained(**{"protocol.base_shot": 3}), trained("--ways", "2"), trained(**{"protocol.base": 5})]
    assert {each["training"]["training_key"] for each in same} == {usual["training"]["training_key"]}
    other, none = trained(**{"protocol.reserve": 0.4}), trained(protocol=False)
    assert "reserve" not in none["inputs"]["training"] and "beside" not in none["inputs"]["dataset"]
    keys = {each["training"]["training_key"] for each in (usual, other, none)}
    assert len(keys) == 3
    weights = {each["training"]["weights_sha256"] for each in (usual, other, none)}
    assert len(weights) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--algo", "maml"],
            "maml adapts a network with a fixed number of outputs, and 'generalised' adds all base classes",
        ),
        (
            ["--algo", "nearest-mean", "--dataset", "omniglot-lake"],
            "asks about the classes of 'train' too, and 'omni",
        ),
        (
            ["--algo", "protonet", "--train-dataset", "omniglot"],
            "the base classes of 'generalised' are those of --dataset. Leave it out",
        ),
        (["--algo", "protonet", "--checkpoint", __file__], "nobody knows that. Leave it out"),
        (["--algo", "nearest-mean", "--sampling", "open"], "no open sampling"),
        (["--algo", "nearest-mean", "--until-ci", "1"], "cannot apply --until-ci: it is in points of accuracy"),
        (["--algo", "nearest-mean", "--set", "protocol.reserve=1"], "reserve must be a share between 0 and 1, not 1"),
    ],
)
def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["run", *words, "--protocol", "generalised", "--home", str(tmp_path), "--quiet"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


@pytest.mark.parametrize("query", [[], ["--query", "1"], ["--dry-run"]])
def test_local_data_without_training_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], query: list[str]
) -> None:
    from tests.photos import make_folder

    make_folder(tmp_path / "photos", {"a": 4, "b": 4, "c": 4}, 0)
    words = ["--dataset", f"folder:{tmp_path / 'photos'}", "--ways", "2", "--protocol", "generalised", "--quiet"]
    assert main(["run", "--algo", "nearest-mean", *words, *query, "--home", str(tmp_path / "home")]) == 2
    assert "asks about the classes of 'train' too, and 'folder:photos' has none" in capsys.readouterr().err


def test_a_plain_split_has_no_base_classes() -> None:
    assert not isinstance(ClassSplit(np.zeros((1, 1)), np.array([0, 1]), ("a",)), JointSplit)
