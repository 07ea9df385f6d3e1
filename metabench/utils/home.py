"""Folders that metabench writes, and folders with the user's own data."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.utils.paths import is_folder, is_valid_path, path_exists


@dataclass(frozen=True)
class Home:
    """Folder of everything metabench writes, and the folders it only reads.

    Attributes:
        root: holds records, models, features and decoded datasets.
        sources: folders with the user's own copies of official data, in order of preference.
    """

    root: Path
    sources: tuple[Path, ...] = ()

    @staticmethod
    def resolve(home: str | None = None, data: str | None = None) -> Home:
        """Return the home for the values of ``--home`` and ``--data``; nothing is created.

        `home` defaults to METABENCH_HOME, then to the platform's folder for user data. The sources are
        `data`, then the folders of METABENCH_DATA (separated like PATH). UsageError if one is no folder;
        MissingError for a home that no folder can be.
        """
        root = home or os.environ.get("METABENCH_HOME") or platformdirs.user_data_path("metabench")
        given = [("--data", data)] if data else []
        for folder in os.environ.get("METABENCH_DATA", "").split(os.pathsep):
            if folder:
                given.append(("METABENCH_DATA", folder))
        sources = dict.fromkeys(_source(where, folder) for where, folder in given)
        place = _absolute(root)
        if not is_valid_path(place):
            raise MissingError(f"cannot use home {place}: no folder can have this path. Choose another with --home.")
        return Home(place, tuple(sources))

    def dataset_cache(self, name: str) -> Path:
        """Return the folder for the decoded files of one dataset."""
        return self.root / "data" / name

    @property
    def records(self) -> Path:
        """Finished runs, one JSON file each."""
        return self.root / "records"

    @property
    def models(self) -> Path:
        """Trained weights."""
        return self.root / "models"

    def weights(self, key: str) -> Path:
        """Return the file of the trained weights of this key."""
        return self.models / key / "weights.safetensors"

    @property
    def features(self) -> Path:
        """Embedded images."""
        return self.root / "features"

    @property
    def partial(self) -> Path:
        """State of unfinished runs, for resuming."""
        return self.root / "partial"

    def ensure(self) -> None:
        """Create the root and write a byte to it; MetabenchError if that does not work."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # Trying is the only sure test: permission bits say nothing about a read-only or full disk.
            with tempfile.TemporaryFile(dir=self.root) as probe:
                probe.write(b"x")
        except OSError as error:
            raise MetabenchError(
                f"cannot write to home {self.root}: {error.strerror}. Choose another with --home or METABENCH_HOME."
            ) from error


def _absolute(path: str | Path) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:  # ~NAME of nobody
        raise UsageError(f"cannot find the folder {path}: no user has that name. Write the whole path.") from None


def _source(where: str, folder: str) -> Path:
    path = _absolute(folder)
    if not is_folder(path):
        problem = "is not a folder" if path_exists(path) else "does not exist"
        raise UsageError(f"{where} {folder} {problem}; name the folder that holds your copies of the data")
    return path
