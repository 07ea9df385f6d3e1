"""Measuring the episodes of a record again from its weights, and comparing every answer."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.errors import MissingError, UsageError
from metabench.execution.run_data import measured_split, run_digests
from metabench.execution.session import Session
from metabench.planning.run_spec import RunSpec
from metabench.records.inputs import Inputs, PluginInputs, as_plain, inputs_of
from metabench.records.schema import Record
from metabench.records.scores import ClassSums, Scores, scores_of
from metabench.registry.params import Value
from metabench.registry.registry import Registry
from metabench.registry.resolved import ResolvedPlugin, resolve_params
from metabench.registry.specs import AnySpec, Kind
from metabench.utils.hashing import file_sha256
from metabench.utils.home import Home
from metabench.utils.text import pluralise, short_digest

if TYPE_CHECKING:
    from metabench.data import ClassSplit
    from metabench.evaluation.scoring import Watch

_HEX = re.compile("[0-9a-f]{64}")
ROUNDING = 1e-4
"""Largest relative or absolute difference of a value measured again: another processor adds in another order."""


@dataclass(frozen=True)
class Replay:
    """A comparison of a record's answers with those measured now.

    Attributes:
        episodes: number of episodes replayed, from the first on.
        total: number of episodes in the record.
        differing: indices of the episodes with another number of correct answers, or a value that rounding does not
            explain (`ROUNDING`).
        here, recorded: the answers of the first differing episode; None where no episode differs.
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
        """Return whether nothing differs."""
        return not self.differing and self.same_episodes is not False and self.same_classes is not False


def replay_record(
    record: Record,
    session: Session,
    weights: Path | None,
    episodes: int,
    *,
    any_version: bool = False,
    watcher: Callable[[ClassSplit], Watch] | None = None,
) -> Replay:
    """Measure the first `episodes` episodes of a record again (all, of a run with open sampling).

    Args:
        record: of a run that succeeded.
        session: has the data.
        weights: file of the model's weights, see `find_weights`; None where nothing was trained.
        episodes: number of episodes, at least 1; at most the record's number is replayed.
        any_version: accept other versions of plugins than those of the record.
        watcher: takes the measured classes, and returns a function that takes every answer.

    Raises:
        MissingError: a plugin, its version, the data or the weights are not those of the record.
    """
    places = session.loader.places.find(record.inputs.dataset.digest)
    if not any_version:
        _refuse_other_versions(record.inputs, session.registry)
    run = rebuild(record, session.registry, weights, places)
    _refuse_other_inputs(record.inputs, inputs_of(run.inputs(run_digests(run, session.loader))))
    scores = record.measured
    total = len(scores)
    if run.sampling == "closed":  # otherwise the episodes depend on how many there are
        run = dataclasses.replace(run, episodes=min(episodes, total), stop=None)
    from metabench.execution.executor import Executor  # loads torch

    try:
        watch = None if watcher is None else watcher(measured_split(run, session.loader))
        measured = scores_of(Executor(session).replay_run(run, watch).scores)
    except UsageError as problem:  # what the user asked for was fine, so it is the record that does not fit
        raise MissingError(f"cannot replay the record here: {problem}") from None
    for index, (ours, theirs) in enumerate(zip(measured.queries, scores.queries, strict=False)):
        if ours != theirs:
            raise MissingError(f"episode {index} has {pluralise(ours, 'query')} here and {theirs} in the record")
    if [part.metric for part in measured.parts] != [part.metric for part in scores.parts]:
        raise MissingError("the scores of the record are made of other parts than here")
    if measured.metric != scores.metric:
        raise MissingError(f"the episodes are scored by {measured.metric} here and {scores.metric} in the record")
    return _compare(scores, measured)


def rebuild(
    record: Record,
    registry: Registry,
    weights: Path | None,
    places: Mapping[str, Value] | None = None,
) -> RunSpec:
    """Return the run behind a record, to be evaluated with `weights`, whatever versions of its plugins are installed.

    Args:
        record: names the plugins and their parameters.
        registry: the installed plugins.
        weights: file of the model's weights; None where nothing was trained.
        places: path parameters of the dataset on this machine.

    Raises:
        MissingError: a plugin is not installed, or has other parameters.
    """
    inputs = record.inputs
    base = inputs.base if inputs.training is None else None
    choices: dict[str, ResolvedPlugin[Any]] = {
        kind: _choice(kind, plugin, registry) for kind, plugin in inputs.plugins.items()
    }
    data = choices["dataset"]
    choices["dataset"] = dataclasses.replace(data, params={**data.params, **(places or {})})
    return RunSpec(
        **choices,
        episodes=inputs.evaluation.episodes,
        episode_seed=inputs.evaluation.seed,
        sampling=inputs.evaluation.sampling,
        stop=None,
        precision=inputs.precision,
        stages=(),
        seed=inputs.seed or 0,
        checkpoint=weights,
        checkpoint_sha256="" if weights is None else file_sha256(weights),
        split=inputs.dataset.split,
        source=None if base is None or base.dataset is None else _choice("dataset", base.dataset, registry),
    )


def find_weights(record: Record, home: Home, beside: Path | None = None, given: Path | None = None) -> Path | None:
    """Return the file with a record's weights; None where nothing was trained.

    The search order is `given`, then ``weights/<sha256>.safetensors`` of the leaderboard whose record file is
    `beside`, then those trained in `home`. A file is only returned if its SHA-256 is that of the record.

    Raises:
        UsageError: `given` has another checksum, or the record needs no weights.
        MissingError: no file has the weights.
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
    places += [home.weights(key)] if _HEX.fullmatch(key) else []
    for place in places:
        if place.is_file() and file_sha256(place) == sha256:
            return place
    looked = " or ".join(map(str, places)) or home.models
    raise MissingError(f"no weights {sha256[:12]} at {looked}; name the file with --checkpoint")


def _installed(kind: Kind, name: str, registry: Registry) -> AnySpec:
    try:
        return registry.choose(kind, name)[0]
    except UsageError:
        raise MissingError(f"the record needs the {kind} '{name}', which no installed plugin provides") from None


def _choice(kind: Kind, wanted: PluginInputs, registry: Registry) -> ResolvedPlugin[Any]:
    spec = _installed(kind, wanted.name, registry)
    try:
        params = resolve_params(spec, wanted.params)
    except UsageError as problem:
        raise MissingError(f"the installed {kind} '{wanted.name}' is not that of the record: {problem}") from None
    return ResolvedPlugin(spec, params)


def _refuse_other_versions(wanted: Inputs, registry: Registry) -> None:
    """Raise MissingError where a plugin is installed in another version than the record's."""
    for kind, plugin in wanted.plugins.items():
        spec = _installed(kind, plugin.name, registry)
        if spec.version != plugin.version:
            raise MissingError(
                f"the record was made with version {plugin.version} of the {kind} '{plugin.name}', and version "
                f"{spec.version} is installed; use the release that provenance.metabench names, or try --any-version"
            )


def _refuse_other_inputs(wanted: Inputs, rebuilt: Inputs) -> None:
    """Raise MissingError where the run rebuilt here has other data, parameters or declarations than the record.

    Versions are left to `_refuse_other_versions`.
    """
    if wanted.training is None and wanted.base != rebuilt.base:
        raise MissingError("the data are not those of the record: it studied other base classes")
    for kind, plugin in wanted.plugins.items():
        recorded, here = as_plain(plugin), as_plain(rebuilt.plugins[kind])
        # A parameter that is newer than the record has its default, and the answers decide.
        here["params"] = {name: value for name, value in here["params"].items() if name in recorded["params"]}
        for name in sorted({*recorded, *here} - {"version"}):
            if recorded.get(name) != here.get(name):
                what = "the data are not those of the record: " if name == "digest" else ""
                theirs, mine = _differing(recorded.get(name), here.get(name))
                raise MissingError(f"{what}inputs.{kind}.{name} is {_brief(theirs)} there and {_brief(mine)} here")


def _differing(theirs: Any, ours: Any) -> tuple[Any, Any]:
    """Return two values; of two dictionaries only the entries that differ."""
    if not isinstance(theirs, Mapping) or not isinstance(ours, Mapping):
        return theirs, ours
    same = {name for name in theirs if name in ours and theirs[name] == ours[name]}
    there, here = ({name: value for name, value in side.items() if name not in same} for side in (theirs, ours))
    return there, here


def _brief(value: Any) -> str:
    return repr(short_digest(value) if isinstance(value, str) and _HEX.fullmatch(value) else value)


def _compare(recorded: Scores, measured: Scores) -> Replay:
    """Return the comparison of the scores of a record with those measured now."""
    here, there = measured.answers, recorded.answers
    parts = zip(measured.parts, recorded.parts, strict=True)
    columns = [(here, there), *((ours.values, theirs.values) for ours, theirs in parts)]
    differing = sorted(
        {
            index
            for ours, theirs in columns
            for index, pair in enumerate(zip(ours, theirs, strict=False))
            if not _same(*pair)
        }
    )
    is_whole = len(here) == len(there)
    return Replay(
        len(here),
        len(there),
        differing,
        here[differing[0]] if differing else None,
        there[differing[0]] if differing else None,
        measured.episodes_digest == recorded.episodes_digest if is_whole else None,
        _same_classes(recorded.classes, measured.classes) if is_whole and not differing else None,
    )


def _same_classes(recorded: ClassSums | None, measured: ClassSums | None) -> bool | None:
    """Return whether the sums by class agree; None where one side has none."""
    if recorded is None or measured is None:
        return None
    rows = [(getattr(measured, name), getattr(recorded, name)) for name in ("episodes", "correct", "totals")]
    return recorded.of == measured.of and all(
        len(ours) == len(theirs) and all(_same(*pair) for pair in zip(ours, theirs, strict=True))
        for ours, theirs in rows
    )


def _same(here: float, recorded: float) -> bool:
    """Return whether two counts are equal, or two values up to the rounding of another machine."""
    if isinstance(here, int) and isinstance(recorded, int):
        return here == recorded
    return math.isclose(here, recorded, rel_tol=ROUNDING, abs_tol=ROUNDING)
