"""learn2learn driven as its examples/vision/protonet_miniimagenet.py does, on images in memory."""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import torch
from common import (
    CHANNELS,
    QUERY,
    WAY,
    Setting,
    declare_torchvision_operators,
    float_images,
    labels_of,
    plain_conv4,
    serve,
    timed,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

declare_torchvision_operators()

import learn2learn as l2l  # noqa: E402
from learn2learn.data.transforms import KShots, LoadData, NWays, RemapLabels  # noqa: E402

SETTING = Setting.from_env()


@cache
def dataset(name: str = "train") -> l2l.data.MetaDataset:
    split = SETTING.split(name, True)
    return l2l.data.MetaDataset(TensorDataset(float_images(split), torch.tensor(labels_of(split))))


def backbone() -> nn.Module:
    """Return the library's own Conv-4 with the weights that everyone gets."""
    net = l2l.vision.models.CNN4Backbone(hidden_size=CHANNELS, channels=1, max_pool=True)
    plain = plain_conv4()
    for index, block in enumerate(net):
        block.conv.load_state_dict(plain[4 * index].state_dict())
        block.normalize.load_state_dict(plain[4 * index + 1].state_dict())
    return net


def pairwise_distances_logits(a: Tensor, b: Tensor) -> Tensor:
    """As in the example."""
    n, m = a.shape[0], b.shape[0]
    return -((a.unsqueeze(1).expand(n, m, -1) - b.unsqueeze(0).expand(n, m, -1)) ** 2).sum(dim=2)


def fast_adapt(model: nn.Module, batch: tuple[Tensor, Tensor], shot: int) -> Tensor:
    """As in the example, without its unused branches."""
    data, labels = batch
    sort = torch.sort(labels)
    data = data.squeeze(0)[sort.indices].squeeze(0)
    labels = labels.squeeze(0)[sort.indices].squeeze(0)
    embeddings = model(data)
    chosen = np.zeros(data.size(0), dtype=bool)
    for offset in range(shot):
        chosen[np.arange(WAY) * (shot + QUERY) + offset] = True
    support = embeddings[torch.from_numpy(chosen)].reshape(WAY, shot, -1).mean(dim=1)
    query = torch.from_numpy(~chosen)
    logits = pairwise_distances_logits(embeddings[query], support)
    return nn.functional.cross_entropy(logits, labels[query].long())


def training(shot: int, episodes: int) -> dict[str, float]:
    data = dataset()
    transforms = [NWays(data, WAY), KShots(data, QUERY + shot), LoadData(data), RemapLabels(data)]
    loader = DataLoader(l2l.data.Taskset(data, task_transforms=transforms), shuffle=True)
    model = backbone().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch(tasks: int) -> None:
        for _ in range(tasks):
            loss = fast_adapt(model, next(iter(loader)), shot)
            loss.item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    epoch(1)
    seconds, _ = timed(lambda: epoch(episodes))
    return {"rate": episodes / seconds}


def network(pool: bool) -> nn.Module:
    """Return the library's own network for Omniglot, and its Conv-4 with pooling, with a classifier."""
    torch.manual_seed(0)
    if pool:
        return l2l.vision.models.CNN4(WAY, hidden_size=CHANNELS, channels=1, max_pool=True, embedding_size=CHANNELS)
    return l2l.vision.models.OmniglotCNN(WAY, hidden_size=CHANNELS)


def adapted_loss(
    maml: l2l.algorithms.MAML, batch: tuple[Tensor, Tensor], shot: int, steps: int
) -> tuple[Tensor, Tensor]:
    """As ``fast_adapt`` of examples/vision/maml_omniglot.py: loss and accuracy of the queries."""
    data, labels = batch
    support = np.zeros(data.size(0), dtype=bool)
    per_class = data.size(0) // WAY
    for offset in range(shot):
        support[np.arange(WAY) * per_class + offset] = True
    query = torch.from_numpy(~support)
    chosen = torch.from_numpy(support)
    learner = maml.clone()
    for _ in range(steps):
        learner.adapt(nn.functional.cross_entropy(learner(data[chosen]), labels[chosen]))
    scores = learner(data[query])
    hits = (scores.argmax(1) == labels[query]).float().mean()
    return nn.functional.cross_entropy(scores, labels[query]), hits


def tasks_of(name: str, images: int) -> l2l.data.Taskset:
    data = dataset(name)
    return l2l.data.Taskset(
        data, task_transforms=[NWays(data, WAY), KShots(data, images), LoadData(data), RemapLabels(data)]
    )


def maml_evaluation(shot: int, steps: int, pool: bool, episodes: int) -> dict[str, float]:
    """Test tasks as the example scores them."""
    maml, tasks = l2l.algorithms.MAML(network(pool), lr=0.4), tasks_of("test", shot + QUERY)

    def work() -> float:
        return sum(float(adapted_loss(maml, tasks.sample(), shot, steps)[1]) for _ in range(episodes)) / episodes

    adapted_loss(maml, tasks.sample(), shot, steps)
    seconds, accuracy = timed(work)
    return {"rate": episodes / seconds, "accuracy": 100 * accuracy}


def maml_training(shot: int, steps: int, pool: bool, episodes: int, batch: int) -> dict[str, float]:
    """Meta-training to second order as the example does it."""
    maml, tasks = l2l.algorithms.MAML(network(pool), lr=0.4), tasks_of("train", shot + QUERY)
    optimizer = torch.optim.Adam(maml.parameters(), lr=1e-3)

    def iterations(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            for _ in range(batch):
                loss, hits = adapted_loss(maml, tasks.sample(), shot, steps)
                loss.backward()
                hits.item()
            for parameter in maml.parameters():
                parameter.grad.data.mul_(1.0 / batch)
            optimizer.step()

    iterations(1)
    count = max(1, episodes // batch)
    seconds, _ = timed(lambda: iterations(count))
    return {"rate": count * batch / seconds}


if __name__ == "__main__":
    torch.set_num_threads(SETTING.threads)
    tasks = {task.__name__: task for task in (training, maml_evaluation, maml_training)}
    sys.exit(serve(tasks))
