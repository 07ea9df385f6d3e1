"""Base of the conformance classes: the plugin under test, and checks that explain themselves."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import pytest

from metabench.errors import MetabenchError, MissingError
from metabench.registry.loader import PluginInfo, one_line
from metabench.registry.params import Value
from metabench.registry.registry import OneSpec, Registry, load_target
from metabench.registry.resolved import resolve_params
from metabench.registry.specs import Kind, SomeSpec, Spec

RARE = 1e-6
"""Probability that a sound plugin fails a statistical check (if at all: words and made-up episodes are fixed)."""
T = TypeVar("T")
C = TypeVar("C", bound="Conformance[Spec]")


class Violation(Exception):
    """Finding of a check, in one line."""


class NotApplicable(pytest.skip.Exception):  # type: ignore[name-defined,misc]
    """Outcome of a check that does not apply to this plugin or machine; `facts` has the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.facts = {"reason": reason}


class NotRun(pytest.skip.Exception):  # type: ignore[name-defined,misc]
    """Outcome of a check that needs a plugin which cannot be constructed, as another check has found."""

    def __init__(self, check: str) -> None:
        reason = f"its constructor raised, see {check}"
        super().__init__(reason)
        self.facts = {"reason": reason, "status": "not run"}


class ConstructorError(Exception):
    """Finding that a plugin cannot be constructed, in one line."""


class ConformanceFailure(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """A failed check as a person reads it; `facts` has its parts. The traceback is shown if code `raised`."""

    def __init__(self, finding: str, check: CheckDescription, missing: bool = False, raised: bool = False) -> None:
        super().__init__(f"{finding}\n  means:  {check.means}\n  to fix: {check.fix}", pytrace=raised)
        self.facts = {"found": finding, "means": check.means, "fix": check.fix, "missing": missing}


@dataclass(frozen=True)
class CheckDescription:
    """Description of a check: its promise, the meaning of a failure, and the fix."""

    name: str
    promise: str
    means: str
    fix: str


def conformance_check(promise: str, *, means: str, fix: str) -> Callable[[Callable[[C], None]], Callable[[C], None]]:
    """Make a ``test_...`` method of a conformance class a check: whatever goes wrong in it explains itself."""

    def decorate(method: Callable[[C], None]) -> Callable[[C], None]:
        about = CheckDescription(method.__name__.removeprefix("test_").replace("_", "-"), promise, means, fix)

        @functools.wraps(method)
        def run(self: C) -> None:
            __tracebackhide__ = True
            try:
                method(self)
            except ConstructorError as error:
                if type(self).constructor_check:
                    raise NotRun(type(self).constructor_check) from None
                type(self).constructor_check = about.name
                raise ConformanceFailure(str(error), _construction(about), raised=True) from error.__cause__
            except Violation as violation:
                cause = violation.__cause__
                raise ConformanceFailure(str(violation), about, raised=cause is not None) from cause
            except MissingError as error:
                raise ConformanceFailure(str(error), about, missing=True) from None
            except MetabenchError as error:
                raise ConformanceFailure(str(error), about) from error
            except Exception as error:  # the plugin's own code may fail in any way
                raise ConformanceFailure(describe_raised("it", error), about, raised=True) from error

        run.metabench_check = about  # type: ignore[attr-defined]
        return run

    return decorate


def construct(make: Callable[[], T]) -> T:
    """Return the object that a plugin's constructor makes.

    Raises:
        MissingError: it needs something that is not there. ConstructorError: it raised anything else.
    """
    try:
        return make()
    except MissingError:
        raise
    except Exception as error:  # the plugin's own code may fail in any way
        raise ConstructorError(describe_raised("its constructor", error)) from error


def _construction(check: CheckDescription) -> CheckDescription:
    """Return a check that failed for its plugin's constructor: what that means, and the fix."""
    return replace(
        check,
        means="Nothing can be measured with it, and the checks that need it are not run.",
        fix="Take what the harness gives (see the base class) and the declared parameters, at any of their values.",
    )


def describe_raised(what: str, error: BaseException) -> str:
    """Return ``"... raised ValueError: ... (mine.py:12)"``, the place being the last that is not in torch."""
    trace = list(traceback.extract_tb(error.__traceback__))
    frames = [frame for frame in trace if "torch" not in Path(frame.filename).parts] or trace
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{what} raised {one_line(error)}{where}"


@dataclass(frozen=True, eq=False)
class Subject(Generic[SomeSpec]):
    """The plugin under test, and which entry point or file it came from."""

    spec: SomeSpec
    target: type
    registry: Registry
    info: PluginInfo


class Conformance(Generic[SomeSpec]):
    """Base of the kit's classes. An author's subclass names the plugin; it needs no test of its own.

    Attributes:
        plugin: a loose plugin file (or several), where the plugin is not installed.
        params: parameter values other than the defaults.
        device: where to run, as ``--device``.
    """

    kind: ClassVar[Kind]
    plugin: ClassVar[Path | str | Sequence[Path | str] | None] = None
    params: ClassVar[Mapping[str, Value]] = {}
    device: ClassVar[str] = "cpu"
    constructor_check: ClassVar[str] = ""
    """Check that has found that the plugin cannot be constructed."""

    @property
    def subject(self) -> Subject[SomeSpec]:
        """The plugin's spec and class.

        Raises:
            UsageError: there is no such plugin. MissingError: it needs something that is not installed.
        """
        name = getattr(self, self.kind, "")
        if not name:
            raise Violation(f"{type(self).__name__} names no plugin; write {self.kind} = '...' in it")
        files = (self.plugin,) if isinstance(self.plugin, (str, Path)) else self.plugin or ()
        return self.load_subject(name, tuple(map(Path, files)))

    @staticmethod
    def load_subject(name: str, files: tuple[Path, ...]) -> Subject[SomeSpec]:
        """Return the plugin of the kind that is checked, of the installed ones and those in `files`."""
        raise NotImplementedError

    @property
    def spec(self) -> SomeSpec:
        """The plugin's spec."""
        return self.subject.spec

    @property
    def values(self) -> dict[str, Value]:
        """Every parameter with its value."""
        return resolve_params(self.spec, self.params)


def make_subject(registry: Registry, spec: OneSpec) -> Subject[OneSpec]:
    """Return a plugin of the registry as the subject of checks; raise MissingError where it cannot be loaded."""
    target = load_target(spec)
    origin = next(item.origin for item in registry.plugins.provided if item.spec is spec)
    info = next(info for info in registry.plugins.infos if info.origin == origin)
    return Subject(spec, target, registry, info)


@functools.lru_cache(maxsize=1)
def scratch_folder() -> Path:
    """Return a folder of this process for what checks write, gone when it ends: the user's home is not theirs."""
    folder = tempfile.mkdtemp(prefix="metabench-check-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
