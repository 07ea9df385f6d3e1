"""The authors' one-shot runs, on a zip in the official layout (random drawings of 105x105, one run after another)."""

import hashlib
import io
import itertools
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabench.cli.main import main
from metabench.data import ClassSplit, DataContext, split_digest
from metabench.episodes.source import EpisodeSource, ListedSource
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.planning.planner import plan
from metabench.planning.selection import Selection
from metabench.registry.registry import load_registry
from metabench_datasets import omniglot_lake
from metabench_datasets.omniglot_lake import SPEC, OmniglotLake
from metabench_protocols.lake_runs import LakeRuns


def drawing(run, number, part):
    """Some lines for each image, different for every one of them; bool, ink True."""
    image = np.zeros((105, 105), bool)
    image[5 + 4 * run, 10 : 30 + 3 * number] = True
    image[20 : 25 + number, 90 + 3 * part] = True
    return image


def png(ink):
    stream = io.BytesIO()
    Image.fromarray(~ink).save(stream, "png")
    return stream.getvalue()


def official(path, top="", damage=None):
    """Write the zip: test item i of run r is of class (i * 7 + r) % 20 + 1."""
    members = {}
    for run in range(1, 21):
        lines = []
        for item in range(1, 21):
            number = (item * 7 + run) % 20 + 1
            lines.append(f"run{run:02}/test/item{item:02}.png run{run:02}/training/class{number:02}.png")
            members[f"{top}run{run:02}/test/item{item:02}.png"] = png(drawing(run, number, 1))
            members[f"{top}run{run:02}/training/class{item:02}.png"] = png(drawing(run, item, 0))
        members[f"{top}run{run:02}/class_labels.txt"] = "\n".join(lines).encode()
    if damage:
        damage(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "official").mkdir()
    official(tmp_path / "official" / "all_runs.zip")
    content = hashlib.sha256()
    for run, number, part in itertools.product(range(1, 21), range(1, 21), (0, 1)):
        content.update(np.packbits(drawing(run, number, part)).tobytes())
    monkeypatch.setattr(omniglot_lake, "_PIXELS", content.hexdigest())
    return tmp_path / "official"


@pytest.fixture
def context(tmp_path, folder):
    return DataContext(tmp_path / "cache", (folder,))


def test_classes_are_those_of_the_runs_and_pair_by_the_labels(context):
    split = OmniglotLake().load("test", context)
    assert split.images.shape == (800, 105, 105, 1) and (split.counts == 2).all()
    assert split.names[21] == "run02/class02" and split.groups[21] == "run02"
    for run in (1, 7, 20):
        for number in (1, 13, 20):
            row = 2 * ((run - 1) * 20 + number - 1)
            for part in (0, 1):
                np.testing.assert_array_equal(split.images[row + part, :, :, 0], 255 * drawing(run, number, part))


def test_layouts_with_a_folder_and_at_another_size(context, folder, tmp_path):
    whole = split_digest(OmniglotLake().load("test", context))
    (tmp_path / "clone" / "python" / "one-shot-classification").mkdir(parents=True)
    official(tmp_path / "clone" / "python" / "one-shot-classification" / "all_runs.zip", "all_runs/")
    other = DataContext(tmp_path / "other", (tmp_path / "clone",))
    assert split_digest(OmniglotLake().load("test", other)) == whole
    with zipfile.ZipFile(folder / "all_runs.zip") as archive:
        archive.extractall(tmp_path / "extracted" / "all_runs")
    other = DataContext(tmp_path / "third", (tmp_path / "extracted",))
    assert split_digest(OmniglotLake().load("test", other)) == whole
    small = OmniglotLake(size=28, resample="average").load("test", context)
    assert small.images.shape == (800, 28, 28, 1) and len(np.unique(small.images)) > 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda m: m.update({"run03/class_labels.txt": b""}), "does not give each of 20 classes a test image"),
        (
            lambda m: m.update({"run03/class_labels.txt": m["run03/class_labels.txt"].replace(b"class05", b"class06")}),
            "does not give each of 20 classes a test image",
        ),
        (lambda m: m.pop("run20/class_labels.txt"), "has no run20/class_labels.txt"),
        (lambda m: m.pop("run04/test/item09.png"), "has no 'run04/test/item09.png'"),
        (lambda m: m.update({"run04/test/item09.png": b"x"}), "is not a readable PNG"),
        (lambda m: m.update({"run04/test/item09.png": png(drawing(1, 1, 1))}), "has other drawings than published"),
    ],
)
def test_damage_is_named(context, folder, damage, words):
    official(folder / "all_runs.zip", damage=damage)
    with pytest.raises(MetabenchError) as caught:
        OmniglotLake().load("test", context)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert list(context.cache.rglob("*.npy")) == []


def test_no_data_says_where_to_get_it(tmp_path):
    with pytest.raises(MissingError, match=r"all_runs\.zip not found; get it from https://github\.com/brendenlake"):
        OmniglotLake().load("test", DataContext(tmp_path))
    with pytest.raises(UsageError, match="only the split 'test'"):
        OmniglotLake().load("train", DataContext(tmp_path))


def in_runs():
    """A split that is laid out in runs, without drawings."""
    groups = tuple(f"run{run}" for run in range(20) for _ in range(20))
    names = tuple(f"class{number}" for number in range(400))
    return ClassSplit(np.zeros((800, 1, 1, 1), np.uint8), np.arange(401, dtype=np.int64) * 2, names, groups)


def test_episodes_are_the_runs_whatever_the_seed():
    split = in_runs()
    for seed in (0, 1):
        batch = ListedSource(LakeRuns(), split, ["name", seed]).batch(0, 20)
        assert batch.support.tolist() == [[40 * run + 2 * c for c in range(20)] for run in range(20)]
        np.testing.assert_array_equal(batch.query, batch.support + 1)
        np.testing.assert_array_equal(batch.query_labels, batch.support_labels)
        assert batch.query_labels[3].tolist() == list(range(20)) and batch.way == 20
    part = ListedSource(LakeRuns(), split, "x").batch(7, 9)
    np.testing.assert_array_equal(part.query, batch.query[7:9])
    drawn = EpisodeSource(LakeRuns(), split, "x").batch(0, 200)  # for other purposes than to measure
    assert {tuple(row) for row in drawn.support.tolist()} == {tuple(row) for row in batch.support.tolist()}


def test_other_data_are_refused(make_split):
    with pytest.raises(UsageError, match="use --dataset omniglot-lake"):
        LakeRuns().check(make_split([2] * 400))
    with pytest.raises(UsageError, match="20-way 1-shot, not 5-way 1-shot"):
        LakeRuns(way=5)


def planned(**more):
    chosen = {"algorithms": ("hausdorff",), "datasets": ("omniglot-lake",), "protocol": "lake-runs"}
    return plan(Selection(**{**chosen, **more}), load_registry())


def test_a_plan_of_listed_episodes():
    (run,) = planned()
    assert run.episodes == 20 and dict(run.protocol.params) == {"way": 20, "shot": 1}
    assert planned(episodes=5)[0].episodes == 5
    with pytest.raises(UsageError, match=r"has 20 episodes, not 21\. Use --episodes 20 or fewer\."):
        planned(episodes=21)
    with pytest.raises(UsageError, match="is a list of episodes"):
        planned(until_ci=1.0)
    with pytest.raises(UsageError, match="is a list of episodes"):
        planned(sampling="open")
    with pytest.raises(UsageError, match="'way' of protocol 'lake-runs' is one of 20, not 5"):
        planned(ways=(5,))
    with pytest.raises(UsageError, match="has its own number of queries"):
        planned(query=15)


def test_measured_end_to_end(folder, tmp_path, capsys):
    """Chance on the runs: 20 episodes of 20 queries, in a record that is valid when it is read again."""
    home = str(tmp_path / "home")
    arguments = ["run", "--dataset", "omniglot-lake", "--protocol", "lake-runs", "--algo", "chance", "--home", home]
    assert main([*arguments, "--data", str(folder), "--json", "--quiet"]) == 0
    assert '"episodes": 20' in capsys.readouterr().out
    assert main([*arguments, "--data", str(folder), "--quiet"]) == 0
    assert "20     1" in capsys.readouterr().out


def real_runs():
    """The folder that holds the authors' zip."""
    given = [Path(part) for part in os.environ.get("METABENCH_DATA", "").split(os.pathsep) if part]
    for folder in [*given, Path(__file__).parents[2].parent / "shared" / "data"]:
        if any((folder / name).exists() for name in omniglot_lake.FILES):
            return folder
    pytest.skip("no one-shot runs of Omniglot in METABENCH_DATA or ../shared/data")


@pytest.mark.realdata
def test_real_runs_and_the_first_of_them(tmp_path, capsys):
    """11, 13 and 12 of 20 trials are right by the Hausdorff distance; all 20 runs stand on the leaderboard."""
    split = OmniglotLake().load("test", DataContext(tmp_path, (real_runs(),)))
    assert split_digest(split) == SPEC.digests["test"]
    arguments = ["run", "--dataset", "omniglot-lake", "--protocol", "lake-runs", "--algo", "hausdorff"]
    arguments += ["--episodes", "3", "--home", str(tmp_path), "--data", str(real_runs()), "--json", "--quiet"]
    assert main(arguments) == 0
    (record,) = (tmp_path / "records").glob("*.json")
    assert '"correct":[11,13,12]' in record.read_text()
