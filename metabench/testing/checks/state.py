"""Checks of what an algorithm keeps, shares and leaves behind."""

from __future__ import annotations

import gc
from dataclasses import replace

import torch
from torch import Tensor, nn

from metabench.models.checkpoints import load_tensors, save_tensors
from metabench.models.output_checks import score_gap
from metabench.registry.params import Param, Value
from metabench.registry.stage import as_chain
from metabench.testing.conformance import (
    ConstructorError,
    NotApplicable,
    Violation,
    conformance_check,
    scratch_folder,
)
from metabench.testing.support.algorithm_case import AlgorithmChecks
from metabench.testing.support.randomness import watch
from metabench.testing.support.scorer import Scorer, expect_same, trained
from metabench.testing.support.synthetic_episodes import Episodes


class StateChecks(AlgorithmChecks):
    """Checks of memory between episodes, hidden randomness, saving and leaks."""

    @conformance_check(
        "an episode is scored as if it were the first",
        means="It carries something from one episode to the next, so that results depend on their order and a later "
        "episode profits from the labels of earlier ones.",
        fix="Keep nothing on self, on the class or in a module between calls; adapt a copy of the weights.",
    )
    def test_no_memory(self) -> None:
        """Score episodes A, B, A, and B by an instance that never saw A; compare weights to the bit."""
        scorer, fresh = self.scorer(), self.scorer()
        for way, shots in ((5, 1), (5, 5)):
            a, b = (self.episodes(scorer, way=way, shots=shots, seed=seed) for seed in (1, 2))
            before = frozen(scorer.module)
            first, other, again = scorer.scores(a), scorer.scores(b), scorer.scores(a)
            expect_same(again, first, "an episode scored again after another")
            expect_same(other, fresh.scores(b), "an episode scored after another")
            for seed in range(10, 30):
                scorer.scores(self.episodes(scorer, way=way, shots=shots, seed=seed))
            expect_same(scorer.scores(a), first, "an episode scored again after many others")
            if name := moved(before, scorer.module):
                raise Violation(f"scoring changes '{name}' of the algorithm")
            mixed = scorer.scores(replace(a, support=b.support, labels=b.labels))
            if score_gap(mixed, first) == 0 and not self.exempt("separable-classes"):
                raise Violation("the same queries score the same with the support of another episode")

    @conformance_check(
        "the episodes are left as they came",
        means="Whoever uses the features after it, another algorithm or the gradient of the backbone, gets others.",
        fix="Work on new tensors: no x -= y, no x.add_(), no x[...] = y on an argument.",
    )
    def test_inputs_untouched(self) -> None:
        """Compare support, labels and queries before and after scoring, and after the loss, to the bit."""
        scorer = self.scorer()
        for shots in (1, 5):
            episodes, same = (self.episodes(scorer, shots=shots, batch=3) for _ in range(2))
            scorer.scores(episodes)
            if self.spec.trains:
                scorer.learn(episodes)
            for name in ("support", "labels", "query", "truth"):
                if not torch.equal(getattr(episodes, name), getattr(same, name)):
                    raise Violation(f"it changes the {name} that it is given in place")

    @conformance_check(
        "the same seed gives the same weights and scores",
        means="A run cannot be repeated.",
        fix="Draw random numbers from torch alone (the harness seeds it), and never while scoring.",
    )
    def test_same_seed(self) -> None:
        """Build twice, with other global random states in between, and score twice."""
        one = self.scorer(seed=4)
        episodes = self.episodes(one, batch=3)
        scores = one.scores(episodes)
        two = self.scorer(seed=4)
        if name := moved(frozen(one.module), two.module):
            raise Violation(f"two instances of the same seed differ in '{name}'")
        expect_same(two.scores(episodes), scores, "a second instance of the same seed")
        expect_same(one.scores(episodes), scores, "the same episodes scored twice")

    @conformance_check(
        "the global random states are left alone",
        means="Seeding them makes every training seed the same or breaks what others draw; drawing from NumPy's or "
        "Python's makes runs unrepeatable.",
        fix="Seed nothing. Draw from torch in the constructor and in the loss, and not at all while scoring.",
    )
    def test_global_rng(self) -> None:
        """Build, score and train from more than one random state."""
        scorer = self.scorer()
        episodes = self.episodes(scorer, batch=2)
        watch("its constructor", self.build, may_draw=True)
        watch("scoring", lambda: scorer.scores(episodes))
        if self.spec.trains:
            watch("the loss", lambda: scorer.learn(episodes), may_draw=True)

    @conformance_check(
        "saved and loaded, it scores the same",
        means="A checkpoint does not hold all that was learned, so that published weights give other numbers.",
        fix="Register what is learned or drawn at the start as nn.Parameter or with register_buffer.",
    )
    def test_save_load(self) -> None:
        """Load weights after a few steps, through a file, into an instance of another seed.

        Between, a third instance studies other base classes, if it studies any.
        """
        one, two = self.scorer(seed=1), self.scorer(seed=2, studied=False)
        if self.spec.trains:
            trained(one, [self.episodes(one, batch=2, seed=seed) for seed in range(3)])
        random = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for weight in one.module.parameters():
                weight.add_(0.05 * torch.randn(weight.shape, generator=random).to(weight.device))
        path = scratch_folder() / "algorithm.safetensors"
        save_tensors(path, one.module.state_dict(), {})
        episodes = self.episodes(one, batch=3)
        scores = one.scores(episodes)
        if self.studies:
            self.scorer(seed=3, studied=False).study(self.base_classes(count=7, seed=42))
        two.module.load_state_dict(load_tensors(path)[0])
        expect_same(two.scores(episodes), scores, "an instance with loaded weights")

    @conformance_check(
        "a parameter that only scores moves no weight",
        means="Runs that differ in it share a training that was done with the value of whoever came first.",
        fix="Use the parameter in logits() outside of training only, or leave out scoring=True.",
    )
    def test_scoring_parameters(self) -> None:
        """Change each such parameter; compare initial weights, training loss and gradients, to the bit."""
        params = [param for param in self.spec.params if param.scoring]
        if not params:
            raise NotApplicable("no parameter is declared to score only")
        stages = [stage for recipe in self.spec.recipes.values() for stage in as_chain(recipe)]
        if not (self.spec.trains and any(stage.is_episodic for stage in stages)):
            raise NotApplicable("its loss plays no part in any training")
        plain = self.scorer(seed=5, studied=False)
        episodes = self.episodes(plain, batch=2)
        weights, (loss, slopes) = frozen(plain.module), _learned(plain, episodes)
        untried = []
        for param in params:
            accepted = [value for value in _other_values(param, self.values[param.name]) if self._takes(param, value)]
            untried += [] if accepted else [param.name]
            for value in accepted if param.choices else accepted[:1]:
                other = self.scorer(seed=5, studied=False, params={param.name: value})
                if name := moved(weights, other.module):
                    raise Violation(f"with {param.name}={value} it starts with another '{name}'")
                other_loss, other_slopes = _learned(other, episodes)
                if not torch.equal(other_loss, loss):
                    raise Violation(f"with {param.name}={value} its training loss is {other_loss:.6g}, else {loss:.6g}")
                if names := [name for name, slope in slopes.items() if not torch.equal(slope, other_slopes[name])]:
                    raise Violation(f"with {param.name}={value} the gradient of '{names[0]}' is another")
        if untried:
            raise NotApplicable(f"no other value of {', '.join(untried)} was found that its constructor takes")

    def _takes(self, param: Param, value: Value) -> bool:
        try:
            self.scorer(seed=5, studied=False, params={param.name: value})
        except ConstructorError:
            return False
        return True

    @conformance_check(
        "tensors do not pile up",
        means="Memory runs out in a long evaluation.",
        fix="Keep no tensor of an episode: no list on self, no cache, no graph of a past loss.",
    )
    def test_no_leak(self) -> None:
        """Count live tensors before and after 50 episodes, all different in content and some in shape."""
        scorer = self.scorer()
        batches = [self.episodes(scorer, shots=1 + seed % 5, seed=seed) for seed in range(55)]
        for episodes in batches[:5]:
            scorer.scores(episodes)
        gc.collect()
        gc.freeze()  # what is alive now is out of the count, and out of the way
        try:
            alive = []
            for part in (batches[5:15], batches[15:]):
                for episodes in part:
                    scorer.scores(episodes)
                gc.collect()
                alive.append(sum(issubclass(type(item), Tensor) for item in gc.get_objects()))
        finally:
            gc.unfreeze()
        if (more := alive[1] - alive[0]) > 0:
            raise Violation(f"{more} more tensors are alive after 50 episodes than after 10")

    @conformance_check(
        "CUDA and CPU agree",
        means="Results depend on the machine.",
        fix="Make new tensors on the device of the inputs (x.new_zeros, device=x.device), and register buffers.",
    )
    def test_cuda(self) -> None:
        """Compare the same weights and episodes on both devices."""
        if not torch.cuda.is_available():
            raise NotApplicable("there is no CUDA device here")
        here, there = self.scorer(device=torch.device("cpu")), self.scorer(device=torch.device("cuda"))
        for way, shots in ((5, 1), (5, 5), (20, 1)):
            episodes = self.episodes(here, way=way, shots=shots, queries=20, batch=3).to(torch.device("cpu"))
            on_gpu = there.scores(episodes.to(torch.device("cuda"))).cpu()
            if (apart := score_gap(on_gpu, here.scores(episodes))) > 1e-3:
                raise Violation(f"the scores differ by {apart:.1%} of their spread at {way}-way {shots}-shot")


def _learned(scorer: Scorer, episodes: Episodes) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the training loss and the gradient of each weight that gets one, by the same random numbers each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        loss = scorer.learn(episodes)
    weights = scorer.module.named_parameters()
    return loss, {name: weight.grad for name, weight in weights if weight.grad is not None}


def _other_values(param: Param, value: Value) -> list[Value]:
    """Return values of a parameter that are not `value`, likely ones first; a constructor may refuse some."""
    if param.choices:
        return [choice for choice in param.choices if choice != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, str):
        return [f"{value}-"]
    halved = value // 2 if isinstance(value, int) else value / 2
    kind = type(value)
    return [kind(other) for other in (2 * value + 1, halved, 0, 1, -value) if other != value]


def frozen(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the weights, the buffers and the tensors that are plain attributes."""
    tensors = dict(module.state_dict())
    for name, part in module.named_modules():
        plain = {key: value for key, value in vars(part).items() if isinstance(value, Tensor)}
        tensors |= {f"{name}.{key}".lstrip("."): value for key, value in plain.items()}
    return {name: value.detach().clone() for name, value in tensors.items()}


def moved(before: dict[str, Tensor], module: nn.Module) -> str:
    """Return the name of the first tensor that is no longer as in `before`, to the bit; '' if there is none."""
    now = frozen(module)
    names = [name for name in before | now if name not in before or name not in now]
    names += [name for name in before if name in now and not torch.equal(before[name], now[name])]
    return names[0] if names else ""
