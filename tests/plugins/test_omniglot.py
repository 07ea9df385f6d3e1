"""Omniglot in all its forms, from small archives made here."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metabench_datasets._omniglot as pieces
from metabench.data import DataContext, split_digest
from metabench.data.downloads import OfficialFile
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench_datasets._omniglot import Alphabet, Layout, Run, pixel_digest
from metabench_datasets.omniglot import FILES, Omniglot

BACKGROUND = {"Aaa": 2, "Bbb": 1, "Ccc": 1, "Ddd": 1, "Eee": 1, "Fff_(x)": 1}
EVALUATION = {"Zzz": 1, "Abc": 2}


def draw(rng):
    """A thick random stroke on paper, uint8 (105, 105) with ink 255."""
    image = np.zeros((105, 105), np.uint8)
    row, column = rng.integers(5, 70, 2)
    image[row : row + 30, column : column + 8] = 255
    image[row : row + 8, column : column + 25] = 255
    return image


def png(ink):
    """The official form: 1-bit PNG, ink 0."""
    stream = io.BytesIO()
    Image.fromarray(255 - ink).convert("1").save(stream, "png")
    return stream.getvalue()


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


class Fixture:
    """A small Omniglot in the official layout: its drawings, archives in a folder, and its `Layout`."""

    def __init__(self, folder):
        self.folder = folder
        self.drawings, self.members, alphabets = {}, {}, {}
        rng, serial = np.random.default_rng(0), 0
        for stem, content in (("images_background", BACKGROUND), ("images_evaluation", EVALUATION)):
            members = self.members[stem] = {}
            for name, characters in content.items():
                drawings = np.stack([[draw(rng) for _ in range(20)] for _ in range(characters)])
                for number, character in enumerate(drawings, 1):
                    serial += 1
                    for index, ink in enumerate(character, 1):
                        path = f"{stem}/{name}/character{number:02}/{serial:04}_{index:02}.png"
                        members[path] = png(ink)
                self.drawings[name] = drawings
                alphabets[name] = Alphabet(stem, name, characters, pixel_digest(drawings))
        vinyals = {"train": (Run("Aaa", 1, 1), Run("Abc", 1, 2)), "val": (Run("Zzz", 1, 1),),
                   "test": (Run("Aaa", 2, 2), Run("Bbb", 1, 1))}  # fmt: skip
        self.layout = Layout(alphabets, vinyals)
        self.write()

    def write(self):
        self.folder.mkdir(exist_ok=True)
        for stem, members in self.members.items():
            write_zip(self.folder / f"{stem}.zip", members)

    def omniglot(self, **params):
        return Omniglot(layout=self.layout, **params)


@pytest.fixture
def small(tmp_path):
    return Fixture(tmp_path / "official")


@pytest.fixture
def context(tmp_path, small):
    return DataContext(tmp_path / "cache", (small.folder,))


def expected(ink, turn, size=28):
    """The published recipe, in its own order and units: rotate, resize, 1 - x of a 1-bit image."""
    image = Image.fromarray(255 - ink).convert("1").rotate(float(turn)).resize((size, size))
    return (255 * (1.0 - np.array(image, np.float32))).astype(np.uint8)


def test_vinyals_split_with_rotations(small, context):
    split = small.omniglot().load("test", context)
    assert split.images.shape == (2 * 4 * 20, 28, 28, 1) and split.images.dtype == np.uint8
    assert split.names[:5] == (
        "Aaa/character02/rot000",
        "Aaa/character02/rot090",
        "Aaa/character02/rot180",
        "Aaa/character02/rot270",
        "Bbb/character01/rot000",
    )
    assert split.groups == ("Aaa",) * 4 + ("Bbb",) * 4
    assert (split.counts == 20).all() and split.starts[-1] == len(split.images)
    for label, turn in enumerate((0, 90, 180, 270)):
        for index, ink in enumerate(small.drawings["Aaa"][1]):
            np.testing.assert_array_equal(split.images[label * 20 + index, :, :, 0], expected(ink, turn), strict=True)


def test_rotation_is_counter_clockwise(small, context):
    images = small.omniglot(size=105).load("test", context).images[..., 0]
    np.testing.assert_array_equal(images[20], np.rot90(images[0]))
    np.testing.assert_array_equal(images[60], np.rot90(images[0], 3))
    np.testing.assert_array_equal(images[0], small.drawings["Aaa"][1][0])


def test_averaging_keeps_all_the_ink(small, context):
    """Where the nearest pixel is taken, a thin stroke may vanish; the average keeps its share."""
    nearest, average = (small.omniglot(resample=how).load("test", context).images for how in ("nearest", "average"))
    full = small.omniglot(size=105).load("test", context).images
    assert set(np.unique(nearest)) == {0, 255}
    assert len(np.unique(average)) > 10
    np.testing.assert_allclose(average.mean((1, 2, 3)), full.mean((1, 2, 3)), atol=1)


def test_without_rotations_and_at_another_size(small, context):
    omniglot = small.omniglot(rotations=False, size=14)
    split = omniglot.load("train", context)
    assert omniglot.image_shape == (1, 14, 14)
    assert split.names == ("Aaa/character01", "Abc/character01", "Abc/character02")
    np.testing.assert_array_equal(split.images[59, :, :, 0], expected(small.drawings["Abc"][1][19], 0, 14))


def test_background_split_uses_the_archives_as_they_are(small, context):
    omniglot = small.omniglot(split="background", rotations=False)
    names = {split: omniglot.load(split, context).names for split in ("train", "val", "test")}
    assert names["train"] == ("Aaa/character01", "Aaa/character02")
    assert names["val"] == tuple(f"{name}/character01" for name in ("Bbb", "Ccc", "Ddd", "Eee", "Fff_(x)"))
    assert names["test"] == ("Abc/character01", "Abc/character02", "Zzz/character01")


def test_extracted_folders_and_clones_of_the_repository_work(small, tmp_path):
    zipped = small.omniglot().load("train", DataContext(tmp_path / "one", (small.folder,)))
    clone = tmp_path / "sources" / "omniglot" / "python"
    for stem in FILES:
        with zipfile.ZipFile(small.folder / f"{stem}.zip") as archive:
            archive.extractall(clone)
    extracted = small.omniglot().load("train", DataContext(tmp_path / "two", (tmp_path / "sources",)))
    assert split_digest(zipped) == split_digest(extracted)


def test_second_open_decodes_nothing_and_forms_do_not_mix(small, context, monkeypatch):
    digest = split_digest(small.omniglot().load("test", context))
    monkeypatch.setattr(pieces, "read_drawing", None)
    for file in small.folder.iterdir():
        file.unlink()
    again = small.omniglot().load("test", context)
    assert split_digest(again) == digest and isinstance(again.images, np.memmap)
    with pytest.raises(MissingError):
        small.omniglot(rotations=False).load("test", context)


def test_progress_reaches_its_total(small, tmp_path):
    seen = []
    context = DataContext(tmp_path / "c", (small.folder,), progress=lambda *call: seen.append(call))
    small.omniglot().load("train", context)
    assert seen == [("train split", 0, 3), ("train split", 1, 3), ("train split", 3, 3)]


def test_interrupted_preparation_starts_again(small, context, tmp_path):
    def interrupt(text, done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small.omniglot().load("test", DataContext(context.cache, context.sources, progress=interrupt))
    assert list(context.cache.rglob("*.npy")) == []
    fresh = small.omniglot().load("test", DataContext(tmp_path / "fresh", context.sources))
    assert split_digest(small.omniglot().load("test", context)) == split_digest(fresh)


def test_truncated_cache_is_repaired(small, context):
    digest = split_digest(small.omniglot().load("test", context))
    (file,) = context.cache.rglob("*.npy")
    os.truncate(file, file.stat().st_size // 2)
    assert split_digest(small.omniglot().load("test", context)) == digest


def error_of(small, context, split="test"):
    with pytest.raises(MetabenchError) as caught:
        small.omniglot().load(split, context)
    message = str(caught.value)
    assert "\n" not in message and list(context.cache.rglob("*.npy")) == []
    return message


def test_one_changed_pixel_is_noticed(small, context):
    path = "images_background/Aaa/character02/0002_07.png"
    ink = small.drawings["Aaa"][1][6].copy()
    ink[0, 0] = 255
    small.members["images_background"][path] = png(ink)
    small.write()
    message = error_of(small, context)
    assert str(small.folder / "images_background.zip") in message and "Aaa has other pixels" in message
    assert small.layout.alphabets["Aaa"].sha256[:12] in message and "get the official file again" in message


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("drop", "has 19 drawings instead of 20"),
        ("text", "is not a readable PNG"),
        ("cut", "is not a readable PNG"),
        ("size", "is 50x60 instead of 105x105"),
        ("escape", "outside the archive"),
    ],
)
def test_wrong_members_are_named(small, context, damage, words):
    members, path = small.members["images_background"], "images_background/Aaa/character02/0002_07.png"
    if damage == "drop":
        del members[path]
    elif damage == "text":
        members[path] = b"not a picture"
    elif damage == "cut":
        members[path] = members[path][:60]
    elif damage == "size":
        members[path] = png(np.zeros((60, 50), np.uint8))
    else:
        members["../evil.png"] = members[path]
    small.write()
    message = error_of(small, context)
    assert words in message and "images_background.zip" in message


def test_truncated_zip(small, context):
    path = small.folder / "images_background.zip"
    path.write_bytes(path.read_bytes()[:5000])
    assert f"{path}: not a readable zip" in error_of(small, context)


def test_no_data_says_which_files_to_put_where(small, context):
    (small.folder / "images_evaluation.zip").unlink()
    assert small.omniglot().load("test", context).images.size  # needs the other archive only
    with pytest.raises(MissingError) as caught:
        small.omniglot().load("train", context)
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        "omniglot: images_evaluation.zip not found; put the official files into "
        f"{context.cache / 'downloads'} or run `metabench datasets download omniglot --from DIR` "
        "with the folder that holds them"
    )


def test_no_network_says_so_too(small, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("METABENCH_MIRROR", raising=False)
    for stem in FILES:
        nowhere = OfficialFile(f"{stem}.zip", (f"http://127.0.0.1:9/{stem}.zip",), "md5:" + "0" * 32)
        monkeypatch.setitem(FILES, stem, nowhere)
    with pytest.raises(MissingError) as caught:
        small.omniglot().load("train", DataContext(tmp_path / "cache", allow_download=True))
    message = str(caught.value)
    assert message.startswith("omniglot: images_background.zip and images_evaluation.zip not found, and cannot")
    assert "--from DIR" in message and "\n" not in message


def test_missing_file_is_downloaded_and_used(small, tmp_path, monkeypatch):
    asked = []

    def fetch(file, context):
        asked.append(file.name)
        return small.folder / file.name

    monkeypatch.setattr("metabench.data.downloads.download", fetch)
    (tmp_path / "part").mkdir()
    (small.folder / "images_background.zip").rename(tmp_path / "part" / "images_background.zip")
    context = DataContext(tmp_path / "cache", (tmp_path / "part",), allow_download=True)
    assert len(small.omniglot().load("train", context).names) == 12
    assert asked == ["images_evaluation.zip"]


def test_wrong_parameters():
    with pytest.raises(UsageError, match="'vinyals' or 'background'"):
        Omniglot(split="lake")
    with pytest.raises(UsageError, match="8 to 256"):
        Omniglot(size=4)
    with pytest.raises(UsageError, match="resample must be nearest or average, not 'cubic'"):
        Omniglot(resample="cubic")
    with pytest.raises(UsageError, match="no split 'all'"):
        Omniglot().runs("all")


def real_data():
    given = [Path(part) for part in os.environ.get("METABENCH_DATA", "").split(os.pathsep) if part]
    for folder in [*given, Path(__file__).parents[2].parent / "shared" / "data"]:
        if (folder / "images_background.zip").exists() and (folder / "images_evaluation.zip").exists():
            return folder
    pytest.skip("no Omniglot zips in METABENCH_DATA or ../shared/data")
