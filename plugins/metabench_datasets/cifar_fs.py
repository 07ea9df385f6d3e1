"""CIFAR-FS (Bertinetto et al., 2019): CIFAR-100's classes divided at random, 64 / 16 / 20."""

from __future__ import annotations

from typing import ClassVar

from metabench.api import DatasetSpec, SplitSize
from metabench_datasets._cifar100 import LICENCE, Cifar100Classes

SPEC = DatasetSpec(
    name="cifar-fs",
    version=1,
    target="metabench_datasets.cifar_fs:CifarFS",
    summary="CIFAR-100, 32x32, classes divided at random",
    reference=(
        "Bertinetto et al., ICLR 2019, Meta-learning with differentiable closed-form solvers; images: Krizhevsky 2009, "
        "Learning Multiple Layers of Features from Tiny Images"
    ),
    licence=LICENCE,
    image_shape=(3, 32, 32),
    sizes={"train": SplitSize(64, 38400), "val": SplitSize(16, 9600), "test": SplitSize(20, 12000)},
    digests={
        "train": "a584839692070acb3c4eaacff4410692b6fd94a14987b490073102c5992cd43b",
        "val": "cacfb2a5b7621baeef2d6dce69d5290a21c99e1423cdda48d2777f34600c6896",
        "test": "a751540213aa69ccbb5f206ccace76c5a6ce126d3b2eb8c610c668cd3e3a7e1b",
    },
    download=True,
    shared_images=(  # CIFAR-100 itself has these, under two labels each
        "0f80a8ba9d00bc32",
        "1bd374b7daf91dc7",
        "2696103b937ffb15",
        "4d63672092074a08",
        "54f526a2a48357c7",
        "659f5ce9c94d0dea",
        "816fcbb1784bac8b",
        "8e7338b428d0a20e",
        "c042f1913a29ad72",
        "da87b3cbfeab848e",
        "dc5c0d555a6d2dc9",
        "ed1130a41cd90f5e",
        "f03548941a534857",
        "f7d94f18f5068dd8",
        "fb23dcf367bd8e8b",
    ),
)


class CifarFS(Cifar100Classes):
    """The dataset."""

    name: ClassVar[str] = "cifar-fs"
    spec: ClassVar[DatasetSpec] = SPEC
