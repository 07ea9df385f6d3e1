import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import metabench.data.resumable_array as rows
from metabench.data.array_cache import open_array
from metabench.data.parallel_rows import Unusable
from metabench.data.resumable_array import cached_rows, first_three, refuse_bad
from metabench.errors import MetabenchError
from tests.waiting import count_lock_requests, wait_until

SHAPE = (40, 8, 8, 1)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Four rows in a block, ten blocks, the disk waited for at every third."""
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 4 * 64)
    monkeypatch.setattr(rows, "_SYNC_EVERY", 3)


def row(index):
    return np.full(SHAPE[1:], index, np.uint8)


def expected():
    return np.stack([row(index) for index in range(SHAPE[0])])


class Maker:
    """Makes rows, remembers which, and stops at one."""

    def __init__(self, stop_at=None, error=KeyboardInterrupt):
        self.made, self.stop_at, self.error = [], stop_at, error

    def __call__(self, index):
        if index == self.stop_at:
            raise self.error
        self.made.append(index)
        return row(index)


def prepare(path, make, plan="plan", bad=lambda out, bad: None, report=lambda done, total: None):
    return cached_rows(path, SHAPE, plan, make, bad, report)


def interrupted(path, **how):
    """Leave a draft of which some blocks are done; returns their rows."""
    with pytest.raises(KeyboardInterrupt):
        prepare(path, Maker(30), **how)
    return noted_rows(path)


def noted_rows(path):
    """Return the rows of an array of which the journal says that they are done."""
    journal = path.with_name(path.name + ".partial.done")
    lines = journal.read_bytes().splitlines()[1:] if journal.exists() else []
    return {row for line in lines for row in range(4 * int(line.split()[0]), 4 * int(line.split()[0]) + 4)}


def test_makes_every_row_once_and_publishes_a_read_only_map(tmp_path):
    make, told = Maker(), []
    array = prepare(tmp_path / "deep" / "a.npy", make, report=lambda done, total: told.append((done, total)))
    np.testing.assert_array_equal(array, expected())
    assert sorted(make.made) == list(range(40)) and not array.flags.writeable
    assert told[0] == (0, 40) and told[-1] == (40, 40) and told == sorted(told)
    assert [file.name for file in (tmp_path / "deep").iterdir() if file.name != "a.npy.lock"] == ["a.npy"]
    again = Maker()
    np.testing.assert_array_equal(prepare(tmp_path / "deep" / "a.npy", again), array)
    assert not again.made


def test_several_threads_make_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "cores", lambda: 3)
    meeting = threading.Barrier(3, timeout=10)

    def make(index):
        if index in (0, 4, 8):
            meeting.wait()  # passes only when three blocks are in work at once
        return row(index)

    np.testing.assert_array_equal(prepare(tmp_path / "a.npy", make), expected())


def test_interrupted_goes_on_where_it_stood(tmp_path):
    path = tmp_path / "a.npy"
    done = interrupted(path)
    assert done and not path.exists()
    make = Maker()
    np.testing.assert_array_equal(prepare(path, make), expected())
    assert set(make.made) == set(range(40)) - done


def test_killed_anywhere_goes_on_where_it_stood(tmp_path):
    """SIGKILL, at several moments, then to the end: the work adds up and the array is right."""
    shape = (150, 8, 8, 1)
    code = (
        "import itertools, os, threading, numpy as np; from pathlib import Path\n"
        "import metabench.data.resumable_array as rows\n"
        "rows._BLOCK_BYTES, rows.cores = 256, lambda: 2\n"
        "begun = itertools.count()\n"
        "def make(index):\n"
        "    if next(begun) >= 36:\n"
        "        threading.Event().wait()\n"  # so that the work is not done before it is killed
        "    os.write(1, b'%d\\n' % index); return np.full((8, 8, 1), index, np.uint8)\n"
        f"rows.cached_rows(Path({str(tmp_path / 'a.npy')!r}), {shape}, 'plan', make, lambda out, bad: None)\n"
    )
    noted = set()
    for attempt in range(3):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            made = [int(process.stdout.readline()) for _ in range(20 + attempt)]
            wait_until(lambda before=noted: noted_rows(tmp_path / "a.npy") > before)
            process.send_signal(signal.SIGKILL)
            made += map(int, process.stdout)
        assert process.returncode == -signal.SIGKILL and not (tmp_path / "a.npy").exists()
        assert not noted & set(made)
        noted = noted_rows(tmp_path / "a.npy")
    make = Maker()
    array = cached_rows(tmp_path / "a.npy", shape, "plan", make, lambda out, bad: None)
    np.testing.assert_array_equal(array[:, 0, 0, 0], np.arange(150))
    assert sorted(make.made) == sorted(set(range(150)) - noted)  # a kill loses what was not yet noted, no more


@pytest.mark.parametrize("damage", ["pixels", "no journal", "cut journal", "cut draft", "other plan", "junk", "huge"])
def test_what_cannot_be_trusted_is_made_again(tmp_path, damage):
    path = tmp_path / "a.npy"
    draft, journal = tmp_path / "a.npy.partial", tmp_path / "a.npy.partial.done"
    interrupted(path)
    if damage == "pixels":  # noted, but they never reached the disk
        data = bytearray(draft.read_bytes())
        data[-40 * 64 :] = bytes(40 * 64)
        draft.write_bytes(data)
    if damage == "no journal":
        journal.unlink()
    if damage == "cut journal":
        journal.write_bytes(journal.read_bytes()[:-3])
    if damage == "cut draft":
        draft.write_bytes(draft.read_bytes()[:-1])
    if damage == "junk":
        journal.write_bytes(journal.read_bytes() + b"99 5\n\xff x\n-1 4\n7\n" + b"9" * 5000 + b" 1\n")
    if damage == "huge":  # lines that no journal of ten blocks has, after good ones
        with journal.open("ab") as stream:
            stream.truncate(1 << 40)
    make = Maker()
    np.testing.assert_array_equal(prepare(path, make, plan="b" if damage == "other plan" else "plan"), expected())
    if damage in ("no journal", "cut draft", "other plan", "huge"):
        assert len(make.made) == 40


def test_bad_rows_are_counted_named_and_block_publication(tmp_path):
    def make(index):
        if index % 10 == 0:
            raise Unusable("is damaged")
        return row(index)

    finish = refuse_bad("set: images", lambda index: f"{index}.jpg", "get them again")
    with pytest.raises(MetabenchError) as caught:
        prepare(tmp_path / "a.npy", make, bad=finish)
    assert str(caught.value) == (
        "set: images: 4 of 40 cannot be used: 0.jpg (is damaged), 10.jpg (is damaged), 20.jpg (is damaged) "
        "and 1 more; get them again"
    )
    assert not (tmp_path / "a.npy").exists()
    mended = Maker()
    np.testing.assert_array_equal(prepare(tmp_path / "a.npy", mended, bad=finish), expected())
    assert len(mended.made) == 16  # the blocks with a bad one


def test_where_everything_is_bad_it_stops_early(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "MOST_BAD", 6)
    monkeypatch.setattr(rows, "cores", lambda: 1)
    tried = []

    def make(index):
        tried.append(index)
        raise Unusable("is 5x5")

    with pytest.raises(MetabenchError, match="at least 8 of 40"):
        prepare(tmp_path / "a.npy", make, bad=refuse_bad("x", str, "y"))
    assert len(tried) < 40


def test_finish_may_keep_unusable_rows_and_change_others(tmp_path):
    def make(index):
        if index == 3:
            raise Unusable("gone")
        return row(index)

    def finish(out, bad):
        assert dict(bad) == {3: "gone"}
        out[3] = 77

    assert prepare(tmp_path / "a.npy", make, bad=finish)[3].max() == 77


def test_a_row_of_the_wrong_shape_is_a_fault(tmp_path):
    with pytest.raises(ValueError, match=r"row \d+ has shape"):
        prepare(tmp_path / "a.npy", lambda index: np.zeros((1, 1, 1), np.uint8))


def test_two_at_once_do_the_work_once(tmp_path, monkeypatch):
    started, make, requests = threading.Event(), Maker(), count_lock_requests(monkeypatch)

    def slow(index):
        started.set()
        wait_until(lambda: len(requests) == 2, 10)
        return make(index)

    first = threading.Thread(target=prepare, args=(tmp_path / "a.npy", slow))
    first.start()
    assert started.wait(10)
    np.testing.assert_array_equal(prepare(tmp_path / "a.npy", slow), expected())
    first.join(10)
    assert sorted(make.made) == list(range(40))


def test_a_full_disk_is_one_line_before_any_work(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    make = Maker()
    with pytest.raises(MetabenchError, match=r"cannot be written \(No space left on device\); free space"):
        prepare(tmp_path / "a.npy", make)
    assert not make.made and open_array(tmp_path / "a.npy", SHAPE) is None


def test_first_three():
    assert first_three("ab") == "a, b" and first_three("abcde") == "a, b, c and 2 more"
