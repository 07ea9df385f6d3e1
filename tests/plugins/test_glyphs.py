"""The generated dataset: pure, golden, cached, and neither too easy nor too hard."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from metabench.api import ClassSplit, DataContext, MetabenchError, UsageError, split_digest
from metabench.registry.specs import defaults
from metabench.utils.random_streams import Stream
from metabench_datasets import _strokes, glyphs

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClassSplit]:
    context = DataContext(cache=tmp_path_factory.mktemp("glyphs") / "not" / "there" / "yet")
    data = glyphs.Glyphs(**defaults(glyphs.SPEC))
    return {split: data.load(split, context) for split in SPLITS}


def small(**counts: int) -> glyphs.Glyphs:
    return glyphs.Glyphs(**{"train_classes": 3, "val_classes": 2, "test_classes": 2, "instances": 4, **counts})


def test_golden_digests(whole: dict[str, ClassSplit]) -> None:
    assert {split: split_digest(data) for split, data in whole.items()} == glyphs.SPEC.digests


def test_sizes_shapes_and_types_are_as_declared(whole: dict[str, ClassSplit]) -> None:
    assert glyphs.Glyphs().image_shape == glyphs.SPEC.image_shape == (1, 28, 28)
    for split, size in glyphs.SPEC.sizes.items():
        data = whole[split]
        assert data.images.shape == (size.images, 28, 28, 1)
        assert data.images.dtype == np.uint8
        assert data.starts.dtype == np.int64
        assert data.counts.tolist() == [20] * size.classes
        assert len(data.names) == size.classes


def test_splits_share_no_class_and_no_image(whole: dict[str, ClassSplit]) -> None:
    names = [name for data in whole.values() for name in data.names]
    images = [image.tobytes() for data in whole.values() for image in data.images]
    assert len(set(names)) == len(names)
    assert len(set(images)) == len(images)


def test_ink_is_bright_on_dark_and_mostly_inside(whole: dict[str, ClassSplit]) -> None:
    images = np.asarray(whole["test"].images[..., 0])
    covered = (images > 127).mean(axis=(1, 2))
    assert covered.min() > 0.01
    assert covered.max() < 0.5
    assert (images.max(axis=(1, 2)) == 255).mean() > 0.99
    grey = (images > 0) & (images < 255)
    assert 0.03 < grey.mean() < 0.3  # edges are anti-aliased
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    assert (border > 0).any(axis=1).mean() < 0.2


@pytest.mark.parametrize(("first", "stop", "instances"), [(7, 8, 20), (5, 9, 1), (0, 30, 33)])
def test_an_image_depends_on_its_class_and_instance_alone(first: int, stop: int, instances: int) -> None:
    alone = glyphs.draw(7, 8, 1)[0]
    among = glyphs.draw(first, stop, instances)
    assert np.array_equal(among[(7 - first) * instances], alone)


def test_more_classes_and_instances_keep_those_there(tmp_path: Path) -> None:
    context = DataContext(cache=tmp_path)
    few = small().load("val", context)
    many = small(val_classes=31, instances=9, train_classes=1).load("val", context)
    kept = np.asarray(many.images).reshape(31, 9, 28, 28, 1)[:2, :4]
    assert np.array_equal(kept.reshape(few.images.shape), few.images)
    assert many.names[:2] == few.names


def test_classes_far_apart_differ() -> None:
    assert not np.array_equal(glyphs.draw(0, 1, 1), glyphs.draw(glyphs.MOST_CLASSES, glyphs.MOST_CLASSES + 1, 1))


def test_second_load_maps_the_cache_and_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    context = DataContext(cache=tmp_path, progress=lambda text, done, total: seen.append((done, total)))
    before = split_digest(small().load("train", context))
    assert seen == [(0, 3), (3, 3)]
    monkeypatch.setattr(glyphs, "draw", lambda *args: pytest.fail("drawn again"))
    again = small().load("train", context)
    assert isinstance(again.images, np.memmap)
    assert split_digest(again) == before
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".npy", ".sha256"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def enlarge(path: Path) -> None:
    os.truncate(path, 1 << 34 if path.suffix == ".sha256" else 1 << 24)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("suffix", [".npy", ".sha256"])
@pytest.mark.parametrize("damage", [truncate, empty, flip, enlarge, Path.unlink])
def test_damaged_cache_is_drawn_again(tmp_path: Path, damage: object, suffix: str) -> None:
    context = DataContext(cache=tmp_path)
    before = split_digest(small().load("test", context))
    (path,) = tmp_path.glob(f"*{suffix}")
    sound = path.read_bytes()
    damage(path)  # type: ignore[operator]
    assert split_digest(small().load("test", context)) == before
    assert path.read_bytes() == sound


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(text: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small().load("test", DataContext(cache=tmp_path, progress=stop))
    assert list(tmp_path.iterdir()) == []


def test_different_counts_have_different_caches(tmp_path: Path) -> None:
    context = DataContext(cache=tmp_path)
    assert len(small().load("train", context).names) == 3
    assert len(small(train_classes=2).load("train", context).names) == 2
    assert small(instances=5).load("train", context).counts.tolist() == [5, 5, 5]


@pytest.mark.parametrize("name", ["train_classes", "val_classes", "test_classes", "instances"])
@pytest.mark.parametrize("value", [0, -1, 10**7, 2.5, "20", True])
def test_bad_counts_are_one_line_usage_errors(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"^glyphs: {name} must be a whole number from 1 to \d+, not .+$"):
        glyphs.Glyphs(**{name: value})  # type: ignore[arg-type]


def test_unknown_split_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no split 'dev'; known: train, val, test"):
        small().load("dev", DataContext(cache=tmp_path))


def test_unwritable_cache_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MetabenchError, match=r"^glyphs cannot write its cache .+choose a cache folder.+$"):
        small().load("val", DataContext(cache=tmp_path / "file" / "cache"))


def nearest_mean(images: NDArray[np.uint8], shot: int, episodes: int = 300) -> float:
    """Accuracy of the nearest class mean on pixels, 5-way with 15 queries per class."""
    pixels = images.reshape(-1, 20, 784).astype(np.float64) / 255
    generator = np.random.default_rng(0)
    right = []
    for _ in range(episodes):
        drawn = pixels[generator.choice(len(pixels), 5, replace=False)]
        means, query = drawn[:, :shot].mean(axis=1), drawn[:, 5:].reshape(-1, 784)
        distance = (means**2).sum(axis=1) - 2 * query @ means.T
        right.append(np.mean(distance.argmin(axis=1) == np.repeat(np.arange(5), 15)))
    return float(np.mean(right))


def test_nearest_mean_on_pixels_is_far_from_chance_and_from_perfect(whole: dict[str, ClassSplit]) -> None:
    one, five = (nearest_mean(whole["test"].images, shot) for shot in (1, 5))
    assert 0.45 < one < 0.60
    assert one + 0.1 < five < 0.85


def test_uniform_and_normal_have_the_moments_they_claim() -> None:
    words = Stream("moments", 4).words(0, 50_000)
    uniform, normal = _strokes.uniform(words), _strokes.normal(words)
    assert 0 <= uniform.min() < 1e-4
    assert 1 - 1e-4 < uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.003
    assert abs(normal.mean()) < 0.01
    assert abs(normal.std() - 1) < 0.01
    ends = np.array([0, 2**64 - 1], dtype=np.uint64)
    assert _strokes.uniform(ends).tolist() == [0.0, 1 - 2**-53]
    assert np.abs(_strokes.normal(ends)) == pytest.approx([math.sqrt(12), math.sqrt(12)], rel=1e-4)


def test_bezier_agrees_with_de_casteljau() -> None:
    control = np.random.default_rng(1).normal(size=(3, 4, 2))
    times = np.array([0.0, 0.3, 1.0])
    level = [np.repeat(control[:, None, k], 3, axis=1) for k in range(4)]
    while len(level) > 1:
        level = [a + times[:, None] * (b - a) for a, b in itertools.pairwise(level)]
    assert np.allclose(_strokes.bezier(control, times), level[0])


def test_characters_are_centred_and_of_one_size() -> None:
    control = _strokes.programs(Stream("programs", _strokes.CLASS_WORDS).words(0, 200))
    points = _strokes.bezier(control, np.linspace(0, 1, 200)).reshape(200, -1, 2)
    low, high = points.min(axis=1), points.max(axis=1)
    assert np.allclose((high - low).max(axis=1), 1, atol=0.01)
    assert np.allclose(low + high, 0, atol=0.01)


def test_ink_follows_the_distance_to_the_pen() -> None:
    points, pen = np.array([[[10.25, 7.5], [16.0, 20.0]]]), np.array([[2.0, 1.5]])
    image = _strokes.ink(points, pen)[0]
    radius = math.sqrt(2.0 * 1.5)
    for row, column in [(7, 10), (8, 12), (9, 10), (10, 10), (20, 18), (21, 15), (0, 0)]:
        away = min(math.hypot((column - x) / 2.0, (row - y) / 1.5) for x, y in points[0])
        grey = 255 * min(1.0, max(0.0, (1 - away) * radius + 0.5))
        assert abs(int(image[row, column]) - grey) <= 0.51


def test_declaring_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, metabench_datasets.glyphs; "
        "sys.exit(sorted({'torch', 'pandas', 'scipy', 'PIL'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False)
    assert done.returncode == 0
