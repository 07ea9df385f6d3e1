"""From a selection (what the user asked for) to runs (fully resolved); pure, and free of torch."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from metabench.errors import UsageError, did_you_mean
from metabench.planning.compatibility import misfit, refuse_untrained
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec, sound, spec_of
from metabench.registry.metric import ACCURACY
from metabench.registry.params import Value
from metabench.registry.recipe import Recipe
from metabench.registry.registry import Chosen, Registry
from metabench.registry.resolved import ResolvedPlugin, resolve_params
from metabench.registry.specs import (
    FIXED_WAY,
    SAME_CLASSES,
    SAMPLINGS,
    TEST,
    AlgorithmSpec,
    BackboneSpec,
    DatasetSpec,
    ProtocolSpec,
    Spec,
    defaults,
)
from metabench.statistics.stopping import BOUNDS, StopRule
from metabench.utils.hashing import file_sha256
from metabench.utils.text import counted
from metabench.utils.weight_files import require_weights_file

PRECISIONS = ("float32", "bfloat16")
MAX_EPISODES = 1_000_000
EPISODES, MOST_UNTIL = 2_000, 100_000
"""Test episodes where the user gives no number: without a stop rule, and at most with one."""
WAY, SHOT = 5, 1
"""Of training where neither the user nor the protocol says."""
MAX_SEED = 2**63 - 1
LISTS = ("algorithms", "datasets", "backbones", "ways", "shots", "seeds")
_OF_ANY_BACKBONE = ("weights", "trained_on")
"""Settings of every backbone: a file of weights, and what they have seen."""
SCOPES = ("algo", "backbone", "data", "protocol", "train")
P = TypeVar("P", RunSpec, Planned)
Combinations = Sequence[tuple[Chosen[AlgorithmSpec], Chosen[DatasetSpec], Chosen[BackboneSpec]]]


@dataclass(frozen=True)
class Selection:
    """What the user asked for; every combination of the lists is one run."""

    algorithms: Sequence[str]
    datasets: Sequence[str] = ("glyphs",)
    backbones: Sequence[str] = ()
    """Empty: each algorithm's own default."""
    ways: Sequence[int] = ()
    """Empty, as with shots: the protocol's own default."""
    shots: Sequence[int] = ()
    query: int | None = None
    """None: the protocol's own default; of a local data set with small classes, what they have."""
    protocol: str = ""
    """Empty: that of the data sets, `FIXED_WAY` unless they have their own."""
    episodes: int | None = None
    """None: `EPISODES`, or with `until_ci` at most `MOST_UNTIL`; all where the protocol lists them."""
    seeds: Sequence[int] = (0,)
    """Training seeds."""
    episode_seed: int = 0
    sampling: str = "closed"
    """``open``: no two episodes share an image; as many as the data have, at most `episodes`."""
    until_ci: float | None = None
    """Stop once the half-width is this many percentage points; then `episodes` is the most there may be."""
    bound: str = "asymptotic"
    """The confidence sequence that `until_ci` looks at, one of `metabench.statistics.stopping.BOUNDS`."""
    precision: str = "float32"
    checkpoint: Path | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)
    """``scope.name`` to value, the scope one of `SCOPES`."""
    split: str = TEST
    """The split whose classes are measured; ``val`` is for choices, and no result."""
    train_dataset: str = ""
    """The data set that is trained and validated on, where that is not the one that is measured."""


def plan(selection: Selection, registry: Registry) -> list[RunSpec]:
    """Resolve a selection into runs, in the order algorithm, data set, backbone, way, shot, seed.

    Raises:
        UsageError: an unknown name, a bad value, a parameter that nothing selected has, parts that do not go together.
    """
    return sound(plan_each(selection, registry))


def plan_each(selection: Selection, registry: Registry) -> list[Planned]:
    """As `plan`, but a run whose parts do not go together is told, and the others are there.

    Raises:
        UsageError: an unknown name, a bad value, a parameter that nothing selected has.
    """
    for name in ("algorithms", "datasets"):
        if not getattr(selection, name):
            raise UsageError(f"no {name} given")
    unique: dict[str, Any] = {name: tuple(dict.fromkeys(getattr(selection, name))) for name in LISTS}
    protocol = registry.find("protocol", _protocol_name(selection, registry))
    teaching = registry.find("protocol", protocol.training) if protocol.training else protocol
    if selection.ways and not _knows_ways(protocol, teaching):
        raise UsageError(f"protocol '{protocol.name}' has no ways; leave --ways out")
    for name, param, usual in (("ways", "way", WAY), ("shots", "shot", SHOT)):
        unique[name] = unique[name] or (defaults(protocol).get(param, usual),)
    episodes = _episodes(selection, protocol)
    _check(selection, episodes)
    selection = dataclasses.replace(selection, **unique)  # each run once
    stop = _stop_rule(selection, episodes)
    settings = _by_scope(selection.settings)
    overrides = _recipe_overrides(settings["train"])
    if stop is not None and protocol.metric != ACCURACY:
        raise UsageError(f"--until-ci is in points of accuracy, and {protocol.name} is scored by {protocol.metric}")
    runs: list[Planned] = []
    source = registry.choose("dataset", selection.train_dataset) if selection.train_dataset else None
    combinations = _combinations(selection, registry, source)
    for scope, chosen in zip(("algo", "data", "backbone"), zip(*combinations, strict=True), strict=True):
        learned = [source] if scope == "data" and source else []
        general = _of_any_backbone(selection, combinations) if scope == "backbone" else ()
        asked = {name: value for name, value in settings[scope].items() if name not in general}
        _refuse_unknown(scope, [*chosen, *learned], asked)
    _refuse_unknown("protocol", ((protocol, {}),), settings["protocol"])
    _refuse_moot(selection, protocol, combinations)
    _refuse_beside(selection, protocol)
    shared: dict[str, Value] = {SAME_CLASSES: True} if protocol.support else {}
    sha256 = _checkpoint_sha256(selection.checkpoint)
    weighted = _take_weights(combinations)
    for (algorithm, own), (dataset, of_data), (backbone, of_backbone) in combinations:
        weights = selection.checkpoint if backbone.has_weights and not algorithm.trains else None
        if weights is None and backbone in weighted and "weights" in settings["backbone"]:
            weights = Path(str(settings["backbone"]["weights"]))
        choices = {
            "backbone": _body(backbone, {**settings["backbone"], **of_backbone}, weights),
            "dataset": _choice(dataset, {**settings["data"], **of_data, **shared}),
        }
        learned_from, of_source = source or (dataset, of_data)
        trained_on = _choice(learned_from, {**settings["data"], **of_source, **shared})
        same = trained_on.identity == choices["dataset"].identity
        specs = algorithm, backbone, learned_from
        unfit = misfit(protocol, (dataset, selection.split), specs, registry)
        for way, shot in itertools.product(_ways(selection, protocol, teaching), selection.shots):
            cell: dict[str, Value] = {"way": way, "shot": shot}
            cell |= {} if selection.query is None else {"query": selection.query}
            published = algorithm.recipe(learned_from.name, way, shot, learned_from.kind)
            recipe, problem = None, unfit
            try:
                recipe = _recipe(specs, published, (way, shot), overrides, selection.checkpoint)
                _refuse_trained_on(recipe if same else None, selection.split)
            except UsageError as error:
                problem = problem or error
            params = {**(published.params if published else {}), **settings["algo"], **own}
            for seed in selection.seeds if recipe else (0,):
                run = RunSpec(
                    **choices,
                    algorithm=_choice(algorithm, params),
                    protocol=_choice(protocol, {**settings["protocol"], **cell}),
                    episodes=episodes,
                    episode_seed=selection.episode_seed,
                    sampling=selection.sampling,
                    stop=stop,
                    precision=selection.precision,
                    recipe=recipe,
                    seed=seed,
                    checkpoint=selection.checkpoint if algorithm.trains else None,
                    checkpoint_sha256=sha256,
                    split=selection.split,
                    source=None if same or not recipe else trained_on,
                    training_protocol=None if teaching is protocol or not recipe else _choice(teaching, cell),
                )
                runs.append(RejectedRun(run, problem) if problem else run)
    return distinct(runs)  # a protocol need not know of way and shot


def _episodes(selection: Selection, protocol: ProtocolSpec) -> int:
    """Return how many episodes there are to be, or at most are to be."""
    if not protocol.episodes:
        usual = EPISODES if selection.until_ci is None else MOST_UNTIL
        return usual if selection.episodes is None else selection.episodes
    if selection.until_ci is not None or selection.sampling != SAMPLINGS[0]:
        raise UsageError(f"protocol '{protocol.name}' is a list of episodes; leave --until-ci and --sampling out")
    episodes = protocol.episodes if selection.episodes is None else selection.episodes
    if episodes > protocol.episodes:
        raise UsageError(f"protocol '{protocol.name}' has {counted(protocol.episodes, 'episode')}, not {episodes}")
    return episodes


def choose_parts(
    registry: Registry,
    algo: str,
    backbone: str,
    settings: Mapping[str, Value],
    trained: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[ResolvedPlugin, ResolvedPlugin]:
    """Return the algorithm and the backbone that a user names, without any data set.

    Args:
        backbone: empty for the algorithm's own.
        settings: ``algo.NAME`` and ``backbone.NAME`` to value.
        trained: ``algorithm`` and ``backbone``, each with `name` and `params`, that weights were made for: where they
            are those that the user names, their parameters hold but for `settings`.

    Raises:
        UsageError: an unknown name, a bad value, or a setting of something else.
    """
    scopes = _by_scope(settings)
    for scope in set(SCOPES) - {"algo", "backbone"}:
        for name in scopes[scope]:
            raise UsageError(f"--set {scope}.{name}: only algo.* and backbone.* are to be set here")
    algorithm, own = registry.choose("algorithm", algo)
    body, of_body = registry.choose("backbone", backbone or algorithm.backbone)
    _refuse_unknown("algo", ((algorithm, own),), scopes["algo"])
    _refuse_unknown("backbone", ((body, of_body),), scopes["backbone"])

    def known(part: str, name: str) -> Mapping[str, Value]:
        made_for = (trained or {}).get(part, {})
        return made_for["params"] if made_for.get("name", "").partition(":")[0] == name else {}

    return (
        _choice(algorithm, {**known("algorithm", algorithm.name), **scopes["algo"], **own}),
        _choice(body, {**known("backbone", body.name), **scopes["backbone"], **of_body}),
    )


def distinct(runs: Iterable[P]) -> list[P]:
    """Return the runs in their order, each once."""
    found: dict[str, P] = {}
    for run in runs:
        found.setdefault(spec_of(run).identity, run)
    return list(found.values())


def check_settings(settings: Mapping[str, Value]) -> None:
    """Raise UsageError for a scope that there is not, and for a bad value of ``train.*``."""
    _recipe_overrides(_by_scope(settings)["train"])


def _check(selection: Selection, episodes: int) -> None:
    for name in LISTS:
        if name not in ("backbones", "ways", "shots") and not getattr(selection, name):
            raise UsageError(f"no {name} given")
    for name, values, least, most in (
        ("--ways", selection.ways, 2, None),
        ("--shots", selection.shots, 1, None),
        ("--query", () if selection.query is None else (selection.query,), 1, None),
        ("--episodes", (episodes,), 1, MAX_EPISODES),
        ("--seed", selection.seeds, 0, MAX_SEED),
        ("--episode-seed", (selection.episode_seed,), 0, MAX_SEED),
    ):
        for value in values:
            if value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")
            if most is not None and value > most:
                raise UsageError(f"{name} must be at most {most}, not {value}")
    for name, word, known in (("--sampling", selection.sampling, SAMPLINGS), ("--bound", selection.bound, BOUNDS)):
        if word not in known:
            raise UsageError(f"unknown {name} '{word}'; use {' or '.join(known)}")
    if selection.until_ci is None and selection.bound != BOUNDS[0]:
        raise UsageError("--bound is for --until-ci, which is not given")
    if selection.until_ci is not None:
        if not 0 < selection.until_ci <= 100:
            raise UsageError(
                f"--until-ci takes a half-width in points, above 0 and at most 100, not {selection.until_ci}"
            )
        if selection.sampling == "open":
            raise UsageError("--until-ci needs episodes without end; leave --sampling open out")
    if selection.precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{selection.precision}'; use {' or '.join(PRECISIONS)}")


def _refuse_trained_on(recipe: Recipe | None, split: str) -> None:
    if recipe is not None and split in recipe.train_on.split("+"):
        raise UsageError(
            f"train.train_on={recipe.train_on} trains on the classes of '{split}', which are to be measured"
        )


def _stop_rule(selection: Selection, episodes: int) -> StopRule | None:
    if selection.until_ci is None:
        return None
    return StopRule.aimed(float(selection.until_ci), selection.bound, episodes)


def _by_scope(settings: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    scopes: dict[str, dict[str, Value]] = {scope: {} for scope in SCOPES}
    for name, value in settings.items():
        scope, dot, rest = name.partition(".")
        if not dot or scope not in scopes:
            raise UsageError(f"--set {name}: write SCOPE.NAME=VALUE with a scope of {', '.join(SCOPES)}")
        scopes[scope][rest] = value
    for name, flag in (("way", "--ways"), ("shot", "--shots"), ("query", "--query")):
        if name in scopes["protocol"]:
            raise UsageError(f"--set protocol.{name}: use {flag}")
    return scopes


def _refuse_moot(
    selection: Selection,
    protocol: ProtocolSpec,
    combinations: Combinations,
) -> None:
    """Raise UsageError for what was asked for and could have no effect."""
    if selection.query is not None and "query" not in {param.name for param in protocol.params}:
        raise UsageError(f"protocol '{protocol.name}' has its own number of queries; leave --query out")
    if f"data.{SAME_CLASSES}" in selection.settings:
        raise UsageError(f"--set data.{SAME_CLASSES}: the protocol says it; leave it out, and take one that wants it")
    if selection.train_dataset and selection.checkpoint is not None:
        raise UsageError("--checkpoint trains nothing, so leave --train-dataset out")
    if selection.train_dataset and not any(algorithm.trains for (algorithm, _), _, _ in combinations):
        raise UsageError("--train-dataset needs an algorithm that is trained; see 'metabench list algorithms'")
    weights = selection.checkpoint is not None and "backbone.weights" in selection.settings
    if weights and any(not algorithm.trains or body.trains for (algorithm, _), _, (body, _) in combinations):
        raise UsageError(
            "cannot take backbone.weights beside --checkpoint: it holds the weights of the backbone too. "
            "Give one of them."
        )


def _refuse_beside(selection: Selection, protocol: ProtocolSpec) -> None:
    """Raise UsageError for weights that do not go with base classes beside those that are measured."""
    if protocol.support and selection.split != TEST:
        raise UsageError(
            f"protocol '{protocol.name}' has no {selection.split} classes to choose parameters by; "
            "choose them by another --protocol, on other classes"
        )
    if protocol.support and selection.train_dataset:
        raise UsageError(
            f"'{protocol.name}' trains nothing, so leave --train-dataset out; weights of another run are taken by "
            "--checkpoint"
        )
    if not protocol.beside:
        return
    if selection.train_dataset:
        raise UsageError(f"the base classes of '{protocol.name}' are those of --dataset, so leave --train-dataset out")
    if selection.checkpoint is not None:
        raise UsageError(
            f"--checkpoint: '{protocol.name}' asks about images that training must not have seen, and of a checkpoint "
            "nobody knows that; leave it out, so that the weights are trained without them"
        )


def _protocol_name(selection: Selection, registry: Registry) -> str:
    """Return the protocol asked for, or where none is that of the data sets."""
    if selection.protocol:
        return selection.protocol
    names = {registry.choose("dataset", name)[0].protocol or FIXED_WAY for name in selection.datasets}
    if len(names) > 1:
        raise UsageError(f"these data sets are measured by different protocols ({', '.join(sorted(names))}), so each "
                         "needs a command of its own")  # fmt: skip
    return names.pop()


def _ways(selection: Selection, *protocols: ProtocolSpec) -> Sequence[int]:
    """Return the ways asked for; 0 alone where no protocol knows of any."""
    return selection.ways if _knows_ways(*protocols) else (0,)


def _knows_ways(*protocols: ProtocolSpec) -> bool:
    return any("way" in {param.name for param in protocol.params} for protocol in protocols)


def _combinations(selection: Selection, registry: Registry, source: Chosen[DatasetSpec] | None) -> Combinations:
    found = []
    for names in itertools.product(selection.algorithms, selection.datasets, selection.backbones or ("",)):
        algorithm, dataset = registry.choose("algorithm", names[0]), registry.choose("dataset", names[1])
        learned_from = (source or dataset)[0]
        backbone = registry.choose("backbone", names[2] or learned_from.backbone or algorithm[0].backbone)
        found.append((algorithm, dataset, backbone))
    return found


def _refuse_unknown(scope: str, chosen: Sequence[Chosen[Any]], overrides: Mapping[str, Value]) -> None:
    """Raise UsageError for a parameter that none of the selected specs has, or that their names settle."""
    known = {param.name for spec, _ in chosen for param in spec.params}
    for name, value in overrides.items():
        if name not in known:
            resolve_params(chosen[0][0], {name: value})  # raises, with a suggestion
        if all(name in named for spec, named in chosen if name in {param.name for param in spec.params}):
            spec, named = next((spec, named) for spec, named in chosen if name in named)
            raise UsageError(
                f"cannot set {scope}.{name}: {spec.name}:{named[name]} settles it. Leave --set {scope}.{name} out."
            )


def _of_any_backbone(selection: Selection, combinations: Combinations) -> tuple[str, ...]:
    """Return the settings that any backbone takes; what weights have seen is only asked where there are some."""
    frozen = selection.checkpoint is not None and any(not algorithm.trains for (algorithm, _), _, _ in combinations)
    return _OF_ANY_BACKBONE if frozen or "backbone.weights" in selection.settings else ()


def _take_weights(combinations: Combinations) -> list[BackboneSpec]:
    """Return the backbones that ``backbone.weights`` is for: those with weights; where none declares any, all."""
    backbones = [backbone for _, _, (backbone, _) in combinations]
    return [backbone for backbone in backbones if backbone.has_weights] or backbones


def _choice(spec: Spec, overrides: Mapping[str, Value]) -> ResolvedPlugin:
    """Resolve the parameters of `spec`; overrides of others that were selected beside it are not its own."""
    own = {param.name for param in spec.params}
    return ResolvedPlugin(spec, resolve_params(spec, {name: value for name, value in overrides.items() if name in own}))


def _body(spec: BackboneSpec, settings: Mapping[str, Value], weights: Path | None) -> ResolvedPlugin:
    """Resolve a backbone; any may start from a file of weights, whose data nobody knows but the user."""
    choice = _choice(spec, settings)
    if weights is None or "weights" in choice.params:
        return choice
    require_weights_file(weights, f"no weights at {weights}; --set backbone.weights takes a .safetensors file")
    said = str(settings.get("trained_on", "unknown"))
    return dataclasses.replace(choice, weights=weights, weights_sha256=file_sha256(weights), trained_on=said)


def _checkpoint_sha256(path: Path | None) -> str:
    if path is None:
        return ""
    require_weights_file(path, f"no checkpoint at {path}; --checkpoint takes a .safetensors file")
    return file_sha256(path)


def _recipe_overrides(settings: Mapping[str, Value]) -> dict[str, Any]:
    """Return the ``train.*`` settings by field of `Recipe`, converted to its type."""
    types = get_type_hints(Recipe)
    for name in ("params", "source"):
        del types[name]
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in types:
            raise UsageError(f"--set train.{name}: no such setting{did_you_mean(name, types)}")
        try:
            values[name] = types[name](value)
            if types[name] is int and values[name] != float(value):  # int() would cut 1.5 to 1
                raise ValueError
        except (ValueError, OverflowError):
            raise UsageError(f"--set train.{name} is a {types[name].__name__}, not {value!r}") from None
        least = 1 if name in ("batch", "validate_every", "validation_episodes") else 0
        if types[name] is not str and not least <= values[name] < float("inf"):
            raise UsageError(f"--set train.{name} must be a number of at least {least}, not {value!r}")
    return values


def trains(algorithm: Spec, backbone: Spec) -> bool:
    """Whether there is anything to learn."""
    assert isinstance(algorithm, AlgorithmSpec)
    assert isinstance(backbone, BackboneSpec)
    return algorithm.trains and (algorithm.own_weights or backbone.trains)


def _recipe(
    specs: tuple[AlgorithmSpec, BackboneSpec, DatasetSpec],
    recipe: Recipe | None,
    cell: tuple[int, int],
    overrides: Mapping[str, Any],
    checkpoint: Path | None,
) -> Recipe | None:
    """Return the recipe of (algorithm, data set), overridden and with the way and shot of `cell` filled in."""
    algorithm, backbone, dataset = specs
    if not trains(algorithm, backbone) or checkpoint is not None:
        return None
    if "train" not in dataset.splits:
        refuse_untrained(algorithm, backbone, dataset.name)
        return None
    if recipe is None:
        raise UsageError(f"{algorithm.name} has no training recipe for {dataset.name}; give it a '*' recipe")
    recipe = dataclasses.replace(recipe, **overrides)
    if recipe.augment != "none" and dataset.kind != "images":
        raise UsageError(
            f"train.augment={recipe.augment} is for images, and the items of '{dataset.name}' are {dataset.kind}"
        )
    if recipe.augment != "none" and not backbone.trains:
        raise UsageError(
            f"train.augment={recipe.augment}: '{backbone.name}' learns nothing, so its features are made once, of the "
            "images as they are; use train.augment=none, or another --backbone"
        )
    way, shot = cell[0], recipe.shot or cell[1]
    return dataclasses.replace(
        recipe,
        way=recipe.way or way,
        shot=shot,
        query=recipe.query or shot,
        validation_way=recipe.validation_way or way,
    )
