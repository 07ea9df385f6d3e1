"""The conformance class of backbones."""

from __future__ import annotations

import functools
import itertools
import math

import torch

from metabench.models.checkpoints import load_tensors, save_tensors
from metabench.models.interfaces import Backbone
from metabench.models.task_norm import replace_norms
from metabench.registry.specs import BackboneSpec
from metabench.testing.checks.spec import SpecChecks
from metabench.testing.checks.state import frozen, moved
from metabench.testing.conformance import NotApplicable, Violation, conformance_check, scratch_folder
from metabench.testing.support.backbone_case import (
    CORNERS,
    BackboneChecks,
    expect_same_features,
    on_side,
    shape_of,
    trained_pass,
    twice,
    with_other_corner,
)
from metabench.testing.support.randomness import watch
from metabench.testing.support.synthetic_episodes import permutation


class BackboneConformance(BackboneChecks, SpecChecks[BackboneSpec]):
    """Every check of a backbone; an author may set `image_shapes`."""

    @conformance_check(
        "features have the declared width, are finite and float32",
        means="Heads of the wrong size are built on it, or scores are not numbers.",
        fix="Set feature_dim in the constructor to what forward returns for that image shape.",
    )
    def test_features(self) -> None:
        """Embed one image and several, of every image shape."""
        for body, items in self.cases():
            for count in (1, 5):
                self.features(body, items[:count])

    @conformance_check(
        "features that are a map stand in the order channels, height, width",
        means="Algorithms that read feature maps take channels for positions, or positions for one another.",
        fix="Flatten maps (N, C, H, W) by flatten(1), and set map_shape to (C, H, W); leave it None if there are none.",
    )
    def test_maps(self) -> None:
        """Change one corner of the images at a time: the cell that changes most must be on its side of the map."""
        sizes = set()
        for body, items in self.cases():
            if body.map_shape is None:
                continue
            if math.prod(body.map_shape) != body.feature_dim:
                raise Violation(f"its map_shape is {body.map_shape} and its feature_dim {body.feature_dim}")
            _, height, width = body.map_shape
            sizes.add((height, width))
            for corner in itertools.product((0, 1), (0, 1)):
                change = self.features(body, with_other_corner(items, corner)) - self.features(body, items)
                cells = change.view(-1, *body.map_shape).abs().sum((0, 1))
                row, column = divmod(int(cells.argmax()), width)
                sides = zip((row, column), corner, (height, width), strict=True)
                if not all(on_side(cell, side, size) for cell, side, size in sides):
                    raise Violation(
                        f"a change in the {CORNERS[corner]} corner of the images moves row {row}, column {column} of "
                        f"the {height}x{width} map most"
                    )
        if not sizes:
            raise NotApplicable("its features are no map")

    @conformance_check(
        "in eval mode the same images give the same features, and nothing changes",
        means="Features in the cache are not those of the next run: dropout or running statistics are still at work.",
        fix="Let eval() reach every layer; never call train() or pass training=True in forward.",
    )
    def test_eval_determinism(self) -> None:
        """Embed twice, with other items in between; compare weights and statistics to the bit."""
        for body, items in self.cases():
            before, first = frozen(body), self.features(body, items)
            self.features(body, self.others(shape_of(items)))
            expect_same_features(self.features(body, items), first, "the same items again")
            if name := moved(before, body):
                raise Violation(f"embedding in eval mode changes '{name}'")

    @conformance_check(
        "the features of an image do not depend on the images beside it",
        means="Batch statistics are at work: test images normalise each other, which is hidden transduction.",
        fix="Normalise by running statistics in eval mode, or by statistics of the single image.",
    )
    def test_batch_independence(self) -> None:
        """Embed items alone, in another order, and beside very different items."""
        for body, items in self.cases():
            whole = self.features(body, items)
            alone = [self.features(body, items[index : index + 1]) for index in range(len(items))]
            expect_same_features(torch.cat(alone), whole, "each image alone")
            order = permutation(len(items), seed=1)
            expect_same_features(self.features(body, items[order]), whole[order], "the items in another order")
            beside = torch.cat([items[:2], self.extreme(shape_of(items))])
            expect_same_features(self.features(body, beside)[:2], whole[:2], "two items beside extreme ones")

    @conformance_check(
        "different images have different features",
        means="It looks at nothing, so that every algorithm on it guesses.",
        fix="Check that forward uses its input.",
    )
    def test_uses_images(self) -> None:
        """Require that no two of a few random items agree in all features."""
        for body, items in self.cases():
            features = self.features(body, items)
            apart = torch.cdist(features, features) + torch.eye(len(features), device=features.device)
            if not bool((apart > 0).all()):
                raise Violation("two random items have the same features")

    @conformance_check(
        "for_inference() computes the same and leaves the backbone as it is",
        means="What is evaluated is not what was trained.",
        fix="Fuse a deep copy in eval mode, or do not override for_inference.",
    )
    def test_for_inference(self) -> None:
        """Compare with statistics other than the initial ones, which would hide a missing normalisation."""
        for body, items in self.cases():
            before, features = frozen(body), self.features(body, items)
            expect_same_features(self.features(body, items, body.for_inference()), features, "for_inference()")
            expect_same_features(self.features(body, items), features, "the backbone after for_inference()")
            if name := moved(before, body):
                raise Violation(f"for_inference() changes '{name}' of the backbone")

    @conformance_check(
        "for_training() computes and learns the same",
        means="What is trained is not what is evaluated.",
        fix="Give features, gradients and running statistics as forward does in train mode, of the same parameters.",
    )
    def test_for_training(self) -> None:
        """Compare features, gradients and statistics of one training pass with those of forward."""
        for shape in self.shapes():
            plain, fast, items = self.build(shape), self.build(shape), self.items(shape)
            wanted, fused = (trained_pass(plain, plain, items), trained_pass(fast, fast.for_training(), items))
            expect_same_features(fused, wanted, "for_training()")
            if name := self._other_gradient(plain, fast):
                raise Violation(f"for_training() gives '{name}' another gradient")
            for (name, statistic), (_, other) in zip(plain.named_buffers(), fast.named_buffers(), strict=True):
                expect_same_features(other.float(), statistic.float(), f"'{name}' after for_training()")

    @conformance_check(
        "for_adapting() computes and learns the same, to second order",
        means="Algorithms that adapt to each task adapt another network than the one that is trained.",
        fix="Give features and both derivatives as forward does with `TaskNorm` layers, or do not override it.",
    )
    def test_for_adapting(self) -> None:
        """Compare features, gradients and the derivative of their square, with the statistics of a pass."""
        for shape in self.shapes():
            bodies, items = [self.build(shape).train() for _ in range(2)], self.items(shape)
            if bodies[0].for_adapting() is bodies[0]:
                raise NotApplicable("it is adapted as it is")
            items = items.repeat(6, *[1] * (items.ndim - 1))  # what is quicker may be so for many items alone
            for body in bodies:
                replace_norms(body, "transductive", 1, "")
            plain, fast = bodies
            wanted, fused = twice(plain, plain, items), twice(fast, fast.for_adapting(), items)
            expect_same_features(fused, wanted, "for_adapting()")
            if name := self._other_gradient(plain, fast):
                raise Violation(f"for_adapting() gives '{name}' another second derivative")

    @staticmethod
    def _other_gradient(plain: Backbone, fast: Backbone) -> str:
        """Return the name of the first parameter whose gradients differ, '' if none; none at all counts as zero.

        (The gradient of a bias before batch normalisation is zero but for rounding, and that grows with the map.)
        """
        pairs = zip(plain.named_parameters(), fast.parameters(), strict=True)
        gradients = [(name, weight.grad, other.grad) for (name, weight), other in pairs if weight.grad is not None]
        largest = max((float(wanted.abs().amax()) for _, wanted, _ in gradients), default=0.0)
        for name, wanted, fused in gradients:
            apart = (wanted if fused is None else wanted - fused).abs().amax()
            if float(apart) > 1e-3 * float(wanted.abs().amax()) + 1e-4 * largest:
                return name
        return ""

    @conformance_check(
        "it trains as declared",
        means="Training does nothing to it, or changes what was meant to stay.",
        fix="Declare trains=True if and only if it has weights to learn, and let the gradient reach them all.",
    )
    def test_trains(self) -> None:
        """Require a gradient from the features for every weight in train mode."""
        spec = self.spec
        for body, items in self.cases():
            weights = {name: weight for name, weight in body.named_parameters() if weight.requires_grad}
            if bool(weights) != spec.trains:
                raise Violation(f"it declares trains={spec.trains} and has {len(weights)} tensors to learn")
            trained_pass(body, body, items)
            for name, weight in weights.items():
                if weight.grad is None or not bool(weight.grad.isfinite().all()):
                    raise Violation(f"no finite gradient reaches '{name}'")

    @conformance_check(
        "the same seed gives the same weights; global random states are left alone",
        means="A run cannot be repeated, or all training seeds are one.",
        fix="Draw initial weights from torch in the constructor, seed nothing, and draw nothing in eval mode.",
    )
    def test_seed(self) -> None:
        """Build twice and embed, from more than one random state."""
        for shape in self.shapes():
            one, two, items = self.build(shape, seed=3), self.build(shape, seed=3), self.items(shape)
            if name := moved(frozen(one), two):
                raise Violation(f"two instances of the same seed differ in '{name}'")
            watch("its constructor", functools.partial(self.subject.target, shape, **self.values), may_draw=True)
            watch("embedding", functools.partial(self.features, one, items))

    @conformance_check(
        "saved and loaded, it gives the same features",
        means="A checkpoint does not hold all that was learned.",
        fix="Register what is learned or drawn at the start as nn.Parameter or with register_buffer.",
    )
    def test_save_load(self) -> None:
        """Load weights after some training passes, through a file, into an instance of another seed."""
        path = scratch_folder() / "backbone.safetensors"
        for body, items in self.cases():
            save_tensors(path, body.state_dict(), {})
            other = self.build(shape_of(items), seed=2)
            other.load_state_dict(load_tensors(path)[0])
            expect_same_features(
                self.features(other, items), self.features(body, items), "an instance with loaded weights"
            )

    @conformance_check(
        "CUDA and CPU agree",
        means="Results depend on the machine.",
        fix="Register buffers, and make new tensors on the device of the images.",
    )
    def test_cuda(self) -> None:
        """Compare the same weights and items on both devices."""
        if not torch.cuda.is_available():
            raise NotApplicable("there is no CUDA device here")
        for shape in self.shapes():
            items, cuda = self.items(shape).cpu(), torch.device("cuda")
            here = self.features(self.build(shape).cpu(), items)
            there = self.features(self.build(shape).to(cuda), items.to(cuda)).cpu()
            expect_same_features(there, here, "the same items on CUDA", tolerance=1e-2)
