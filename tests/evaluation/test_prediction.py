from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import metabench
from metabench.cli.main import main
from metabench.data.image_formats import readable
from metabench.errors import UsageError
from tests.photos import make_folder, picture
from tests.tiny import arguments, record_of, run_json

COUNTS = {"ant": 3, "bee": 2, "cow": 4}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Examples, and twelve new images in a folder and one below it; their names tell what they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))
    make_folder(tmp_path / "known", COUNTS)
    (tmp_path / "new" / "more").mkdir(parents=True)
    for number in range(12):
        label = number % 3
        place = tmp_path / "new" / ("more" if number > 8 else "")
        picture(label, 100 + number).save(place / f"{list(COUNTS)[label]}-{number:02}.png")
    return tmp_path


PIXELS = ["--algo", "nearest-mean", "--size", "12"]


def labelled(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["predict", "--support", "known", "--query", "new", "--json", "--quiet", *words]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["predictions"]
    return found


def right(found: list[dict[str, Any]]) -> int:
    return sum(Path(row["path"]).name.startswith(row["class"]) for row in found)


def test_new_images_are_labelled(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = labelled(capsys, *PIXELS)
    assert len(found) == 12
    assert right(found) == 12
    assert [row["path"] for row in found] == sorted(row["path"] for row in found)
    for row in found:
        assert list(row["probabilities"]) == list(COUNTS)
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        ranked = sorted(row["probabilities"].values(), reverse=True)
        assert [row["probability"], row["second_probability"]] == ranked[:2]


def test_it_is_the_algorithm(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nearest mean on pixels, computed by hand."""
    from metabench.data.image_decoding import ImagePreprocessing, decode_image

    def features(path: Path) -> Any:
        return decode_image(path, ImagePreprocessing(12)).astype(float).transpose(2, 0, 1).ravel() / 255

    means = [np.mean([features(p) for p in sorted((photos / "known" / name).iterdir())], axis=0) for name in COUNTS]
    for row in labelled(capsys, *PIXELS):
        scores = np.array([-((features(Path(row["path"])) - mean) ** 2).sum() for mean in means])
        want = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        assert list(row["probabilities"].values()) == pytest.approx(want.tolist(), abs=1e-3)


def test_single_files_and_files_of_the_support(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--support", "known", "--query", "new/ant-00.png", "--query", "known", *PIXELS]) == 0
    said = capsys.readouterr()
    assert "left out 9 images of the support folder" in said.err
    assert said.out.splitlines()[2].split()[:2] == ["new/ant-00.png", "ant"]
    assert len(said.out.splitlines()) == 3


def test_csv_and_table(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--support", "known", "--query", "new", *PIXELS, "--csv", "out.csv"]) == 0
    assert capsys.readouterr().out.split()[:4] == ["image", "class", "probability", "next"]
    with Path("out.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    assert right(rows) == 12


def test_from_python(photos: Path) -> None:
    table = metabench.predict("known", ["new"], algo="nearest-mean", size=12)
    assert right(table.to_dict("records")) == 12
    assert table[[f"p({name})" for name in COUNTS]].sum(axis=1).tolist() == pytest.approx([1] * 12)
    with pytest.raises(UsageError, match="--query"):
        metabench.predict("known", [], algo="nearest-mean")


def test_many_queries_are_taken_in_parts(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = labelled(capsys, *PIXELS)
    from metabench.evaluation import prediction

    monkeypatch.setattr(prediction, "_AT_ONCE", 5)
    parts = labelled(capsys, *PIXELS)
    assert [row["class"] for row in parts] == [row["class"] for row in whole]
    assert [row["probability"] for row in parts] == pytest.approx([row["probability"] for row in whole])


def trained(home: Path, capsys: pytest.CaptureFixture[str], algo: str, *more: str) -> str:
    """Train on glyphs and return the file of the weights."""
    (row,) = run_json(capsys, arguments(home, "--ways", "3", *more, algo=algo))
    return str(home / "models" / training_key(home, row) / "weights.safetensors")


def training_key(home: Path, row: dict[str, Any]) -> str:
    """Return the name of the folder with the weights of a run."""
    return str(record_of(home, row)["training"]["training_key"])


GLYPHS = ["--size", "28", "--colour", "grey", "--set", "backbone.channels=4"]


def test_weights_of_a_trained_run(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = trained(photos / "home", capsys, "protonet")
    found = labelled(capsys, "--checkpoint", weights, *GLYPHS)
    assert len(found) == 12
    alone = labelled(capsys, "--checkpoint", weights, *GLYPHS, "--one-by-one")
    assert [row["probability"] for row in alone] == pytest.approx([row["probability"] for row in found], abs=1e-4)
    assert labelled(capsys, "--checkpoint", weights) == found  # the file says what it was trained on
    command = ["predict", "--support", "known", "--query", "new", "--checkpoint", weights]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "weights made for protonet() on conv4(channels=4), data glyphs(" in said and "warning" not in said
    assert main([*command, "--size", "32", "--fit", "pad"]) == 0  # it has as many features
    assert "trained on images of another form (size 28, crop, grey) than these (size 32, pad, grey)" in (
        capsys.readouterr().err
    )
    assert main([*command, "--colour", "rgb"]) == 2
    assert "check --ways, --backbone and --set, --size and --colour" in capsys.readouterr().err


@pytest.mark.parametrize("bn", ["transductive", "support"])
def test_an_algorithm_that_adapts(photos: Path, capsys: pytest.CaptureFixture[str], bn: str) -> None:
    sets = ["--set", f"algo.bn={bn}", "--set", "algo.steps=1", "--set", "algo.test_steps=1"]
    weights = trained(photos / "home", capsys, "maml", *sets, "--set", "train.way=3", "--set", "train.validation_way=3")
    words = ["--algo", "maml", "--checkpoint", weights, *GLYPHS, *sets]
    together, alone = labelled(capsys, *words), labelled(capsys, *words, "--one-by-one")
    assert (
        labelled(capsys, "--checkpoint", weights, "--size", "28", "--colour", "grey") == together
    )  # it says what it is
    same = np.allclose(*([row["probability"] for row in rows] for rows in (together, alone)), atol=1e-4)
    assert same == (bn == "support")
    assert main(["predict", "--support", "known", "--query", "new", *words]) == 0
    assert ("looks at the 12 queries together" in capsys.readouterr().err) == (bn == "transductive")
    make_folder(photos / "known", {"dog": 2}, 5)
    assert main(["predict", "--support", "known", "--query", "new", *words]) == 2
    assert "it must be made for the 4 classes of --support" in capsys.readouterr().err


def test_weights_for_one_way_label_so_many_classes(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heads = ["--plugin", str(Path(__file__).parent.parent / "right_heads.py")]
    way = ["--set", "train.way=3", "--set", "train.validation_way=3"]
    weights = trained(photos / "home", capsys, "one-way", *heads, *way)
    words = ["--algo", "one-way", "--checkpoint", weights, *GLYPHS, *heads]
    assert len(labelled(capsys, *words)) == 12
    make_folder(photos / "known", {"dog": 2}, 5)
    assert main(["predict", "--support", "known", "--query", "new", *words]) == 2
    error = capsys.readouterr().err
    assert "is for tasks of 3 classes, and these have 4" in error
    assert error.endswith("; it must be made for the 4 classes of --support\n")


def test_bad_files(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "new" / "bad.png").write_bytes(b"no")
    (photos / "known" / "ant" / "bad.jpg").write_bytes(b"no")
    command = ["predict", "--support", "known", "--query", "new", *PIXELS]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "cannot read --support: 1 of 10 images cannot be read: known/ant/bad.jpg (is no image)" in said
    assert main([*command, "--skip-bad", "--json"]) == 0
    said = capsys.readouterr()
    assert len(json.loads(said.out)["predictions"]) == 12
    assert "--query: left out 1 of 13 images that cannot be read" in said.err


def test_what_is_skipped_is_said(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of a dataset, and for the same reasons."""
    (photos / "known" / "labels.csv").write_text("x")
    make_folder(photos / "known" / "ant", {"more": 2})
    (photos / "new" / "scan.dcm").write_bytes(b"x")
    assert main(["predict", "--support", "known", "--query", "new", *PIXELS]) == 0
    said = capsys.readouterr().err
    beside, inside = "1 beside the class folders (such as labels.csv)", "(such as ant/more/000.png)"
    assert f"--support: skipped 3 files: {beside}, 2 in folders inside class folders {inside}" in said
    assert "--query: skipped 1 file: 1 .dcm" in said


def test_examples_and_queries_of_16_bits_share_the_rule(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("dark", 300), ("light", 3000)):
        (photos / "scans" / name).mkdir(parents=True)
        for number in range(2):
            pixels = np.full((16, 16), value + number, np.uint16)
            Image.fromarray(pixels).save(photos / "scans" / name / f"{number}.png")
    Image.fromarray(np.full((16, 16), 320, np.uint16)).save(photos / "one.png")
    assert main(["predict", "--support", "scans", "--query", "one.png", "--json", *PIXELS]) == 0
    said = capsys.readouterr()
    assert "5 images of more than 8 bits, the largest value 3001: all taken as 12 bits (divided by 16)" in said.err
    assert json.loads(said.out)["predictions"][0]["class"] == "dark"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["--algo", "protonet"],
            2,
            "cannot label images with backbone 'conv4': it is untrained. Pass --checkpoint FILE",
        ),
        (["--algo", "maml"], 2, "cannot label images with maml: it is untrained. Train it"),
        (
            ["--algo", "matching-net", "--backbone", "pixels"],
            2,
            "cannot label images with matching-net: its own weights are untrained. Pass --checkpoint",
        ),
        (["--algo", "protnet"], 2, "did you mean 'protonet'"),
        ([*PIXELS, "--query", "nothing"], 3, "cannot read --query: folder nothing not found"),
        ([*PIXELS, "--query", "words.txt"], 2, "words.txt is not an image of a kind that is read: .txt"),
        ([*PIXELS, "--support", "nowhere"], 3, "cannot read --support: folder nowhere not found"),
        ([*PIXELS, "--support", "known/ant"], 2, "has no sub-folders (3 images lie in it directly)"),
        ([*PIXELS, "--support", "one"], 2, "has only one class, 'a', and at least two are needed"),
        ([*PIXELS, "--support", "hollow"], 2, "class 'b' has no images"),
        ([*PIXELS, "--checkpoint", "none.safetensors"], 3, "no checkpoint at none.safetensors"),
        ([*PIXELS, "--set", "data.size=3"], 2, "only algo.* and backbone.*"),
        ([*PIXELS, "--set", "algo.nothing=3"], 2, "has no parameter 'nothing'"),
        ([*PIXELS, "--size", "3"], 2, "size is a whole number of pixels"),
        ([*PIXELS, "--csv", "no/a.csv"], 2, "not found"),
    ],
)
def test_mistakes(photos: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str) -> None:
    (photos / "words.txt").write_text("x")
    make_folder(photos / "one", {"a": 2})
    make_folder(photos / "hollow", {"a": 2, "b": 0})
    support = [] if "--support" in words else ["--support", "known"]
    assert main(["predict", *support, "--query", "new", *words]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_no_query_is_left(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "empty").mkdir()
    assert main(["predict", "--support", "known", "--query", "empty", *PIXELS]) == 2
    assert "cannot read --query: no images in empty" in capsys.readouterr().err


def test_queries_of_a_kind_that_is_not_read(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metabench.data.image_formats._is_available", lambda name: name == "PNG")
    readable.cache_clear()
    (photos / "phone").mkdir()
    (photos / "phone" / "1.heic").write_bytes(b"x")
    make_folder(photos / "plain", {"a": 1, "b": 1})
    try:
        assert main(["predict", "--support", "plain", "--query", "phone", "-q", *PIXELS]) == 2
    finally:
        readable.cache_clear()
    assert capsys.readouterr().err == (
        "error: cannot read --query: no images in phone that can be read, but 1 .heic. "
        "Run 'pip install pillow-heif' to read them\n"
    )
