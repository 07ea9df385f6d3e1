"""Checks of a plugin's spec; for every kind."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Collection, Iterator

from metabench.errors import UsageError
from metabench.models.assembly import build_frozen
from metabench.models.interfaces import FeatureHead
from metabench.registry.metric import ACCURACY
from metabench.registry.registry import availability, load_target
from metabench.registry.specs import FOLD, AlgorithmSpec, DatasetSpec, ProtocolSpec, SomeSpec, defaults
from metabench.registry.stage import Chain, as_chain
from metabench.registry.stage_checks import check_chain
from metabench.testing.conformance import Conformance, NotApplicable, Violation, conformance_check
from metabench.testing.support.algorithm_case import SCORERS


class SpecChecks(Conformance[SomeSpec]):
    """Checks of the content of a spec, and that reading it is cheap."""

    @conformance_check(
        "the spec says what a reader of a table must know",
        means="Nobody can tell what was measured, whose idea it is, whether it may be used, or what a parameter does.",
        fix="Fill in the field in the spec that the plugin's hook returns.",
    )
    def test_spec(self) -> None:
        """Check version, summary, reference, licence, every parameter, and the fields of its kind."""
        spec = self.spec
        problems = [*self._common(), *self._parameters()]
        if isinstance(spec, AlgorithmSpec):
            problems += self._algorithm(spec)
        elif isinstance(spec, DatasetSpec):
            problems += self._dataset(spec)
        elif isinstance(spec, ProtocolSpec):
            problems += self._protocol(spec)
        if problems:
            raise Violation("; ".join(problems))

    @conformance_check(
        "asking the plugin what it provides imports no torch",
        means="Every command, even 'metabench list', waits seconds for torch, for the sake of this one plugin.",
        fix="Put the class into a module of its own that only the spec's target names, as in docs/plugins.md.",
    )
    def test_lazy_import(self) -> None:
        """Import it in a fresh process; a loose file, which holds everything in one place, may import anything."""
        info = self.subject.info
        if self.spec.file_sha256:
            raise NotApplicable("a loose file holds its class itself; this is checked once it is installed")
        module = info.module.partition(":")[0]
        code = f"import sys, {module}; print([name for name in ('torch', 'pandas') if name in sys.modules])"
        path = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
        )
        if done.returncode:
            raise Violation(f"import {module} fails in a fresh process: {done.stderr.strip().splitlines()[-1]}")
        if done.stdout.strip().splitlines()[-1] != "[]":
            raise Violation(f"import {module} loads {done.stdout.strip()}")

    def _common(self) -> Iterator[str]:
        spec = self.spec
        if type(spec.version) is not int or spec.version < 1:
            yield f"version is {spec.version!r}, not a whole number from 1"
        for name in ("summary", "reference", "licence"):
            text = getattr(spec, name)
            if not isinstance(text, str) or not text.strip() or "\n" in text:
                yield f"{name} is {text!r}, not a line of text (for reference, 'none' is one)"
        if availability(spec) and not spec.extra:
            yield "it requires modules but names no extra that installs them"

    def _parameters(self) -> Iterator[str]:
        spec, names = self.spec, [param.name for param in self.spec.params]
        for param in spec.params:
            if not param.doc.strip():
                yield f"parameter '{param.name}' has no description"
            if type(param.default) not in (int, float, bool, str):
                yield f"parameter '{param.name}' has a default of type {type(param.default).__name__}"
            if param.choices and param.default not in param.choices:
                yield f"the default of parameter '{param.name}' is not among its choices"
            if names.count(param.name) > 1:
                yield f"parameter '{param.name}' is declared twice"
        taken = inspect.signature(self.subject.target).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in taken):
            return
        known = [p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not isinstance(spec, DatasetSpec):  # whose tests may pass a layout of their own
            given = SCORERS[spec.takes].given if isinstance(spec, AlgorithmSpec) else 1  # a backbone's item_shape
            known = known[0 if isinstance(spec, ProtocolSpec) else given :]
            if isinstance(spec, AlgorithmSpec) and spec.ways == "one":
                known = [name for name in known if name != "way"]
            yield from (f"the constructor's '{name}' is no declared parameter" for name in known if name not in names)
        yield from (f"parameter '{name}' is not one of the constructor" for name in names if name not in known)

    def _algorithm(self, spec: AlgorithmSpec) -> Iterator[str]:
        if spec.setting not in ("inductive", "transductive"):
            yield f"setting is {spec.setting!r}, neither inductive nor transductive"
        if spec.backbone not in self.subject.registry.backbones:
            yield f"its backbone '{spec.backbone}' is not installed"
        elif spec.trains and not (spec.recipes or spec.trained_as):
            yield "it trains but has no recipe; give it one for '*'"
        yield from self._head(spec)
        for name, recipe in spec.recipes.items():
            yield from (f"recipe '{name}': {problem}" for problem in _recipe(as_chain(recipe)))
            if spec.ways == "one":
                yield from (f"recipe '{name}': {problem}" for problem in _other_ways(as_chain(recipe), name))
        for exempt in spec.exempt:
            if not exempt.reason.strip():
                yield f"it is exempt from {exempt.check} without a reason"
            if unknown := set(exempt.when) - {param.name for param in spec.params}:
                yield f"its exemption from {exempt.check} names unknown parameters {sorted(unknown)}"

    def _head(self, spec: AlgorithmSpec) -> Iterator[str]:
        """Yield what is wrong with the fields for heads on features."""
        has_study = getattr(self.subject.target, "study", FeatureHead.study) is not FeatureHead.study
        if has_study != ("base" in spec.uses):
            yield f"its class has {'a' if has_study else 'no'} method study, and uses is {spec.uses}"
        if unknown := set(spec.uses_when) - {param.name for param in spec.params}:
            yield f"uses_when names unknown parameters {sorted(unknown)}"
        if spec.takes == "images" and (spec.reads, spec.ways, spec.uses) != ("vectors", "any", ()):
            yield "reads, ways and uses are for what takes features"
        elif spec.reads == "maps" and (problem := self._no_map(spec.backbone)):
            yield problem

    def _no_map(self, backbone: str) -> str:
        """Return what is wrong with the default backbone of an algorithm that reads maps; '' if nothing is."""
        spec = self.subject.registry.backbones.get(backbone)
        if spec is None or availability(spec):
            return ""
        body = build_frozen(load_target(spec), defaults(spec), (3, 84, 84))
        return "" if body.map_shape else f"it reads maps, and the features of its backbone '{backbone}' are none"

    def _protocol(self, spec: ProtocolSpec) -> Iterator[str]:
        if spec.training and spec.training not in self.subject.registry.protocols:
            yield f"its training protocol '{spec.training}' is not installed"
        names = [metric.name for metric in (spec.metric, *spec.parts)]
        if spec.parts and (spec.metric == ACCURACY or len(set(names)) < len(names)):
            yield "parts are of a metric of its own, each with another name"
        if spec.beside and type({param.name: param.default for param in spec.params}.get("reserve")) is not float:
            yield f"it wants the classes of '{spec.beside}' beside, and has no parameter 'reserve', a share"
        if spec.beside and not spec.training:
            yield "it wants classes beside those that are measured, so training needs another protocol"

    @staticmethod
    def _dataset(spec: DatasetSpec) -> Iterator[str]:
        if spec.local:
            return  # of the user's own data nobody knows them
        given: dict[str, Collection[str]] = {"sizes": spec.sizes, "digests": spec.digests}
        if spec.copies:
            del given["digests"]
            given |= {f"the digests of copy '{name}'": copy.digests for name, copy in spec.copies.items()}
        for fold, declared in spec.folds.items():
            given |= {f"sizes of fold {fold}": declared.sizes, f"digests of fold {fold}": declared.digests}
        choices = next((param.choices for param in spec.params if param.name == FOLD), ())
        if spec.folds and set(choices) != {form[FOLD] for form, _ in spec.forms() if FOLD in form}:
            yield f"folds must be given for the choices of its parameter '{FOLD}' beside the default"
        for name, splits in given.items():
            if set(splits) != set(spec.splits):
                yield f"{name} must be given for its splits, {', '.join(spec.splits)}"


def _other_ways(chain: Chain, name: str) -> Iterator[str]:
    """Yield the stages with a way of their own, but the one that the name of the recipe is for."""
    for stage in chain:
        ways = {stage.way, stage.validation_way if stage.is_validated else 0} - {0}
        if stage.is_episodic and any(f"/{way}-way" not in name for way in ways):
            yield f"stage '{stage.name}': weights that fit one way need way=0 and validation_way=0, the evaluation's"


def _recipe(chain: Chain) -> Iterator[str]:
    try:
        check_chain(chain)
    except UsageError as error:
        yield str(error)
    for stage in chain:
        if stage.way == 1 or min(stage.way, stage.shot, stage.query) < 0 or stage.lr <= 0:
            yield f"stage {stage.name}: way, shot, query or lr is too small"
        if not stage.source.strip():
            yield f"stage {stage.name}: source must not be empty: name the paper or the code that its values are from"
