"""Suites: a TOML file that says what is measured, so that the results of many algorithms stand side by side.

A suite is named ``name@version``. What it says once it is released stays as it is; another choice is another version.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from metabench.errors import MetabenchError, UsageError, did_you_mean
from metabench.planning.planner import Selection, distinct, plan_each
from metabench.planning.run_spec import Planned, RunSpec, sound
from metabench.planning.suite_schema import KEYS, Problem, check_block, check_parameters
from metabench.registry.loader import NAME
from metabench.registry.registry import Registry
from metabench.utils.hashing import content_key

_TEXTS = ("name", "summary", "reference")
OPEN = ("backbones", "seeds", "precision", "checkpoint")
"""Fields of `Selection` that a user may choose beside a suite, where it does not; and settings, but of its data."""
_OF_THE_CELL = ("data.", "protocol.")
_TOP = dict.fromkeys((*_TEXTS, "version", "runs", *KEYS))


@dataclass(frozen=True)
class Suite:
    """What is measured.

    Attributes:
        name, version: together its identity.
        summary: one line for lists.
        reference: where the choice comes from; may be empty.
        blocks: the keys (`suite_schema.KEYS`) of every ``[[runs]]``, with those above the first as their defaults.
        where: the file it came from.
    """

    name: str
    version: int
    summary: str
    reference: str
    blocks: tuple[Mapping[str, Any], ...]
    where: Path

    @property
    def id(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @cached_property
    def sha256(self) -> str:
        """Of what it measures, however the file is written."""
        return content_key([self.id, self.blocks])

    def provenance(self) -> dict[str, Any]:
        """Return what a record says of the suite that it belongs to."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256}

    def selections(self, algorithms: Sequence[str], given: Mapping[str, Any]) -> list[Selection]:
        """Return what the suite asks for of some algorithms, one selection for every block and protocol.

        Args:
            given: `OPEN` fields and ``settings`` that the user chose. Seeds replace those of the suite, settings are
                added to its own; what else it says stands.

        Raises:
            UsageError: the suite settles what the user chose.
        """
        found = []
        for block in self.blocks:
            fields = {KEYS[key].field: value for key, value in block.items() if key != "protocols"}
            self._refuse(fields, given)
            settings = {**fields.pop("settings", {}), **given.get("settings", {})}
            fields |= {**given, "settings": settings, "algorithms": tuple(algorithms)}
            found += [Selection(**fields, protocol=name) for name in block.get("protocols", ("",))]
        return found

    def _refuse(self, fields: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        chosen = [name for name in given if name != "settings"]
        settled = [name for name in chosen if name not in OPEN or (name in fields and name != "seeds")]
        own = fields.get("settings", {})
        settled += [
            name for name in given.get("settings", {}) if name in own or name.startswith(("data.", "protocol."))
        ]
        if settled:
            raise UsageError(
                f"suite {self.id} settles {', '.join(settled)}; leave that to it, or copy {self.where} and change it"
            )


def plan_suite(suite: Suite, algorithms: Sequence[str], given: Mapping[str, Any], registry: Registry) -> list[Planned]:
    """Return the runs of a suite, each once, in the order of the file; those that cannot be are among them.

    Raises:
        UsageError: as `planner.plan_each`, the user chose what the suite settles, or no run of it can be.
    """
    selections = [_without_moot(selection, registry) for selection in suite.selections(algorithms, given)]
    found = distinct(run for selection in selections for run in plan_each(selection, registry))
    return found if any(isinstance(each, RunSpec) for each in found) else [*sound(found)]


def _without_moot(selection: Selection, registry: Registry) -> Selection:
    """Leave out where a suite trains, if nothing is: floors and checkpoints belong into its table too."""
    trained = (registry.choose("algorithm", name)[0].trains for name in selection.algorithms)
    if selection.checkpoint is None and any(trained):
        return selection
    return dataclasses.replace(selection, train_dataset="")


def read_suite(path: Path, registry: Registry) -> Suite:
    """Read and check a suite.

    Raises:
        UsageError: one line that names the file, the key and what is wrong with it.
    """
    try:
        return _parsed(tomllib.loads(path.read_text(encoding="utf-8")), path, registry)
    except OSError as error:
        raise UsageError(f"cannot read the suite {path} ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is not TOML ({error})") from None
    except Problem as problem:
        raise UsageError(f"{path}: {problem}") from None


def load_suites(registry: Registry) -> tuple[dict[str, Suite], list[str]]:
    """Return the suites of all plugins by ``name@version``, and a line for each that cannot be used."""
    found: dict[str, Suite] = {}
    problems: list[str] = []
    origins: dict[str, list[str]] = {}
    for file in registry.plugins.suites:
        try:
            suite = read_suite(file.path, registry)
        except MetabenchError as error:
            problems.append(f"plugin {file.origin}: {error}")
            continue
        origins.setdefault(suite.id, []).append(file.origin)
        found[suite.id] = suite
    for name, claims in origins.items():
        if len(claims) > 1:
            del found[name]
            problems.append(f"suite '{name}' is provided by {' and '.join(claims)}; neither is used")
    return dict(sorted(found.items())), problems


def find_suite(word: str, registry: Registry) -> Suite:
    """Return the suite that a word names: a file, ``name@version``, or a name, which means its latest version.

    Raises:
        UsageError: there is none, or the file is wrong.
    """
    path = Path(word)
    if path.suffix == ".toml" or os.path.isfile(path):  # noqa: PTH113  # `Path.is_file` raises for a long name
        return read_suite(path, registry)
    suites, problems = load_suites(registry)
    versions = [suite for suite in suites.values() if word in (suite.id, suite.name)]
    if not versions:
        hint = did_you_mean(word, suites) or "; no plugin provides any"
        raise UsageError("; ".join([f"unknown suite '{word}'{hint}", *problems]))
    return max(versions, key=lambda suite: suite.version)


def _parsed(found: Mapping[str, Any], path: Path, registry: Registry) -> Suite:
    shared = {key: value for key, value in found.items() if key in KEYS}
    check_block(found, registry, _TOP)
    name, summary, reference = (_text(found, key) for key in _TEXTS)
    if not NAME.fullmatch(name):
        raise Problem(f"name: use letters, digits and any of _.+-, not {name!r}")
    version = found.get("version")
    if type(version) is not int or version < 1:
        raise Problem(f"version: must be a whole number of at least 1, not {version!r}")
    blocks = found.get("runs")
    if not isinstance(blocks, list) or not blocks or not all(isinstance(block, dict) for block in blocks):
        raise Problem("runs: there must be at least one block [[runs]]")
    checked = tuple(_block(number, block, shared, registry) for number, block in enumerate(blocks, 1))
    return Suite(name, version, summary, reference, checked, path)


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key, "" if key == "reference" else None)
    if not isinstance(value, str) or not (value or key == "reference"):
        raise Problem(f"{key}: must be text, and is missing" if value is None else f"{key}: must be text")
    return value


def _block(number: int, own: Mapping[str, Any], shared: Mapping[str, Any], registry: Registry) -> Mapping[str, Any]:
    try:
        above, block = check_block(shared, registry), check_block(own, registry)
        settings = {**above.get("settings", {}), **block.get("settings", {})}
        merged = {**above, **block, **({"settings": settings} if settings else {})}
        if "datasets" not in merged:
            raise Problem("datasets: is missing")
        check_parameters(merged, registry)
    except Problem as problem:
        raise Problem(f"[[runs]] {number}, {problem}") from None
    return merged
