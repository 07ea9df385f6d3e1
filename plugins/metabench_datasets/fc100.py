"""FC100 (Oreshkin et al., 2018): CIFAR-100's classes divided by superclass, 60 / 20 / 20."""

from __future__ import annotations

from typing import ClassVar

from metabench.api import DatasetSpec, SplitSize
from metabench_datasets._cifar100 import LICENCE, Cifar100Classes

SPEC = DatasetSpec(
    name="fc100",
    version=1,
    target="metabench_datasets.fc100:FC100",
    summary="CIFAR-100, 32x32, divided by superclass: test classes are unlike training classes",
    reference=(
        "Oreshkin, Rodríguez López & Lacoste, NeurIPS 2018, TADAM; images: Krizhevsky 2009, "
        "Learning Multiple Layers of Features from Tiny Images"
    ),
    licence=LICENCE,
    image_shape=(3, 32, 32),
    sizes={"train": SplitSize(60, 36000), "val": SplitSize(20, 12000), "test": SplitSize(20, 12000)},
    digests={
        "train": "83afd10558cda7dfd92cdcecbef845427b19b6df16d543c32fdd6a3464fa332d",
        "val": "5c460943f5f2d3341a76b0e9e701a3179a14562bc733f232cc2102b6e16c8bfb",
        "test": "a3e23fc80d7dcae2bab62bddef5f4447beb8e92391921a440b0a26e276292a25",
    },
    download=True,
    shared_images=(  # CIFAR-100 itself has them, under two labels each
        "0f80a8ba9d00bc32",
        "816fcbb1784bac8b",
        "c042f1913a29ad72",
    ),
)


class FC100(Cifar100Classes):
    """The dataset."""

    name: ClassVar[str] = "fc100"
    spec: ClassVar[DatasetSpec] = SPEC
