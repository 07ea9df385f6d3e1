"""easyfsl driven as its README and tutorial notebooks do, on images that are in memory as float tensors."""

from __future__ import annotations

import sys
from functools import cache

import torch
from common import SHOT, Setting, conv4, float_images, labels_of, plain_conv4, serve, timed
from easyfsl_tools import loader  # first of what imports easyfsl
from torch import Tensor, nn

from metabench.models.embedding import embed, to_device

from easyfsl.datasets import FeaturesDataset, FewShotDataset  # isort: skip
from easyfsl.methods import PrototypicalNetworks  # isort: skip
from easyfsl.utils import evaluate  # isort: skip

SETTING = Setting.from_env()


class InMemory(FewShotDataset):
    """Decoded images and labels in memory: the fastest dataset that its data loader can be given."""

    def __init__(self, images: Tensor, labels: list[int]) -> None:
        self.images, self.labels = images, labels

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        return self.images[item], self.labels[item]

    def __len__(self) -> int:
        return len(self.labels)

    def get_labels(self) -> list[int]:
        return self.labels


@cache
def images_of(name: str, rotations: bool) -> InMemory:
    split = SETTING.split(name, rotations)
    return InMemory(float_images(split), labels_of(split))


@cache
def features_of(rotations: bool) -> FeaturesDataset:
    split = SETTING.split("test", rotations)
    features = embed(conv4(), to_device(split.images, torch.device("cpu")))
    return FeaturesDataset(labels_of(split), features, list(split.names))


def _evaluate(dataset: FewShotDataset, backbone: nn.Module, episodes: int) -> dict[str, float]:
    batches, classifier = loader(dataset, SHOT, episodes), PrototypicalNetworks(backbone)
    seconds, accuracy = timed(lambda: evaluate(classifier, batches, device="cpu", use_tqdm=False))
    return {"rate": episodes / seconds, "accuracy": 100 * float(accuracy)}


def evaluation(rotations: bool, episodes: int) -> dict[str, float]:
    return _evaluate(images_of("test", rotations), plain_conv4(), episodes)


def evaluation_fused(rotations: bool, episodes: int) -> dict[str, float]:
    """Do the same with metabench's backbone, to show what embedding once is worth by itself."""
    return _evaluate(images_of("test", rotations), conv4().eval().for_inference(), episodes)


def scoring(rotations: bool, episodes: int) -> dict[str, float]:
    return _evaluate(features_of(rotations), nn.Identity(), episodes)


def training(shot: int, episodes: int) -> dict[str, float]:
    """Run the loop of its notebook episodic_training.ipynb, with Adam."""
    classifier = PrototypicalNetworks(plain_conv4()).train()
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()

    def epoch(tasks: int) -> list[float]:
        losses = []
        for support_images, support_labels, query_images, query_labels, _ in loader(images, shot, tasks):
            optimizer.zero_grad()
            classifier.process_support_set(support_images, support_labels)
            loss = criterion(classifier(query_images), query_labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    images = images_of("train", True)
    epoch(1)
    seconds, _ = timed(lambda: epoch(episodes))
    return {"rate": episodes / seconds}


if __name__ == "__main__":
    torch.set_num_threads(SETTING.threads)
    sys.exit(serve({task.__name__: task for task in (evaluation, evaluation_fused, scoring, training)}))
