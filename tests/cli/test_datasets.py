"""``metabench datasets`` from the outside."""

import json
import subprocess
import sys
from dataclasses import replace

from metabench.registry.params import Param
from metabench.registry.specs import Declared, KnownCopy, SplitSize
from metabench_datasets import omniglot
from tests.cli.squares import DIGESTS, SQUARES, Squares, put


def test_list_says_what_is_ready(datasets_command, tmp_path):
    code, out, _ = datasets_command("list")
    assert code == 0 and "squares  images  2/2/2    1x2x2  MIT      missing  Little squares" in out
    mine = put(tmp_path / "mine", 7)
    assert "MIT      not prepared" in datasets_command("list", "--data", mine)[1] and not list(
        (tmp_path / "home").rglob("*.npy")
    )
    datasets_command("download", "squares")
    made = replace(SQUARES, name="made", download=False)
    lacking = replace(SQUARES, name="lacking", requires=("no_such_module",))
    code, out, _ = datasets_command("list", "--json", specs=(SQUARES, made, lacking))
    states = {row["name"]: row["state"] for row in json.loads(out)}
    assert states["squares"] == "prepared" and states["made"] == "built in"
    assert states["lacking"].startswith("unavailable: needs no_such_module")


def test_download_prepares_and_reports_on_stdout_only(datasets_command, tmp_path):
    code, out, err = datasets_command("download", "squares", "--json")
    assert code == 0 and err == ""
    answer = json.loads(out)
    assert answer["folder"] == str(tmp_path / "home" / "data" / "squares")
    assert [(s["split"], s["classes"], s["images"]) for s in answer["splits"]] == [
        ("train", 2, 6), ("val", 2, 6), ("test", 2, 6)]  # fmt: skip
    assert datasets_command("download", "squares")[1].splitlines()[0] == "squares train: 2 classes, 6 images"


def test_download_from_a_folder_uses_no_network_and_wins_over_data(datasets_command, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = datasets_command("download", "squares", "--from", str(tmp_path / "empty"))
    assert (code, out) == (3, "") and err == "error: squares: squares.bin not found; put it somewhere\n"
    mine, other = put(tmp_path / "mine", 7), put(tmp_path / "other", 9)
    assert datasets_command("download", "squares", "--from", mine, "--data", other)[0] == 0
    assert datasets_command("verify", "squares")[0] == 0


def test_download_from_nowhere_is_a_usage_error(datasets_command, tmp_path):
    code, _, err = datasets_command("download", "squares", "--from", str(tmp_path / "nowhere"))
    assert code == 2 and "nowhere" in err and err.count("\n") == 1


def test_unknown_name(datasets_command):
    code, _, err = datasets_command("download", "sqares")
    assert code == 2 and "did you mean 'squares'" in err


def test_verify_ok_and_differs(datasets_command, tmp_path):
    assert datasets_command("download", "squares")[0] == 0
    code, out, _ = datasets_command("verify", "squares")
    assert code == 0 and all(digest[:12] in out for digest in DIGESTS.values()) and "differs" not in out
    file = tmp_path / "home" / "data" / "squares" / "val.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    code, out, err = datasets_command("verify", "--json")
    statuses = {check["split"]: check["status"] for check in json.loads(out)}
    assert code == 1 and statuses == {"train": "ok", "val": "differs", "test": "ok"}
    assert err.startswith("error: squares val has digest") and f"move {file.parent} elsewhere" in err
    assert DIGESTS["val"][:12] in err and err.count("\n") == 1


def test_verify_compares_sizes_where_there_is_no_digest(datasets_command):
    unknown = replace(SQUARES, digests={})
    assert datasets_command("download", "squares", specs=(unknown,))[0] == 0
    code, out, _ = datasets_command("verify", specs=(unknown,))
    assert code == 0 and out.count("unverified") == 3
    wrong = replace(unknown, sizes={split: SplitSize(3, 6) for split in SQUARES.sizes})
    code, out, err = datasets_command("verify", specs=(wrong,))
    assert code == 1 and "broken" in out
    assert err.startswith("error: cannot load train of dataset 'squares': it has 2 classes and 6 items, declared are 3")


def test_verify_tells_known_copies_from_unknown_ones(datasets_command):
    copy = KnownCopy(digests={**DIGESTS, "val": "0" * 64})
    spec = replace(SQUARES, digests={}, copies={"squeezed": copy})
    assert datasets_command("download", "squares", specs=(spec,))[0] == 0
    code, out, _ = datasets_command("verify", "squares", "--json", specs=(spec,))
    found = {check["split"]: (check["status"], check["detail"]) for check in json.loads(out)}
    assert code == 0 and found["train"] == found["test"] == ("known copy", "squeezed")
    assert found["val"] == ("unverified", "a copy that nobody has described")
    official = replace(spec, digests=DIGESTS)
    assert datasets_command("verify", "squares", specs=(official,))[1].count(" ok ") == 3


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


def test_list_counts_the_class_splits_that_are_ready(datasets_command):
    class_split = Param("fold", 1, "which", (1, 2, 3))
    sizes = {fold: Declared(SQUARES.sizes, {}) for fold in (2, 3)}
    folded = replace(SQUARES, name="folded", target=f"{__name__}:Apart", params=(class_split,), folds=sizes)
    datasets_command("download", "folded", specs=(folded,))
    (row,) = json.loads(datasets_command("list", "--json", specs=(folded,))[1])
    assert row["state"] == "1 of 3 folds prepared, 2 of 3 folds missing"


def test_verify_looks_at_every_class_split(datasets_command):
    turned = {split: DIGESTS[other] for split, other in zip(DIGESTS, ("val", "test", "train"), strict=True)}
    fold = Param("fold", 1, "which", (1, 2))
    folded = replace(
        SQUARES, name="folded", target=f"{__name__}:Folded", params=(fold,), folds={2: Declared(SQUARES.sizes, turned)}
    )
    datasets_command("download", "folded", specs=(folded,))
    code, out, _ = datasets_command("verify", "folded", "--json", specs=(folded,))
    checks = {(check["dataset"], check["split"]): check for check in json.loads(out)}
    assert code == 0 and {check["status"] for check in checks.values()} == {"ok"}
    assert list(checks) == [(f"folded fold={fold}", split) for fold in (1, 2) for split in DIGESTS]
    assert checks["folded fold=2", "train"]["digest"] == DIGESTS["val"]
    wrong = replace(folded, folds={2: Declared(SQUARES.sizes, {**turned, "val": "ab" * 32})})
    code, _, err = datasets_command("verify", "folded", specs=(wrong,))
    assert code == 1 and err.startswith("error: folded fold=2 val has digest ")


def test_verify_takes_parameters_of_what_is_named(datasets_command, tmp_path):
    spec = replace(SQUARES, target=f"{__name__}:Folded", params=(Param("fold", 1, "which", (1, 2)),))
    datasets_command("download", "squares", specs=(spec,))
    assert datasets_command("verify", "squares", specs=(spec,))[0] == 0
    code, out, _ = datasets_command("verify", "squares", "--set", "data.fold=2", "--json", specs=(spec,))
    assert code == 0 and json.loads(out)[0]["digest"] == DIGESTS["val"]
    for words in (("--set", "data.fold=2"), ("squares", "--set", "fold=2")):
        code, _, err = datasets_command("verify", *words, specs=(spec,))
        assert code == 2 and "name a dataset, and write data.NAME=VALUE" in err


def test_verify_missing_fails_only_where_named(datasets_command):
    code, out, err = datasets_command("verify")
    assert code == 0 and "missing" in out and err == ""
    code, out, err = datasets_command("verify", "squares")
    assert code == 3 and "missing" in out and err.startswith("error: squares: squares.bin not found")


def test_verify_broken_source(datasets_command, tmp_path):
    (tmp_path / "official").mkdir()
    (tmp_path / "official" / "images_background.zip").write_bytes(b"junk")
    (tmp_path / "official" / "images_evaluation.zip").write_bytes(b"junk")
    data = str(tmp_path / "official")
    code, out, err = datasets_command("verify", "omniglot", "--data", data, specs=(omniglot.SPEC,))
    assert code == 1 and "broken" in out
    assert "images_background.zip: not a readable zip" in err and err.count("\n") == 1


def test_omniglot_without_data_is_exit_code_3_and_one_line(datasets_command, tmp_path):
    (tmp_path / "empty").mkdir()
    folder = str(tmp_path / "empty")
    code, out, err = datasets_command("download", "omniglot", "--from", folder, specs=(omniglot.SPEC,))
    assert (code, out) == (3, "") and err.count("\n") == 1
    assert "images_background.zip and images_evaluation.zip not found" in err
    assert str(tmp_path / "home" / "data" / "omniglot" / "downloads") in err


def test_where(datasets_command, tmp_path):
    folder = tmp_path / "home" / "data" / "squares"
    assert datasets_command("where", "squares") == (0, f"{folder}\n", "")
    datasets_command("download", "squares")
    source = put(tmp_path / "mine", 7)
    code, out, _ = datasets_command("where", "--json", "--data", source)
    used = sum(file.stat().st_size for file in folder.iterdir())
    assert code == 0 and json.loads(out) == {
        "datasets": [{"name": "squares", "folder": str(folder), "bytes": used}],
        "sources": [source],
    }
    code, out, err = datasets_command("where")
    assert code == 0 and str(folder) in out and "METABENCH_DATA" in err


def test_home_option_wins_over_the_environment(datasets_command, tmp_path):
    code, out, _ = datasets_command("where", "squares", "--home", str(tmp_path / "else"))
    assert code == 0 and out.strip() == str(tmp_path / "else" / "data" / "squares")


def test_imports_nothing_heavy():
    code = (
        "import sys, metabench.cli.datasets, metabench_datasets.omniglot; "
        "print([name for name in ('torch', 'pandas', 'scipy', 'pooch', 'PIL', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
