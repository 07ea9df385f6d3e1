"""First step of planning: names become specs, settings are sorted by scope, defaults are filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from metabench.errors import UsageError
from metabench.planning.selection import (
    EPISODES,
    LISTS,
    MOST_UNTIL,
    Selection,
    check_selection,
    require_lists,
    stop_rule,
)
from metabench.planning.settings import check_known, settings_by_scope, stage_names, stage_overrides
from metabench.planning.training_chain import Overrides
from metabench.registry.metric import ACCURACY
from metabench.registry.params import Value
from metabench.registry.registry import NamedSpec, Registry
from metabench.registry.resolved import ResolvedPlugin, resolve_params
from metabench.registry.specs import (
    FIXED_WAY,
    SAMPLINGS,
    AlgorithmSpec,
    BackboneSpec,
    DatasetSpec,
    ProtocolSpec,
    Spec,
    defaults,
)
from metabench.statistics.stopping import StopRule
from metabench.utils.text import pluralise

AnyKind = TypeVar("AnyKind", bound=Spec)
WAY, SHOT = 5, 1
"""Way and shot of training where neither the user nor the protocol sets them."""


@dataclass(frozen=True)
class PlanRequest:
    """A checked selection, with protocol, settings and stop rule resolved.

    Attributes:
        selection: each value of its lists once, `ways` and `shots` filled in.
        protocol: of the measured episodes.
        training_protocol: of the training episodes.
        source: the dataset of ``--train-dataset``; None where it is not given.
        settings: by scope and name.
        stage_overrides: the settings of stages, by stage and field of `Stage`.
        episodes: their number, or the maximum under a stop rule.
        stop: the stop rule; None where the number of episodes is fixed.
    """

    selection: Selection
    protocol: ProtocolSpec
    training_protocol: ProtocolSpec
    source: NamedSpec[DatasetSpec] | None
    settings: Mapping[str, Mapping[str, Value]]
    stage_overrides: Overrides
    episodes: int
    stop: StopRule | None

    @property
    def has_ways(self) -> bool:
        """The measured or the training episodes have a number of classes to set."""
        return _has_way(self.protocol) or _has_way(self.training_protocol)


def resolve_request(selection: Selection, registry: Registry) -> PlanRequest:
    """Return a selection with everything resolved that does not depend on a single combination.

    Raises:
        UsageError: an unknown name, a bad value, or options that contradict each other.
    """
    require_lists(selection, "algorithms", "datasets")
    unique: dict[str, Any] = {name: tuple(dict.fromkeys(getattr(selection, name))) for name in LISTS}
    protocol = registry.find("protocol", _protocol_name(selection, registry))
    training = registry.find("protocol", protocol.training) if protocol.training else protocol
    if selection.ways and not (_has_way(protocol) or _has_way(training)):
        raise UsageError(f"cannot apply --ways: protocol '{protocol.name}' has no ways. Leave --ways out.")
    unique["ways"] = unique["ways"] or (defaults(protocol).get("way", WAY),)
    unique["shots"] = unique["shots"] or (defaults(protocol).get("shot", SHOT),)
    episodes = _episode_count(selection, protocol)
    check_selection(selection, episodes)
    stop = stop_rule(selection, episodes)
    settings = settings_by_scope(selection.settings)
    algorithms = [registry.choose("algorithm", name).spec for name in unique["algorithms"]]
    overrides = stage_overrides(settings, stage_names(algorithms))
    if stop is not None and protocol.metric != ACCURACY:
        raise UsageError(
            f"cannot apply --until-ci: it is in points of accuracy, and protocol '{protocol.name}' is scored by "
            f"{protocol.metric}. Leave --until-ci out."
        )
    source = registry.choose("dataset", selection.train_dataset) if selection.train_dataset else None
    selection = dataclasses.replace(selection, **unique)
    return PlanRequest(selection, protocol, training, source, settings, overrides, episodes, stop)


def resolve_plugin(spec: AnyKind, settings: Mapping[str, Value]) -> ResolvedPlugin[AnyKind]:
    """Return a spec with its parameters; settings of other selected plugins are ignored.

    Raises:
        UsageError: a value of another type, or one that is not among the choices.
    """
    known = {param.name for param in spec.params}
    own = {name: value for name, value in settings.items() if name in known}
    return ResolvedPlugin(spec, resolve_params(spec, own))


def resolve_model(
    registry: Registry,
    algo: str,
    backbone: str,
    settings: Mapping[str, Value],
    trained: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[ResolvedPlugin[AlgorithmSpec], ResolvedPlugin[BackboneSpec]]:
    """Return the algorithm and the backbone that a user names, without any dataset.

    Args:
        registry: the plugins to choose from.
        algo: name of the algorithm.
        backbone: empty for that of the algorithm.
        settings: ``algo.NAME`` and ``backbone.NAME`` to value.
        trained: ``algorithm`` and ``backbone`` that weights were trained for, each with `name` and `params`. Where
            they are those that the user names, their parameters are the defaults below `settings`.

    Raises:
        UsageError: an unknown name, a bad value, or a setting of another scope.
    """
    scopes = settings_by_scope(settings)
    for scope in set(scopes) - {"algo", "backbone"}:
        for name in scopes[scope]:
            raise UsageError(f"cannot set {scope}.{name}: only algo.* and backbone.* can be set here. Leave it out.")
    algorithm, own = registry.choose("algorithm", algo)
    body, of_body = registry.choose("backbone", backbone or algorithm.backbone)
    check_known("algo", (NamedSpec(algorithm, own),), scopes["algo"])
    check_known("backbone", (NamedSpec(body, of_body),), scopes["backbone"])

    def known(part: str, name: str) -> Mapping[str, Value]:
        made_for = (trained or {}).get(part, {})
        return made_for["params"] if made_for.get("name", "").partition(":")[0] == name else {}

    return (
        resolve_plugin(algorithm, {**known("algorithm", algorithm.name), **scopes["algo"], **own}),
        resolve_plugin(body, {**known("backbone", body.name), **scopes["backbone"], **of_body}),
    )


def _episode_count(selection: Selection, protocol: ProtocolSpec) -> int:
    """Return the number of episodes, or the maximum under a stopping rule."""
    if not protocol.episodes:
        usual = EPISODES if selection.until_ci is None else MOST_UNTIL
        return usual if selection.episodes is None else selection.episodes
    if selection.until_ci is not None or selection.sampling != SAMPLINGS[0]:
        raise UsageError(
            f"cannot apply --until-ci or --sampling: protocol '{protocol.name}' is a list of episodes. Leave them out."
        )
    episodes = protocol.episodes if selection.episodes is None else selection.episodes
    if episodes > protocol.episodes:
        raise UsageError(
            f"protocol '{protocol.name}' has {pluralise(protocol.episodes, 'episode')}, not {episodes}. "
            f"Use --episodes {protocol.episodes} or fewer."
        )
    return episodes


def _protocol_name(selection: Selection, registry: Registry) -> str:
    """Return the protocol asked for, else that of the datasets."""
    if selection.protocol:
        return selection.protocol
    names = {registry.choose("dataset", name).spec.protocol or FIXED_WAY for name in selection.datasets}
    if len(names) > 1:
        raise UsageError(
            f"cannot measure these datasets in one command: their protocols differ ({', '.join(sorted(names))}). "
            "Use one command for each."
        )
    return names.pop()


def _has_way(protocol: ProtocolSpec) -> bool:
    return "way" in {param.name for param in protocol.params}
