"""Omniglot as published: the lists, and the real archives where they are."""

import hashlib
import time

import numpy as np
import pytest

from metabench.data import DataContext, split_digest
from metabench.registry.specs import SplitSize, defaults
from metabench_datasets._omniglot import official_layout
from metabench_datasets.omniglot import SPEC, Omniglot
from tests.plugins.test_omniglot import real_data


def test_official_layout_and_spec_agree():
    layout, omniglot = official_layout(), Omniglot(**defaults(SPEC))
    assert len(layout.alphabets) == 50
    counts = {"images_background": 0, "images_evaluation": 0}
    for alphabet in layout.alphabets.values():
        counts[alphabet.archive] += alphabet.characters
        assert len(bytes.fromhex(alphabet.sha256)) == 32
    assert counts == {"images_background": 964, "images_evaluation": 659}
    seen = set()
    for split, size in SPEC.sizes.items():
        names = omniglot._names(split)
        assert len(names) == size.classes == size.images // 20
        seen |= set(names)
    assert len(seen) == 1623 * 4
    assert {s: len(Omniglot(rotations=False)._names(s)) for s in SPEC.sizes} == {
        "train": 1028, "val": 172, "test": 423}  # fmt: skip
    background = Omniglot(split="background", rotations=False)
    sizes = {split: len(background._names(split)) for split in SPEC.sizes}
    assert sizes == {"train": 813, "val": 151, "test": 659}
    assert omniglot.image_shape == SPEC.image_shape


def test_class_order_is_that_of_the_published_lists():
    """SHA-256 of the published ``train.txt``, ``val.txt`` and ``test.txt`` of the Vinyals split."""
    published = {
        "train": "984522c194c30fb678ce53304a160a42faf5403ad4f9a67010f32dd3a35738e0",
        "val": "11f99e54faee3e26f53d3231c1cceac5bf7b8730e9be31cb6dab256551dc0c1a",
        "test": "845264cc5c156180828ccf17915668b17ee21424d0170df6e7d81676aa5d1204",
    }
    for split, digest in published.items():
        text = "".join(f"{name}\n" for name in Omniglot()._names(split))
        assert hashlib.sha256(text.encode()).hexdigest() == digest


@pytest.mark.realdata
def test_real_validation_split_has_the_declared_digest(tmp_path):
    context = DataContext(tmp_path, (real_data(),))
    split = Omniglot().load("val", context)
    assert split_digest(split) == SPEC.digests["val"]
    assert SplitSize(len(split.names), len(split.images)) == SPEC.sizes["val"]
    start = time.perf_counter()
    Omniglot().load("val", context)
    assert time.perf_counter() - start < 0.5


@pytest.mark.realdata
def test_real_evaluation_archive_is_as_published(tmp_path):
    """Every alphabet of it is verified while it is read; the other archive has its turn above."""
    omniglot = Omniglot(split="background", rotations=False)
    split = omniglot.load("test", DataContext(tmp_path, (real_data(),)))
    assert split.images.shape == (13180, 28, 28, 1) and set(np.unique(split.images)) == {0, 255}
    assert 0.02 < (split.images > 0).mean() < 0.2  # ink is white, and there is little of it
