"""What all gradient-based algorithms share: one result in every formulation, and right gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.errors import UsageError
from metabench.learners.adaptive_learner import AdaptiveLearner
from metabench.models.adaptive import TaskAdaptiveAlgorithm
from metabench.models.assembly import build_model
from metabench.models.interfaces import Backbone
from metabench.registry.registry import load_registry, load_target
from metabench.registry.specs import defaults
from metabench_algorithms.gradient.maml import Maml
from metabench_backbones import _first_block
from metabench_backbones.conv4 import Conv4
from metabench_backbones.conv4_strided import Conv4Strided, Conv4StridedFlat
from tests.conftest import SetThreads
from tests.plugins.gradient_cases import CASES, RECIPE, build, episodes, one_task


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
