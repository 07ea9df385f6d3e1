"""Nearest mean whose scores are odd in a way that a parameter names."""

import sys

import torch
from torch import Tensor

from metabench.api import AlgorithmSpec, Episode, FeatureHead, Param, hookimpl, prototypes, squared_distances


class OddHead(FeatureHead):
    def __init__(self, feature_dim: int, form: str) -> None:
        super().__init__()
        self.form = form
        self.calls = 0

    @staticmethod
    def cleared(scores: Tensor, labels: Tensor) -> Tensor:
        labels.zero_()
        return scores

    def logits(self, episode: Episode) -> Tensor:
        support, query = episode.support, episode.query
        if self.form == "query statistics":
            query = query - query.mean(1, keepdim=True)
            support = support - support.mean(1, keepdim=True)
        scores = -squared_distances(query, prototypes(support, episode.labels, episode.way))
        self.calls += 1
        many, queries = scores.shape[:2]
        by_position = torch.nn.functional.one_hot(torch.arange(queries) * episode.way // queries, episode.way)
        forms = {
            "double": lambda: scores.double(),
            "one class too many": lambda: torch.cat([scores, scores[..., :1]], -1),
            "one class too few": lambda: scores[..., :-1],
            "one query for all": lambda: scores[:, :1],
            "one episode for all": lambda: scores[:1],
            "a class index": lambda: scores.argmax(-1),
            "integers": lambda: scores.long(),
            "booleans": lambda: scores == scores.amax(-1, keepdim=True),
            "a tuple": lambda: (scores,),
            "an array": lambda: scores.numpy(),
            "nothing": lambda: None,
            "meta device": lambda: scores.to("meta"),
            "nan": lambda: scores.where(scores > scores.median(), torch.nan),
            "minus infinity": lambda: torch.full_like(scores, -torch.inf),
            "position": lambda: by_position.float().expand(many, -1, -1),
            "position from the end": lambda: by_position.flip(0).flip(1).float().expand(many, -1, -1),
            "episodes together": lambda: scores - scores.mean(0, keepdim=True) * 3,
            "first episode for all": lambda: scores[:1].expand(many, -1, -1),
            "sparse": lambda: scores.to_sparse(),
            "exit": lambda: sys.exit(0),
            "labels changed": lambda: self.cleared(scores, episode.labels),
            "state": lambda: scores if self.calls == 1 else scores.roll(1, -1),
        }
        return forms[self.form]() if self.form in forms else scores


@hookimpl
def metabench_algorithms() -> list[AlgorithmSpec]:
    return [
        AlgorithmSpec(
            name="odd-head",
            version=1,
            target="odd_head:OddHead",
            summary="Nearest mean with odd scores.",
            reference="metabench",
            licence="CC0-1.0",
            trains=False,
            own_weights=False,
            setting="inductive",
            takes="features",
            backbone="pixels",
            params=(Param("form", "plain", "what is odd"),),
        )
    ]
