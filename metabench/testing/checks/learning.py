"""Checks of training, on generated data with the algorithm's default backbone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

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
LOOKS = (50, 100, 200)
"""Numbers of test episodes at which a gain is looked for: a large one shows in few."""
STEPS, STEPS_OF_NUMBERS = 40, 200
"""Training episodes of a round; those of numbers say less and cost next to nothing."""
ROUNDS = 3
RARE_GAIN = 1e-5
"""Probability that an algorithm that learns nothing gains enough at one of the nine looks."""
Scores = NDArray[np.float64]


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
        lesson, untrained = (_Lesson(self, self.device) for _ in range(2))
        before, steps = np.zeros(0), STEPS if self.labels else STEPS_OF_NUMBERS
        for _ in range(ROUNDS):
            lesson.train(steps)
            after = np.zeros(0)
            for episodes in LOOKS:
                before, after = untrained.merits(episodes, before), lesson.merits(episodes, after)
                if _is_significant(after - before[:episodes], self.labels):
                    return
        done, metric = ROUNDS * steps, lesson.run.metric
        start, end = float(before.mean()), float(after.mean())
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
        settings |= {f"backbone.{name}": value for name, value in owner.network.items()}
        registry = owner.subject.registry
        (self.run,) = plan(Selection((spec.name,), (owner.data,), query=QUERY, settings=settings), registry)
        if not self.run.stages:
            raise NotApplicable(f"on its default backbone, {self.run.backbone.name}, it has nothing to learn")
        self.session = Session(Home(scratch_folder()), Console(quiet=True), device, registry=registry)
        self.device = choose_device(device)
        self.learner = _learner(self.run, self.session, self.device)
        self.done = 0
        self._data: torch.Tensor | None = None

    def train(self, steps: int) -> None:
        """Train for more updates, by the last stage of the algorithm's recipe but with small episodes or batches."""
        stage = dataclasses.replace(
            self.run.stages[-1], batch=1, schedule="step", lr_step=0, milestones="", patience=0, validate_every=steps,
            keeps="nothing", teacher=False, backbone_lr=1.0,
        )  # fmt: skip
        state = scratch_folder() / "training.safetensors"
        state.unlink(missing_ok=True)
        split, name = self.split("train"), ["conformance", self.done]
        images = to_device(split.images, self.device)
        objective: Objective
        if stage.is_episodic:
            stage = dataclasses.replace(stage, way=WAY, query=QUERY, episodes=steps)
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
        self._data = None

    def merits(self, episodes: int, done: Scores) -> Scores:
        """Return the scores of the first test episodes, with those `done`; larger is better, accuracy is in percent."""
        if self._data is None:
            images = to_device(self.split("test").images, self.device)
            self._data = images if self.learner.embedder is None else embed(self.learner.embedder, images)
            if self.run.uses_base:
                self._study()
        source = EpisodeSource(_protocol(self.run.protocol), self.split("test"), "conformance")
        parts, scale = [done], 100.0 if self.run.metric == ACCURACY else self.run.metric.sign
        if episodes > len(done):
            evaluate(self.learner, self._data, source, episodes, done, lambda scores: parts.append(scale * scores))
        return np.concatenate(parts)

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


def _is_significant(gains: Scores, bounded: bool) -> bool:
    """Return whether the mean gain is beyond chance; where errors have no bound, a few would hide the other signs."""
    gains = gains if bounded else np.sign(gains)
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return float(gains.mean()) > float(stats.t.isf(RARE_GAIN, len(gains) - 1)) * error


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
