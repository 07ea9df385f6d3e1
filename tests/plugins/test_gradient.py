"""The algorithms that adapt to each task: what they compute, and that every way of running them computes the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.episodes.batch import EpisodeBatch
from metabench.errors import UsageError
from metabench.learners import adaptive_learner
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.models.adaptive import TaskAdaptiveAlgorithm, gradients
from metabench.models.assembly import build_model
from metabench.models.interfaces import Backbone
from metabench.models.prototypes import prototypes, squared_distances
from metabench.registry.recipe import Recipe
from metabench.registry.registry import load_registry, load_target
from metabench.registry.specs import defaults
from metabench_algorithms.gradient.anil import Anil
from metabench_algorithms.gradient.boil import Boil
from metabench_algorithms.gradient.cavia import Cavia, Modulated, modulate
from metabench_algorithms.gradient.imaml import Imaml, conjugate_gradients, hessian_product
from metabench_algorithms.gradient.maml import Maml
from metabench_algorithms.gradient.maml_plus_plus import MamlPlusPlus, step_weights
from metabench_algorithms.gradient.meta_sgd import MetaSgd
from metabench_algorithms.gradient.proto_maml import ProtoMaml
from metabench_algorithms.gradient.reptile import Reptile, by_turns
from metabench_backbones import _first_block
from metabench_backbones.conv4 import Conv4
from metabench_backbones.conv4_strided import Conv4Strided, Conv4StridedFlat
from tests.conftest import SetThreads

WAY, SHOT, QUERY = 3, 2, 4
RECIPE = Recipe(way=WAY, shot=SHOT, query=QUERY, episodes=10)
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


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (60, 16, 16, 1), generator=generator, dtype=torch.uint8)


def episodes(count: int = 5) -> EpisodeBatch:
    generator = np.random.default_rng(1)
    rows = np.stack([generator.permutation(60)[: WAY * (SHOT + QUERY)] for _ in range(count)])
    labels = np.tile(np.arange(WAY).repeat(SHOT), (count, 1))
    truth = np.tile(np.arange(WAY).repeat(QUERY), (count, 1))
    return EpisodeBatch(rows[:, : WAY * SHOT], labels, rows[:, WAY * SHOT :], truth, WAY)


@pytest.mark.parametrize("name", ["maml-running", "reptile-running", "imaml-running"])
def test_running_averages_advance_towards_the_batch_statistics(name: str, images: Tensor) -> None:
    """Also where the meta-update is no gradient: the mean of an input's first map is what the averages go to."""
    learner = AdaptiveLearner(build(name, lr=1e-4))  # so that all steps see nearly the same maps
    learner.module.train()
    for _ in range(2):
        learner.backward(images, episodes(), RECIPE, 0)
    norms = learner.module.norms
    for norm in norms:
        assert float(norm.running_mean.abs().max()) > 1e-3, norm.name
        assert not torch.equal(norm.running_var, torch.ones_like(norm.running_var)), norm.name
    first = learner.module.backbone.blocks[0][0]
    with torch.no_grad():
        maps = first(learner.module.backbone.inputs(images))
    share = norms[0].running_mean / maps.mean((0, 2, 3))
    assert ((share > 0.1) & (share < 0.3)).all()  # of two steps of a tenth: 0.19


def one_task(images: Tensor, double: bool = True) -> tuple[Tensor, ...]:
    parts = adaptive_learner.tasks_of(Conv4Strided((1, 28, 28)), images, episodes(1))
    return tuple(part[0].double() if double and part.is_floating_point() else part[0] for part in parts)


def run_all(learner: AdaptiveLearner, images: Tensor) -> dict[str, Tensor]:
    """Scores, the training loss, every gradient and every buffer."""
    batch = episodes()
    learner.module.eval()
    with torch.inference_mode():
        found = {"scores": learner.scores(images, batch)}
    learner.module.train()
    found["loss"] = learner.backward(images, batch, RECIPE, 0)
    found |= {name: value.grad for name, value in learner.module.named_parameters() if value.grad is not None}
    return found | dict(learner.module.named_buffers())


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_every_formulation_computes_the_same(
    name: str, double: bool, images: Tensor, monkeypatch: pytest.MonkeyPatch, set_threads: SetThreads
) -> None:
    if double:
        plain = Backbone.inputs
        monkeypatch.setattr(Backbone, "inputs", lambda body, images: plain(body, images).double())
    results = []
    for formulation, threads in (("loop", 1), ("loop", 2), ("vmap", 1)):
        set_threads(threads)
        learner = AdaptiveLearner(build(name, double=double), formulation=formulation, group=2)
        assert learner.at_once == (2 if formulation == "vmap" else threads)
        results.append(run_all(learner, images))
    first, shared, batched = results
    assert {"scores", "loss"} < first.keys()
    # The sharing out changes nothing at all; another order of summation does, in the last digits.
    assert all(torch.equal(first[key], shared[key]) for key in first)
    relative, absolute = (1e-9, 1e-10) if double else (1e-4, 1e-5)
    # A bias before batch norm has no gradient but rounding, which Adam blows up, and the mean of the maps with it.
    noisy = ("0.bias", "0/bias", *(["running_mean"] if name == "reptile-running" and not double else []))
    for key in (key for key in first if not key.endswith(noisy)):
        least = absolute * max(1.0, float(first[key].abs().max()))  # of the largest entry: they are sums of such
        torch.testing.assert_close(batched[key], first[key], rtol=relative, atol=least)


@pytest.mark.parametrize("at_once", [1 << 20, 600], ids=["whole", "in-parts"])
@pytest.mark.parametrize("backbone", [Conv4, Conv4Strided, Conv4StridedFlat])
@pytest.mark.parametrize("name", CASES)
def test_the_short_way_through_the_first_block_learns_the_same(
    name: str, backbone: type[Backbone], at_once: int, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Backbone.inputs
    monkeypatch.setattr(Backbone, "inputs", lambda body, images: plain(body, images).double())
    monkeypatch.setattr(_first_block, "_PIXELS", at_once)
    found = []
    for least in (0, 1 << 40):
        monkeypatch.setattr(_first_block, "_LEAST", least)
        found.append(run_all(AdaptiveLearner(build(name, backbone, double=True), formulation="loop"), images))
    assert found[0].keys() == found[1].keys()
    for key in (key for key in found[0] if not key.endswith(("conv.bias", "0.bias"))):
        torch.testing.assert_close(found[0][key], found[1][key], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("backbone", [Conv4, Conv4Strided, Conv4StridedFlat])
def test_the_meta_gradient_is_the_derivative_of_the_meta_loss(backbone: type[Backbone], images: Tensor) -> None:
    """To second order, against finite differences of the whole computation, in double precision."""
    algorithm = build("maml", backbone, double=True)
    task = one_task(images)
    loss = algorithm.task_loss(*task)
    weights = list(algorithm.parameters())
    slopes = torch.autograd.grad(loss, weights)
    generator = torch.Generator().manual_seed(3)
    along = [torch.randn(weight.shape, generator=generator, dtype=torch.float64) for weight in weights]
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for weight, direction in zip(weights, along, strict=True):
                weight += sign * 1e-6 * direction
            ends.append(float(algorithm.task_loss(*task)))
            for weight, direction in zip(weights, along, strict=True):
                weight -= sign * 1e-6 * direction
    expected = (ends[0] - ends[1]) / 2e-6
    assert float(sum((s * d).sum() for s, d in zip(slopes, along, strict=True))) == pytest.approx(expected, rel=1e-4)
    plain = build("fomaml", backbone, double=True)
    plain.load_state_dict(algorithm.state_dict())
    first = torch.autograd.grad(plain.task_loss(*task), list(plain.parameters()))
    assert not torch.allclose(first[0], slopes[0], rtol=1e-3)


def test_maml_descends_on_the_support_loss(images: Tensor) -> None:
    """Two steps by hand, with torch's own optimiser on a copy of the network."""
    algorithm = build("maml", double=True)
    support, labels, query, _ = one_task(images)
    adapted = algorithm.adapt(algorithm.start(), support, labels)
    scores = algorithm.predict(adapted, support, labels, query)
    copy = build("maml", double=True)
    optimiser = torch.optim.SGD(copy.parameters(), lr=0.4)
    for _ in range(2):
        optimiser.zero_grad()
        F.cross_entropy(copy.classifier(copy.backbone(support)), labels).backward()
        optimiser.step()
    torch.testing.assert_close(scores, copy.classifier(copy.backbone(query)))


def test_training_and_evaluation_have_their_own_steps(images: Tensor) -> None:
    algorithm = build("maml", steps=1, test_steps=4, test_lr=0.02)
    assert algorithm.steps_now() == 1
    algorithm.eval()
    assert algorithm.steps_now() == 4
    assert isinstance(algorithm, Maml) and algorithm.schedule() == (4, 0.02)
    assert build("maml", test_steps=0).eval().steps_now() == 2


def test_a_network_that_asks_for_channels_last_runs_under_vmap(images: Tensor) -> None:
    results = []
    for formulation in ("loop", "vmap"):
        learner = AdaptiveLearner(build("maml", Conv4), formulation=formulation, group=2)
        results.append(run_all(learner, images))
    for key in ("scores", "loss", "classifier.weight", "backbone.blocks.0.conv.weight"):
        torch.testing.assert_close(results[0][key], results[1][key], rtol=1e-4, atol=1e-5)


def moved(algorithm: TaskAdaptiveAlgorithm, images: Tensor) -> set[str]:
    support, labels, _, _ = one_task(images, double=False)
    start = algorithm.start()
    after = algorithm.adapt(start, support, labels)
    return {name for name in start if not torch.equal(start[name], after[name])}


def test_what_the_inner_loop_moves(images: Tensor) -> None:
    everything = moved(build("maml"), images)
    head = {"classifier.weight", "classifier.bias"}
    # What follows is batch norm, so a convolution's bias has no gradient but rounding.
    assert {name for name in build("maml").start() if not name.endswith("0.bias")} <= everything
    assert moved(build("anil"), images) == head
    assert moved(build("boil"), images).isdisjoint(head)
    plus = moved(build("maml-plus-plus"), images)
    assert head < plus and not any(name.split(".")[-2] == "1" for name in plus)  # batch norm is not adapted


def test_anil_is_maml_on_the_classifier(images: Tensor) -> None:
    class Slow(Maml):
        def adapted(self, name: str) -> bool:
            return name.startswith("classifier.")

    fast = build("anil", double=True)
    slow = build_model(Conv4Strided, {"channels": 4}, Slow, {"steps": 2}, (1, 16, 16), 0, WAY).double()
    assert isinstance(slow, Slow)
    task = one_task(images)
    for a, b in zip(
        torch.autograd.grad(fast.task_loss(*task), list(fast.parameters())),
        torch.autograd.grad(slow.task_loss(*task), list(slow.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_cavia_adapts_its_context_alone_and_starts_it_at_zero(images: Tensor) -> None:
    algorithm = build("cavia", double=True, bn="transductive")
    support, labels, query, _ = one_task(images)
    after = algorithm.adapt(algorithm.start(), support, labels)
    (name,) = after.keys() - algorithm.start().keys()
    assert name == "backbone.blocks.2.1.context" and after[name].shape == (5,) and bool((after[name] != 0).all())
    assert moved(build("cavia"), images) == set()
    plain = build("maml", double=True)  # nothing moved yet: the network is what it is without a context
    plain.load_state_dict({key.replace(".layer.", "."): value for key, value in algorithm.state_dict().items()
                           if key != "backbone.blocks.2.1.weight"})  # fmt: skip
    torch.testing.assert_close(algorithm.logits(algorithm.start(), query), plain.logits(plain.start(), query))
    assert not torch.allclose(algorithm.logits(after, query), plain.logits(plain.start(), query))


def test_a_context_scales_and_shifts_channels_or_is_further_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(3, generator=generator)
    norm, values = Modulated(nn.BatchNorm2d(4), 3), torch.randn(2, 4, 5, 5, generator=generator)
    found = torch.func.functional_call(norm, {"context": context}, (values,))
    scale, shift = (norm.weight @ context).view(2, 1, 4, 1, 1)
    torch.testing.assert_close(found, nn.BatchNorm2d(4)(values) * (1 + scale) + shift)
    dense, numbers = Modulated(nn.Linear(2, 4), 3), torch.randn(6, 2, generator=generator)
    assert isinstance(dense.layer, nn.Linear)
    weight = torch.cat([dense.layer.weight, dense.weight], 1)
    expected = F.linear(torch.cat([numbers, context.expand(6, 3)], 1), weight, dense.layer.bias)
    torch.testing.assert_close(torch.func.functional_call(dense, {"context": context}, (numbers,)), expected)


def test_which_layer_a_context_modulates() -> None:
    assert modulate(Conv4((1, 16, 16), 4), 2, 1) == "blocks.0.norm"
    assert modulate(Conv4((1, 16, 16), 4), 2, 9) == "blocks.3.norm"
    assert modulate(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Linear(2, 2), nn.Linear(2, 2)), 2, 3) == "1"
    with pytest.raises(UsageError, match="needs batch norm or a linear layer"):
        modulate(nn.Conv2d(1, 1, 3), 2, 3)


def test_meta_sgd_learns_a_rate_for_every_weight(images: Tensor) -> None:
    algorithm = build("meta-sgd", lr=0.4, double=True)
    task = one_task(images)
    same = build("maml", double=True)
    torch.testing.assert_close(algorithm.task_loss(*task), same.task_loss(*task))
    assert isinstance(algorithm, MetaSgd)
    sizes = {name.replace(".", "/"): value.numel() for name, value in algorithm.start().items()}
    assert {name: rate.numel() for name, rate in algorithm.rates.items()} == sizes
    algorithm.task_loss(*task).backward()
    assert all(rate.grad is not None and rate.grad.abs().sum() > 0 for rate in algorithm.rates.values())


def test_proto_maml_starts_as_nearest_class_mean(images: Tensor) -> None:
    algorithm = build("proto-maml", lr=0.0, double=True)
    support, labels, query, _ = one_task(images)
    scores = algorithm.predict(algorithm.adapt(algorithm.start(), support, labels), support, labels, query)
    means = prototypes(algorithm.backbone(support)[None], labels[None], WAY)
    nearest = -squared_distances(algorithm.backbone(query)[None], means)[0]
    torch.testing.assert_close(scores.log_softmax(-1), nearest.log_softmax(-1))


def test_reptile_trains_with_adam_on_batches_by_turns(images: Tensor) -> None:
    algorithm, copy = build("reptile", double=True), build("reptile", double=True)
    support, labels, query, truth = one_task(images)
    start = {name: value.detach().clone() for name, value in algorithm.start().items()}
    with torch.no_grad():
        found = algorithm.update(support, labels, query, truth)
    assert found is not None
    # TensorFlow, which the authors used, adds its epsilon at another place: hence the tolerance below.
    optimiser = torch.optim.Adam(copy.parameters(), lr=0.01, betas=(0.0, 0.999))
    order = [0, 2, 4, 1, 3, 5]  # the first image of each class, then the second
    assert by_turns(labels, WAY).tolist() == order
    for rows in (order[:4], order[4:] + order[:2], order[2:]):
        optimiser.zero_grad()
        F.cross_entropy(copy.classifier(copy.backbone(support[rows])), labels[rows]).backward()
        optimiser.step()
    for name, value in copy.named_parameters():
        torch.testing.assert_close(found[1][name], start[name] - value, rtol=1e-2, atol=1e-5)
    assert float(found[1]["adam_steps"]) == 3


def test_the_second_moments_of_reptile_live_on(images: Tensor) -> None:
    learner = AdaptiveLearner(build("reptile"))
    learner.backward(images, episodes(3), RECIPE, 0)
    assert float(learner.module.get_buffer("adam_steps")) == 3
    assert float(learner.module.get_buffer("moment/classifier/weight").abs().sum()) > 0
    gradient = learner.module.get_parameter("classifier.weight").grad
    assert gradient is not None and float(gradient.abs().sum()) > 0


def test_the_weights_of_a_multi_step_loss() -> None:
    assert step_weights(4, 0, 100) == pytest.approx([0.25] * 4)
    assert step_weights(4, 50, 100) == pytest.approx([0.125, 0.125, 0.125, 0.625])
    assert step_weights(4, 99, 100) == pytest.approx([0.0075] * 3 + [1 - 0.0225])
    assert step_weights(4, 100, 100) == [0, 0, 0, 1]
    assert step_weights(1, 0, 0) == [1]


def test_maml_plus_plus_has_rates_and_norms_for_each_step(images: Tensor) -> None:
    algorithm = build("maml-plus-plus", double=True)
    assert isinstance(algorithm, MamlPlusPlus)
    algorithm.task_loss(*one_task(images)).backward()
    rates = dict(algorithm.rates.items())
    assert len(rates) == 10  # weight and bias of four convolutions and the classifier
    for name, rate in rates.items():
        assert rate.shape == (2,) and rate.grad is not None
        assert name.endswith("0/bias") or bool((rate.grad != 0).all())
    for norm in algorithm.norms:
        assert norm.weight.shape == (2, 4) and norm.weight.grad is not None
        assert bool((norm.weight.grad != 0).any(1).all())  # both steps are learned


def test_the_hessian_product_is_that_of_the_hessian() -> None:
    generator = torch.Generator().manual_seed(0)
    x, v = (torch.randn(4, generator=generator, dtype=torch.float64) for _ in range(2))

    def loss(params: dict[str, Tensor]) -> Tensor:
        return (params["a"].exp() * params["a"].roll(1)).sum()

    matrix = torch.autograd.functional.hessian(lambda a: loss({"a": a}), x)
    torch.testing.assert_close(hessian_product(loss, {"a": x}, {"a": v})["a"], matrix @ v)


def test_conjugate_gradients_solve_and_stop_at_negative_curvature() -> None:
    matrix = torch.tensor([[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 2.0]], dtype=torch.float64)
    target = {"a": torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)}
    solve: Callable[[Tensor], Tensor] = lambda m: conjugate_gradients(lambda v: {"a": m @ v["a"]}, target, 3)["a"]  # noqa: E731
    torch.testing.assert_close(solve(matrix), torch.linalg.solve(matrix, target["a"]))
    assert torch.equal(solve(-matrix), target["a"])


def test_implicit_maml_solves_for_the_gradient_of_the_solution(images: Tensor) -> None:
    """(I + H/lambda) u = g at the solution (lemma 1), H and g written out."""
    pull = 1000.0  # more than the Hessian is negative, so that there is a solution
    algorithm = build("imaml", double=True, lr=0.5 / pull, steps=60, regularisation=pull, cg_steps=40)
    for name, module in list(algorithm.backbone.named_modules()):
        if isinstance(module, nn.ReLU):  # descent may come to rest at a kink, which is no solution
            parent, _, last = name.rpartition(".")
            setattr(algorithm.backbone.get_submodule(parent), last, nn.Softplus())
    support, labels, query, truth = one_task(images)
    with torch.no_grad():
        found = algorithm.update(support, labels, query, truth)
        solution = algorithm.adapt(algorithm.start(), support, labels)
    assert found is not None
    shapes = {name: value.shape for name, value in solution.items()}

    def named(flat: Tensor) -> dict[str, Tensor]:
        parts = flat.split([shape.numel() for shape in shapes.values()])
        return {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}

    def flat(params: dict[str, Tensor]) -> Tensor:
        return torch.cat([params[name].detach().flatten() for name in shapes])

    at, start = flat(solution), flat(algorithm.start())
    slope = flat(gradients(lambda weights: algorithm.loss(weights, support, labels), named(at), first_order=True))
    torch.testing.assert_close(pull * (at - start), -slope, rtol=1e-6, atol=1e-8)  # equation 3
    hessian = torch.autograd.functional.hessian(lambda v: algorithm.loss(named(v), support, labels), at)
    outer = flat(
        gradients(
            lambda weights: F.cross_entropy(algorithm.predict(weights, support, labels, query), truth),
            named(at),
            first_order=True,
        )
    )
    matrix = torch.eye(len(at), dtype=torch.float64) + hessian / pull
    torch.testing.assert_close(flat(found[1]), torch.linalg.solve(matrix, outer), rtol=1e-6, atol=1e-9)
    assert not torch.allclose(flat(found[1]), outer, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("maml", {"steps": 0}),
        ("anil", {"steps": 0}),
        ("maml", {"test_steps": -1}),
        ("maml", {"lr": -0.1}),
        ("anil", {"test_lr": -0.1}),
        ("reptile", {"lr": -0.1}),
        ("imaml", {"lr": -0.1}),
        ("meta-sgd", {"steps": 0}),
        ("reptile", {"test_steps": 0}),
        ("maml-plus-plus", {"steps": 0}),
        ("imaml", {"steps": 0}),
    ],
)
def test_no_inner_steps_are_refused(name: str, params: dict[str, object]) -> None:
    (parameter,) = params
    with pytest.raises(UsageError, match=rf"^algo\.{parameter} must be at least [01], not"):
        build(name, **params)


def test_every_spec_can_be_built_and_says_its_setting() -> None:
    specs = [spec for spec in load_registry().algorithms.values() if spec.takes == "images"]
    specs = [spec for spec in specs if "labels" in spec.answers]
    assert len(specs) == 9
    for spec in specs:
        model = build_model(Conv4Strided, {}, load_target(spec), defaults(spec), (1, 16, 16), 0, 5)
        assert isinstance(model, TaskAdaptiveAlgorithm)
        params = defaults(spec)
        assert spec.setting_with(params) == ("inductive" if spec.name == "maml-plus-plus" else "transductive")
        assert spec.setting_with({**params, "bn": "support"}) == "inductive"
        for recipe in spec.recipes.values():
            assert set(recipe.params) <= set(params)
