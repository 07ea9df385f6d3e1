"""Suites: TOML files that say what is measured, so that the results of many algorithms can be compared.

A suite is named ``name@version``. Once released it stays as it is; another choice is another version.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from metabench.errors import MetabenchError, UsageError, did_you_mean
from metabench.planning.planner import distinct, plan_each
from metabench.planning.run_spec import Planned, RunSpec, require_valid
from metabench.planning.selection import Selection
from metabench.planning.settings import SCOPES, stage_names
from metabench.planning.suite_schema import Problem, SuiteBlock, SuiteDocument, read_blocks, read_table
from metabench.registry.registry import Registry
from metabench.utils.bounded_files import read_toml
from metabench.utils.hashing import content_key

USER_FIELDS = ("backbones", "seeds", "precision", "checkpoint")
"""Fields of `Selection` that a user may set for a suite that does not; also settings, but not of its data."""
_SUITE_SCOPES = ("data.", "protocol.")
"""Settings that are left to the suite."""


@dataclass(frozen=True)
class Suite:
    """A fixed choice of datasets, protocols, ways and shots.

    Attributes:
        name, version: its identity.
        summary: one line for lists.
        reference: where the choice comes from; may be empty.
        blocks: its ``[[runs]]``, completed by the defaults above them.
        path: the file it was read from.
    """

    name: str
    version: int
    summary: str
    reference: str
    blocks: tuple[SuiteBlock, ...]
    path: Path

    @property
    def id(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @cached_property
    def sha256(self) -> str:
        """Digest of what it measures, however the file is written."""
        return content_key([self.id, [block.given() for block in self.blocks]])

    def provenance(self) -> dict[str, Any]:
        """Return the entry for the records of its runs."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256}

    def selections(self, algorithms: Sequence[str], given: Mapping[str, Any]) -> list[Selection]:
        """Return what the suite measures of some algorithms, one selection for every block and protocol.

        Args:
            algorithms: names of the algorithms.
            given: `USER_FIELDS` and ``settings`` that the user chose. Seeds replace those of the suite, settings are
                added to its own.

        Raises:
            UsageError: the suite settles what the user chose.
        """
        selections = []
        for block in self.blocks:
            fields = block.given()
            protocols = fields.pop("protocols", ("",))
            self._refuse_settled(fields, given)
            settings = {**fields.pop("settings", {}), **given.get("settings", {})}
            fields |= {**given, "settings": settings, "algorithms": tuple(algorithms)}
            selections += [Selection(**fields, protocol=name) for name in protocols]
        return selections

    def _refuse_settled(self, fields: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        chosen = [name for name in given if name != "settings"]
        settled = [name for name in chosen if name not in USER_FIELDS or (name in fields and name != "seeds")]
        own = fields.get("settings", {})
        settled += [name for name in given.get("settings", {}) if name in own or name.startswith(_SUITE_SCOPES)]
        if settled:
            raise UsageError(
                f"suite {self.id} settles {', '.join(settled)}; leave that to it, or copy {self.path} and change it"
            )


def plan_suite(suite: Suite, algorithms: Sequence[str], given: Mapping[str, Any], registry: Registry) -> list[Planned]:
    """Return the runs of a suite, each once, in the order of the file; rejected ones are among them.

    Raises:
        UsageError: as `planner.plan_each`, the user chose what the suite settles, or every run is rejected.
    """
    selections = [_fitting(selection, given, registry) for selection in suite.selections(algorithms, given)]
    runs = distinct(run for selection in selections for run in plan_each(selection, registry))
    return runs if any(isinstance(run, RunSpec) for run in runs) else [*require_valid(runs)]


def _fitting(selection: Selection, given: Mapping[str, Any], registry: Registry) -> Selection:
    """Leave out what a suite says of training that these algorithms do not have: it measures every kind of them.

    That are settings of stages that none of them has, and the training dataset where nothing is trained.
    """
    specs = [registry.choose("algorithm", name).spec for name in selection.algorithms]
    scopes = (*SCOPES, *stage_names(specs))
    settings = {
        name: value
        for name, value in selection.settings.items()
        if name.partition(".")[0] in scopes or name in given.get("settings", {})
    }
    selection = dataclasses.replace(selection, settings=settings)
    if selection.checkpoint is None and any(spec.trains for spec in specs):
        return selection
    return dataclasses.replace(selection, train_dataset="")


def read_suite(path: Path, registry: Registry) -> Suite:
    """Read and check a suite.

    Raises:
        UsageError: one line that names the file, the key and what is wrong with it.
    """
    try:
        document = read_table(read_toml(path), SuiteDocument)
        blocks = read_blocks(document, registry)
    except OSError as error:
        raise UsageError(f"cannot read the suite {path} ({error.strerror})") from None
    except ValueError as error:
        raise UsageError(f"{path}: is not TOML ({error})") from None
    except RecursionError:
        raise UsageError(f"{path}: is nested too deeply") from None
    except Problem as problem:
        raise UsageError(f"{path}: {problem}") from None
    return Suite(document.name, document.version, document.summary, document.reference, blocks, path)


def load_suites(registry: Registry) -> tuple[dict[str, Suite], list[str]]:
    """Return the suites of all plugins by ``name@version``, and a line for each that cannot be used."""
    suites: dict[str, Suite] = {}
    problems: list[str] = []
    origins: dict[str, list[str]] = {}
    for file in registry.plugins.suites:
        try:
            suite = read_suite(file.path, registry)
        except MetabenchError as error:
            problems.append(f"plugin {file.origin}: {error}")
            continue
        origins.setdefault(suite.id, []).append(file.origin)
        suites[suite.id] = suite
    for name, claims in origins.items():
        if len(claims) > 1:
            del suites[name]
            problems.append(f"suite '{name}' is provided by {' and '.join(claims)}; neither is used")
    return dict(sorted(suites.items())), problems


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
