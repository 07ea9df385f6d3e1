"""Base of the backbone checks: the backbone, built, and items for it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from metabench.data.encoded_sentences import encode_texts
from metabench.errors import UsageError
from metabench.models.interfaces import Backbone
from metabench.models.output_checks import OutputError, require_finite, require_range, require_tensor
from metabench.registry.registry import load_registry
from metabench.registry.specs import BackboneSpec, Kind
from metabench.runtime.devices import choose_device
from metabench.testing.conformance import (
    Conformance,
    ConstructorError,
    Subject,
    Violation,
    describe_raised,
    make_subject,
)
from metabench.testing.support.scorer import TOLERANCE
from metabench.testing.support.synthetic_episodes import generator

Shape = tuple[int, ...]
CORNERS = {(0, 0): "upper left", (0, 1): "upper right", (1, 0): "lower left", (1, 1): "lower right"}
_FUNCTIONS: tuple[Shape, ...] = ((8,), (16,))
TEXTS = (
    "hi",
    "turn the lights off in the kitchen, please",
    "Wie wird das Wetter morgen in Köln?",
    "how much is 12.50 EUR in yen?",
    "bake me a cake",
    "日本語のメニューはありますか",
)
OTHER_TEXTS = ("no", "what's the capital of Peru?", "ok", "play it again", "¿qué hora es?", "where is my parcel now")


class BackboneChecks(Conformance[BackboneSpec]):
    """Base of the checks that `BackboneConformance` is made of.

    Attributes:
        image_shapes: (channels, height, width) to try, where it takes images. One that the backbone refuses with
            UsageError is left out, and a check that is left with none fails.
        text_lengths: bytes of the longest text, where it takes text.
    """

    kind: ClassVar[Kind] = "backbone"
    backbone: ClassVar[str] = ""
    image_shapes: ClassVar[tuple[Shape, ...]] = ((1, 28, 28), (3, 32, 32))
    text_lengths: ClassVar[tuple[int, ...]] = (160,)

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def load_subject(name: str, files: tuple[Path, ...]) -> Subject[BackboneSpec]:
        """Return the backbone of that name."""
        registry = load_registry(files)
        return make_subject(registry, registry.find("backbone", name))

    def shapes(self) -> Iterator[Shape]:
        """Yield the shapes of items that the backbone takes."""
        taken, tried = 0, self.image_shapes
        if self.spec.takes == "text":
            tried = tuple((length,) for length in self.text_lengths)
        elif self.spec.takes == "functions":
            tried = _FUNCTIONS
        for shape in tried:
            try:
                self.build(shape)
            except UsageError as error:
                refusal = error
                continue
            taken += 1
            yield shape
        if not taken:
            raise ConstructorError(f"it takes none of the shapes {tried}: {refusal}")

    def cases(self) -> Iterator[tuple[Backbone, Tensor]]:
        """Yield a backbone whose statistics are no longer those of the start, and items for it."""
        for shape in self.shapes():
            body, other = self.build(shape), self.others(shape)
            with torch.no_grad():
                for _ in range(3):
                    body.train()(body.inputs(other))
            yield body.eval(), self.items(shape)

    def build(self, shape: Shape, seed: int = 0) -> Backbone:
        """Build it with weights that depend on `seed` alone.

        Raises:
            UsageError: it does not take items of this shape. ConstructorError: its constructor raised anything else.
        """
        target, values = self.subject.target, self.values
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                body: Backbone = target(shape, **values).to(choose_device(self.device))
                return body
            except UsageError:
                raise
            except Exception as error:  # the plugin's own code may fail in any way
                raise ConstructorError(describe_raised("its constructor", error)) from error

    def items(self, shape: Shape) -> Tensor:
        """Return six items as a dataset holds them, the same every time."""
        if self.spec.takes == "functions":
            rows = self._points(shape, 5)
        elif len(shape) == 1:
            rows = torch.from_numpy(encode_texts(TEXTS, shape[0]))
        else:
            rows = torch.randint(0, 256, (6, *shape[1:], shape[0]), generator=generator(5)).to(torch.uint8)
        return rows.to(choose_device(self.device))

    def others(self, shape: Shape) -> Tensor:
        """Return six other items: darker images, other texts or other points."""
        if self.spec.takes == "functions":
            return self._points(shape, 6).to(choose_device(self.device))
        if len(shape) == 1:
            return torch.from_numpy(encode_texts(OTHER_TEXTS, shape[0])).to(choose_device(self.device))
        return (self.items(shape) * 0.7).to(torch.uint8)

    def extreme(self, shape: Shape) -> Tensor:
        """Return six items that are unlike any other: white images, or texts as long as there may be."""
        if self.spec.takes == "functions":
            rows = self._points(shape, 7, 100.0)
        elif len(shape) == 1:
            rows = torch.from_numpy(encode_texts(["long " * (shape[0] // 5)] * 6, shape[0]))
        else:
            rows = torch.full((6, *shape[1:], shape[0]), 255, dtype=torch.uint8)
        return rows.to(choose_device(self.device))

    @staticmethod
    def _points(shape: Shape, seed: int, scale: float = 1.0) -> Tensor:
        """Return six points of functions, float32 numbers as bytes."""
        return (scale * torch.randn(6, shape[0] // 4, generator=generator(seed))).view(torch.uint8)

    @staticmethod
    def features(body: Backbone, items: Tensor, through: nn.Module | None = None) -> Tensor:
        """Embed as the harness does when it evaluates, `through` another module than `body` if there is one.

        Raises:
            Violation: the backbone raised, or gave something else than it declares.
        """
        expected, what = (len(items), body.feature_dim), f"embedding items {tuple(items.shape)}"
        with torch.inference_mode():
            try:
                features = (through or body).eval()(body.inputs(items))
            except Exception as error:  # the plugin's own code may fail in any way
                raise Violation(describe_raised(what, error)) from error
        try:
            features = require_tensor(features, expected, what, items.device, (torch.float32,))
            require_finite(features, what)
            low, high = features.aminmax()
            require_range(float(low), float(high), what)
        except OutputError as error:
            raise Violation(str(error)) from error
        return features.clone()


def shape_of(items: Tensor) -> Shape:
    """Return the shape of an item as a backbone gets it: (channels, height, width), or (bytes,) of text."""
    shape = tuple(items.shape[1:])
    return (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape


def with_other_corner(images: Tensor, corner: tuple[int, int]) -> Tensor:
    """Return images (N, H, W, C) whose quarter of each side at a corner (0 or 1 down, 0 or 1 right) is inverted."""
    sides = zip(corner, images.shape[1:3], strict=True)
    rows, columns = (slice(-(side // 4), None) if far else slice(side // 4) for far, side in sides)
    changed = images.clone()
    changed[:, rows, columns] = 255 - changed[:, rows, columns]
    return changed


def on_side(cell: int, far: int, size: int) -> bool:
    """Return whether a cell is in the near (0) or far (1) half of `size` cells; the middle one is in both."""
    return cell >= size // 2 if far else cell < -(-size // 2)


def trained_pass(body: Backbone, forward: nn.Module, items: Tensor) -> Tensor:
    """Pass items through `forward` in train mode, and back where `body` has something to learn; return features."""
    body.train()
    forward.train()
    features: Tensor = forward(body.inputs(items))
    if any(weight.requires_grad for weight in body.parameters()):
        noise = torch.randn(features.shape, generator=generator(8)).to(features.device)
        (features * noise).sum().backward()  # type: ignore[no-untyped-call]
    return features.detach()


def twice(body: Backbone, forward: nn.Module, items: Tensor) -> Tensor:
    """Return the features by `forward`; put the derivative of a loss and its squared gradient into `grad`."""
    features: Tensor = forward(body.inputs(items))
    noise = torch.randn(features.shape, generator=generator(8)).to(features.device) / len(features)
    loss = (features.square() * noise).sum()
    weights = [weight for weight in body.parameters() if weight.requires_grad]
    slopes = torch.autograd.grad(loss, weights, create_graph=True)
    (loss + torch.stack([slope.square().sum() for slope in slopes]).sum()).backward()  # type: ignore[no-untyped-call]
    return features.detach()


def expect_same_features(a: Tensor, b: Tensor, where: str, tolerance: float = TOLERANCE) -> None:
    """Raise Violation, saying where, if features differ by more than a share of the largest one."""
    apart = float((a - b).abs().amax()) / max(float(b.abs().amax()), 1e-12)
    if apart > tolerance:
        raise Violation(f"{where}: features differ by {apart:.1%} of the largest")
