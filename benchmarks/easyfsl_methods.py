"""easyfsl's classifier of the same method as a head of metabench, where it has one, with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from common import SHOT, WAY
from easyfsl_tools import loader  # first of what imports easyfsl
from torch import Tensor, nn

from metabench.api import FeatureHead
from metabench_algorithms.metric.feat import FEAT as OurFEAT
from metabench_algorithms.metric.relation_net import RelationNet

from easyfsl.datasets import FeaturesDataset  # isort: skip
from easyfsl.methods import (  # isort: skip
    FEAT,
    FewShotClassifier,
    Finetune,
    MatchingNetworks,
    PrototypicalNetworks,
    RelationNetworks,
    SimpleShot,
)
from easyfsl.modules import MultiHeadAttention  # isort: skip
from easyfsl.utils import evaluate  # isort: skip


@dataclass(frozen=True)
class Peer:
    """A classifier of easyfsl."""

    make: Callable[[FeatureHead, Tensor], FewShotClassifier]
    """Takes our head and the features (N, ...) of all images."""
    episodes: int
    """So many in a round; its rate does not depend on their number."""
    same: bool = True
    """It computes the same function as our head, so that the answers to the same episodes must be the same."""

    def accuracy(self, classifier: FewShotClassifier, features: Tensor, classes: Tensor) -> float:
        """Evaluate it as its README does, by its own loop over its own loader; return percent."""
        names = [str(index) for index in range(int(classes.max()) + 1)]
        batches = loader(FeaturesDataset(classes.tolist(), features, names), SHOT, self.episodes)
        return 100 * float(evaluate(classifier, batches, device="cpu", use_tqdm=False))


def answers(classifier: FewShotClassifier, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """Return the predicted labels (B, Q) of given episodes."""
    found = list[Tensor]()
    classifier.eval()
    with torch.no_grad():
        for items, truth, asked in zip(support, labels, query, strict=True):
            classifier.process_support_set(items, truth)
            found.append(classifier(asked).argmax(-1))
    return torch.stack(found)


def simpleshot(head: FeatureHead, features: Tensor) -> FewShotClassifier:
    """Compare by cosine with the mean of normalised features, where ours compares by distance."""
    return SimpleShot(feature_centering=features.mean(0), feature_normalization=2.0)


def feat(head: FeatureHead, features: Tensor) -> FewShotClassifier:
    assert isinstance(head, OurFEAT)
    dim, ours = features.shape[1], head.adapt
    module = MultiHeadAttention(1, dim, dim, dim)
    pairs = (
        (module.w_qs, ours.query),
        (module.w_ks, ours.key),
        (module.w_vs, ours.value),
        (module.fc, ours.output),
        (module.layer_norm, ours.norm),
    )
    for theirs, mine in pairs:
        theirs.load_state_dict(mine.state_dict())
    return FEAT(attention_module=module)


def relation_net(head: FeatureHead, features: Tensor) -> FewShotClassifier:
    """Give it the relation module of our head, for its own is of another size; ours takes sums of support maps."""
    assert isinstance(head, RelationNet)
    channels, height, width = features.shape[1:]
    first = nn.Conv2d(2 * channels, head.first.out_channels, 3, padding=1)
    first.load_state_dict(head.first.state_dict())
    with torch.no_grad():
        first.weight[:, :channels] *= SHOT
    blocks: list[nn.Module] = []
    for conv, norm in ((first, head.first_norm), (head.second, head.second_norm)):
        window = [min(2, side) for side in (height, width)]
        height, width = (max(1, side // 2) for side in (height, width))
        blocks += [conv, norm, nn.ReLU(), nn.MaxPool2d(window)]
    module = nn.Sequential(*blocks, nn.Flatten(), head.hidden, nn.ReLU(), head.score, nn.Sigmoid())
    return RelationNetworks(feature_dimension=channels, relation_module=module)


def matching_net(head: FeatureHead, features: Tensor) -> FewShotClassifier:
    """Embed in full context, in as many steps as there are support images: it has no other form."""
    return MatchingNetworks(feature_dimension=features.shape[1])


def finetune(head: FeatureHead, features: Tensor) -> FewShotClassifier:
    """Take 200 steps of Adam with all of the support, from the class means, on a classifier by cosines."""
    return Finetune()


PEERS: Mapping[str, Peer] = {
    "protonet": Peer(lambda head, features: PrototypicalNetworks(), 400),
    "simpleshot": Peer(simpleshot, 400),
    "feat": Peer(feat, 200),
    "relation-net": Peer(relation_net, 40),
    "matching-net": Peer(matching_net, 2, same=False),
    f"matching-net, fce=True, steps={WAY * SHOT}": Peer(matching_net, 2, same=False),
    "baseline": Peer(finetune, 5, same=False),
    "baseline-plus-plus": Peer(finetune, 5, same=False),
    "linear-probe": Peer(finetune, 5, same=False),
}
"""By the name of our row."""
