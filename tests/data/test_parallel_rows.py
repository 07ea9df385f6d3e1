"""Blocks of rows made in other processes: the same array, the same complaints, and nobody left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabench.data import DataContext, parallel_rows
from metabench.data.image_arrays import FileReader, ImageDecoder, ImageSource, cached_images
from metabench.data.resumable_array import cached_rows
from metabench.errors import MetabenchError
from metabench.runtime.forked_pool import ForkedPool, can_fork

pytestmark = pytest.mark.skipif(not can_fork(), reason="decodes in threads here")
IMAGES, SIDE = 60, 9


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes for a few rows, four rows in a block."""
    monkeypatch.setattr(parallel_rows, "LEAST_ROWS", 10)
    monkeypatch.setattr("metabench.data.resumable_array.cores", lambda: 2)
    monkeypatch.setattr("metabench.data.resumable_array._BLOCK_BYTES", 4 * SIDE * SIDE * 3)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many processes each pool has."""
    found: list[int] = []

    def forked(work: Callable[[range], parallel_rows.Made], size: int) -> ForkedPool:
        found.append(size)
        return ForkedPool(work, size)

    monkeypatch.setattr(parallel_rows, "ForkedPool", forked)
    return found


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3), np.uint8)
    for index in range(IMAGES):
        Image.fromarray(pixels[index]).save(folder / f"{index:02}.png")
    return sorted(folder.iterdir())


def prepared(
    place: Path, files: list[Path], processes: bool = True, read: Callable[[int], bytes] | None = None
) -> np.ndarray:
    read = read or (FileReader(files) if processes else lambda row: files[row].read_bytes())
    source = ImageSource([file.name for file in files], read, "set", "get them")
    return cached_images(place / "a.npy", ImageDecoder(SIDE), source, DataContext(place), plan="p")


def test_processes_make_the_array_that_threads_make(tmp_path: Path, files: list[Path], started: list[int]) -> None:
    there = prepared(tmp_path / "there", files)
    assert started == [2] and not multiprocessing.active_children()
    here = prepared(tmp_path / "here", files, processes=False)
    assert started == [2]
    np.testing.assert_array_equal(there, here)


def test_few_rows_are_made_here(
    tmp_path: Path, files: list[Path], started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_rows, "LEAST_ROWS", IMAGES // 2 + 1)
    assert len(prepared(tmp_path, files)) == IMAGES
    assert not started


def test_unusable_files_are_told_alike(tmp_path: Path, files: list[Path]) -> None:
    files[3].write_bytes(b"no image")
    files[50].unlink()
    said = []
    for processes in (True, False):
        with pytest.raises(MetabenchError) as caught:
            prepared(tmp_path / str(processes), files, processes)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "2 of 60 cannot be used: 03.png (is no JPEG or PNG), 50.png (cannot be read: No such file" in said[0]


class Odd:
    """Makes a row of another shape."""

    def __call__(self, row: int) -> np.ndarray:
        return np.zeros((2, 2), np.uint8)


def test_what_a_maker_raises_comes_through(tmp_path: Path, started: list[int]) -> None:
    with pytest.raises(ValueError, match=r"row \d+ has shape \(2, 2\), not \(2, 3\)"):
        cached_rows(tmp_path / "a.npy", (40, 2, 3), "plan", Odd(), lambda out, bad: None)
    assert started == [2] and not multiprocessing.active_children()


class Unsendable(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Raising:
    def __call__(self, row: int) -> np.ndarray:
        raise Unsendable("this", "that")


def test_an_error_that_cannot_be_sent_keeps_its_words(tmp_path: Path, started: list[int]) -> None:
    with pytest.raises(MetabenchError, match=r"^Unsendable: this and that$"):
        cached_rows(tmp_path / "a.npy", (40, 2), "plan", Raising(), lambda out, bad: None)
    assert started == [2]


class Dying:
    """Decodes, but one row in a copy of the process ends that."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.read, self.here = FileReader(files), os.getpid()

    def __call__(self, row: int) -> bytes:
        if row == 20 and os.getpid() != self.here:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.read(row)


def test_a_process_that_dies_is_one_line_and_the_work_goes_on(tmp_path: Path, files: list[Path]) -> None:
    with pytest.raises(MetabenchError, match=r"^a process that decodes was killed; run again to go on$"):
        prepared(tmp_path, files, read=Dying(files))
    noted = (tmp_path / "a.npy.partial.done").read_bytes().count(b"\n") - 1
    assert 0 < noted < 15
    np.testing.assert_array_equal(prepared(tmp_path, files), prepared(tmp_path / "other", files, processes=False))


SCRIPT = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a run in the background has not
print("begun", flush=True)  # and no `if __name__ == "__main__"`: that is how people write
from metabench.data import parallel_rows, resumable_array
from slowly import Slowly
parallel_rows.LEAST_ROWS, resumable_array.cores, resumable_array._BLOCK_BYTES = 10, lambda: 2, 2
report = lambda done, total: print(done, flush=True)
resumable_array.cached_rows(Path(sys.argv[1]), (400, 2), "plan", Slowly(), lambda out, bad: None, report)
"""
SLOWLY = """
import time
import numpy as np
class Slowly:
    def __call__(self, row):
        time.sleep(0.02)
        return np.full((2,), row % 256, np.uint8)
"""


def _of(folder: Path) -> list[str]:
    """The processes that know of a folder by their arguments."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(place.name)
    return found


@pytest.fixture
def script(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A script at work in a session of its own, some blocks done."""
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("no /proc to look for processes in")
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "slowly.py").write_text(SLOWLY)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "a.npy")]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        for _ in range(4):
            process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_stopped_at_work_nobody_stays_and_the_work_goes_on(
    tmp_path: Path, script: subprocess.Popen[str], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metabench.data.resumable_array._BLOCK_BYTES", 2)  # as in the script: a row in a block
    assert len(_of(tmp_path)) == 3
    if how == "SIGINT":  # Ctrl-C reaches all of them
        os.killpg(script.pid, signal.SIGINT)
    else:
        script.kill()
    assert script.wait(timeout=60) != 0
    assert script.stdout is not None
    assert "begun" not in script.stdout.read()  # the script was not run once more
    until = time.monotonic() + 60
    while _of(tmp_path) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _of(tmp_path)
    done = (tmp_path / "a.npy.partial.done").read_bytes().count(b"\n") - 1
    made = []
    found = cached_rows(
        tmp_path / "a.npy", (400, 2), "plan", lambda row: made.append(row) or np.full((2,), row % 256, np.uint8),
        lambda out, bad: None,
    )  # fmt: skip
    np.testing.assert_array_equal(found[:, 0], np.arange(400) % 256)
    assert 0 < done <= 400 - len(made)
