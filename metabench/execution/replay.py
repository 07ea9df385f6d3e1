"""Measure a record's episodes again from its weights and compare every answer."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.errors import MissingError, UsageError
from metabench.execution.session import Session
from metabench.planning.run_spec import RunSpec
from metabench.records.inputs import Inputs, PluginInputs, as_plain, inputs_of
from metabench.records.schema import Record
from metabench.records.scores import ClassSums, Scores, scores_of
from metabench.registry.loader import Kind
from metabench.registry.params import Value
from metabench.registry.registry import Registry
from metabench.registry.resolved import ResolvedPlugin, resolve_params
from metabench.utils.hashing import file_sha256
from metabench.utils.text import counted, short_digest

if TYPE_CHECKING:
    from metabench.data import ClassSplit
    from metabench.evaluation.scoring import Watch

_HEX = re.compile("[0-9a-f]{64}")
ROUNDING = 1e-4
"""How far a value measured again may be off, relative or absolute: another processor adds in another order."""


@dataclass(frozen=True)
class Replay:
    """How a record's answers compare with those measured now.

    Attributes:
        episodes: how many were replayed, from the first on.
        total: how many the record has.
        differing: numbers of the episodes with another number of correct answers, or a value that rounding does not
            explain (`ROUNDING`).
        here, recorded: what there is in the first of them; None where none differs.
        same_episodes: whether the images of all episodes are those of the record; None where not all were replayed.
        same_classes: whether the sums by class agree too; None likewise.
    """

    episodes: int
    total: int
    differing: Sequence[int]
    here: float | None
    recorded: float | None
    same_episodes: bool | None
    same_classes: bool | None

    @property
    def reproduced(self) -> bool:
        """Whether nothing differs."""
        return not self.differing and self.same_episodes is not False and self.same_classes is not False


def replay(
    record: Record,
    session: Session,
    weights: Path | None,
    episodes: int,
    any_version: bool = False,
    watcher: Callable[[ClassSplit], Watch] | None = None,
) -> Replay:
    """Measure the first `episodes` episodes of a record again (all, of a run with open sampling).

    Args:
        record: of a run that succeeded.
        session: where the data are.
        weights: the model's weights, as `find_weights` found them; None where nothing was trained.
        episodes: at least 1; the record's number if that is less.
        any_version: take the installed versions of plugins for those of the record.
        watcher: given the classes that were measured, returns what is shown every answer.

    Raises:
        MissingError: a plugin, its version, the data or the weights are not those of the record.
    """
    places = session.place_of(record.inputs.dataset.digest)
    run = rebuild(record, session.registry, weights, any_version, places)
    digests = session.digests_of(run)
    _refuse_other_inputs(record.inputs, inputs_of(run.inputs(digests)), any_version)
    scores = record.measured
    total = len(scores)
    if run.sampling == "closed":  # otherwise the episodes depend on how many there are
        run = dataclasses.replace(run, episodes=min(episodes, total), stop=None)
    from metabench.execution.executor import Executor  # loads torch

    try:
        watch = None if watcher is None else watcher(session.measured(run))
        parts = Executor(session).replay(run, digests, watch)
    except UsageError as problem:  # what the user asked for was fine, so it is the record that does not fit
        raise MissingError(f"the run behind the record cannot be made here: {problem}") from None
    found = scores_of(parts["scores"])
    for index, (ours, theirs) in enumerate(zip(found.queries, scores.queries, strict=False)):
        if ours != theirs:
            raise MissingError(f"episode {index} has {counted(ours, 'query')} here and {theirs} in the record")
    if [part.metric for part in found.parts] != [part.metric for part in scores.parts]:
        raise MissingError("the scores of the record are made of other parts than here")
    if found.metric != scores.metric:
        raise MissingError(f"the episodes are scored by {found.metric} here and {scores.metric} in the record")
    return _compare(scores, found)


def rebuild(
    record: Record,
    registry: Registry,
    weights: Path | None,
    any_version: bool = False,
    places: Mapping[str, Value] | None = None,
) -> RunSpec:
    """Return the run behind a record, to be evaluated with `weights`.

    `places` are the parameters of the data set that say where it lies on this machine.

    Raises:
        MissingError: a plugin is not installed, or in another version, or has other parameters.
    """
    inputs = record.inputs
    choices = {kind: _choice(kind, plugin, registry, any_version) for kind, plugin in inputs.plugins.items()}
    data = choices["dataset"]
    choices["dataset"] = dataclasses.replace(data, params={**data.params, **(places or {})})
    return RunSpec(
        **choices,
        episodes=inputs.evaluation.episodes,
        episode_seed=inputs.evaluation.seed,
        sampling=inputs.evaluation.sampling,
        stop=None,
        precision=inputs.precision,
        recipe=None,
        seed=inputs.seed or 0,
        checkpoint=weights,
        checkpoint_sha256="" if weights is None else file_sha256(weights),
        split=inputs.dataset.split,
    )


def find_weights(record: Record, models: Path, beside: Path | None = None, given: Path | None = None) -> Path | None:
    """Return the file with a record's weights; None where nothing was trained.

    Looked for in this order: `given`; ``weights/<sha256>.safetensors`` of the leaderboard whose record file is
    `beside`; the model in the store. It is only taken if its SHA-256 is that of the record.

    Raises:
        UsageError: `given` has another checksum, or the record needs no weights.
        MissingError: there is none.
    """
    if record.inputs.training is None:
        if given is not None:
            raise UsageError("--checkpoint: the record is of a run without training, so it needs no weights")
        return None
    sha256, key = record.weights_sha256, "" if record.training is None else record.training.training_key
    if not _HEX.fullmatch(sha256):
        raise MissingError("the record does not say which weights it is of, so it cannot be replayed")
    if given is not None:
        if not given.is_file():
            raise MissingError(f"no checkpoint at {given}")
        if (other := file_sha256(given)) != sha256:
            raise UsageError(f"{given} has the SHA-256 {other[:12]}, and the record is of weights {sha256[:12]}")
        return given
    places = [] if beside is None else [beside.parent.parent / "weights" / f"{sha256}.safetensors"]
    places += [models / key / "weights.safetensors"] if _HEX.fullmatch(key) else []
    for place in places:
        if place.is_file() and file_sha256(place) == sha256:
            return place
    looked = " or ".join(map(str, places)) or models
    raise MissingError(f"no weights {sha256[:12]} at {looked}; name the file with --checkpoint")


def _choice(kind: Kind, wanted: PluginInputs, registry: Registry, any_version: bool) -> ResolvedPlugin:
    name = wanted.name
    try:
        spec, _ = registry.choose(kind, name)
    except UsageError:
        raise MissingError(f"the record needs the {kind} '{name}', which no installed plugin provides") from None
    if spec.version != wanted.version and not any_version:
        raise MissingError(
            f"the record was made with version {wanted.version} of the {kind} '{name}', and version "
            f"{spec.version} is installed; use the release that provenance.metabench names, or try --any-version"
        )
    try:
        params = resolve_params(spec, wanted.params)
    except UsageError as problem:
        raise MissingError(f"the installed {kind} '{name}' is not that of the record: {problem}") from None
    return ResolvedPlugin(spec, params)


def _refuse_other_inputs(wanted: Inputs, ours: Inputs, any_version: bool) -> None:
    """Raise where the run that we can make is not the record's: other data, parameters, declarations."""
    for kind, plugin in wanted.plugins.items():
        recorded, here = as_plain(plugin), as_plain(ours.plugins[kind])
        # A parameter that is newer than the record has its default, and the answers decide.
        here["params"] = {name: value for name, value in here["params"].items() if name in recorded["params"]}
        for name in sorted({*recorded, *here} - ({"version"} if any_version else set())):
            if recorded.get(name) != here.get(name):
                what = "the data are not those of the record: " if name == "digest" else ""
                theirs, mine = _differing(recorded.get(name), here.get(name))
                raise MissingError(f"{what}inputs.{kind}.{name} is {_brief(theirs)} there and {_brief(mine)} here")


def _differing(theirs: Any, ours: Any) -> tuple[Any, Any]:
    """Return two values; of dictionaries only the entries in which they differ."""
    if not isinstance(theirs, Mapping) or not isinstance(ours, Mapping):
        return theirs, ours
    same = {name for name in theirs if name in ours and theirs[name] == ours[name]}
    there, here = ({name: value for name, value in side.items() if name not in same} for side in (theirs, ours))
    return there, here


def _brief(value: Any) -> str:
    return repr(short_digest(value) if isinstance(value, str) and _HEX.fullmatch(value) else value)


def _compare(scores: Scores, found: Scores) -> Replay:
    here, recorded = found.answers, scores.answers
    parts = zip(found.parts, scores.parts, strict=True)
    columns = [(here, recorded), *((ours.values, theirs.values) for ours, theirs in parts)]
    differing = sorted(
        {
            index
            for ours, theirs in columns
            for index, pair in enumerate(zip(ours, theirs, strict=False))
            if not _same(*pair)
        }
    )
    whole = len(here) == len(recorded)
    same_classes = None
    if whole and scores.classes is not None and found.classes is not None:
        same_classes = _same_classes(scores.classes, found.classes)
    return Replay(
        len(here),
        len(recorded),
        differing,
        here[differing[0]] if differing else None,
        recorded[differing[0]] if differing else None,
        found.episodes_digest == scores.episodes_digest if whole else None,
        None if differing else same_classes,
    )


def _same_classes(recorded: ClassSums, found: ClassSums) -> bool:
    rows = [(getattr(found, name), getattr(recorded, name)) for name in ("episodes", "correct", "totals")]
    return recorded.of == found.of and all(
        len(ours) == len(theirs) and all(_same(*pair) for pair in zip(ours, theirs, strict=True))
        for ours, theirs in rows
    )


def _same(here: float, recorded: float) -> bool:
    """Whether a count is the same, or a value but for the rounding of another machine."""
    if isinstance(here, int) and isinstance(recorded, int):
        return here == recorded
    return math.isclose(here, recorded, rel_tol=ROUNDING, abs_tol=ROUNDING)
