"""Loading datasets: unions, digests, and where they are remembered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metabench.data import split_digest
from metabench.data.dataset_loader import DatasetLoader
from metabench.data.digest_files import DataPlaces
from metabench.registry.registry import load_registry
from metabench.registry.resolved import ResolvedPlugin, resolve_params
from metabench.utils.console import Console
from metabench.utils.home import Home
from tests.tiny import SETTINGS


def loader(root: Path) -> DatasetLoader:
    return DatasetLoader(Home(root), Console(quiet=True))


def glyphs(small: bool = True) -> ResolvedPlugin:
    """Return the generated dataset, with few classes or as its spec declares it."""
    spec = load_registry().datasets["glyphs"]
    settings = {name.removeprefix("data."): SETTINGS[name] for name in SETTINGS if name.startswith("data.")}
    return ResolvedPlugin(spec, resolve_params(spec, settings if small else {}))


def test_the_union_of_two_mapped_splits_is_mapped(tmp_path: Path) -> None:
    first, dataset = loader(tmp_path), glyphs()
    train, val, both = (first.split(dataset, name) for name in ("train", "val", "train+val"))
    assert isinstance(both.images, np.memmap) and not both.images.flags.writeable
    np.testing.assert_array_equal(both.images, np.concatenate([train.images, val.images]))
    assert both.names == train.names + val.names and both.starts[-1] == len(both.images)
    assert loader(tmp_path).split(dataset, "train+val").images.filename == both.images.filename


def test_digests_are_of_the_splits_and_remembered(tmp_path: Path) -> None:
    first, dataset = loader(tmp_path), glyphs()
    digests = first.digests(dataset)
    assert digests == {name: split_digest(first.split(dataset, name)) for name in ("train", "val", "test")}
    second = loader(tmp_path)
    second.split = None  # type: ignore[assignment,method-assign]  # would fail if it were called
    assert second.digests(dataset) == digests


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"train": "x"}', "\udcff", '{"train": 1, "val": [], "test": null}', "[" * 10**6, " " * 2**25],
)
def test_a_damaged_digest_file_is_made_anew(tmp_path: Path, content: str) -> None:
    first, dataset = loader(tmp_path), glyphs()
    digests = first.digests(dataset)
    (path,) = (tmp_path / "data" / "glyphs").glob("digests-*.json")
    path.write_text(content, errors="surrogateescape")
    assert loader(tmp_path).digests(dataset) == digests
    assert json.loads(path.read_text()) == digests


@pytest.mark.parametrize("content", ["", "[]", "{", '{"12ab": "a"}', "[" * 10**6, " " * 2**25])
def test_a_damaged_file_of_places_is_as_none_and_written_anew(tmp_path: Path, content: str) -> None:
    spec = load_registry().datasets["folder"]
    photos = str(tmp_path / "photos")
    dataset, places = ResolvedPlugin(spec, resolve_params(spec, {"path": photos})), DataPlaces(Home(tmp_path))
    (tmp_path / "places.json").write_text(content)
    assert places.find("12ab") == {}
    places.remember(dataset, {"test": "34cd"})
    assert places.find("34cd") == {"path": photos}
    assert places.find("12ab") == {}
    places.remember(dataset, {"test": "56ef"})
    assert places.find("34cd") == places.find("56ef") == {"path": photos}


def test_declared_digests_are_those_of_the_data(tmp_path: Path) -> None:
    one, dataset = loader(tmp_path), glyphs(small=False)
    declared = one.digests(dataset)
    assert not (tmp_path / "data").exists()  # nothing was generated to know them
    assert split_digest(one.split(dataset, "test")) == declared["test"]
