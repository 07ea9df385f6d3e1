"""One RunSpec to one record: load or train the model, embed every image once, score the episodes."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.data.joint_split import base_rows
from metabench.episodes.open_sampling import DisjointSource
from metabench.episodes.protocols import EpisodeProtocol, ListedProtocol, ValuedProtocol
from metabench.episodes.reserved import UnreservedSource
from metabench.episodes.source import EpisodeSource, ListedSource
from metabench.episodes.tally import EpisodeTally
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.evaluation.scoring import Watch, evaluate, rehearse
from metabench.execution.feature_cache import load_features, room_for_features, save_features
from metabench.execution.run_fingerprints import made_for, scorer_digest
from metabench.execution.session import Session
from metabench.learners.base import Learner
from metabench.learners.factory import make_learner
from metabench.models.assembly import Model
from metabench.models.checkpoints import load_tensors, load_weights, save_tensors
from metabench.models.embedding import embed, embedded_width, require_independence, to_device
from metabench.models.fingerprints import weights_digest
from metabench.models.interfaces import Backbone
from metabench.models.output_checks import OutputError
from metabench.planning.outcome import Outcome
from metabench.planning.run_spec import RunSpec, metric_of_protocol
from metabench.records.partial_scores import Partial
from metabench.records.record import build_record
from metabench.registry.metric import ACCURACY, Metric
from metabench.registry.recipe import Recipe
from metabench.registry.registry import load_target
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import AlgorithmSpec, defaults
from metabench.runtime.devices import choose_device, emulates
from metabench.runtime.memory import machine_failed
from metabench.runtime.memory_limits import forget_peak_memory, keep_freed_memory, peak_memory_mb
from metabench.runtime.provenance import provenance
from metabench.runtime.torch_state import standard_torch
from metabench.statistics.episode_scores import first_column
from metabench.statistics.stopping import checks
from metabench.statistics.summary import RunningMean
from metabench.training.episode_errors import training_advice
from metabench.training.trainer import Diverged, Progress, Trainer, check_recipe
from metabench.utils.atomic_files import write_atomic
from metabench.utils.hashing import content_key, file_sha256
from metabench.utils.signals import stop_on_signal

CPU = torch.device("cpu")
_FLUSH_SECONDS = 1.0
_SECONDS = "seconds.txt"
"""Beside weights: how long their training took."""
_SPLITS_KEPT = 3
"""Splits whose features stay in memory for the next run."""


class Executor:
    """Executes runs one after the other on one device, sharing what they have in common."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.device = choose_device(session.device_name)
        if self.device.type == "cpu":
            keep_freed_memory()
        self._features: dict[str, Tensor] = {}
        self._told_slow = False
        self._told: set[str] = set()

    @standard_torch()
    def preflight(self, run: RunSpec) -> None:
        """Raise UsageError or MissingError for what can be known to fail before hours of work.

        Where a plugin fails, the other runs go on: its own will fail again, and be recorded.
        """
        try:
            self._preflight(run)
        except (MetabenchError, OSError) as error:
            if not isinstance(error, OutputError):
                raise
        except (Exception, SystemExit) as error:
            self.session.console.note(f"{run.label}: {type(error).__name__} in a trial: {error}")

    def _preflight(self, run: RunSpec) -> None:
        source = measured = self._test_source(run, None)[0]
        images = self.session.split(run.dataset, run.split).images
        training: dict[str, EpisodeSource] = {}
        if run.recipe is not None:
            check_recipe(run.recipe)
            splits = dict.fromkeys(("val", run.recipe.train_on))
            training = {split: self._training_source(run, run.recipe, split) for split in splits}
            source = training[run.recipe.train_on]
            images = source.split.images
            self._refuse_other_shape(run, images.shape[1:])
        learner = self._learner(run)
        if run.checkpoint is not None:
            load_weights(learner.module, run.checkpoint)
        elif run.recipe is None:
            _refuse_own_weights(run, learner)
        self._check(run, learner, run.recipe, source, images)
        if run.recipe is not None:  # what is scored may need more memory than training, and another number of classes
            if run.recipe.train_on == "train":
                self._check(run, learner, None, training["val"], training["val"].split.images)
            self._check(run, learner, None, measured, self.session.split(run.dataset, run.split).images)

    @staticmethod
    def _check(
        run: RunSpec,
        learner: Learner,
        recipe: Recipe | None,
        source: EpisodeSource,
        images: NDArray[np.uint8],
        accepted: bool = False,
    ) -> str:
        try:
            return learner.check(recipe, source, images, accepted)
        except UsageError as error:
            name, body = run.algorithm.name, run.backbone.name
            raise UsageError(f"{name} on backbone '{body}' {error}") from error

    @standard_torch()
    def execute(self, run: RunSpec, digests: Mapping[str, str]) -> Outcome:
        """Measure a run and store its record; a failure becomes a record too.

        Raises:
            UsageError, MissingError, OSError: not the run's fault, so nothing is recorded.
            KeyboardInterrupt: after recording the run as interrupted.
        """
        inputs = run.inputs(digests)
        key = content_key(inputs)
        store = self.session.store
        with store.lock(key):
            if not self.session.rerun and (record := store.find(key)):
                return Outcome(record, True)  # another process was faster
            parts: dict[str, Any] = {}
            exhausted = False
            try:
                self._measure(run, digests, key, parts)
                record = build_record(inputs, "ok", **parts, provenance=self._provenance(run))
            except (UsageError, MissingError, OSError):
                raise
            except KeyboardInterrupt:
                store.put(build_record(inputs, "interrupted", provenance=self._provenance(run)))
                raise
            except (Exception, SystemExit) as error:  # a plugin's own code may end in any way
                message = " ".join(str(error).split())[:2000]
                exhausted = machine_failed(error)
                kind = "" if isinstance(error, MetabenchError) else type(error).__name__
                self._warn_once(f"{run.label} failed: {': '.join(filter(None, (kind, message)))}")
                record = build_record(
                    inputs,
                    "failed",
                    provenance=self._provenance(run),
                    error={"type": type(error).__name__, "message": message},
                )
                if self.session.console.verbose:
                    self.session.console.note(traceback.format_exc())
            path = store.put(record)
            if not exhausted:
                Partial(store.root, key).remove()
        for warning in self.session.registry.plugins.run_finished(record, str(path)):
            self.session.console.warn(warning)
        return Outcome(record, False)

    def _warn_once(self, text: str) -> None:
        """Warn, but not again for every seed."""
        if text not in self._told:
            self._told.add(text)
            self.session.console.warn(text)

    @standard_torch()
    def replay(self, run: RunSpec, digests: Mapping[str, str], watch: Watch | None = None) -> dict[str, Any]:
        """Measure a run and store nothing; return the arguments of `build_record`. `watch` sees every answer."""
        key = content_key(["replay", run.inputs(digests)])
        parts: dict[str, Any] = {}
        with self.session.store.lock(key):
            if watch is not None:  # it must see those too that an interrupted replay left
                Partial(self.session.store.root, key).remove()
            self._measure(run, digests, key, parts, watch)
            Partial(self.session.store.root, key).remove()
        return parts

    def _measure(
        self, run: RunSpec, digests: Mapping[str, str], key: str, parts: dict[str, Any], watch: Watch | None = None
    ) -> None:
        """Fill `parts` with the arguments of `build_record`."""
        forget_peak_memory()
        started = time.perf_counter()
        if not self._told_slow and emulates(self.device, run.precision):
            self._told_slow = True
            self.session.console.warn(
                f"this processor has no arithmetic in {run.precision} and takes many times as long as in float32"
            )
        learner = self._learner(run)
        model = learner.module
        parts["training"] = self._weights(run, learner, digests)
        trained = time.perf_counter()
        data = self._data(run, learner, digests)
        embedded = time.perf_counter()
        name = [run.protocol.inputs(), digests[run.measured], run.split, run.episode_seed]
        source, most = self._test_source(run, name)
        accepted = run.recipe is not None  # in `preflight`, before anything was trained
        self._check(run, learner, None, source, self.session.split(run.dataset, run.split).images, accepted)
        scores, tally, before = self._score(run, learner, data, source, most, key, watch)
        ended = time.perf_counter()
        parts["scores"] = tally.record(scores, run.metric, run.parts)
        parts["cost"] = {
            "seconds": round(ended - started, 3),
            "training_seconds": round(trained - started, 3),
            "embedding_seconds": round(embedded - trained, 3),
            "scoring_seconds": round(ended - embedded, 3),
            "episodes_per_second": round((len(scores) - before) / max(1e-9, ended - embedded), 1),
            "peak_memory_mb": round(peak_memory_mb() + learner.beside_mb, 1),
            "parameters": _parameters(model) + (0 if learner.frozen is None else _parameters(learner.frozen)),
        }

    def _provenance(self, run: RunSpec) -> dict[str, Any]:
        """What a record says of where it was made, and of what.

        `local` keeps it off leaderboards, `pixels` are not official, `copies` are items that are there more than once.
        """
        told = {"local": run.local, "pixels": self.session.pixels(run), "copies": self.session.copies(run)}
        return {**provenance(self.device), **{name: value for name, value in told.items() if value}}

    def _refuse_other_shape(self, run: RunSpec, trained_on: tuple[int, ...]) -> None:
        """A network made for items of one shape does not read those of another; texts have no shape but a length."""
        measured = self.session.split(run.dataset, run.split).images.shape[1:]
        if measured == trained_on or len(measured) == len(trained_on) == 1:
            return
        sizes = (
            next((p.default for p in c.spec.params if p.name == "size"), "") for c in (run.trained_on, run.dataset)
        )
        size = next(filter(None, sizes), "")
        remedy = f"make them alike, as with --set data.size={size}, or take" if size else "take"
        raise UsageError(
            f"items of '{run.trained_on.name}' are {_times(trained_on)} and those of '{run.dataset.name}' "
            f"{_times(measured)}, so what is trained on the one cannot read the other; {remedy} "
            "a data set of the same shape"
        )

    def _training_source(
        self, run: RunSpec, recipe: Recipe, split: str, digests: Mapping[str, str] | None = None
    ) -> EpisodeSource:
        """Return the episodes of training (or validation, ``val``); without `digests` only to try them."""
        shape, protocol, dataset = self._episode_shape(recipe, split), run.trained_by, run.trained_on
        params: dict[str, Any] = {**protocol.params, **{k: v for k, v in shape.items() if k in protocol.params}}
        parts = [digests[part] for part in split.split("+")] if digests else []
        # Not the way and query of the evaluation: the same training must come out whatever is measured with it.
        own = {**defaults(protocol.spec), "shot": recipe.shot}
        named = {k: own[k] if k in ("way", "shot", "query") else value for k, value in protocol.params.items()}
        name = [ResolvedPlugin(protocol.spec, named).inputs(), *parts, split, run.seed, recipe.way, recipe.shot]
        classes, mask = self.session.split(dataset, split), self.session.withheld(run, split)
        with training_advice(split, dataset.name):
            if mask is None:
                return EpisodeSource(_protocol(protocol, params), classes, name)
            return UnreservedSource(_protocol(protocol, params), classes, [name, run.reserve], mask)

    def _test_source(self, run: RunSpec, name: Any) -> tuple[EpisodeSource, int]:
        """Return the episodes that are measured and how many there may be."""
        protocol, split = _protocol(run.protocol, run.protocol.params), self.session.measured(run)
        if isinstance(protocol, ListedProtocol):
            return ListedSource(protocol, split, name), run.episodes
        if run.sampling == "closed":
            return EpisodeSource(protocol, split, name), run.episodes
        source = DisjointSource(protocol, split, name, run.episodes)
        return source, source.episodes

    @staticmethod
    def _episode_shape(recipe: Recipe, split: str) -> dict[str, int]:
        if split == "val":
            query = recipe.validation_query or recipe.query
            return {"way": recipe.validation_way, "shot": recipe.shot, "query": query}
        return {"way": recipe.way, "shot": recipe.shot, "query": recipe.query}

    def _learner(self, run: RunSpec) -> Learner:
        return make_learner(
            run.algorithm,
            run.backbone,
            self.session.split(run.dataset, run.split).item_shape,
            run.seed,
            _way(run),
            self.device,
            run.precision,
            self.session.max_memory,
        )

    def _weights(self, run: RunSpec, learner: Learner, digests: Mapping[str, str]) -> dict[str, Any] | None:
        """Bring the weights to where they are to be evaluated; return what happened."""
        model = learner.module
        if run.checkpoint is not None:
            load_weights(model, run.checkpoint)
            return {"checkpoint": run.checkpoint.name, "weights_sha256": run.checkpoint_sha256}
        if run.recipe is None:
            return None
        key = run.training_key(digests)
        folder = self.session.home.models / key
        weights = folder / "weights.safetensors"
        with self.session.store.lock(key):
            if not weights.exists() or self._unreadable(model, weights):
                progress = {**vars(self._train(run, run.recipe, learner, digests, folder / "state.safetensors"))}
                # Not into the file of weights: the same training gives the same file, however long it took.
                write_atomic(folder / _SECONDS, str(progress.pop("seconds")))
                meta = {**made_for(run), "training": progress, "source": run.recipe.source}
                save_tensors(weights, model.state_dict(), meta)
                (folder / "state.safetensors").unlink(missing_ok=True)
            happened = load_weights(model, weights)["training"]
            seconds = {"seconds": float((folder / _SECONDS).read_text())} if (folder / _SECONDS).exists() else {}
        return {**happened, **seconds, "weights_sha256": file_sha256(weights), "training_key": key}

    def _unreadable(self, model: torch.nn.Module, weights: Path) -> bool:
        try:
            load_weights(model, weights)
        except MetabenchError as error:
            self.session.console.warn(f"{error}; training again")
            return True
        return False

    def _resumable(self, state: Path) -> bool:
        """Whether there is a saved state; a damaged one is reported and removed."""
        try:
            load_tensors(state)
        except MissingError:
            return False
        except MetabenchError as error:
            self.session.console.warn(f"{error}; training from the start")
            state.unlink()
            return False
        return True

    def _train(
        self, run: RunSpec, recipe: Recipe, learner: Learner, digests: Mapping[str, str], state: Path
    ) -> Progress:
        def drawn(split: str) -> tuple[Tensor, EpisodeSource]:
            source = self._training_source(run, recipe, split, digests)
            digest = "+".join(digests[part] for part in split.split("+"))
            return self._items(run, learner, source.split.images, digest), source

        on = recipe.train_on
        validation = drawn("val") if on == "train" else None
        training, metric = drawn(on), run.training_metric
        trainer = Trainer(learner, recipe, *training, validation, state, run.precision, metric)
        if note := self._check(run, learner, recipe, trainer.source, trainer.source.split.images, accepted=True):
            self.session.console.note(f"{run.label}: {note}")
        rehearse(learner, *training)
        label = f"training {run.algorithm.name} on {run.trained_on.name}, {recipe.shot}-shot"
        if self._resumable(state):
            self.session.console.note(f"{label}: resuming")
        with self.session.console.progress(label, recipe.episodes) as bar:

            def report(progress: Progress, loss: float) -> None:
                last = progress.curve[-1] if progress.curve else None
                checked = (
                    f", validation {_shown((last[f'validation_{metric.name}'], None), metric)}"
                    if last and validation
                    else ""
                )
                bar.update(progress.episode, f"loss {loss:.3f}{checked}")

            try:
                return trainer.run(run.seed, report)
            except Diverged as error:
                raise self._with_last_good(
                    error, trainer, state.with_name("best.safetensors"), made_for(run)
                ) from error

    @staticmethod
    def _with_last_good(error: Diverged, trainer: Trainer, path: Path, told: Mapping[str, Any]) -> Diverged:
        """Keep the best weights of a training that diverged, and say where."""
        if not trainer.best:
            return error
        save_tensors(path, trainer.best, {**told, "training": vars(trainer.progress)})
        episode = trainer.progress.best_episode
        return Diverged(f"{error}. The best weights before, of episode {episode}, can be used: --checkpoint {path}")

    def _data(self, run: RunSpec, learner: Learner, digests: Mapping[str, str]) -> Tensor:
        """Return what `learner` scores: the images, or their features; after them those of base classes or support."""
        found = self._scorable(run, learner, run.split, digests[run.measured])
        if run.support:
            given = self._scorable(run, learner, run.support, digests[run.support])
            return self._together(found, given, np.arange(len(given)))
        if not run.beside:
            return found
        base = self._scorable(run, learner, run.beside, digests[run.beside])
        return self._together(found, base, base_rows(self.session.reserve(run)))

    def _together(self, found: Tensor, other: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Return the features of a split, and after them rows of those of another."""
        shape, folder = (len(found) + len(rows), found.shape[1]), self.session.home.features
        both = room_for_features(shape, self.device, folder, self.session.max_memory)
        both[: len(found)] = found
        torch.index_select(other, 0, torch.from_numpy(rows).to(other.device), out=both[len(found) :])
        return both

    def _scorable(self, run: RunSpec, learner: Learner, split: str, digest: str) -> Tensor:
        images = self.session.split(run.dataset, split).images
        if learner.frozen is not None or learner.embedder is None:
            return self._items(run, learner, images, digest)
        return self._embedded(run, learner.embedder, images, digest)

    def _items(self, run: RunSpec, learner: Learner, images: NDArray[np.uint8], digest: str) -> Tensor:
        """Return what `learner` is trained on: the images of a split, or what its frozen backbone makes of them."""
        if learner.frozen is not None:
            return self._embedded(run, learner.frozen, images, digest)
        return to_device(images, self.device)

    def _embedded(self, run: RunSpec, backbone: Backbone, images: NDArray[np.uint8], digest: str) -> Tensor:
        """Return the features of a split with this digest, from memory, disk or the backbone."""
        key = content_key(
            {
                "backbone": run.backbone.inputs(),
                "weights": weights_digest(backbone),
                "images": digest,
                "precision": run.precision,
                "device": self.device.type,
                "torch": torch.__version__,
            }
        )
        if key in self._features:
            return self._features[key]
        # Without weights, embedding is cheaper than reading it back from disk.
        keep = any(True for _ in backbone.parameters())
        path = self.session.home.features / f"{key}.npy"
        shape = (len(images), embedded_width(backbone))
        features = load_features(path, shape) if keep else None
        if features is None:
            features = room_for_features(shape, self.device, path.parent, self.session.max_memory)
            label = f"embedding {run.dataset.name}"
            with self.session.console.progress(label, len(images)) as bar:
                items, owner = to_device(images, CPU), f"backbone '{run.backbone.name}'"
                embed(backbone, items, run.precision, bar.update, features, owner)
            require_independence(backbone, items, features, run.precision, owner)
            if keep:
                save_features(path, features)
        if len(self._features) == _SPLITS_KEPT:
            del self._features[next(iter(self._features))]
        self._features[key] = features.to(self.device)
        return self._features[key]

    def _score(
        self,
        run: RunSpec,
        learner: Learner,
        data: Tensor,
        source: EpisodeSource,
        most: int,
        key: str,
        watch: Watch | None = None,
    ) -> tuple[NDArray[np.float64], EpisodeTally, int]:
        """Score the episodes, resuming from and saving to the store's partial file; say how many were there before."""
        partial = Partial(self.session.store.root, key, run.width, scorer_digest(learner, source))
        if self.session.rerun:
            partial.remove()
        done, rule = partial.load()[:most], run.stop
        if rule is not None and (end := rule.reached(done)):
            done, most = done[:end], end  # stopped, and killed before the record was written
        scores, unsaved, saved = [done], [], time.monotonic()
        running, metric = RunningMean(), run.metric
        scale = 100.0 if metric == ACCURACY else 1.0
        running.add(scale * first_column(done))
        with self.session.console.progress(run.label, most) as bar, stop_on_signal() as stop:

            def report(found: NDArray[np.float64]) -> bool:
                nonlocal saved
                if found.shape[1:] != done.shape[1:]:
                    name = type(source.protocol).__name__
                    raise MetabenchError(f"{name}.values returns {found.shape[1:]}, and its spec has parts {run.parts}")
                scores.append(found)
                unsaved.append(found)
                running.add(scale * first_column(found))
                bar.update(running.count, _shown(running.interval, metric))
                if time.monotonic() - saved > _FLUSH_SECONDS:
                    partial.append(np.concatenate(unsaved))
                    unsaved.clear()
                    saved = time.monotonic()
                if stop.requested:
                    raise KeyboardInterrupt
                if rule is None or running.count not in stops:
                    return False
                return rule.reached(np.concatenate(scores)) is not None

            stops = [] if rule is None else list(checks(most))
            try:
                tally = evaluate(learner, data, source, most, done, report, stops=stops, watch=watch)
            except BaseException:  # whatever it is, what is scored is kept
                if unsaved:
                    partial.append(np.concatenate(unsaved))
                raise
        return np.concatenate(scores), tally, len(done)


def _refuse_own_weights(run: RunSpec, learner: Learner) -> None:
    """Raise UsageError for an algorithm with weights beside the backbone's that nobody has trained."""
    spec, module = run.algorithm.spec, learner.module
    assert isinstance(spec, AlgorithmSpec)
    if spec.trains and isinstance(module, Model) and any(True for _ in module.head.parameters()):
        raise UsageError(
            f"{run.algorithm.name} has weights of its own, and '{run.dataset.name}' has no classes to train them on; "
            "use --checkpoint, or another algorithm"
        )


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _protocol(choice: ResolvedPlugin, params: Mapping[str, Any]) -> EpisodeProtocol:
    """Build a protocol whose class has what its spec says."""
    protocol: EpisodeProtocol = load_target(choice.spec)(**params)
    metric = metric_of_protocol(choice)
    if isinstance(protocol, ValuedProtocol) != (metric != ACCURACY):
        has = "has" if isinstance(protocol, ValuedProtocol) else "lacks"
        raise UsageError(f"protocol '{choice.name}' says metric {metric}, but its class {has} values(outputs, truth)")
    return protocol


def _way(run: RunSpec) -> int:
    """Return the number of classes that a network with a classifier is built for; 0 where the protocol has none."""
    return int(run.protocol.params.get("way", 0))


def _shown(interval: tuple[float, float | None], metric: Metric) -> str:
    """A mean and its half-width on a progress line."""
    mean, half = interval
    width = f" ± {half:.{metric.digits}f}" if half else ""
    return f"{mean:.{metric.digits}f}{width} {metric.unit or metric.name}"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
