"""Official files: found in the user's folders, or downloaded with their checksum verified."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from metabench.data.loader_context import DataContext
from metabench.errors import MetabenchError, MissingError
from metabench.utils.text import short_digest

MIRROR_VARIABLE = "METABENCH_MIRROR"
TIMEOUT_S = 30


@dataclass(frozen=True)
class OfficialFile:
    """A file as its authors publish it.

    Attributes:
        name: its file name.
        urls: where it is, tried in order.
        checksum: ``"md5:..."`` or ``"sha256:..."`` of the published bytes; checked on what we download, not
            on a user's own copy (that may be repacked; its decoded content is verified instead).
    """

    name: str
    urls: tuple[str, ...]
    checksum: str


def download_folder(context: DataContext) -> Path:
    """Return the folder that downloaded files are kept in."""
    return context.cache / "downloads"


def find_source(names: Iterable[str], context: DataContext, subfolders: Iterable[str] = ("",)) -> Path | None:
    """Return the first of `names` that exists in a subfolder of a source, else among our downloads.

    `names` may be files or folders, in order of preference within one folder.
    """
    wanted = tuple(names)
    below = tuple(subfolders)
    folders = [source / sub for source in context.sources for sub in below]
    for folder in [*folders, download_folder(context)]:
        for name in wanted:
            if (folder / name).exists():
                return folder / name
    return None


def download_if_allowed(file: OfficialFile, context: DataContext) -> tuple[Path | None, str]:
    """Return the path of a file that no source holds, downloaded where allowed; or None and the reason in words."""
    context.wants(file.name)
    if not context.allow_download:
        return None, "not found"
    try:
        return download(file, context), ""
    except MissingError as error:
        return None, f"not found, and {error}"


def mirrors() -> tuple[str, ...]:
    """Return the base URLs in METABENCH_MIRROR (separated by spaces), tried before the official ones."""
    return tuple(os.environ.get(MIRROR_VARIABLE, "").split())


def download(file: OfficialFile, context: DataContext) -> Path:
    """Download `file` into `downloads(context)` and return its path; an earlier download is kept.

    Mirrors come first, then the official addresses. The checksum is verified before the file gets its
    name, so there is never a partial or wrong file under it.

    Raises:
        MissingError: no address answered.
        MetabenchError: an address answered with other bytes, and none with the right ones.
    """
    folder = download_folder(context)
    if (folder / file.name).exists():
        return folder / file.name
    failures: list[str] = []
    wrong = ""
    for url in [*(f"{mirror.rstrip('/')}/{file.name}" for mirror in mirrors()), *file.urls]:
        try:
            return _retrieve(url, file, folder, context.progress)
        except OSError as error:  # requests' errors are OSErrors; some are ValueErrors too
            failures.append(f"{url}: {_reason(error)}")
        except ValueError:
            wrong = wrong or url
    if wrong:
        raise MetabenchError(
            f"{wrong}: what it sent has not the checksum of {file.name} ({_short(file.checksum)}); "
            f"set {MIRROR_VARIABLE} to a mirror, or get the file by hand and put it into {folder}"
        )
    raise MissingError(f"cannot download {file.name} ({'; '.join(failures)}); set {MIRROR_VARIABLE} to a mirror")


def _short(checksum: str) -> str:
    """Return ``sha256:...`` with as many digits as a sentence holds."""
    kind, colon, digest = checksum.partition(":")
    return f"{kind}{colon}{short_digest(digest)}"


def _retrieve(url: str, file: OfficialFile, folder: Path, progress: Callable[[str, int, int], None]) -> Path:
    import pooch  # type: ignore[import-untyped]  # here, because it brings requests

    bar = _Progress(f"downloading {file.name} (kB)", progress)
    with _quiet(pooch.get_logger()):
        path = pooch.retrieve(
            url,
            known_hash=file.checksum,
            fname=file.name,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT_S),
        )
    return Path(path)


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep pooch's announcements out of our progress display."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Progress:
    """Progress bar for pooch that reports to a `DataContext.progress` callback."""

    def __init__(self, text: str, report: Callable[[str, int, int], None]) -> None:
        self.text, self.report = text, report
        self.total, self.done = 0, 0

    def update(self, amount: int) -> None:
        """Count `amount` more bytes."""
        self.done += amount  # pooch counts whole chunks, so the last one may overshoot
        total = self.total or self.done
        self.report(self.text, min(self.done, total) // 1000, total // 1000)

    def reset(self) -> None:
        """Start again at nothing (pooch resets before it completes the bar)."""
        self.done = 0

    def close(self) -> None:
        """Do nothing: pooch closes its bar."""


def _reason(error: OSError) -> str:
    """Return an error's cause in a few words: requests nests whole chains of them into one text."""
    text = " ".join(str(error).split()).partition(" for url")[0]
    return text if 0 < len(text) < 80 else type(error).__name__
