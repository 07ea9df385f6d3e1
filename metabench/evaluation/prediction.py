"""Labelling new images from a few examples: one episode whose support set and queries are the user's files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.data.bit_depth import measure_depth
from metabench.data.dataset_preprocessing import read_preprocessing
from metabench.data.image_arrays import quiet_decoders
from metabench.data.image_decoding import ImagePreprocessing, decode_image
from metabench.data.image_folders import ClassFiles, ImageFile, images_below, require_images, why_none
from metabench.data.label_tables import read_labelled
from metabench.data.parallel_rows import Unusable
from metabench.data.resumable_array import first_three
from metabench.episodes.batch import EpisodeBatch
from metabench.errors import MetabenchError, UsageError
from metabench.evaluation.predicted_label import Prediction
from metabench.evaluation.scoring import checked_outputs, winning_classes
from metabench.learners.base import Learner
from metabench.learners.factory import load_checkpoint, make_learner
from metabench.learners.views import with_views
from metabench.models.assembly import Model
from metabench.models.embedding import embed
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import AlgorithmSpec, BackboneSpec
from metabench.runtime.devices import choose_device
from metabench.runtime.torch_state import standard_torch
from metabench.utils.console import Console
from metabench.utils.random_streams import Stream
from metabench.utils.text import pluralise

_AT_ONCE = 512
"""Queries decoded and scored together, where answers do not depend on each other: bounds the memory they take."""


@dataclass(frozen=True)
class PredictionRequest:
    """A request to label images.

    Attributes:
        support: a folder with one sub-folder of images for each class.
        query: image files, and folders of them at any depth.
        algorithm, backbone: with their parameters.
        checkpoint: file of trained weights; None where the backbone needs none.
        form: size, fit and channels of images, which must be those of the training.
        one_by_one: label every query alone, with an algorithm that would use all of them together.
        skip_bad: leave files out that cannot be read.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    support: Path
    query: Sequence[Path]
    algorithm: ResolvedPlugin[AlgorithmSpec]
    backbone: ResolvedPlugin[BackboneSpec]
    checkpoint: Path | None = None
    form: ImagePreprocessing = field(default_factory=ImagePreprocessing)
    one_by_one: bool = False
    skip_bad: bool = False
    device: str = "auto"


@dataclass(frozen=True)
class _Support:
    """Class names, images (S, H, W, C) and labels (S,) of a support set."""

    names: list[str]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@standard_torch()
def label_images(request: PredictionRequest, console: Console) -> list[Prediction]:
    """Return a label for each query, in the order of their paths.

    Raises:
        UsageError, MissingError: folders or files cannot be used, or the algorithm is untrained.
        MetabenchError: images cannot be read.
    """
    _refuse_untrained(request)
    classes, queries = _classes(request, console), _queries(request, console)
    bits = _bits([*classes.images, *queries], console)
    support = _support(classes, request, bits, console)
    names = support.names
    height, width, channels = request.form.shape
    device = choose_device(request.device)
    shape = (channels, height, width)
    learner = make_learner(request.algorithm, request.backbone, shape, device, way=len(names))
    _load(learner, request, len(names), console)
    spec = request.algorithm.spec
    together = spec.setting_with(request.algorithm.params) == "transductive" and not request.one_by_one
    if together and len(queries) > 1:
        console.note(f"{spec.name} looks at the {len(queries)} queries together; --one-by-one looks at each alone")
    labelled: list[Prediction] = []
    size = len(queries) if together else _AT_ONCE
    with console.progress("labelling", len(queries)) as bar, quiet_decoders():
        for start in range(0, len(queries), size):
            files, images = _decoded(queries[start : start + size], request, bits, "--query", console)
            scores = _scores(learner, support, images, device, request.one_by_one)
            labelled += _named(files, scores, names)
            bar.update(min(start + size, len(queries)))
    return labelled


def _refuse_untrained(request: PredictionRequest) -> None:
    algorithm, backbone = request.algorithm.spec, request.backbone.spec
    if backbone.takes != "images":
        raise UsageError(
            f"cannot label images with backbone '{backbone.name}': it takes {backbone.takes}. Use another --backbone"
        )
    if request.checkpoint is not None:
        return
    if algorithm.takes != "features":
        raise UsageError(
            f"cannot label images with {algorithm.name}: it is untrained. Train it on other classes with 'metabench "
            f"run --algo {algorithm.name}' and pass its weights with --checkpoint, or use an algorithm that needs no "
            "training ('metabench list algorithms')"
        )
    if backbone.trains and not (backbone.trained_on or request.backbone.weights):
        raise UsageError(
            f"cannot label images with backbone '{request.backbone.name}': it is untrained. Pass --checkpoint FILE, or "
            "use a pre-trained --backbone ('metabench list backbones')"
        )


def _classes(request: PredictionRequest, console: Console) -> ClassFiles:
    classes = read_labelled(request.support, "--support")
    require_images(classes, "--support")
    if classes.skipped:
        console.note(f"--support: {classes.skipped.note}")
    return classes


def _bits(files: Sequence[ImageFile], console: Console) -> int:
    """Return the bits of a channel that all images of more than 8 bits, examples and queries, are taken to have."""
    with quiet_decoders():
        depth = measure_depth([file.path for file in files])
    if depth.note:
        console.note(f"--support and --query: {depth.note}")
    return depth.bits


def _support(classes: ClassFiles, request: PredictionRequest, bits: int, console: Console) -> _Support:
    """Return the support set; images that cannot be read are left out where the request says so."""
    with quiet_decoders():
        files, images = _decoded(classes.images, request, bits, "--support", console)
    kept = {file.path for file in files}
    counts = {name: sum(file.path in kept for file in mine) for name, mine in classes.items()}
    for name, count in counts.items():
        if not count:
            raise UsageError(f"cannot read --support: no image of class '{name}' can be read. Replace or repair some")
    return _Support(list(counts), images, np.repeat(np.arange(len(counts)), list(counts.values())))


def _queries(request: PredictionRequest, console: Console) -> list[ImageFile]:
    images, skipped = images_below(request.query, "--query")
    if skipped:
        console.note(f"--query: {skipped.note}")
    examples = request.support.resolve()
    queries = [file for file in images if examples not in file.path.resolve().parents]
    if len(queries) < len(images):
        console.note(f"--query: left out {pluralise(len(images) - len(queries), 'image')} of the support folder")
    if not queries:
        places = ", ".join(map(str, request.query))
        cause, remedy = why_none(skipped) if skipped else ("", "Give images, or folders of them")
        raise UsageError(f"cannot read --query: no images in {places}{cause}. {remedy}")
    return queries


def _decoded(
    files: Sequence[ImageFile], request: PredictionRequest, bits: int, flag: str, console: Console
) -> tuple[list[ImageFile], NDArray[np.uint8]]:
    """Return the files that can be read, and their images (N, H, W, C)."""
    good: list[ImageFile] = []
    bad: list[str] = []
    images = np.empty((len(files), *request.form.shape), dtype=np.uint8)
    for file in files:
        try:
            images[len(good)] = decode_image(file.path, request.form, bits)
            good.append(file)
        except Unusable as problem:
            bad.append(f"{file.path} ({problem})")
    if bad:
        what = f"{len(bad)} of {pluralise(len(files), 'image')}"
        if not request.skip_bad:
            listing = f"; 'metabench datasets verify folder:{request.support}' lists all" if flag == "--support" else ""
            listing = listing if len(bad) > 3 else ""
            raise MetabenchError(
                f"cannot read {flag}: {what} cannot be read: {first_three(bad)}{listing}. "
                "Replace or repair them, or leave them out with --skip-bad"
            )
        console.warn(f"{flag}: left out {what} that cannot be read: {first_three(bad)}")
    return good, images[: len(good)]


def _load(learner: Learner, request: PredictionRequest, way: int, console: Console) -> None:
    if request.checkpoint is not None:
        try:
            meta = load_checkpoint(learner, request.checkpoint)
        except UsageError as error:
            is_one_way = bool(getattr(learner.module, "way", 0))
            hint = f"; it must be made for the {way} classes of --support" if is_one_way else ""
            raise UsageError(f"{error}, --size and --colour{hint}") from None
        if "made_for" in meta:
            console.note(f"weights made for {meta['made_for']}")
        trained_on = read_preprocessing(meta.get("images"))
        if trained_on not in (None, request.form):
            console.warn(
                f"the weights were trained on images of another form ({trained_on.words}) than these "
                f"({request.form.words}): labels may be worse. Leave --size, --fit and --colour out"
            )
    elif learner.studies:
        raise UsageError(
            f"cannot label images with {request.algorithm.name}: it needs statistics of base classes. Pass "
            "--checkpoint FILE of a run of it, or set its parameters so that it needs none ('metabench show NAME')"
        )
    elif isinstance(learner.module, Model) and any(True for _ in learner.module.head.parameters()):
        name = request.algorithm.name
        raise UsageError(
            f"cannot label images with {name}: its own weights are untrained. Pass --checkpoint, or use another --algo"
        )


def _scores(
    learner: Learner, support: _Support, query: NDArray[np.uint8], device: torch.device, one_by_one: bool
) -> Tensor:
    """Return the scores (Q, way) of query images (Q, H, W, C)."""
    way = len(support.names)
    if not len(query):
        return torch.empty(0, way)
    body = learner.frozen if learner.frozen is not None else learner.embedder

    def features(items: NDArray[np.uint8], view: str = "") -> Tensor:
        tensor = torch.from_numpy(items).to(device)
        return tensor if body is None else embed(body, tensor, owner=learner.backbone)

    data = features(np.concatenate([support.images, query]))
    if learner.views:  # of the support alone: what copies it gets must not depend on the queries
        copies = with_views(support.images, "prediction", learner.views, features)[:, data.shape[1] :]
        data = torch.cat([data, torch.nn.functional.pad(copies, (0, 0, 0, len(query)))], dim=1)
    learner.module.eval()
    rows = len(support.images) + np.arange(len(query))
    groups = rows[:, None] if one_by_one else rows[None]
    with torch.inference_mode():
        batches = _episodes(learner, data, support.labels, groups, way)
        scores = torch.cat([checked_outputs(learner, data, batch) for batch in batches])
    return scores.reshape(-1, way).float().cpu()


def _episodes(
    learner: Learner, data: Tensor, labels: NDArray[np.int64], groups: NDArray[np.int64], way: int
) -> Iterator[EpisodeBatch]:
    """Yield the rows of queries (G, Q), each with the whole support set, as episodes."""

    def batch(part: NDArray[np.int64]) -> EpisodeBatch:
        every = np.tile(labels, (len(part), 1))
        rows = np.tile(np.arange(len(labels)), (len(part), 1))
        return EpisodeBatch(rows, every, part, np.zeros_like(part), way)

    size = learner.chunk_size(data, batch(groups[:1]))
    for start in range(0, len(groups), size):
        yield batch(groups[start : start + size])


def _named(files: Sequence[ImageFile], scores: Tensor, names: Sequence[str]) -> list[Prediction]:
    first = winning_classes(scores[None], lambda: Stream("predict", len(files)).words(0, 1))[0].tolist()
    shares = scores.double().softmax(-1).numpy()
    named = []
    for file, best, share in zip(files, first, shares, strict=True):
        rest = [index for index in np.argsort(-share, kind="stable") if index != best]
        every = dict(zip(names, map(float, share), strict=True))
        second = names[rest[0]]
        named.append(Prediction(file.path, names[best], every[names[best]], second, every[second], every))
    return named
