"""Local plugin files: ``--plugin FILE.py`` uses a plugin that is not installed.

Nobody raises the version of such a file, so the SHA-256 of its source is in every run key: an edited file is another
plugin, and its runs are never taken for those of an earlier edit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TypeVar

from metabench.errors import MissingError, UsageError
from metabench.registry.specs import Spec
from metabench.utils.bounded_files import SOURCE_BYTES, read_bounded
from metabench.utils.paths import is_file, path_exists

_S = TypeVar("_S", bound=Spec)
_PREFIX = "metabench_file_"


@dataclass(frozen=True)
class LocalFile:
    """A file as it was read: exactly what was hashed is executed."""

    path: Path
    source: bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the source, part of run keys."""
        return hashlib.sha256(self.source).hexdigest()

    @property
    def module(self) -> str:
        """Name in ``sys.modules``, unique for this path and content, so that it shadows nothing."""
        place = hashlib.sha256(f"{self.path.absolute()}\0{self.sha256}".encode()).hexdigest()
        return f"{_PREFIX}{self.path.stem}_{place[:12]}"


def read_files(paths: Iterable[Path]) -> tuple[LocalFile, ...]:
    """Read plugin files, each once.

    Raises:
        MissingError: a file does not exist.
        UsageError: it is no Python file or cannot be read.
    """
    files: dict[Path, LocalFile] = {}
    for path in paths:
        if not path_exists(path):
            raise MissingError(f"--plugin {path}: file not found")
        if not is_file(path) or path.suffix != ".py":
            raise UsageError(f"--plugin {path} is not a Python file; give a file that ends in .py")
        try:
            files.setdefault(path.resolve(), LocalFile(path, read_bounded(path, SOURCE_BYTES)))
        except OSError as error:
            raise UsageError(f"--plugin {path} cannot be read ({error.strerror or error})") from error
    return tuple(files.values())


def import_file(file: LocalFile) -> ModuleType:
    """Execute a file as a module with a private name and return it; its exceptions are not caught.

    No byte code is read or written: kept by time stamps, it could be that of an earlier edit.
    """
    if file.module in sys.modules:
        return sys.modules[file.module]
    module = ModuleType(file.module)
    module.__file__ = str(file.path.absolute())
    for name, other in list(sys.modules.items()):  # earlier edits of the file
        if name.startswith(_PREFIX) and getattr(other, "__file__", None) == module.__file__:
            del sys.modules[name]
    sys.modules[file.module] = module  # dataclasses and pickle look modules up by name
    try:
        exec(compile(file.source, module.__file__, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[file.module]
        raise
    return module


def localised(spec: _S, file: LocalFile) -> _S:
    """Return a spec with its target in the module of the file, and the SHA-256 of the file."""
    module, colon, attribute = spec.target.partition(":")
    target = f"{file.module}{colon}{attribute}" if module == file.path.stem else spec.target
    return dataclasses.replace(spec, target=target, file_sha256=file.sha256)


def broken(file: LocalFile, error: BaseException, line: str) -> UsageError:
    """Forget a file that cannot be used; return the error, `line`, with the line number of the fault."""
    number = _line(file, error)
    sys.modules.pop(file.module, None)
    where = f"--plugin {file.path}, line {number}" if number else f"--plugin {file.path}"
    beside = file.path.parent / f"{getattr(error, 'name', None)}.py"
    if isinstance(error, ModuleNotFoundError) and beside.is_file():
        line += f"; a loose plugin is one file, and {beside.name} is another: make a package of them"
    return UsageError(f"{where}: {line}")


def _line(file: LocalFile, error: BaseException) -> int:
    """Return the deepest line of the file that an error, or what caused it, came through; 0 if none."""
    here = str(file.path.absolute())
    if isinstance(error, SyntaxError) and error.filename == here:
        return error.lineno or 0
    frames = [frame.lineno or 0 for frame in traceback.extract_tb(error.__traceback__) if frame.filename == here]
    if not frames and error.__cause__ is not None:
        return _line(file, error.__cause__)
    return frames[-1] if frames else _named_function(file, str(error))


def _named_function(file: LocalFile, text: str) -> int:
    """Return the line of the first function of the file that `text` names; 0 if it names none."""
    module = sys.modules.get(file.module)
    functions: Sequence[FunctionType] = [
        value for value in vars(module or object).values() if isinstance(value, FunctionType)
    ]
    lines = [f.__code__.co_firstlineno for f in functions if f.__module__ == file.module and f.__name__ in text]
    return min(lines, default=0)
