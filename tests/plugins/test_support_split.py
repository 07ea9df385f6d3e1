"""Support from train/, queries from test/ of the same classes: a folder as users of ImageFolder have it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench.cli.main import main
from metabench.data import ClassSplit
from metabench.data.paired_split import PairedSplit, pair_splits
from metabench.episodes.source import EpisodeSource
from metabench.errors import UsageError
from metabench.execution.launcher import run_selection
from metabench.execution.session import Session
from metabench.planning.selection import Selection
from metabench.utils.console import Console
from metabench.utils.home import Home
from metabench_protocols.support_split import SupportSplit
from tests.photos import make_folder, picture
from tests.tiny import record_of, run_json

TRAIN = dict.fromkeys("abcd", 6)
TEST = {"a": 3, "b": 5, "c": 4, "d": 4}
SMALL = ["--algo", "nearest-mean", "--episodes", "60", "--set", "data.size=16", "--protocol", "support-split"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Other pictures in test/ than in train/: those of each class are numbered on."""
    root = tmp_path / "photos"
    make_folder(root / "train", TRAIN)
    for label, (name, count) in enumerate(TEST.items()):
        (root / "test" / name).mkdir(parents=True)
        for number in range(count):
            picture(label, 100 + number).save(root / "test" / name / f"{number}.png")
    return root


def words_of(root: Path, *more: str) -> list[str]:
    return ["run", "--dataset", f"folder:{root}", *SMALL, *more]


def record(home: Path, root: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    (row,) = run_json(capsys, words_of(root, *more))
    return record_of(home, row)


def test_all_of_test_is_asked_about(photos: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_json(capsys, words_of(photos, "--shots", "1,5"))
    assert [(row["way"], row["shot"], row["status"]) for row in rows] == [(4, 1, "ok"), (4, 5, "ok")]
    found = [record_of(home, row) for row in rows]
    for each in found:
        assert each["inputs"]["dataset"]["params"]["same_classes"] is True
        assert each["inputs"]["dataset"]["support"].keys() == {"train"}
        assert each["inputs"]["training"] is None
        assert each["scores"]["n_query"] == sum(TEST.values())
        assert each["scores"]["classes"] is None
        assert each["summary"]["open95"] is None
        assert each["summary"]["ci95"] > 0
    assert found[0]["scores"]["episodes_digest"] != found[1]["scores"]["episodes_digest"]
    assert main(["run", *words_of(photos, "--shots", "1,5")[1:]]) == 0
    assert "open" not in capsys.readouterr().out


def test_labels_come_from_train(photos: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the folders of train/ have changed names, what is right elsewhere is wrong."""
    right = record(home, photos, capsys)["summary"]["accuracy"]
    for name in "abcd":
        (photos / "train" / name).rename(photos / "train" / f"old-{name}")
    for old, new in zip("abcd", "bcda", strict=True):
        (photos / "train" / f"old-{old}").rename(photos / "train" / new)
    wrong = record(home, photos, capsys)["summary"]["accuracy"]
    assert right > 80
    assert wrong < 20


def test_no_claim_for_new_classes_at_the_ceiling_or_of_some_ways(
    photos: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in TEST:
        for folder in ("train", "test"):
            for path in (photos / folder / name).iterdir():
                picture("abcd".index(name), int(path.stem), noise=1).save(path.with_suffix(".png"))
                if path.suffix != ".png":
                    path.unlink()
    ceiling = record(home, photos, capsys, "--shots", "5")["summary"]
    assert (ceiling["accuracy"], ceiling["open95"]) == (100, None)
    some = record(home, photos, capsys, "--ways", "3")
    assert set(some["scores"]["n_query"]) <= {11, 12, 13}
    assert some["summary"]["open95"] is None


def test_it_is_reproduced_and_shown(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = run_json(capsys, words_of(photos, "--shots", "2"))
    assert main(["reproduce", row["key"]]) == 0
    assert "reproduced: the first 50 of 60 episodes" in capsys.readouterr().out
    assert main(["show", "support-split"]) == 0
    assert "support from train, which has the same classes" in capsys.readouterr().out
    assert main(["list", "runs"]) == 0
    assert "support-split" in capsys.readouterr().out


def test_worst_counts_the_images_of_test(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = run_json(capsys, words_of(photos))
    assert main(["worst", row["key"], "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["name"]: each["queries"] for each in found["classes"]} == {name: 60 * n for name, n in TEST.items()}


def test_copies_in_train_and_test_are_told(photos: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(photos / "train" / "a" / "000.png", photos / "test" / "a" / "again.png")
    shutil.copy(photos / "test" / "b" / "1.png", photos / "test" / "b" / "twin.png")
    assert main(words_of(photos)) == 0
    said = capsys.readouterr().err
    assert "folder:photos, test: some items are copies, 1 in training too (items are measured that were" in said
    assert f"'metabench datasets verify folder:{photos} " in said
    assert "--set data.same_classes=True" in said
    assert "within a class" not in said
    assert main(["datasets", "verify", f"folder:{photos}", "--set", "data.same_classes=True"]) == 1
    assert "a/again.png" in "".join(capsys.readouterr())


def test_a_table_with_a_column_of_splits(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path / "birds", dict.fromkeys("abc", 6))
    paths = sorted(path.relative_to(root) for path in root.glob("*/*"))
    lines = [f"{path},{path.parts[0]},{'test' if int(path.stem) > 3 else 'train'}" for path in paths]
    (root / "labels.csv").write_text("\n".join(["path,label,split", *lines]) + "\n")
    found = record(home, root, capsys)
    assert (found["scores"]["n_query"], found["inputs"]["protocol"]["params"]["way"]) == (6, 3)


def test_a_changed_file_of_train_makes_another_run(
    photos: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = record(home, photos, capsys)["key"]
    picture(0, 55).save(photos / "train" / "a" / "000.png")
    assert record(home, photos, capsys)["key"] != before


def test_a_backbone_trained_before_is_used_as_it_is(
    photos: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--dataset", f"folder:{photos}", "--set", "data.size=16", "--protocol", "support-split"]
    assert main([*words, "--algo", "protonet", "--backbone", "pixels", "--episodes", "20"]) == 0
    capsys.readouterr()


REFUSED: Mapping[str, tuple[list[str], str]] = {
    "query": (["--query", "5"], "protocol 'support-split' has its own number of queries. Leave --query out"),
    "open": (["--sampling", "open"], "has no open sampling"),
    "source": (
        ["--algo", "protonet", "--train-dataset", "glyphs"],
        "cannot apply --train-dataset: 'support-split' trains nothing",
    ),
    "shots": (["--shots", "7"], "7 shots are more than the 6 images that class 'a' has for support; use --shots 6"),
    "ways": (["--ways", "5"], "5-way needs 5 classes but the split has 4; use --ways 4 or fewer"),
    "one way": (["--ways", "1"], "--ways must be at least 2, not 1"),
    "untrained": (["--algo", "protonet"], "'folder:photos' has no classes to meta-train protonet on"),
    "images": (["--algo", "maml"], "'support-split' is for features"),
    "data": (["--dataset", "glyphs"], "each split of 'glyphs' has classes of its own; use --dataset folder:PATH"),
    "set": (["--set", "data.same_classes=true"], "cannot set data.same_classes: the protocol sets it"),
    "other": (
        ["--protocol", "fixed-way", "--set", "data.same_classes=true"],
        "data.same_classes: the protocol sets it",
    ),
    "plain": (["--protocol", "fixed-way"], "take examples from train/ and ask about test/ by --protocol support-split"),
    "generalised": (["--protocol", "generalised"], "4 classes are in train/ and in test/"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more, cause = REFUSED[name]
    words = words_of(photos)
    for option in ("--algo", "--protocol", "--dataset"):
        if option in more:
            at = words.index(option)
            del words[at : at + 2]
    if more == ["--dataset", "glyphs"]:
        words = [word for word in words if word not in ("--set", "data.size=16")]
    assert main([*words, *more]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert cause in said


def test_nothing_is_chosen_by_it(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--algo", "linear-probe", "--backbone", "pixels", "--set", "algo.c=0.1,1", "--protocol", "support-split"]
    assert main(["sweep", "--dataset", f"folder:{photos}", *words]) == 2
    assert "cannot choose parameters with protocol 'support-split': it has no val classes" in capsys.readouterr().err


def test_another_protocol_refuses_in_the_same_session(photos: Path, home: Path) -> None:
    session = Session(Home(home), Console(quiet=True))
    dataset, settings = (f"folder:{photos}",), {"data.size": 16}
    paired_runs = Selection(("nearest-mean",), dataset, protocol="support-split", episodes=5, settings=settings)
    plain_runs = Selection(("nearest-mean",), dataset, ways=(3,), query=1, episodes=5, settings=settings)
    assert len(run_selection(paired_runs, session)) == 1
    with pytest.raises(UsageError, match="4 classes are in train/ and in test/"):
        run_selection(plain_runs, session)


def test_other_classes_in_train(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(photos / "test" / "a", photos / "test" / "z")
    assert main(words_of(photos)) == 2
    assert "1 class of test is not in train: 'z'. Give both the same classes" in capsys.readouterr().err
    shutil.rmtree(photos / "train")
    assert main(words_of(photos)) == 2
    assert "takes support from train/, and 'folder:photos' has none" in capsys.readouterr().err


def test_a_folder_of_validation_is_left_alone(photos: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = record(home, photos, capsys)["key"]
    make_folder(photos / "val", {"a": 2, "z": 2})
    assert record(home, photos, capsys)["key"] == before


def split(counts: list[int]) -> ClassSplit:
    starts = np.concatenate([[0], np.cumsum(counts)])
    return ClassSplit(np.zeros((starts[-1], 1, 1, 1), np.uint8), starts, tuple(map(str, range(len(counts)))))


def test_episodes_do_not_depend_on_how_many_are_drawn() -> None:
    both = pair_splits(split([3, 5, 4, 4]), split([6, 7, 2, 9]))
    assert isinstance(both, PairedSplit)
    source = EpisodeSource(SupportSplit(3, 2), both, "x")
    whole = [(*batch.support[i], -1, *batch.query[i]) for batch in source.runs(0, 50) for i in range(len(batch))]
    alone = [(*batch.support[0], -1, *batch.query[0]) for i in range(50) for batch in source.runs(i, i + 1)]
    assert whole == alone
    for batch in source.runs(0, 50):
        for classes, rows in ((batch.support_labels, batch.support), (batch.query_labels, batch.query)):
            owners = both.class_of(rows)
            assert all(
                len(set(owner[label == k])) == 1 for owner, label in zip(owners, classes, strict=True) for k in range(3)
            )
        for rows in batch.query:
            for owner in set(both.class_of(rows)):
                assert (both.class_of(rows) == owner).sum() == both.counts[owner]


def test_splits_of_different_classes_are_no_pair() -> None:
    with pytest.raises(UsageError, match="give both splits the same classes"):
        pair_splits(split([2, 2]), split([2, 2, 2]))
