from __future__ import annotations

from typing import Any

import pytest

from metabench.data.dataset_preprocessing import dataset_preprocessing, read_preprocessing
from metabench.data.image_decoding import ImagePreprocessing
from metabench.registry.registry import load_registry
from metabench.registry.specs import defaults


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("cifar-fs", {}, ImagePreprocessing(32)),
        ("mini-imagenet", {}, ImagePreprocessing(84)),
        ("glyphs", {}, ImagePreprocessing(28, colour="grey")),
        ("omniglot", {"size": 64}, ImagePreprocessing(64, colour="grey")),
        ("folder", {"size": 32, "fit": "pad", "colour": "grey"}, ImagePreprocessing(32, "pad", "grey")),
        ("clinc150", {}, None),
        ("sinusoid", {}, None),
    ],
)
def test_a_dataset_says_it_by_parameters_and_shape(
    name: str, params: dict[str, Any], expected: ImagePreprocessing | None
) -> None:
    spec = load_registry().find("dataset", name)
    assert dataset_preprocessing(spec, {**defaults(spec), **params}) == expected


@pytest.mark.parametrize("form", [None, [], {"size": 3}, {"size": 32.5}, {"size": "x"}, {"side": 32}, {"fit": "cut"}])
def test_what_a_file_cannot_mean_is_not_taken(form: Any) -> None:
    assert read_preprocessing(form) is None
