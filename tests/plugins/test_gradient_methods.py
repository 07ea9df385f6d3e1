"""What sets each gradient-based algorithm apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.errors import UsageError
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.models.adaptive import TaskAdaptiveAlgorithm, gradients
from metabench.models.assembly import build_model
from metabench.models.prototypes import prototypes, squared_distances
from metabench_algorithms.gradient.cavia import Modulated, modulate
from metabench_algorithms.gradient.imaml import conjugate_gradients, hessian_product
from metabench_algorithms.gradient.maml import Maml
from metabench_algorithms.gradient.maml_plus_plus import MamlPlusPlus, step_weights
from metabench_algorithms.gradient.meta_sgd import MetaSgd
from metabench_algorithms.gradient.reptile import by_turns
from metabench_backbones.conv4 import Conv4
from metabench_backbones.conv4_strided import Conv4Strided
from tests.plugins.gradient_cases import RECIPE, WAY, build, episodes, one_task


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
