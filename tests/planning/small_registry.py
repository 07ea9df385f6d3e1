"""A small registry of plugins without code, and the runs planned with it."""

from __future__ import annotations

from typing import Any

import pluggy

from metabench.planning.data_digests import DataDigests
from metabench.planning.planner import plan
from metabench.planning.run_spec import RunSpec
from metabench.planning.selection import Selection
from metabench.registry.loader import PluginSet
from metabench.registry.params import Param
from metabench.registry.registry import Registry
from metabench.registry.specs import AlgorithmSpec, BackboneSpec, DatasetSpec, ProtocolSpec
from metabench.registry.stage import Stage

COMMON: dict[str, Any] = {"version": 1, "target": "none:None", "summary": "", "reference": "", "licence": "MIT"}
OWN = Stage(way=4, shot=0, query=3, episodes=50, source="invented")
ANY = Stage(way=3, shot=2, query=1, episodes=20)
DIGESTS = DataDigests.of_one({"train": "a", "val": "b", "test": "c"})


def by_name(*specs: Any) -> dict[str, Any]:
    return {spec.name: spec for spec in specs}


REGISTRY = Registry(
    by_name(
        AlgorithmSpec(
            name="learner", trains=True, backbone="net", recipes={"digits": OWN, "*": ANY},
            params=(Param("k", 1, "a number"),), **COMMON,
        ),
        AlgorithmSpec(name="picky", trains=True, backbone="net", recipes={"digits": OWN}, **COMMON),
        AlgorithmSpec(name="floor", trains=False, backbone="plain", **COMMON),
    ),
    by_name(
        DatasetSpec(
            name="digits", image_shape=(1, 8, 8), sizes={}, digests={}, params=(Param("size", 8, "pixels"),), **COMMON
        ),
        DatasetSpec(name="letters", image_shape=(1, 8, 8), sizes={}, digests={}, **COMMON),
        DatasetSpec(name="unseen", image_shape=(1, 8, 8), sizes={}, digests={}, splits=("test",), **COMMON),
        DatasetSpec(
            name="folder", image_shape=(1, 8, 8), sizes={}, digests={}, argument="path",
            params=(Param("path", "", "where"),), **COMMON,
        ),
        DatasetSpec(
            name="intents", kind="text", backbone="words", image_shape=(9,), sizes={}, digests={}, splits=("test",),
            **COMMON,
        ),
        DatasetSpec(name="poems", kind="text", backbone="words", image_shape=(9,), sizes={}, digests={}, **COMMON),
    ),
    by_name(
        BackboneSpec(name="net", params=(Param("channels", 64, "width"),), **COMMON),
        BackboneSpec(name="plain", trains=False, **COMMON),
        BackboneSpec(name="words", takes="text", trains=False, **COMMON),
        BackboneSpec(name="zoo", argument="model", params=(Param("model", "small", "which"),), **COMMON),
    ),
    by_name(
        ProtocolSpec(
            name="fixed-way",
            params=tuple(Param(n, v, n) for n, v in (("way", 5), ("shot", 1), ("query", 15), ("extra", 1))),
            **COMMON,
        ),
        ProtocolSpec(
            name="uneven", training="fixed-way",
            params=tuple(Param(n, v, n) for n, v in (("way", 5), ("shot", 1), ("query", 15), ("alpha", 2.0))), **COMMON,
        ),
        ProtocolSpec(name="varying", training="fixed-way", **COMMON),
    ),
    PluginSet((), (), pluggy.PluginManager("metabench")),
    {},
)  # fmt: skip


def runs(algorithms: tuple[str, ...] = ("learner",), **options: Any) -> list[RunSpec]:
    return plan(Selection(algorithms, **{"datasets": ("digits",), **options}), REGISTRY)
