"""What a dataset's load() may return: the same rules for every run, for a loose file and for ``metabench check``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import metabench
from metabench.cli.main import main
from metabench.data import ClassSplit
from metabench.data.availability import dataset_status
from metabench.data.split_checks import content_problem, layout_problem, valid_split
from metabench.errors import MetabenchError
from metabench.execution.session import Session
from metabench.planning.planner import plan
from metabench.planning.selection import Selection
from metabench.registry.registry import load_registry
from metabench.registry.specs import DatasetSpec, SplitSize
from metabench.utils.console import Console
from metabench.utils.home import Home

CLASSES, EACH = 6, 5
NAMES = tuple(f"class {c}" for c in range(CLASSES))
STARTS = np.arange(0, CLASSES * EACH + 1, EACH)
IMAGES = np.arange(CLASSES * EACH * 16, dtype=np.uint8).reshape(-1, 4, 4, 1)
SPEC = DatasetSpec(
    name="shapes", version=1, target="x:X", summary="s", reference="r", licence="MIT", image_shape=(1, 4, 4),
    sizes={"test": SplitSize(CLASSES, CLASSES * EACH)}, digests={},
)  # fmt: skip
GOOD = ClassSplit(IMAGES, STARTS, NAMES)


def problem_of(loaded: object, spec: DatasetSpec = SPEC, loader: object = None, **params: int) -> str:
    with pytest.raises(MetabenchError) as caught:
        valid_split(loaded, "test", spec.name, spec, params, loader)
    text = str(caught.value)
    assert caught.value.exit_code == 1 and "\n" not in text
    assert text.startswith("cannot load test of dataset 'shapes': ") and text.endswith(".")
    return text


WRONG_IMAGES = {
    "float in 0..1": (IMAGES / 255, "images are float64 (30, 4, 4, 1), expected uint8 (N, height, width, channels)"),
    "NaN": (np.full(IMAGES.shape, np.nan, np.float32), "float32"),
    "int64": (IMAGES.astype(np.int64), "images are int64"),
    "bool": (IMAGES > 9, "images are bool"),
    "object": (IMAGES.astype(object), "images are object"),
    "tensor": (torch.from_numpy(IMAGES), "images are a Tensor, expected a NumPy array"),
    "list": (IMAGES.tolist(), "images are a list"),
    "masked": (np.ma.masked_array(IMAGES), "images are a MaskedArray"),
    "no channels": (IMAGES[..., 0], "images are uint8 (30, 4, 4), expected uint8 (N, height, width, channels). Add"),
    "channels first": (IMAGES.transpose(0, 3, 1, 2), "Put the channels last with .transpose(0, 2, 3, 1)"),
    "another size": (np.zeros((30, 4, 5, 1), np.uint8), "items have shape (1, 4, 5), expected (1, 4, 4)"),
    "no pixels": (np.zeros((30, 0, 4, 1), np.uint8), "at least one class with one item"),
}


@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_wrong_images_are_refused(case: str) -> None:
    images, words = WRONG_IMAGES[case]
    assert words in problem_of(ClassSplit(images, STARTS, NAMES))  # type: ignore[arg-type]


WRONG_STARTS = {
    "float": (STARTS.astype(float), "starts are float64 (7,), expected int64 (7,)"),
    "bool": (STARTS > 5, "starts are bool"),
    "none": (None, "starts are a NoneType"),
    "ragged": ([[0], [1, 2]], "starts are a list"),
    "two axes": (STARTS[:, None], "starts are int64 (7, 1)"),
    "too short": (STARTS[:-1], "starts have 6 entries for 6 classes, expected 7"),
    "too long": (np.r_[STARTS, 30], "starts have 8 entries"),
    "empty": (STARTS[:0], "starts have 0 entries"),
    "not from 0": (STARTS + 1, "starts go from 1 to 31, expected 0 to 30"),
    "not to N": (np.r_[STARTS[:-1], 29], "starts go from 0 to 29, expected 0 to 30"),
    "beyond N": (np.r_[STARTS[:-1], 31], "starts go from 0 to 31, expected 0 to 30"),
    "negative": (np.r_[0, -5, STARTS[2:]], "starts do not rise at class 'class 0'"),
    "unsorted": (STARTS[[0, 2, 1, 3, 4, 5, 6]], "starts do not rise at class 'class 1'"),
    "an empty class": (np.r_[0, 5, 5, STARTS[3:]], "class 'class 1' has no items"),
}


@pytest.mark.parametrize("case", WRONG_STARTS)
def test_wrong_starts_are_refused(case: str) -> None:
    starts, words = WRONG_STARTS[case]
    assert words in problem_of(ClassSplit(IMAGES, starts, NAMES))  # type: ignore[arg-type]


WRONG_NAMES = {
    "integers": (tuple(range(CLASSES)), "names hold an int (0), expected str"),
    "one text": ("abcdef", "names are a str, expected a tuple of str"),
    "none": (None, "names are a NoneType"),
    "twice": (("class 1", *NAMES[1:]), "two classes are named 'class 1'"),
    "too few": (NAMES[:-1], "starts have 7 entries for 5 classes, expected 6"),
    "no class": ((), "it has no classes"),
}


@pytest.mark.parametrize("case", WRONG_NAMES)
def test_wrong_names_are_refused(case: str) -> None:
    names, words = WRONG_NAMES[case]
    assert words in problem_of(ClassSplit(IMAGES, STARTS, names))  # type: ignore[arg-type]


def test_groups_are_texts_one_for_each_class() -> None:
    assert "groups are 5 for 6 classes" in problem_of(replace(GOOD, groups=("g",) * 5))
    assert "groups hold an int" in problem_of(replace(GOOD, groups=(1,) * 6))  # type: ignore[arg-type]


@pytest.mark.parametrize("loaded", [(IMAGES, STARTS), None, {"images": IMAGES}])
def test_what_is_no_class_split_is_refused(loaded: object) -> None:
    assert f"load() returned a {type(loaded).__name__}, expected a ClassSplit" in problem_of(loaded)


def test_counts_are_as_declared_for_the_default_parameters() -> None:
    spec = replace(SPEC, sizes={"test": SplitSize(2, 10)})
    assert "it has 6 classes and 30 items, declared are 2 and 10" in problem_of(GOOD, spec)
    assert valid_split(GOOD, "test", "shapes", spec, {"more": 1}, None) is GOOD  # others are the loader's business


def test_other_parameters_have_the_shape_of_the_loader_or_one_or_three_channels() -> None:
    class Loader:
        image_shape = (5, 4, 2)

    five = replace(GOOD, images=np.zeros((30, 4, 2, 5), np.uint8))
    assert valid_split(five, "test", "shapes", SPEC, {"more": 1}, Loader()) is five
    assert "expected (1 or 3, height, width)" in problem_of(five, more=1)
    assert "expected (5, 4, 2)" in problem_of(GOOD, loader=Loader(), more=1)
    first = replace(GOOD, images=IMAGES.transpose(0, 3, 1, 2))
    assert "Put the channels last" in problem_of(first, more=1)


@pytest.mark.parametrize("form", ["list", "int32", "uint8", "tuple"])
def test_integers_and_texts_in_a_row_are_taken(form: str) -> None:
    starts = {"list": STARTS.tolist(), "tuple": tuple(STARTS)}.get(form)
    data = ClassSplit(IMAGES, STARTS.astype(form) if starts is None else starts, np.array(NAMES), list(NAMES))  # type: ignore[arg-type]
    assert data.starts.dtype == np.int64 and data.starts.tolist() == STARTS.tolist()
    assert data.names == data.groups == NAMES and {type(name) for name in data.names} == {str}
    assert valid_split(data, "test", "shapes", SPEC, {}, None) is data


def test_strides_and_rights_do_not_matter() -> None:
    frozen = IMAGES.copy()
    frozen.flags.writeable = False
    for images in (frozen, np.asfortranarray(IMAGES), IMAGES[::-1]):
        assert layout_problem(replace(GOOD, images=images), "images") == ""


def test_a_memory_map_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (1 << 17, 84, 84, 1)).flush()  # 0.9 GB, all of it a hole
    large = np.load(path, mmap_mode="r")
    split = ClassSplit(large, np.array([0, 7, 1 << 17]), ("a", "b"))
    assert layout_problem(split, "images") == ""
    (mapping,) = Path("/proc/self/smaps").read_text().split(str(path))[1:]
    assert int(mapping.partition("Rss:")[2].split()[0]) < 1000  # kB in memory


def test_texts_and_functions() -> None:
    texts = np.frombuffer(b"ab\0\0cd\0\0", np.uint8).reshape(2, 4)
    split = ClassSplit(texts, np.array([0, 1, 2]), ("a", "b"))
    assert layout_problem(split, "text") == content_problem(split, "text") == ""
    assert "text are uint8 (2, 4, 1), expected uint8 (N, bytes)" in layout_problem(
        replace(split, images=texts[..., None]), "text"
    )
    assert "text 1 is not UTF-8" in content_problem(replace(split, images=texts | (texts > 99) * np.uint8(128)), "text")
    numbers = np.array([[1.0], [np.nan]], np.float32).view(np.uint8)
    functions = replace(split, images=numbers)
    assert layout_problem(functions, "functions") == ""
    assert "not finite" in content_problem(functions, "functions")
    assert "Use the bytes of float32 numbers" in layout_problem(replace(split, images=numbers[:, :3]), "functions")


LOOSE = """import numpy as np
from metabench.api import ClassSplit, DatasetSpec, Param, hookimpl


class Odd:
    def __init__(self, form="ok"):
        self.form = form

    def load(self, split, context):
        noise = np.random.Philox(key=len(split)).random_raw(8 * 20 * 256)
        images = noise.astype(np.uint8).reshape(-1, 16, 16, 1)
        names = tuple(f"{'' if self.form == 'same names' else split}{c}" for c in range(8))
        images = images / 255 if self.form == "float" or self.form == split else images
        return ClassSplit(images, np.arange(0, 161, 20), names)


@hookimpl
def metabench_datasets():
    return [DatasetSpec(name="odd", version=1, target="odd:Odd", summary="s", reference="r", licence="MIT",
                        params=(Param("form", "ok", "what is odd"),), image_shape=(1, 16, 16), sizes={}, digests={})]
"""


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    path = tmp_path / "odd.py"
    path.write_text(LOOSE)
    return path


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("float", "cannot load train of dataset 'odd': images are float64"),
        ("test", "cannot load test of dataset 'odd': images are float64"),
        ("same names", "cannot load val of dataset 'odd': 8 classes are in both train and val, such as '0'"),
    ],
)
def test_a_run_refuses_what_check_refuses(
    loose: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, words: str
) -> None:
    home = str(tmp_path / "home")
    with pytest.raises(MetabenchError) as caught:
        metabench.run("nearest-mean", dataset="odd", home=home, plugins=loose, episodes=20,
                      settings={"data.form": form})  # fmt: skip
    assert words in str(caught.value)
    settings = ("--set", f"data.form={form}")
    command = ["run", "--algo", "nearest-mean", "--dataset", "odd", "--episodes", "20", "--home", home, *settings]
    assert main([*command, "--plugin", str(loose)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: cannot load") and words in err and err.count("\n") == 1
    assert not list((tmp_path / "home").glob("records/*"))
    what = words.partition("'odd': ")[2]
    assert main(["check", "odd", "--set", f"data.form={form}", "--plugin", str(loose), "--json"]) == 1
    assert what.partition("'")[0] in capsys.readouterr().out


def test_an_entry_of_a_dry_run_says_that_the_data_are_broken(loose: Path, tmp_path: Path) -> None:
    spec = replace(load_registry([loose]).find("dataset", "odd"), download=True)
    assert isinstance(spec, DatasetSpec)
    home = Home(tmp_path)
    assert dataset_status(spec, {"form": "ok"}, home).presence == "prepared"
    found = dataset_status(spec, {"form": "float"}, home)
    assert found.presence == "broken" and "images are float64" in found.detail


def test_splits_are_compared_when_the_second_is_loaded(loose: Path, tmp_path: Path) -> None:
    registry = load_registry([loose])
    selection = Selection(("nearest-mean",), datasets=("odd",), settings={"data.form": "same names"})
    session = Session(Home(tmp_path / "home"), Console(quiet=True), registry=registry)
    (run,) = plan(selection, registry)
    session.loader.split(run.dataset, "test")  # alone it is sound
    with pytest.raises(MetabenchError, match="in both test and train"):
        session.loader.split(run.dataset, "train")
