"""CIFAR-FS and FC100, on small files in the official layout (four images of each class instead of 600)."""

import dataclasses
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from metabench.data import ClassSplit, DataContext, split_digest
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.registry.registry import load_registry
from metabench_datasets import _cifar100, cifar_fs, fc100
from metabench_datasets._cifar100 import categories

NAMES = [category.name for category in categories()]


class Fixture:
    """The three official files with random images, and what should be made of them."""

    def __init__(self, folder, monkeypatch):
        monkeypatch.setattr(_cifar100, "IMAGES", 4)
        self.folder = folder / "cifar-100-python"
        self.folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        self.rows = rng.integers(0, 256, (100, 4, 3072), np.uint8)
        self.write()

    def write(self, seed=0, protocol=2, **changes):
        """Three images of a class are in train and one in test, in any order."""
        rng = np.random.default_rng(seed)
        for file, which in (("train", slice(0, 3)), ("test", slice(3, 4))):
            data = self.rows[:, which].reshape(-1, 3072)
            labels = np.repeat(np.arange(100), len(data) // 100)
            order = rng.permutation(len(data))
            content = {"data": data[order], "fine_labels": labels[order].tolist(), "batch_label": file}
            self.put(file, {**content, **changes}, protocol)
        self.put("meta", {"fine_label_names": NAMES, "coarse_label_names": []}, protocol)

    def put(self, file, content, protocol=2):
        (self.folder / file).write_bytes(pickle.dumps(content, protocol))

    def expected(self, name, split):
        """Names in alphabetical order, images of a class in the order of their bytes, channels last."""
        chosen = sorted(c.name for c in categories() if c.splits[name] == split)
        images = [
            np.dstack(np.frombuffer(row, np.uint8).reshape(3, 32, 32))
            for label in chosen
            for row in sorted(row.tobytes() for row in self.rows[NAMES.index(label)])
        ]
        return ClassSplit(np.stack(images), np.arange(len(chosen) + 1) * 4, tuple(chosen))

    def dataset(self, module=cifar_fs):
        """The dataset, which verifies the digests of what should be made of these files."""
        digests = {split: split_digest(self.expected(module.SPEC.name, split)) for split in ("train", "val", "test")}

        class Small(_cifar100.Cifar100Classes):
            name = module.SPEC.name
            spec = dataclasses.replace(module.SPEC, digests=digests)

        return Small()


@pytest.fixture
def small(tmp_path, monkeypatch):
    return Fixture(tmp_path / "official", monkeypatch)


@pytest.fixture
def context(tmp_path, small):
    return DataContext(tmp_path / "cache", (small.folder.parent,))


@pytest.mark.parametrize("module", [cifar_fs, fc100])
def test_splits_are_as_expected_and_open_as_memory_maps(small, context, module):
    for split, size in module.SPEC.sizes.items():
        got, wanted = small.dataset(module).load(split, context), small.expected(module.SPEC.name, split)
        assert got.names == wanted.names and len(got.names) == size.classes
        np.testing.assert_array_equal(got.images, wanted.images, strict=True)
        np.testing.assert_array_equal(got.starts, wanted.starts)
    for file in small.folder.iterdir():
        file.unlink()
    assert isinstance(small.dataset(module).load("val", context).images, np.memmap)


def test_order_of_the_rows_does_not_matter(small, tmp_path):
    for number, protocol in enumerate((2, 0, 4)):
        small.write(seed=number, protocol=protocol)
        context = DataContext(tmp_path / f"cache{number}", (small.folder.parent,))
        assert small.dataset().load("test", context).images.size  # verified against the same digest


def test_groups_are_the_superclasses(small, context):
    split = small.dataset().load("test", context)
    assert dict(zip(split.names, split.groups, strict=True))["woman"] == "people"
    assert len(set(split.groups)) == 13


def test_the_archive_is_read_without_extracting(small, tmp_path):
    archive = tmp_path / "packed" / "cifar-100-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(small.folder, "cifar-100-python")
    context = DataContext(tmp_path / "cache", (archive.parent,))
    assert small.dataset().load("val", context).names
    assert [file.name for file in archive.parent.iterdir()] == [archive.name]


def test_the_lists_are_a_division_of_the_classes_and_superclasses():
    assert len(set(NAMES)) == 100 and len({c.superclass for c in categories()}) == 20
    for name, sizes, superclasses in (("cifar-fs", (64, 16, 20), None), ("fc100", (60, 20, 20), (12, 4, 4))):
        splits = [[c for c in categories() if c.splits[name] == split] for split in ("train", "val", "test")]
        assert tuple(map(len, splits)) == sizes
        groups = [{c.superclass for c in split} for split in splits]
        if superclasses:
            assert tuple(map(len, groups)) == superclasses and not groups[0] & groups[1] | groups[1] & groups[2]
    assert all(sum(c.superclass == above for c in categories()) == 5 for above in {c.superclass for c in categories()})


def error_of(small, context, dataset=None):
    with pytest.raises(MetabenchError) as caught:
        (dataset or small.dataset()).load("test", context)
    message = str(caught.value)
    assert "\n" not in message and list(context.cache.rglob("*.npy")) == []
    return message


def test_a_malicious_pickle_is_not_executed(small, context, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    small.put("train", {"data": Evil(), "fine_labels": []})
    message = error_of(small, context)
    assert f"{small.folder}: train: holds" in message and "mkdir', which is code and not data" in message
    assert not (tmp_path / "owned").exists()


def test_one_changed_pixel_is_noticed(small, context):
    dataset = small.dataset()
    small.rows[NAMES.index("worm"), 0, 0] ^= 1
    small.write()
    assert "not the published ones" in error_of(small, context, dataset)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda s: s.put("test", {"data": s.rows[:99, 3], "fine_labels": [*range(99)]}),
            "worm has 3 images instead of 4",
        ),
        (lambda s: s.write(fine_labels=[0] * 299), "no fine_labels and data that belong together"),
        (lambda s: s.write(fine_labels=["a"] * 300), "no fine_labels and data that belong together"),
        (lambda s: s.write(data=np.zeros((300, 3072))), "data of type float64 instead of uint8"),
        (lambda s: s.write(data=[1, 2]), "no fine_labels and data that belong together"),
        (lambda s: s.put("train", [1]), "train holds no dict"),
        (lambda s: s.put("meta", {"label_names": ["airplane"]}), "other classes than those of CIFAR-100"),
        (lambda s: (s.folder / "test").write_bytes(b"<html>"), "test: holds the instruction b'<'"),
        (lambda s: (s.folder / "test").write_bytes((s.folder / "test").read_bytes()[:9000]), "cut short"),
        (lambda s: (s.folder / "test").unlink(), "cannot be read"),
    ],
)
def test_damage_is_named(small, context, damage, words):
    damage(small)
    assert words in error_of(small, context)


def test_no_data_says_which_file_to_put_where(tmp_path):
    for module, loader in ((cifar_fs, cifar_fs.CifarFS), (fc100, fc100.FC100)):
        with pytest.raises(MissingError) as caught:
            loader().load("test", DataContext(tmp_path / "cache"))
        name = module.SPEC.name
        assert str(caught.value) == (
            f"{name}: cifar-100-python.tar.gz not found; put it, or the folder cifar-100-python that it holds, into "
            f"{tmp_path / 'cache' / 'downloads'} or run `metabench datasets download {name} --from DIR` with the "
            "folder that holds it"
        )


def test_missing_archive_is_downloaded(small, tmp_path, monkeypatch):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        tar.add(small.folder, "cifar-100-python")
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(data.getvalue())
    asked = []
    monkeypatch.setattr(
        "metabench.data.downloads.download", lambda file, _: asked.append(file.checksum) or tmp_path / file.name
    )
    assert small.dataset().load("val", DataContext(tmp_path / "cache", allow_download=True)).names
    assert asked == ["md5:eb9058c3a382ffc7106e4002c42a8d85"]


def test_unknown_split(context):
    with pytest.raises(UsageError, match="no split 'all'"):
        cifar_fs.CifarFS().load("all", context)


def test_recipes_by_shot():
    protonet = load_registry().algorithms["protonet"]
    (one,), (five,) = (protonet.recipe("mini-imagenet", 5, shot) for shot in (1, 5))
    assert (one.way, five.way, one.query, one.lr_step) == (30, 20, 15, 2000)
    assert protonet.recipe("cifar-fs", 5, 1) == protonet.recipe("fc100", 5, 5)


def real_cifar():
    """The folder that holds ``cifar-100-python`` or the archive of it."""
    given = [Path(part) for part in os.environ.get("METABENCH_DATA", "").split(os.pathsep) if part]
    for folder in [*given, Path(__file__).parents[2].parent / "shared" / "data"]:
        if any((folder / name).exists() for name in ("cifar-100-python", "cifar-100-python.tar.gz")):
            return folder
    pytest.skip("no cifar-100-python in METABENCH_DATA or ../shared/data")


@pytest.mark.realdata
@pytest.mark.parametrize("loader", [cifar_fs.CifarFS, fc100.FC100])
def test_real_test_split_is_as_declared(tmp_path, loader):
    split = loader().load("test", DataContext(tmp_path, (real_cifar(),)))
    assert split.images.shape == (12_000, 32, 32, 3) and (split.counts == 600).all()
