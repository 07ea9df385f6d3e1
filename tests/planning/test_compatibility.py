"""Parts that do not go together are refused, or rejected beside those that do."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from metabench.errors import UsageError
from metabench.planning.planner import plan, plan_each
from metabench.planning.run_spec import RejectedRun, RunSpec
from metabench.planning.selection import Selection
from metabench.registry.params import Param
from tests.planning.small_registry import REGISTRY, runs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"datasets": ("folder",)}, "dataset 'folder' needs its path: write folder:PATH"),
        ({"datasets": ("folder:",)}, "dataset 'folder' needs its path after ':'"),
        ({"datasets": ("digits:8",)}, "dataset 'digits' takes no ':8'; write digits"),
        ({"datasets": ("fodler:x",)}, "unknown dataset 'fodler'; did you mean 'folder'"),
        ({"datasets": ("unseen",)}, "'unseen' has no classes to meta-train learner on; use a pre-trained --backbone"),
        (
            {"datasets": ("poems",), "settings": {"train.augment": "crop-flip"}},
            "cannot apply train.augment=crop-flip: it is for images, and the items of 'poems' are text",
        ),
        ({"datasets": ("intents",), "backbones": ("net",)}, "'intents' are text; use --backbone words"),
        ({"backbones": ("words",)}, "items of 'digits' are images; use --backbone net or plain or zoo"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        runs(**options)


def test_base_classes_to_study_must_be_there() -> None:
    for params, others in (({}, ""), ({"algo.centre": True}, ", another algo.centre")):
        spec = REGISTRY.algorithms["floor"]
        conditions = {"centre": (True,)} if params else {}
        choice = (Param("centre", False, "subtract the mean of base classes"),) if params else ()
        studious = dataclasses.replace(spec, name="studious", params=choice, uses=("base",), uses_when=conditions)
        registry = dataclasses.replace(REGISTRY, algorithms={**REGISTRY.algorithms, "studious": studious})
        wanted = Selection(("studious",), ("unseen",), backbones=("net",), settings=params)
        with pytest.raises(UsageError) as caught:
            plan(wanted, registry)
        assert str(caught.value) == (
            "studious studies the features of training classes, and 'unseen' has none; use --train-dataset, "
            f"--checkpoint{others}, or an algorithm that needs none ('metabench list')"
        )
        assert len(plan(dataclasses.replace(wanted, train_dataset="digits"), registry)) == 1
    assert len(plan(dataclasses.replace(wanted, settings={}), registry)) == 1  # it studies nothing then


def test_what_does_not_fit_is_told_beside_what_does() -> None:
    sets = ("digits", "letters", "unseen", "intents")
    found = plan_each(Selection(("picky", "floor"), sets, backbones=("net",), seeds=(0, 1)), REGISTRY)
    sound, lacking = ([each for each in found if isinstance(each, kind)] for kind in (RunSpec, RejectedRun))
    assert [(run.algorithm.name, run.dataset.name, run.seed) for run in sound] == [
        ("picky", "digits", 0), ("picky", "digits", 1), *(("floor", name, 0) for name in sets[:3])
    ]  # fmt: skip
    assert [(each.run.algorithm.name, each.run.dataset.name, str(each.error)[:25]) for each in lacking] == [
        ("picky", "letters", "picky has no training rec"),
        ("picky", "unseen", "'unseen' has no classes t"),
        ("picky", "intents", "backbone 'net' takes imag"),
        ("floor", "intents", "backbone 'net' takes imag"),
    ]
    for wrong in ({"algorithms": ("floor", "pciky")}, {"settings": {"algo.kk": 1}}, {"ways": (1,)}):  # no matter where
        with pytest.raises(UsageError):
            plan_each(Selection(**{"algorithms": ("floor",), "datasets": sets, **wrong}), REGISTRY)
