"""Checks of training, on generated data with its default backbone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metabench.episodes.source import EpisodeSource
from metabench.evaluation.scoring import evaluate
from metabench.execution.session import Session
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.learners.base import Learner
from metabench.learners.feature_learner import FeatureLearner
from metabench.models.assembly import Model, build_model
from metabench.models.embedding import embed, to_device
from metabench.planning.planner import plan
from metabench.planning.run_spec import RunSpec
from metabench.planning.selection import Selection
from metabench.registry.metric import ACCURACY
from metabench.registry.registry import load_target
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import ProtocolSpec
from metabench.runtime.devices import choose_device
from metabench.testing.checks.state import frozen, moved
from metabench.testing.conformance import NotApplicable, Violation, conformance_check, scratch_folder
from metabench.testing.support.algorithm_case import AlgorithmChecks
from metabench.training.class_model import ClassModel
from metabench.training.objectives import ClassObjective, EpisodeObjective, Objective
from metabench.training.trainer import Trainer
from metabench.utils.console import Console
from metabench.utils.home import Home

SMALL = {"train_classes": 40, "val_classes": 10, "test_classes": 20}
"""Of the default dataset, which is drawn in a fraction of a second at this size; functions are as they are."""
WAY = 5
QUERY = 5
"""Of each class; the shot is 1 in the test, and in training where the recipe does not fix another."""
EPISODES = 200
"""Test episodes."""
STEPS, STEPS_OF_NUMBERS = 40, 200
"""Training episodes of a round; those of numbers say less and cost next to nothing."""
ROUNDS = 3
SIGNIFICANT = 4.0
"""Paired t value: an algorithm that learns nothing exceeds it once in 30,000 times."""


class LearningChecks(AlgorithmChecks):
    """Training by the harness: it helps, and can be repeated."""

    @conformance_check(
        "after a short training it beats its untrained self",
        means="Its training does not reach the weights, or pulls them the wrong way; hours of it would be wasted.",
        fix="Check that loss() depends on the features with a gradient, and that its sign is right; or declare "
        "trains=False.",
    )
    def test_learns(self) -> None:
        """Measure new classes after 40, 80 or 120 training episodes; for numbers, five times as many."""
        lesson = _Lesson(self, self.device)
        before, steps = lesson.merits(), STEPS if self.labels else STEPS_OF_NUMBERS
        for _ in range(ROUNDS):
            lesson.train(steps)
            gain = lesson.merits() - before
            gains = gain if self.labels else np.sign(gain)  # errors have no bound: a few would hide the others
            error = float(gains.std(ddof=1)) / math.sqrt(EPISODES)
            if float(gains.mean()) > SIGNIFICANT * error:
                return
        done, start = ROUNDS * steps, float(before.mean())
        end, metric = start + float(gain.mean()), lesson.run.metric
        if metric == ACCURACY:
            raise Violation(
                f"after {done} training episodes {end:.1f} % of new queries are right, before {start:.1f} %"
            )
        raise Violation(
            f"after {done} training episodes the {metric.name} of new ones is {metric.sign * end:.{metric.digits}f}, "
            f"before {metric.sign * start:.{metric.digits}f}"
        )

    @conformance_check(
        "the same training seed gives the same weights",
        means="A training cannot be repeated.",
        fix="Draw random numbers from torch alone, and iterate over no set.",
    )
    def test_same_training(self) -> None:
        """Train three episodes, twice, on the CPU: a GPU adds in any order."""
        lessons = [_Lesson(self, "cpu") for _ in range(2)]
        start = frozen(lessons[0].learner.module)
        for lesson in lessons:
            lesson.train(3)
        if name := moved(frozen(lessons[0].learner.module), lessons[1].learner.module):
            raise Violation(f"two trainings of the same seed differ in '{name}'")
        if not moved(start, lessons[0].learner.module):
            raise Violation("three training episodes changed no weight")


class _Lesson:
    """The algorithm on its own backbone, with small training and test data."""

    def __init__(self, owner: AlgorithmChecks, device: str) -> None:
        spec = owner.spec
        if not spec.trains:
            raise NotApplicable("it does not train")
        owner.scorer()  # raises where it cannot be constructed
        if not owner.data:
            raise NotApplicable("no dataset of functions is installed that needs no download")
        small = SMALL if owner.labels else {}
        settings: dict[str, Any] = {f"data.{name}": value for name, value in small.items()}
        settings |= {f"algo.{name}": value for name, value in owner.params.items()}
        registry = owner.subject.registry
        (self.run,) = plan(Selection((spec.name,), (owner.data,), query=QUERY, settings=settings), registry)
        if not self.run.stages:
            raise NotApplicable(f"on its default backbone, {self.run.backbone.name}, it has nothing to learn")
        self.session = Session(Home(scratch_folder()), Console(quiet=True), device, registry=registry)
        self.device = choose_device(device)
        self.learner = _learner(self.run, self.session, self.device)
        self.done = 0

    def train(self, steps: int) -> None:
        """Train for more updates, by the last stage of the algorithm's recipe but with small episodes or batches."""
        stage = dataclasses.replace(
            self.run.stages[-1], way=WAY, query=QUERY, episodes=steps, batch=1, schedule="step", lr_step=0,
            milestones="", patience=0, validate_every=steps, keeps="nothing", teacher=False,
            backbone_lr=1.0,
        )  # fmt: skip
        state = scratch_folder() / "training.safetensors"
        state.unlink(missing_ok=True)
        split, name = self.split("train"), ["conformance", self.done]
        images = to_device(split.images, self.device)
        objective: Objective
        if stage.is_episodic:
            source = EpisodeSource(_protocol(self.run.protocol, stage.shot), split, name)
            objective = EpisodeObjective(self.learner, stage, images, source)
        else:
            assert self.learner.embedder is not None
            rows = np.arange(len(images))
            classes = torch.from_numpy(split.class_of(rows)).to(self.device)
            model = ClassModel(self.learner.embedder, len(split.names), stage, 0).to(self.device)
            stage = dataclasses.replace(stage, batch=WAY * QUERY)
            objective = ClassObjective(model, stage, images, rows, classes, name)
            epochs = -(-steps // objective.per_unit)
            stage = dataclasses.replace(stage, epochs=epochs, validate_every=epochs)
        Trainer(objective, stage, self.learner, None, state).run(0, _silent)
        self.done += steps

    def merits(self) -> NDArray[np.float64]:
        """Return the score of each of the test episodes, larger is better; accuracy is in percent."""
        data = to_device(self.split("test").images, self.device)
        if (backbone := self.learner.embedder) is not None:
            data = embed(backbone, data)
        if self.run.uses_base:
            self._study()
        source = EpisodeSource(_protocol(self.run.protocol), self.split("test"), "conformance")
        shares: list[NDArray[np.float64]] = []
        evaluate(self.learner, data, source, EPISODES, np.zeros(0), shares.append)
        return (100.0 if self.run.metric == ACCURACY else self.run.metric.sign) * np.concatenate(shares)

    @torch.no_grad()
    def _study(self) -> None:
        assert isinstance(self.learner, FeatureLearner)
        split = self.split("train")
        features = embed(self.learner.embedder, to_device(split.images, self.device))
        classes = torch.from_numpy(split.class_of(np.arange(len(split.images))))
        self.learner.study(features, classes.to(self.device))

    def split(self, name: str) -> Any:
        """Return a split of the small data."""
        return self.session.loader.split(self.run.dataset, name)


def _protocol(choice: ResolvedPlugin[ProtocolSpec], shot: int = 0) -> Any:
    """Return the protocol with episodes of `WAY` ways where it has any, and `shot`, or its own shots."""
    small = {"way": WAY, "query": QUERY, **({"shot": shot} if shot else {})}
    return load_target(choice.spec)(**{**choice.params, **{k: v for k, v in small.items() if k in choice.params}})


def _learner(run: RunSpec, session: Session, device: torch.device) -> Learner:
    backbone, head = load_target(run.backbone.spec), load_target(run.algorithm.spec)
    params, shape = (run.backbone.params, run.algorithm.params), session.loader.split(run.dataset, "test").item_shape
    way = WAY if "way" in run.protocol.params else 0
    spec = run.algorithm.spec
    model = build_model(
        backbone, params[0], head, params[1], shape, run.seed, way, reads=spec.reads, ways=spec.ways
    ).to(device)
    return FeatureLearner(model) if isinstance(model, Model) else AdaptiveLearner(model)


def _silent(progress: object, loss: float) -> None:
    """Show no progress: the training takes seconds."""
