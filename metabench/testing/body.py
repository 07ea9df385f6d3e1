"""What the checks of backbones share: the backbone, built, and images for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from metabench.environment import choose_device
from metabench.errors import UsageError
from metabench.modules import Backbone
from metabench.plugins import Kind
from metabench.specs import BackboneSpec
from metabench.testing.conformance import Conformance, Violation, raised
from metabench.testing.scorer import TOLERANCE
from metabench.testing.tasks import generator

Shape = tuple[int, ...]
_FUNCTIONS: tuple[Shape, ...] = ((8,), (16,))


class BackboneChecks(Conformance):
    """Base of the checks that `BackboneConformance` is made of.

    Attributes:
        image_shapes: (channels, height, width) to try. One that the backbone refuses with UsageError is left
            out, and a check that is left with none fails.
    """

    kind: ClassVar[Kind] = "backbone"
    backbone: ClassVar[str] = ""
    image_shapes: ClassVar[tuple[Shape, ...]] = ((1, 28, 28), (3, 32, 32))

    def shapes(self) -> Iterator[Shape]:
        """Yield the image shapes that the backbone takes."""
        taken, _ = 0, self.subject  # a plugin that cannot be loaded refuses no shape
        for shape in self.item_shapes():
            try:
                self.build(shape)
            except UsageError as error:
                refusal = error
                continue
            taken += 1
            yield shape
        if not taken:
            pytest.skip(f"it takes none of the image shapes {self.item_shapes()}: {refusal}")

    def item_shapes(self) -> tuple[Shape, ...]:
        """Return the shapes to try: `image_shapes`, or of points of functions of one and three numbers."""
        spec = self.subject.spec
        functions = isinstance(spec, BackboneSpec) and spec.takes == "functions"
        return _FUNCTIONS if functions else self.image_shapes

    def cases(self) -> Iterator[tuple[Backbone, Tensor]]:
        """Yield a backbone whose statistics are no longer those of the start, and images for it."""
        for shape in self.shapes():
            body, images = self.build(shape), self.images(shape)
            with torch.no_grad():
                for _ in range(3):
                    body.train()(images * 0.7)
            self._shape = shape
            yield body.eval(), images

    def rebuilt(self, seed: int) -> Backbone:
        """Build the backbone of the present case once more."""
        return self.build(self._shape, seed)

    def build(self, shape: Shape, seed: int = 0) -> Backbone:
        """Build it with weights that depend on `seed` alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body: Backbone = self.subject.target(shape, **self.values)
            return body.to(choose_device(self.device))

    def images(self, shape: Shape) -> Tensor:
        """Return six random images, or what else the backbone makes of items of this shape, the same every time."""
        if len(shape) == 1:
            points = torch.randn(6, shape[0] // 4, generator=generator(5)).view(torch.uint8)
            return self.build(shape).inputs(points).to(choose_device(self.device))
        images = torch.rand(6, *shape, generator=generator(5))
        return images.to(choose_device(self.device))

    @staticmethod
    def features(body: nn.Module, images: Tensor, feature_dim: int = 0) -> Tensor:
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


def trained_pass(body: Backbone, forward: nn.Module, images: Tensor) -> Tensor:
    """Pass images through `forward` in train mode, and back where `body` has something to learn; return features."""
    body.train()
    forward.train()
    features: Tensor = forward(images)
    if any(weight.requires_grad for weight in body.parameters()):
        noise = torch.randn(features.shape, generator=generator(8)).to(features.device)
        (features * noise).sum().backward()  # type: ignore[no-untyped-call]
    return features.detach()


def expect_same_features(a: Tensor, b: Tensor, where: str, tolerance: float = TOLERANCE) -> None:
    """Raise Violation, saying where, if features differ by more than a share of the largest one."""
    apart = float((a - b).abs().amax()) / max(float(b.abs().amax()), 1e-12)
    if apart > tolerance:
        raise Violation(f"{where}: features differ by {apart:.1%} of the largest")
