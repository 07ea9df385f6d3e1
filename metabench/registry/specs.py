"""Specs that plugins declare: frozen descriptions that name their code by a string and import nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from metabench.registry.metric import ACCURACY, Metric
from metabench.registry.params import Param, Value
from metabench.registry.stage import Chain, Stage, as_chain

TEST, VALIDATION = "test", "val"
"""Splits whose classes are measured: one for results, one for choosing parameters."""
UNKNOWN_COPY = "a copy that nobody has described"
"""Description of pixels whose digest the dataset does not declare."""
FOLD = "fold"
"""Parameter of a dataset that selects one of several equally valid class splits."""
SAME_CLASSES = "same_classes"
"""Parameter of a dataset that makes its splits hold the same classes; `ProtocolSpec.support` sets it."""
FIXED_WAY = "fixed-way"
"""Protocol of nearly all published numbers. Tables name a protocol only where it is another one."""
SAMPLINGS = ("closed", "open")
"""Ways to draw test episodes (`--sampling`): each from all images, or no two with an image in common."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Fields that every plugin declares. Raise `version` whenever the numbers may change."""

    name: str
    version: int
    target: str
    """``"package.module:Class"``; imported only when a run needs it."""
    summary: str
    reference: str
    licence: str
    params: tuple[Param, ...] = ()
    requires: tuple[str, ...] = ()
    """Importable modules that it needs beyond those of metabench; it is unavailable without them."""
    extra: str = ""
    """The extra that installs `requires`: ``pip install 'metabench[extra]'``."""
    argument: str = ""
    """Text parameter that VALUE in ``NAME:VALUE`` (or ``NAME/VALUE``) sets; required where its default is empty."""
    local: bool = False
    """It depends on something that only this machine has. Its runs are local: no leaderboard takes them."""
    file_sha256: str = ""
    """SHA-256 of the local file (``--plugin``) that it came from. Set by the harness; part of run keys."""

    @property
    def cache_name(self) -> str:
        """Cache directory name. Local plugin files get a hash suffix, so an edited file never reuses an older cache."""
        return f"{self.name}-{self.file_sha256[:12]}" if self.file_sha256 else self.name


@dataclass(frozen=True)
class Exempt:
    """A property that an algorithm lacks by design: its conformance check then expects the opposite."""

    check: Literal["support-order", "label-permutation", "separable-classes"]
    reason: str
    when: Mapping[str, Value] = field(default_factory=dict)
    """Parameter values for which the property does not hold; empty: for all."""


@dataclass(frozen=True, kw_only=True)
class AlgorithmSpec(Spec):
    """An algorithm.

    With `takes` ``features`` its class is a `metabench.models.interfaces.FeatureHead`; with ``images`` a
    `metabench.models.adaptive.TaskAdaptiveAlgorithm`, which has a network of its own for every task.
    """

    setting: Literal["inductive", "transductive"] = "inductive"
    transductive_when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    """Parameter to the values for which the queries of an episode are used together."""
    takes: Literal["features", "images"] = "features"
    reads: Literal["vectors", "maps"] = "vectors"
    """Form of the features of an item: a vector (D,), or a feature map (C, H, W), which not every backbone has
    (`metabench.models.interfaces.Backbone.map_shape`)."""
    ways: Literal["any", "one"] = "any"
    """Numbers of classes that weights on features fit; with ``one`` the class is constructed with the keyword ``way``,
    trained for each way by itself, and refused where episodes differ in it. (What takes images is always so.)"""
    answers: tuple[Literal["labels", "numbers"], ...] = ("labels",)
    """Kinds of answers it can learn: the class of an item, numbers, or either."""
    trains: bool
    own_weights: bool = True
    """It has weights to learn beside those of the backbone. Without any, on a backbone without any, it is evaluated
    untrained."""
    backbone: str = "conv4"
    """Default backbone."""
    recipes: Mapping[str, Stage | Chain] = field(default_factory=dict)
    """Recipe, one stage or a tuple of stages, by dataset name, or by ``"name/20-way/5-shot"``, ``"name/20-way"`` or
    ``"name/5-shot"`` for one way and shot, one way or one shot (looked up in this order). ``"*text"`` is for every
    other dataset of that kind, ``"*"`` for all others."""
    uses: tuple[Literal["base", "views"], ...] = ()
    """Needs beside the episodes. ``base``: its head studies the features of the classes that it was trained
    on (`metabench.models.interfaces.FeatureHead.study`). ``views``: features of augmented copies of every support
    image (`metabench.models.episode.Episode.views`)."""
    uses_when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    """Parameter to the values for which `uses` holds; empty: always."""
    trained_as: str = ""
    """Name of the algorithm that its backbone is trained as, with that one's recipes and default parameters; empty:
    itself. Algorithms that differ only in how they use features so share one training."""
    exempt: tuple[Exempt, ...] = ()
    """Conformance checks this algorithm is exempt from, with reasons. The kit verifies that each exempted property
    really does not hold."""

    def recipe(self, dataset: str, way: int, shot: int, kind: str = "images") -> Chain:
        """Return the stages of the recipe for a dataset of this kind, way and shot; empty where there is none."""
        cells = (f"/{way}-way/{shot}-shot", f"/{way}-way", f"/{shot}-shot", "")
        names = (f"{part}{cell}" for part in (dataset, f"*{kind}", "*") for cell in cells)
        return next((as_chain(self.recipes[name]) for name in names if name in self.recipes), ())

    def uses_with(self, params: Mapping[str, Value]) -> tuple[str, ...]:
        """Return what the algorithm with these parameters needs beside the episodes."""
        needed = any(params.get(name) in values for name, values in self.uses_when.items())
        return self.uses if needed or not self.uses_when else ()

    def setting_with(self, params: Mapping[str, Value]) -> str:
        """Return the setting of the algorithm with these parameters."""
        together = any(params.get(name) in values for name, values in self.transductive_when.items())
        return "transductive" if together else self.setting


@dataclass(frozen=True, kw_only=True)
class BackboneSpec(Spec):
    """A backbone, which maps items to feature vectors. `trains` is False where it has no weights to learn."""

    trains: bool = True
    takes: Literal["images", "text", "functions"] = "images"
    """Kind of items it reads."""
    trained_on: str = ""
    """Data its initial weights were trained on; empty for a random start. See `trained_on_with`."""

    @property
    def has_weights(self) -> bool:
        """It declares weights that a file can replace: to be learned, or pre-trained."""
        return self.trains or bool(self.trained_on)

    def trained_on_with(self, params: Mapping[str, Value]) -> str:
        """Return the data that the initial weights were trained on; '' for a random start.

        With a parameter ``pretrained`` that is False the start is random; a parameter ``trained_on`` names the data.
        """
        return "" if params.get("pretrained") is False else str(params.get("trained_on", self.trained_on))


@dataclass(frozen=True)
class SplitSize:
    """Number of classes and of images in a split."""

    classes: int
    images: int


@dataclass(frozen=True)
class KnownCopy:
    """A copy of a dataset in circulation whose pixels are not the official ones.

    Attributes:
        digests: of each split.
        shared_images: see `DatasetSpec.shared_images`.
    """

    digests: Mapping[str, str]
    shared_images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Declared:
    """Declared facts about one class split of a dataset; see the fields of `DatasetSpec`."""

    sizes: Mapping[str, SplitSize]
    digests: Mapping[str, str]
    shared_images: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A dataset with class-disjoint splits.

    `sizes`, `digests` and `shared_images` are given for the default parameters, and in `folds` for equally valid class
    splits. With other parameters only the loader checks the data.
    """

    kind: Literal["images", "text", "functions"] = "images"
    """Kind of its items."""
    splits: tuple[str, ...] = ("train", "val", "test")
    """Splits that it has. With ``("test",)`` alone nothing can be meta-trained on it."""
    backbone: str = ""
    """Default backbone; empty: that of the algorithm."""
    protocol: str = ""
    """Default protocol; empty: `FIXED_WAY`."""
    image_shape: tuple[int, ...]
    """Shape of one item, for the default parameters: (channels, height, width) of images, (bytes,) of text; 0 where it
    varies."""
    sizes: Mapping[str, SplitSize]
    digests: Mapping[str, str]
    """SHA-256 of each split's decoded images and class boundaries (`metabench.data.split_digest`)."""
    download: bool = False
    """It needs files, instead of being generated by its code."""
    shared_images: tuple[str, ...] = ()
    """`metabench.data.image_digest` of each image known to be in more than one split."""
    folds: Mapping[int, Declared] = field(default_factory=dict)
    """Further equally valid class splits, by the value of the parameter ``fold`` that selects each."""
    copies: Mapping[str, KnownCopy] = field(default_factory=dict)
    """Known copies with other pixels, by description. Where there are any, or `digests` is empty, copies with unknown
    pixels are accepted too: the digest of what was read is in the run key."""

    def forms(self) -> list[tuple[dict[str, Value], Declared]]:
        """Return the parameters that select each class split with its declared facts, the default split first."""
        usual = defaults(self)
        first = usual, Declared(self.sizes, self.digests, self.shared_images)
        return [first, *(({**usual, FOLD: fold}, declared) for fold, declared in self.folds.items())]

    def declared(self, params: Mapping[str, Value]) -> Declared | None:
        """Return the declared facts about the class split that `params` select; None where nothing is declared."""
        return next((declared for values, declared in self.forms() if values == dict(params)), None)

    def copy_name(self, split: str, digest: str) -> str:
        """Return the description of a split's pixels: '' (official), a known copy, or `UNKNOWN_COPY`."""
        if digest == self.digests.get(split):
            return ""
        names = (name for name, copy in self.copies.items() if copy.digests.get(split) == digest)
        return next(names, UNKNOWN_COPY)

    def known_shared(self, digests: Mapping[str, str]) -> tuple[str, ...] | None:
        """Return the images known to be in two splits of the copy with these digests; None for an unknown copy."""
        known: list[Declared | KnownCopy] = [declared for _, declared in self.forms()]
        known += self.copies.values()
        return next((copy.shared_images for copy in known if copy.digests == digests), None)

    def pixels(self, params: Mapping[str, Value], digests: Mapping[str, str]) -> str:
        """Return the description of the pixels that were read; '' where they are official or nothing is declared."""
        if dict(params) != defaults(self) or not (self.digests or self.copies):
            return ""
        return "; ".join(filter(None, dict.fromkeys(self.copy_name(*item) for item in digests.items())))


@dataclass(frozen=True, kw_only=True)
class ProtocolSpec(Spec):
    """A protocol: how episodes are drawn. Its parameters include way, shot and query where they apply."""

    metric: Metric = ACCURACY
    """Metric of an episode. For any other than accuracy its class is an `episodes.ValuedProtocol`."""
    parts: tuple[Metric, ...] = ()
    """Parts of the score that have columns of their own; `ValuedProtocol.values` returns them after the score."""
    takes: tuple[str, ...] = ("images", "text")
    """Kinds of items that it draws from: images, text or functions."""
    training: str = ""
    """Protocol of training episodes, whose way, shot and query are those of the recipe; empty: this one."""
    episodes: int = 0
    """Number of episodes of a fixed list (`protocols.ListedProtocol`); 0: as many as wanted are drawn."""
    beside: str = ""
    """Split whose classes are in each episode beside the measured ones: episodes are drawn from a
    `joint_split.JointSplit`. Its parameter `reserve` is the share of their images held out of training."""
    support: str = ""
    """Split that support is drawn from where all queries are of the measured one. Both have the same classes, which no
    other protocol allows. Episodes are drawn from a `paired_split.PairedSplit`. Nothing is trained, and no interval is
    for new classes."""


SomeSpec = TypeVar("SomeSpec", bound=Spec, covariant=True)
AnySpec = AlgorithmSpec | BackboneSpec | DatasetSpec | ProtocolSpec


Kind = Literal["algorithm", "dataset", "backbone", "protocol"]
SPEC_CLASSES: Mapping[Kind, type[AnySpec]] = MappingProxyType(
    {"algorithm": AlgorithmSpec, "dataset": DatasetSpec, "backbone": BackboneSpec, "protocol": ProtocolSpec}
)
PLUGIN_KINDS: tuple[Kind, ...] = tuple(SPEC_CLASSES)


def kind_of(spec: Spec) -> Kind:
    """Return the kind of a spec: algorithm, dataset, backbone or protocol."""
    return next(kind for kind, wanted in SPEC_CLASSES.items() if isinstance(spec, wanted))


def defaults(spec: Spec) -> dict[str, Any]:
    """Return the default of every parameter of `spec`."""
    return {param.name: param.default for param in spec.params}
