"""Folders whose ``labels.csv`` says which image has which class."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.data.label_tables import read_labelled
from tests.photos import make_folder, picture

SMALL = ["--algo", "nearest-mean", "--ways", "3", "--query", "2", "--episodes", "20", "--set", "data.size=16"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))


def make_rows(root: Path, classes: int = 4, each: int = 4) -> list[tuple[str, str]]:
    """Write images of all classes into one folder; return the path and class of each."""
    (root / "images").mkdir(parents=True)
    rows = [(f"images/c{label}_{number}.png", f"c{label}") for label in range(classes) for number in range(each)]
    for label in range(classes):
        for number in range(each):
            picture(label, number).save(root / "images" / f"c{label}_{number}.png")
    return rows


def write(root: Path, lines: list[str], header: str = "filename,label", **how: str) -> Path:
    (root / "labels.csv").write_text("\n".join([header, *lines]) + "\n", **how)  # type: ignore[arg-type]
    return root


@pytest.fixture
def table(tmp_path: Path) -> Path:
    root = tmp_path / "birds"
    return write(root, [f"{path},{label}" for path, label in make_rows(root)])


def run(root: Path, *words: str) -> int:
    return main(["run", "--dataset", f"folder:{root}", *SMALL, *words])


def test_the_same_data_as_in_class_folders(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(table) == 0
    said = capsys.readouterr()
    assert "folder:birds: labels are those of labels.csv\n" in said.err
    assert "skipped" not in said.err
    folders = tmp_path / "folders"
    for path in sorted((table / "images").iterdir()):
        place = folders / path.name.partition("_")[0]
        place.mkdir(parents=True, exist_ok=True)
        os.link(path, place / path.name)
    assert run(folders) == 0
    records = [json.loads(path.read_text()) for path in (tmp_path / "home").rglob("records/**/*.json")]
    digests = {record["inputs"]["dataset"]["name"]: record["inputs"]["dataset"]["digest"] for record in records}
    assert digests.keys() == {"folder:birds", "folder:folders"}
    assert len(set(digests.values())) == 1


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("\ufeffPath;Class;note", "{0};{1};x"),
        ("label,Image-Path", "{1},./{0}"),
        ("file name\tcategory", "{0}\t {1} "),
        ('"image","class"', '"{0}","{1}"'),
    ],
)
def test_tables_as_programs_write_them(table: Path, header: str, line: str) -> None:
    before = read_labelled(table, "x").files
    rows = [(file.path.relative_to(table).as_posix(), name) for name, files in before.items() for file in files]
    write(table, [line.format(*row) for row in reversed(rows)], header)
    assert read_labelled(table, "x").files == before


def test_a_comma_in_quotes_and_folders_of_windows(table: Path) -> None:
    rows = make_rows(table / "more", 1, 2)
    write(table, [f'more\\{path},"owl, barn"'.replace("/", "\\") for path, _ in rows])
    assert [(name, len(files)) for name, files in read_labelled(table, "x").items()] == [("owl, barn", 2)]


WRONG = [
    (["gone.png,c0"], 3, "1 of 17 files that labels.csv names are not in", "Put them there, or remove their lines"),
    (["../x.png,c0"], 2, "1 of 17 files that labels.csv names are outside of", "Give paths relative to that folder"),
    (["/etc/passwd,c0"], 2, "outside of", "Give paths relative to that folder"),
    (["images,c0"], 3, "are not in", "remove their lines"),
    (["labels.csv,c0"], 2, "no images of a kind that is read: labels.csv (.csv)", "Convert them to PNG"),
    (["images/c0_0.png,c3"], 2, "named twice: images/c0_0.png (lines 2 and 18)", "Remove one of the lines"),
    (["images/c0_0.png,"], 2, "line 18 has no label", "Fill it in, or remove the line"),
    ([" ,c0"], 2, "line 18 has no path", "Fill it in, or remove the line"),
    (["a,b.png,c0"], 2, "line 18 has 3 fields, and the first line 2", "quotes"),
    (["a.png"], 2, "line 18 has 1 field, and the first line 2", "quotes"),
    (['"a.png,c0'], 2, "unexpected end of data", "Mend the quotes"),
]


@pytest.mark.parametrize(("lines", "code", "cause", "remedy"), WRONG)
def test_wrong_rows(
    table: Path, lines: list[str], code: int, cause: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (table / "labels.csv").read_text()
    (table / "labels.csv").write_text(text + "\n".join(lines) + "\n")
    assert run(table) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "cannot read folder:birds: " in said
    assert cause in said
    assert remedy in said


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        ("id,label", "names no column of paths (such as filename or path)"),
        ("filename,id", "names no column of labels (such as label or class)"),
        ("c,d", "no column of paths (such as filename or path) and none of labels (such as label or class)"),
        ("filename,file,label", "has two columns of paths, 'filename' and 'file'. Rename one"),
    ],
)
def test_wrong_columns(table: Path, header: str, cause: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(table, ["images/c0_0.png,c0"], header)
    assert run(table) == 2
    assert cause in capsys.readouterr().err


def test_no_rows_one_class_and_another_encoding(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for lines, cause in (
        ([], "has no rows. Add one for each image"),
        (
            ["images/c0_0.png,c0"],
            "labels.csv has only one class, 'c0', and at least two are needed. Add rows of another",
        ),
    ):
        assert run(write(table, lines)) == 2
        assert cause in capsys.readouterr().err
    write(table, ["images/c0_0.png,ä"], encoding="latin-1")
    assert run(table) == 2
    assert "is not UTF-8. Save it as CSV in UTF-8" in capsys.readouterr().err
    (table / "labels.csv").unlink()
    (table / "Labels.csv").write_text("filename,label\n")
    (table / "LABELS.CSV").write_text("filename,label\n")
    assert run(table) == 2
    assert "LABELS.CSV and Labels.csv are both there. Remove one" in capsys.readouterr().err


def test_files_that_no_row_names_and_damaged_ones(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(9, 9).save(table / "images" / "extra.png")
    (table / "notes.txt").write_text("x")
    (table / "images" / "c0_0.png").write_bytes(b"no image")
    assert run(table) == 1
    assert "1 of 16 images cannot be read: images/c0_0.png (" in capsys.readouterr().err
    assert run(table, "--skip-bad") == 0
    said = capsys.readouterr().err
    assert "skipped 2 files: 1 .txt, 1 in no row of labels.csv (such as images/extra.png)" in said
    assert main(["datasets", "verify", f"folder:{table}", "--json"]) == 1
    checks = {check["status"]: check for check in json.loads(capsys.readouterr().out)}
    assert checks["unreadable"]["files"] == ["images/c0_0.png"]


def test_copies_are_named_by_their_place(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (table / "images" / "c1_0.png").write_bytes((table / "images" / "c0_0.png").read_bytes())
    assert main(["datasets", "verify", f"folder:{table}"]) == 1
    said = capsys.readouterr()
    assert "images/c0_0.png" in said.out + said.err


def test_labels_that_change_places_are_noticed(table: Path) -> None:
    """Two files of one name, size and time of change."""
    for label, place in enumerate("ab"):
        (table / place).mkdir()
        picture(label, 50).resize((20, 20)).save(table / place / "x.bmp")
        os.utime(table / place / "x.bmp", ns=(1, 1))
    text = (table / "labels.csv").read_text()
    found = []
    for first, second in (("c0", "c1"), ("c1", "c0")):
        (table / "labels.csv").write_text(f"{text}a/x.bmp,{first}\nb/x.bmp,{second}\n")
        found.append(read_labelled(table, "x").quick_digest())
    assert found[0] != found[1]


def test_a_column_of_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "birds"
    rows = make_rows(root, 9)
    splits = {f"c{label}": ("Training", "valid", "test")[label // 3] for label in range(9)}
    write(root, [f"{path},{label},{splits[label]}" for path, label in rows], "filename,label,split")
    words = ["--dataset", f"folder:{root}", "--set", "data.size=16", "--set", "backbone.channels=4", "--query", "2"]
    training = ["--train-episodes", "4", "--ways", "2", "--episodes", "10", "--quiet"]
    training += ["--set", "train.way=2", "--set", "train.validation_way=2", "--set", "train.query=2"]
    training += ["--set", "train.validation_query=2"]
    assert main(["run", "--algo", "protonet", *words, *training]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["datasets", "verify", f"folder:{root}", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert [(check["split"], check["status"], check["images"]) for check in checks] == [
        (split, "unverified", 12) for split in ("train", "val", "test")
    ]


@pytest.mark.parametrize(
    ("split", "cause"),
    [
        ("query", "names the split 'query'. Use train, val, test"),
        ("", "has no split. Fill it in"),
        ("train", "has rows of train but none of test, whose classes are measured. Add some"),
    ],
)
def test_wrong_splits(table: Path, split: str, cause: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(table, [f"images/c0_{number}.png,c0,{split}" for number in range(3)], "filename,label,set")
    assert run(table) == 2
    assert cause in capsys.readouterr().err


def test_one_class_in_two_splits_of_a_table(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"images/c{c}_{n}.png,c{c},{split}" for c in range(3) for n, split in enumerate(("train", "test"))]
    assert run(write(table, lines, "filename,label,split")) == 2
    said = capsys.readouterr().err
    assert "3 classes are in train and in test: 'c0', 'c1', 'c2'. Few-shot methods" in said
    assert f"give a table without splits instead of {table / 'labels.csv'}" in said


def test_class_folders_beside_a_table_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path / "birds", dict.fromkeys("abc", 4))
    write(root, ["a,alder"], "id,tree")
    assert run(root) == 0
    assert "1 beside the class folders (such as labels.csv)" in capsys.readouterr().err


def test_examples_of_a_table_label_new_images(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    picture(2, 77).save(tmp_path / "new" / "x.png")
    words = ["--query", str(tmp_path / "new"), "--algo", "nearest-mean", "--backbone", "pixels", "--size", "16"]
    assert main(["predict", "--support", str(table), *words]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[1] == "c2"
    write(table, ["images/c0_0.png,c0,test"], "filename,label,set")
    assert main(["predict", "--support", str(table), *words]) == 2
    assert "names splits, and all of" in capsys.readouterr().err
