"""What a plugin declares: frozen descriptions that name their code by string and import nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from metabench.registry.metric import ACCURACY, Metric
from metabench.registry.params import Param, Value
from metabench.registry.recipe import Recipe

KINDS = ("images", "text", "functions")
"""What the items of a data set are, and what a backbone reads."""
TEST, VALIDATION = "test", "val"
"""Splits whose classes are measured: the one for results, and the one for choices."""
UNKNOWN_COPY = "a copy that nobody has described"
"""What is said of pixels with no digest that a data set declares."""
FOLD = "fold"
SAME_CLASSES = "same_classes"
"""The parameter by which the splits of a data set hold the same classes; `ProtocolSpec.support` sets it."""
"""The parameter of a data set that says which of several class splits of equal standing it is."""
FIXED_WAY = "fixed-way"
"""The protocol of nearly all published numbers, which need not be named; others are, wherever a number stands."""
SAMPLINGS = ("closed", "open")
"""How test episodes relate: each drawn from all images, or no two with an image in common (`--sampling`)."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Fields that every plugin declares. Bump `version` whenever the numbers may change."""

    name: str
    version: int
    target: str
    """``"package.module:Class"``; imported only when a run needs it."""
    summary: str
    reference: str
    licence: str
    params: tuple[Param, ...] = ()
    requires: tuple[str, ...] = ()
    """Importable modules it needs beyond metabench's own; missing ones make it unavailable."""
    extra: str = ""
    """The extra that installs `requires`: ``pip install 'metabench[extra]'``."""
    argument: str = ""
    """The text parameter that ``NAME:VALUE`` (or ``NAME/VALUE``) gives a value; where its default is empty, one
    must be given."""
    local: bool = False
    """It stands for something that only this machine has, so its runs are local and no leaderboard takes them."""
    file_sha256: str = ""
    """SHA-256 of the loose file (``--plugin``) that it came from; the harness sets it, and it enters run keys."""

    @property
    def cache_name(self) -> str:
        """The folder name of what is kept for it: what one edit of a loose file left is not for the next."""
        return f"{self.name}-{self.file_sha256[:12]}" if self.file_sha256 else self.name


@dataclass(frozen=True)
class Exempt:
    """A property that an algorithm lacks by design, so that its conformance check expects the opposite."""

    check: Literal["support-order", "label-permutation", "separable-classes"]
    reason: str
    when: Mapping[str, Value] = field(default_factory=dict)
    """The parameter values under which it is lacking; empty: always."""


@dataclass(frozen=True, kw_only=True)
class AlgorithmSpec(Spec):
    """An algorithm.

    `takes` says what it is: ``features``, a `metabench.models.interfaces.FeatureHead`, or ``images``, a
    `metabench.models.adaptive.TaskAdaptiveAlgorithm` that has a network of its own for every task.
    """

    setting: Literal["inductive", "transductive"] = "inductive"
    transductive_when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    """Parameter to the values with which the queries of an episode are used together."""
    takes: Literal["features", "images"] = "features"
    answers: tuple[Literal["labels", "numbers"], ...] = ("labels",)
    """What it can learn to give for an item: its class, numbers, or either."""
    trains: bool
    own_weights: bool = True
    """Whether there are weights to learn beside the backbone's. Where there are none, it is evaluated untrained on a
    backbone that has none either."""
    backbone: str = "conv4"
    """The backbone used when none is asked for."""
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    """Recipe by data set name, or by ``"name/20-way/5-shot"``, ``"name/20-way"`` or ``"name/5-shot"`` for one way and
    shot, way or shot alone (the first of them goes); ``"*text"`` is for every other data set of that kind, ``"*"`` for
    all others."""
    exempt: tuple[Exempt, ...] = ()
    """What ``metabench check`` must not expect, and why; that it is really lacking is checked too."""

    def recipe(self, dataset: str, way: int, shot: int, kind: str = "images") -> Recipe | None:
        """Return the recipe for a data set of this kind and a cell, None where there is none."""
        cells = (f"/{way}-way/{shot}-shot", f"/{way}-way", f"/{shot}-shot", "")
        names = (f"{part}{cell}" for part in (dataset, f"*{kind}", "*") for cell in cells)
        return next((self.recipes[name] for name in names if name in self.recipes), None)

    def setting_with(self, params: Mapping[str, Value]) -> str:
        """Return the setting of the algorithm with these parameters."""
        together = any(params.get(name) in values for name, values in self.transductive_when.items())
        return "transductive" if together else self.setting


@dataclass(frozen=True, kw_only=True)
class BackboneSpec(Spec):
    """A backbone: items to feature vectors. `trains` is False where it has no weights to learn."""

    trains: bool = True
    takes: Literal["images", "text", "functions"] = "images"
    """What it reads, one of `KINDS`."""
    trained_on: str = ""
    """Data its initial weights were trained on; empty for a random start. See `trained_on_with`."""

    @property
    def has_weights(self) -> bool:
        """Whether it declares weights that a file can replace: some to learn, or some trained before."""
        return self.trains or bool(self.trained_on)

    def trained_on_with(self, params: Mapping[str, Value]) -> str:
        """Return what the initial weights have seen with these parameters.

        A parameter ``pretrained`` that is False means a random start, a parameter ``trained_on`` says it itself.
        """
        return "" if params.get("pretrained") is False else str(params.get("trained_on", self.trained_on))


@dataclass(frozen=True)
class SplitSize:
    """Number of classes and of images in a split."""

    classes: int
    images: int


@dataclass(frozen=True)
class KnownCopy:
    """A copy of a data set in circulation whose pixels are not the official ones.

    Attributes:
        digests: of each split.
        shared_images: see `DatasetSpec.shared_images`.
    """

    digests: Mapping[str, str]
    shared_images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Declared:
    """What is known of a form of a data set before it is read; see the fields of `DatasetSpec`."""

    sizes: Mapping[str, SplitSize]
    digests: Mapping[str, str]
    shared_images: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A data set with class-disjoint splits.

    `sizes`, `digests` and `shared_images` are given for the default parameters, and in `folds` for class splits that
    are as good; other parameters are checked only by the loader itself.
    """

    kind: Literal["images", "text", "functions"] = "images"
    """What its items are, one of `KINDS`."""
    splits: tuple[str, ...] = ("train", "val", "test")
    """Those that it has; ``("test",)`` leaves nothing to meta-train on."""
    backbone: str = ""
    """The backbone used when none is asked for; empty: the algorithm's own."""
    protocol: str = ""
    """The protocol used when none is asked for; empty: `FIXED_WAY`."""
    image_shape: tuple[int, ...]
    """Of one item, for the default parameters: (channels, height, width) of images, (bytes,) of text; 0 where it
    varies."""
    sizes: Mapping[str, SplitSize]
    digests: Mapping[str, str]
    """SHA-256 of each split's decoded images and class boundaries (`metabench.data.split_digest`)."""
    download: bool = False
    """Whether it needs files that are not made by the code itself."""
    shared_images: tuple[str, ...] = ()
    """`metabench.data.image_digest` of each image known to stand in more than one split."""
    folds: Mapping[int, Declared] = field(default_factory=dict)
    """Further class splits of the same standing, by the value of the parameter ``fold`` that stands for each."""
    copies: Mapping[str, KnownCopy] = field(default_factory=dict)
    """Known copies with other pixels, by what is to be said of them. Where there are any, or `digests` is empty, copies
    with unknown pixels are taken too: what was read is in the key of a run."""

    def forms(self) -> list[tuple[dict[str, Value], Declared]]:
        """Return what is known of each class split, after the parameters that stand for it, the default ones first."""
        usual = defaults(self)
        first = usual, Declared(self.sizes, self.digests, self.shared_images)
        return [first, *(({**usual, FOLD: fold}, declared) for fold, declared in self.folds.items())]

    def declared(self, params: Mapping[str, Value]) -> Declared | None:
        """Return what is known of the form that parameters make of it; None where nothing is."""
        return next((declared for of, declared in self.forms() if of == dict(params)), None)

    def copy_name(self, split: str, digest: str) -> str:
        """Return what is to be said of a split's pixels: '' for the official ones, else the name of a known copy."""
        if digest == self.digests.get(split):
            return ""
        names = (name for name, copy in self.copies.items() if copy.digests.get(split) == digest)
        return next(names, UNKNOWN_COPY)

    def known_shared(self, digests: Mapping[str, str]) -> tuple[str, ...] | None:
        """Return the images known to stand in two splits of the copy with these digests; None for an unknown copy."""
        known: list[Declared | KnownCopy] = [declared for _, declared in self.forms()]
        known += self.copies.values()
        return next((each.shared_images for each in known if each.digests == digests), None)

    def pixels(self, params: Mapping[str, Value], digests: Mapping[str, str]) -> str:
        """Return what is to be said of the pixels that were read; '' where they are official or nothing is declared."""
        if dict(params) != defaults(self) or not (self.digests or self.copies):
            return ""
        return "; ".join(filter(None, dict.fromkeys(self.copy_name(*item) for item in digests.items())))


@dataclass(frozen=True, kw_only=True)
class ProtocolSpec(Spec):
    """How episodes are drawn. Its parameters include way, shot and query where they apply."""

    metric: Metric = ACCURACY
    """What an episode is scored by; for any other than accuracy its class is an `episodes.ValuedProtocol`."""
    parts: tuple[Metric, ...] = ()
    """What such a score is made of, where that is worth a column of its own; `values` returns them after it."""
    takes: tuple[str, ...] = ("images", "text")
    """The kinds of items that it draws from, of `KINDS`."""
    training: str = ""
    """The protocol of training episodes, whose way, shot and query are the recipe's; empty: this one."""
    episodes: int = 0
    """How many there are where they are a list (`protocols.ListedProtocol`); 0: drawn without end."""
    beside: str = ""
    """The split whose classes stand beside those that are measured: its episodes are drawn from a
    `joint_split.JointSplit`. Its parameter `reserve` is the share of their images that training never sees."""
    support: str = ""
    """The split that support is drawn from where all queries are of the measured one; both have the same classes, which
    no other protocol allows. Its episodes are drawn from a `paired_split.PairedSplit`. Nothing is trained, and no
    interval is for new classes."""


AnySpec = AlgorithmSpec | BackboneSpec | DatasetSpec | ProtocolSpec


def as_recorded(spec: Spec, params: Mapping[str, Value]) -> dict[str, Value]:
    """Return parameter values as records hold them: of a path the last part, no `omit_default` at its default."""
    places = {param.name for param in spec.params if param.is_local_path}
    unsaid = {param.name: param.default for param in spec.params if param.omit_default}
    return {
        name: place_name(value) if name in places and value else value
        for name, value in params.items()
        if name not in unsaid or value != unsaid[name]
    }


def place_name(path: Value) -> str:
    """Return the last part of a path, whatever way it is written."""
    return os.path.basename(os.path.abspath(os.path.expanduser(str(path))))  # noqa: PTH100, PTH111, PTH119 - no I/O


def defaults(spec: Spec) -> dict[str, Any]:
    """Return the default of every parameter of `spec`."""
    return {param.name: param.default for param in spec.params}
