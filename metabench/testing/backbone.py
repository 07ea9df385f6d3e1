"""The conformance class of backbones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from metabench.environment import choose_device
from metabench.errors import UsageError
from metabench.model import load_tensors, save_tensors
from metabench.modules import Backbone
from metabench.plugins import Kind
from metabench.specs import BackboneSpec
from metabench.testing.conformance import NotApplicable, Violation, changed, check, raised, random_states, scratch
from metabench.testing.scorer import TOLERANCE
from metabench.testing.spec import SpecChecks
from metabench.testing.state import frozen, moved
from metabench.testing.tasks import generator, permutation

Shape = tuple[int, int, int]


class BackboneConformance(SpecChecks):
    """Every check of a backbone.

    Attributes:
        image_shapes: (channels, height, width) to try. One that the backbone refuses with UsageError is left
            out, and a check that is left with none fails.
    """

    kind: ClassVar[Kind] = "backbone"
    backbone: ClassVar[str] = ""
    image_shapes: ClassVar[tuple[Shape, ...]] = ((1, 28, 28), (3, 32, 32))

    @check(
        "features have the declared width, are finite and float32",
        means="Heads of the wrong size are built on it, or scores are not numbers.",
        fix="Set feature_dim in the constructor to what forward returns for that image shape.",
    )
    def test_features(self) -> None:
        """One image and several, of every image shape."""
        for body, images in self._cases():
            for count in (1, 5):
                self._features(body, images[:count])

    @check(
        "in eval mode the same images give the same features, and nothing changes",
        means="Features in the cache are not those of the next run: dropout or running statistics are still at work.",
        fix="Let eval() reach every layer; never call train() or pass training=True in forward.",
    )
    def test_eval_determinism(self) -> None:
        """Twice in a row, with other images in between; weights and statistics as before, to the bit."""
        for body, images in self._cases():
            before, first = frozen(body), self._features(body, images)
            self._features(body, 1 - images)
            _expect(self._features(body, images), first, "the same images again")
            if name := moved(before, body):
                raise Violation(f"embedding in eval mode changes '{name}'")

    @check(
        "the features of an image do not depend on the images beside it",
        means="Batch statistics are at work: test images normalise each other, which is hidden transduction.",
        fix="Normalise by running statistics in eval mode, or by statistics of the single image.",
    )
    def test_batch_independence(self) -> None:
        """Alone, in another order, and beside very different images."""
        for body, images in self._cases():
            whole = self._features(body, images)
            alone = [self._features(body, images[index : index + 1]) for index in range(len(images))]
            _expect(torch.cat(alone), whole, "each image alone")
            order = permutation(len(images), seed=1)
            _expect(self._features(body, images[order]), whole[order], "the images in another order")
            beside = torch.cat([images[:2], torch.ones_like(images)])
            _expect(self._features(body, beside)[:2], whole[:2], "two images beside white ones")

    @check(
        "different images have different features",
        means="It looks at nothing, so that every algorithm on it guesses.",
        fix="Check that forward uses its input.",
    )
    def test_uses_images(self) -> None:
        """No two of a few random images may agree in all features."""
        for body, images in self._cases():
            features = self._features(body, images)
            apart = torch.cdist(features, features) + torch.eye(len(features), device=features.device)
            if not bool((apart > 0).all()):
                raise Violation("two random images have the same features")

    @check(
        "for_inference() computes the same and leaves the backbone as it is",
        means="What is evaluated is not what was trained.",
        fix="Fuse a deep copy in eval mode, or do not override for_inference.",
    )
    def test_for_inference(self) -> None:
        """With statistics other than those of the start, which would hide a missing normalisation."""
        for body, images in self._cases():
            before, features = frozen(body), self._features(body, images)
            _expect(self._features(body.for_inference(), images, body.feature_dim), features, "for_inference()")
            _expect(self._features(body, images), features, "the backbone after for_inference()")
            if name := moved(before, body):
                raise Violation(f"for_inference() changes '{name}' of the backbone")

    @check(
        "it trains as declared",
        means="Training does nothing to it, or changes what was meant to stay.",
        fix="Declare trains=True if and only if it has weights to learn, and let the gradient reach them all.",
    )
    def test_trains(self) -> None:
        """Every weight gets a gradient from the features in train mode, or there is none to learn."""
        spec = self.subject.spec
        assert isinstance(spec, BackboneSpec)
        for body, images in self._cases():
            weights = {name: weight for name, weight in body.named_parameters() if weight.requires_grad}
            if bool(weights) != spec.trains:
                raise Violation(f"it declares trains={spec.trains} and has {len(weights)} tensors to learn")
            features = body.train()(images)
            if not weights:
                continue
            noise = torch.randn(features.shape, generator=generator(8)).to(features.device)
            (features * noise).sum().backward()
            for name, weight in weights.items():
                if weight.grad is None or not bool(weight.grad.isfinite().all()):
                    raise Violation(f"no finite gradient reaches '{name}'")

    @check(
        "the same seed gives the same weights; global random states are left alone",
        means="A run cannot be repeated, or all training seeds are one.",
        fix="Draw initial weights from torch in the constructor, seed nothing, and draw nothing in eval mode.",
    )
    def test_seed(self) -> None:
        """Importing, building twice and embedding."""
        if self.subject.disturbed:
            raise Violation(f"importing it changes the random state of {' and '.join(self.subject.disturbed)}")
        for shape in self._shapes():
            before = random_states()
            one, two = self._build(shape, seed=3), self._build(shape, seed=3)
            self._features(one, self._images(shape))
            if names := changed(before):
                raise Violation(f"building or embedding changes the random state of {' and '.join(names)}")
            if name := moved(frozen(one), two):
                raise Violation(f"two instances of the same seed differ in '{name}'")

    @check(
        "saved and loaded, it gives the same features",
        means="A checkpoint does not hold all that was learned.",
        fix="Register what is learned or drawn at the start as nn.Parameter or with register_buffer.",
    )
    def test_save_load(self) -> None:
        """After some training passes, through a file, into an instance of another seed."""
        path = scratch() / "backbone.safetensors"
        for body, images in self._cases():
            save_tensors(path, body.state_dict(), {})
            other = self._build(_shape(images), seed=2)
            other.load_state_dict(load_tensors(path)[0])
            _expect(self._features(other, images), self._features(body, images), "an instance with loaded weights")

    @check(
        "CUDA and CPU agree",
        means="Results depend on the machine.",
        fix="Register buffers, and make new tensors on the device of the images.",
    )
    def test_cuda(self) -> None:
        """The same weights and images on both."""
        if not torch.cuda.is_available():
            raise NotApplicable("there is no CUDA device here")
        for shape in self._shapes():
            images, cuda = self._images(shape).cpu(), torch.device("cuda")
            here = self._features(self._build(shape).cpu(), images)
            there = self._features(self._build(shape).to(cuda), images.to(cuda)).cpu()
            _expect(there, here, "the same images on CUDA", tolerance=1e-2)

    def _shapes(self) -> Iterator[Shape]:
        """Yield the image shapes that the backbone takes."""
        taken = 0
        for shape in self.image_shapes:
            try:
                self._build(shape)
            except UsageError as error:
                refusal = error
                continue
            taken += 1
            yield shape
        if not taken:
            pytest.skip(f"it takes none of the image shapes {self.image_shapes}: {refusal}")

    def _cases(self) -> Iterator[tuple[Backbone, Tensor]]:
        """Yield a backbone whose statistics are no longer those of the start, and images for it."""
        for shape in self._shapes():
            body, images = self._build(shape), self._images(shape)
            with torch.no_grad():
                for _ in range(3):
                    body.train()(images * 0.7)
            yield body.eval(), images

    def _build(self, shape: Shape, seed: int = 0) -> Backbone:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body: Backbone = self.subject.target(shape, **self.values)
            return body.to(choose_device(self.device))

    def _images(self, shape: Shape) -> Tensor:
        images = torch.rand(6, *shape, generator=generator(5))
        return images.to(choose_device(self.device))

    @staticmethod
    def _features(body: nn.Module, images: Tensor, feature_dim: int = 0) -> Tensor:
        """Embed as the harness does when it evaluates.

        Raises:
            Violation: the backbone raised, or gave something else than it declares.
        """
        expected = (len(images), feature_dim or body.feature_dim)
        with torch.inference_mode():
            try:
                features = body.eval()(images)
            except Exception as error:  # the plugin's own code may fail in any way
                raise Violation(raised(f"embedding images {tuple(images.shape)}", error)) from error
        if not isinstance(features, Tensor) or tuple(features.shape) != expected:
            found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise Violation(f"embedding images {tuple(images.shape)} gave {found}, where {expected} is declared")
        if features.dtype != torch.float32 or features.device != images.device:
            raise Violation(f"embedding float32 images on {images.device} gave {features.dtype} on {features.device}")
        if not bool(features.isfinite().all()):
            raise Violation(f"embedding images {tuple(images.shape)} gave features that are not finite numbers")
        return features.clone()


def _shape(images: Tensor) -> Shape:
    channels, height, width = images.shape[1:]
    return channels, height, width


def _expect(a: Tensor, b: Tensor, where: str, tolerance: float = TOLERANCE) -> None:
    """Raise Violation, saying where, if features differ by more than a share of the largest one."""
    apart = float((a - b).abs().amax()) / max(float(b.abs().amax()), 1e-12)
    if apart > tolerance:
        raise Violation(f"{where}: features differ by {apart:.1%} of the largest")
