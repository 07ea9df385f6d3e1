import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pluggy
import pytest

from metabench.cli.main import main
from metabench.data import ClassSplit, image_digest, split_digest
from metabench.data.array_cache import cached_array
from metabench.errors import MissingError
from metabench.registry.loader import PluginSet
from metabench.registry.params import Param
from metabench.registry.registry import Registry
from metabench.registry.specs import DatasetSpec, Declared, KnownCopy, SplitSize
from metabench_datasets import omniglot

SHAPE = (6, 2, 2, 1)


def squares(split, value=7):
    """Images of which no two are the same."""
    first = 60 * ("train", "val", "test").index(split) + value
    return np.broadcast_to(np.arange(first, first + 6, dtype=np.uint8)[:, None, None, None], SHAPE).copy()


class Squares:
    """Reads ``squares.bin`` from a source folder, or makes it up where downloading is allowed."""

    def load(self, split, context):
        def build(out):
            files = [source / "squares.bin" for source in context.sources]
            found = [file.read_bytes() for file in files if file.exists()]
            if not found and not context.allow_download:
                raise MissingError("squares: squares.bin not found; put it somewhere")
            context.progress(f"{split} split", 1, 1)
            out[:] = squares(split, found[0][0] if found else 7)

        images = cached_array(context.cache / f"{split}.npy", SHAPE, build)
        return ClassSplit(images, np.array([0, 3, 6]), (f"{split} a", f"{split} b"))


DIGESTS = {
    split: split_digest(ClassSplit(squares(split), np.array([0, 3, 6]), ("a", "b")))
    for split in ("train", "val", "test")
}
SQUARES = DatasetSpec(
    name="squares",
    version=1,
    target=f"{__name__}:Squares",
    summary="Little squares",
    reference="none",
    licence="MIT",
    image_shape=(1, 2, 2),
    sizes={split: SplitSize(2, 6) for split in ("train", "val", "test")},
    digests=DIGESTS,
    download=True,
)


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run ``metabench datasets ...`` on the given specs; returns (exit code, stdout, stderr)."""
    monkeypatch.delenv("METABENCH_DATA", raising=False)
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))

    def call(*arguments, specs=(SQUARES,)):
        registry = Registry(
            {}, {spec.name: spec for spec in specs}, {}, {}, PluginSet((), (), pluggy.PluginManager("x")), {}
        )
        monkeypatch.setattr("metabench.cli.datasets.current_registry", lambda: registry)
        code = main(["datasets", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def put(folder, value):
    folder.mkdir(exist_ok=True)
    (folder / "squares.bin").write_bytes(bytes([value]))
    return str(folder)


def test_list_says_what_is_ready(run, tmp_path):
    code, out, _ = run("list")
    assert code == 0 and "squares  images  2/2/2    1x2x2  MIT      missing  Little squares" in out
    mine = put(tmp_path / "mine", 7)
    assert "MIT      not prepared" in run("list", "--data", mine)[1] and not list((tmp_path / "home").rglob("*.npy"))
    run("download", "squares")
    made = replace(SQUARES, name="made", download=False)
    lacking = replace(SQUARES, name="lacking", requires=("no_such_module",))
    code, out, _ = run("list", "--json", specs=(SQUARES, made, lacking))
    states = {row["name"]: row["state"] for row in json.loads(out)}
    assert states["squares"] == "prepared" and states["made"] == "built in"
    assert states["lacking"].startswith("unavailable: needs no_such_module")


def test_download_prepares_and_reports_on_stdout_only(run, tmp_path):
    code, out, err = run("download", "squares", "--json")
    assert code == 0 and err == ""
    answer = json.loads(out)
    assert answer["folder"] == str(tmp_path / "home" / "data" / "squares")
    assert [(s["split"], s["classes"], s["images"]) for s in answer["splits"]] == [
        ("train", 2, 6), ("val", 2, 6), ("test", 2, 6)]  # fmt: skip
    assert run("download", "squares")[1].splitlines()[0] == "squares train: 2 classes, 6 images"


def test_download_from_a_folder_uses_no_network_and_wins_over_data(run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = run("download", "squares", "--from", str(tmp_path / "empty"))
    assert (code, out) == (3, "") and err == "error: squares: squares.bin not found; put it somewhere\n"
    mine, other = put(tmp_path / "mine", 7), put(tmp_path / "other", 9)
    assert run("download", "squares", "--from", mine, "--data", other)[0] == 0
    assert run("verify", "squares")[0] == 0


def test_download_from_nowhere_is_a_usage_error(run, tmp_path):
    code, _, err = run("download", "squares", "--from", str(tmp_path / "nowhere"))
    assert code == 2 and "nowhere" in err and err.count("\n") == 1


def test_unknown_name(run):
    code, _, err = run("download", "sqares")
    assert code == 2 and "did you mean 'squares'" in err


def test_verify_ok_and_differs(run, tmp_path):
    assert run("download", "squares")[0] == 0
    code, out, _ = run("verify", "squares")
    assert code == 0 and all(digest[:12] in out for digest in DIGESTS.values()) and "differs" not in out
    file = tmp_path / "home" / "data" / "squares" / "val.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    code, out, err = run("verify", "--json")
    statuses = {check["split"]: check["status"] for check in json.loads(out)}
    assert code == 1 and statuses == {"train": "ok", "val": "differs", "test": "ok"}
    assert err.startswith("error: squares val has digest") and f"move {file.parent} elsewhere" in err
    assert DIGESTS["val"][:12] in err and err.count("\n") == 1


def test_verify_compares_sizes_where_there_is_no_digest(run):
    unknown = replace(SQUARES, digests={})
    assert run("download", "squares", specs=(unknown,))[0] == 0
    code, out, _ = run("verify", specs=(unknown,))
    assert code == 0 and out.count("unverified") == 3
    wrong = replace(unknown, sizes={split: SplitSize(3, 6) for split in SQUARES.sizes})
    code, out, err = run("verify", specs=(wrong,))
    assert code == 1 and "broken" in out
    assert err.startswith(
        "error: cannot load train of data set 'squares': it has 2 classes and 6 items, declared are 3"
    )


def test_verify_tells_known_copies_from_unknown_ones(run):
    copy = KnownCopy(digests={**DIGESTS, "val": "0" * 64})
    spec = replace(SQUARES, digests={}, copies={"squeezed": copy})
    assert run("download", "squares", specs=(spec,))[0] == 0
    code, out, _ = run("verify", "squares", "--json", specs=(spec,))
    found = {check["split"]: (check["status"], check["detail"]) for check in json.loads(out)}
    assert code == 0 and found["train"] == found["test"] == ("known copy", "squeezed")
    assert found["val"] == ("unverified", "a copy that nobody has described")
    official = replace(spec, digests=DIGESTS)
    assert run("verify", "squares", specs=(official,))[1].count(" ok ") == 3


class Repeating(Squares):
    """Two images of val are also in train, and train has one twice in a class and one in both classes."""

    def load(self, split, context):
        made = super().load(split, context)
        images = np.array(made.images)
        if split == "val":
            images[:2] = squares("train")[:2]
        if split == "train":
            images[5] = images[4]
            images[3] = images[2]
        return replace(made, images=images)


def test_verify_lists_images_that_are_there_more_than_once(run):
    digest = image_digest(squares("train")[0])
    spec = replace(SQUARES, target=f"{__name__}:Repeating", digests={}, shared_images=(digest,))
    assert run("download", "squares", specs=(spec,))[0] == 0
    code, out, err = run("verify", "squares", "--json", specs=(spec,))
    found = {(check["split"], check["status"]): check for check in json.loads(out)}
    assert code == 1 and len(found) == 6
    assert err == (
        "error: squares train: images copied within a class: 1. "
        "Scores are too high where support and query are the same item; --json lists all of them\n"
    )
    repeated, conflicting, shared = (
        found[place] for place in (("train", "repeated"), ("train", "conflicting"), ("train+val", "shared"))
    )
    assert repeated["images"] == 1 and repeated["failed"]
    assert repeated["copies"] == [
        [{"split": "train", "class_name": "train b", "index": index, "file": ""} for index in (1, 2)]
    ]
    assert conflicting["failed"] and conflicting["detail"] == "images copied into another class: 1"
    assert shared["images"] == 2 and "2 of them not declared" in shared["detail"]  # which copy it is, is not known
    out = run("verify", "squares", specs=(spec,))[1]
    assert "\nsquares train: images copied within a class: 1\n  train b[2] = train b[1]\n" in out
    assert "\n  train b[0] = train a[2]\n" in out and "\n  val val a[1] = train train a[1]\n" in out


def test_verify_takes_copies_of_published_data_as_they_are(run):
    digest, other = (image_digest(image) for image in squares("train")[:2])
    spec = replace(SQUARES, target=f"{__name__}:Repeating", digests={}, shared_images=(digest,))
    run("download", "squares", specs=(spec,))
    checks = json.loads(run("verify", "--json", specs=(spec,))[1])
    published = replace(spec, digests={check["split"]: check["digest"] for check in checks if check["digest"]})
    code, out, err = run("verify", "squares", "--json", specs=(published,))
    failed = [check for check in json.loads(out) if check["failed"]]
    assert code == 1 and [check["status"] for check in failed] == ["shared"]
    assert "1 of them not declared" in failed[0]["detail"] and "train+val" in err
    declared = replace(published, shared_images=(digest, other))
    code, out, err = run("verify", "squares", specs=(declared,))
    assert (code, err) == (0, "") and "all of them declared" in out and "repeated" in out
    copies = {"squeezed": KnownCopy(digests=published.digests, shared_images=(digest, other))}
    assert run("verify", "squares", specs=(replace(spec, copies=copies),))[0] == 0


class TwoLabels(Squares):
    """Train has one image in both classes."""

    def load(self, split, context):
        made = super().load(split, context)
        images = np.array(made.images)
        if split == "train":
            images[3] = images[2]
        return replace(made, images=images)


class TwoSplits(Squares):
    """One image of val is also in train."""

    def load(self, split, context):
        made = super().load(split, context)
        images = np.array(made.images)
        if split == "val":
            images[0] = squares("train")[0]
        return replace(made, images=images)


@pytest.mark.parametrize(
    ("target", "end"),
    [
        ("TwoLabels", "An item with several labels cannot be right with all of them; --json lists all of them\n"),
        (
            "TwoSplits",
            "Scores are too high where items are measured that were learned from; --json lists all of them\n",
        ),
    ],
)
def test_verify_says_of_each_kind_of_copies_how_it_moves_scores(run, target, end):
    spec = replace(SQUARES, target=f"{__name__}:{target}", digests={})
    assert run("download", "squares", specs=(spec,))[0] == 0
    code, _, err = run("verify", "squares", specs=(spec,))
    assert code == 1 and err.endswith(end)


class Apart(Squares):
    """Keeps each fold in a folder of its own."""

    def __init__(self, fold=1):
        self.fold = fold

    def load(self, split, context):
        return super().load(split, replace(context, cache=context.cache / str(self.fold)))


class Folded(Squares):
    """Another half of the same squares in each fold."""

    def __init__(self, fold=1):
        self.fold = fold

    def load(self, split, context):
        order = ("train", "val", "test")
        return super().load(order[(order.index(split) + self.fold - 1) % 3], context)


def test_list_counts_the_class_splits_that_are_ready(run):
    class_split = Param("fold", 1, "which", (1, 2, 3))
    sizes = {fold: Declared(SQUARES.sizes, {}) for fold in (2, 3)}
    folded = replace(SQUARES, name="folded", target=f"{__name__}:Apart", params=(class_split,), folds=sizes)
    run("download", "folded", specs=(folded,))
    (row,) = json.loads(run("list", "--json", specs=(folded,))[1])
    assert row["state"] == "1 of 3 folds prepared, 2 of 3 folds missing"


def test_verify_looks_at_every_class_split(run):
    turned = {split: DIGESTS[other] for split, other in zip(DIGESTS, ("val", "test", "train"), strict=True)}
    fold = Param("fold", 1, "which", (1, 2))
    folded = replace(
        SQUARES, name="folded", target=f"{__name__}:Folded", params=(fold,), folds={2: Declared(SQUARES.sizes, turned)}
    )
    run("download", "folded", specs=(folded,))
    code, out, _ = run("verify", "folded", "--json", specs=(folded,))
    checks = {(check["dataset"], check["split"]): check for check in json.loads(out)}
    assert code == 0 and {check["status"] for check in checks.values()} == {"ok"}
    assert list(checks) == [(f"folded fold={fold}", split) for fold in (1, 2) for split in DIGESTS]
    assert checks["folded fold=2", "train"]["digest"] == DIGESTS["val"]
    wrong = replace(folded, folds={2: Declared(SQUARES.sizes, {**turned, "val": "ab" * 32})})
    code, _, err = run("verify", "folded", specs=(wrong,))
    assert code == 1 and err.startswith("error: folded fold=2 val has digest ")


def test_verify_takes_parameters_of_what_is_named(run, tmp_path):
    spec = replace(SQUARES, target=f"{__name__}:Folded", params=(Param("fold", 1, "which", (1, 2)),))
    run("download", "squares", specs=(spec,))
    assert run("verify", "squares", specs=(spec,))[0] == 0
    code, out, _ = run("verify", "squares", "--set", "data.fold=2", "--json", specs=(spec,))
    assert code == 0 and json.loads(out)[0]["digest"] == DIGESTS["val"]
    for words in (("--set", "data.fold=2"), ("squares", "--set", "fold=2")):
        code, _, err = run("verify", *words, specs=(spec,))
        assert code == 2 and "name a data set, and write data.NAME=VALUE" in err


def test_verify_missing_fails_only_where_named(run):
    code, out, err = run("verify")
    assert code == 0 and "missing" in out and err == ""
    code, out, err = run("verify", "squares")
    assert code == 3 and "missing" in out and err.startswith("error: squares: squares.bin not found")


def test_verify_broken_source(run, tmp_path):
    (tmp_path / "official").mkdir()
    (tmp_path / "official" / "images_background.zip").write_bytes(b"junk")
    (tmp_path / "official" / "images_evaluation.zip").write_bytes(b"junk")
    data = str(tmp_path / "official")
    code, out, err = run("verify", "omniglot", "--data", data, specs=(omniglot.SPEC,))
    assert code == 1 and "broken" in out
    assert "images_background.zip: not a readable zip" in err and err.count("\n") == 1


def test_omniglot_without_data_is_exit_code_3_and_one_line(run, tmp_path):
    (tmp_path / "empty").mkdir()
    folder = str(tmp_path / "empty")
    code, out, err = run("download", "omniglot", "--from", folder, specs=(omniglot.SPEC,))
    assert (code, out) == (3, "") and err.count("\n") == 1
    assert "images_background.zip and images_evaluation.zip not found" in err
    assert str(tmp_path / "home" / "data" / "omniglot" / "downloads") in err


def test_where(run, tmp_path):
    folder = tmp_path / "home" / "data" / "squares"
    assert run("where", "squares") == (0, f"{folder}\n", "")
    run("download", "squares")
    source = put(tmp_path / "mine", 7)
    code, out, _ = run("where", "--json", "--data", source)
    used = sum(file.stat().st_size for file in folder.iterdir())
    assert code == 0 and json.loads(out) == {
        "datasets": [{"name": "squares", "folder": str(folder), "bytes": used}],
        "sources": [source],
    }
    code, out, err = run("where")
    assert code == 0 and str(folder) in out and "METABENCH_DATA" in err


def test_home_option_wins_over_the_environment(run, tmp_path):
    code, out, _ = run("where", "squares", "--home", str(tmp_path / "else"))
    assert code == 0 and out.strip() == str(tmp_path / "else" / "data" / "squares")


def test_imports_nothing_heavy():
    code = (
        "import sys, metabench.cli.datasets, metabench_datasets.omniglot; "
        "print([name for name in ('torch', 'pandas', 'scipy', 'pooch', 'PIL', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
