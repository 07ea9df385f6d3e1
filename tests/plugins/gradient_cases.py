"""Gradient-based algorithms on a small backbone, and episodes for them."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from metabench.episodes.batch import EpisodeBatch
from metabench.learners import adaptive_learner
from metabench.models.adaptive import TaskAdaptiveAlgorithm
from metabench.models.assembly import build_model
from metabench.models.interfaces import Backbone
from metabench.registry.stage import Stage
from metabench_algorithms.gradient.anil import Anil
from metabench_algorithms.gradient.boil import Boil
from metabench_algorithms.gradient.cavia import Cavia
from metabench_algorithms.gradient.imaml import Imaml
from metabench_algorithms.gradient.maml import Maml
from metabench_algorithms.gradient.maml_plus_plus import MamlPlusPlus
from metabench_algorithms.gradient.meta_sgd import MetaSgd
from metabench_algorithms.gradient.proto_maml import ProtoMaml
from metabench_algorithms.gradient.reptile import Reptile
from metabench_backbones.conv4_strided import Conv4Strided

WAY, SHOT, QUERY = 3, 2, 4
RECIPE = Stage(way=WAY, shot=SHOT, query=QUERY, episodes=10)
CASES: dict[str, tuple[type[TaskAdaptiveAlgorithm], dict[str, object]]] = {
    "maml": (Maml, {"steps": 2, "test_steps": 3}),
    "fomaml": (Maml, {"steps": 2, "first_order": True}),
    "maml-support": (Maml, {"steps": 2, "bn": "support"}),
    "maml-running": (Maml, {"steps": 2, "bn": "running"}),
    "anil": (Anil, {"steps": 2}),
    "boil": (Boil, {"steps": 2}),
    "meta-sgd": (MetaSgd, {"steps": 2}),
    "proto-maml": (ProtoMaml, {"steps": 2, "lr": 0.1}),
    "reptile": (Reptile, {"steps": 3, "inner_batch": 4, "test_steps": 4, "lr": 0.01}),
    "reptile-running": (Reptile, {"steps": 3, "inner_batch": 4, "test_steps": 4, "lr": 0.01, "bn": "running"}),
    "maml-plus-plus": (MamlPlusPlus, {"steps": 2}),
    "imaml": (Imaml, {"steps": 3, "cg_steps": 3}),
    "imaml-running": (Imaml, {"steps": 3, "cg_steps": 3, "bn": "running"}),
    "cavia": (Cavia, {"steps": 2, "context": 5, "bn": "running"}),
}


def build(
    name: str, backbone: type[Backbone] = Conv4Strided, double: bool = False, **more: object
) -> TaskAdaptiveAlgorithm:
    target, params = CASES[name]
    model = build_model(backbone, {"channels": 4}, target, {**params, **more}, (1, 16, 16), 0, WAY)
    assert isinstance(model, TaskAdaptiveAlgorithm)
    return model.double() if double else model


def episodes(count: int = 5) -> EpisodeBatch:
    generator = np.random.default_rng(1)
    rows = np.stack([generator.permutation(60)[: WAY * (SHOT + QUERY)] for _ in range(count)])
    labels = np.tile(np.arange(WAY).repeat(SHOT), (count, 1))
    truth = np.tile(np.arange(WAY).repeat(QUERY), (count, 1))
    return EpisodeBatch(rows[:, : WAY * SHOT], labels, rows[:, WAY * SHOT :], truth, WAY)


def one_task(images: Tensor, double: bool = True) -> tuple[Tensor, ...]:
    parts = adaptive_learner.tasks_of(Conv4Strided((1, 28, 28)), images, episodes(1))
    return tuple(part[0].double() if double and part.is_floating_point() else part[0] for part in parts)
