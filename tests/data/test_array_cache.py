import threading

import numpy as np
import pytest

from metabench.data.array_cache import cached_array, open_array
from metabench.errors import MetabenchError
from tests.waiting import count_lock_requests, wait_until

SHAPE = (50, 4, 4, 1)


def fill(out):
    out[:] = np.arange(out.size, dtype=np.uint8).reshape(out.shape)


def refuse(out):
    raise AssertionError("built although it was there")


def leftovers(folder):
    return [file.name for file in folder.iterdir() if "partial" in file.name]


def test_builds_once_and_maps_read_only(tmp_path):
    path = tmp_path / "deep" / "train.npy"
    first = cached_array(path, SHAPE, fill)
    again = cached_array(path, SHAPE, refuse)
    assert isinstance(again, np.memmap) and again.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert again[0, 0, 1, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        again[0] = 0
    assert leftovers(path.parent) == []


@pytest.mark.parametrize("size", [0, 5, 100, 500, -1, "longer"])
def test_a_file_of_the_wrong_length_is_rebuilt(tmp_path, size):
    path = tmp_path / "train.npy"
    cached_array(path, SHAPE, fill)
    whole = path.read_bytes()
    path.write_bytes(whole + b"x" if size == "longer" else whole[:size])
    assert open_array(path, SHAPE) is None
    cached_array(path, SHAPE, fill)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "other",
    [np.zeros((50, 4, 4, 2), np.uint8), np.zeros(SHAPE, np.int8), np.array([{}], object)],
    ids=["shape", "dtype", "pickled"],
)
def test_another_array_under_the_name_is_not_taken(tmp_path, other):
    path = tmp_path / "train.npy"
    np.save(path, other, allow_pickle=True)
    assert open_array(path, SHAPE) is None
    assert cached_array(path, SHAPE, fill).shape == SHAPE


@pytest.mark.parametrize(("place", "byte"), [(8, 1), (10, 0), (40, 39), (60, 41), (70, 91), (0, 80)])
def test_a_damaged_header_is_none(tmp_path, place, byte):
    path = tmp_path / "train.npy"
    cached_array(path, SHAPE, fill)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[place] = byte
    path.write_bytes(damaged)
    assert open_array(path, SHAPE) is None
    cached_array(path, SHAPE, fill)
    assert path.read_bytes() == whole


def test_several_arrays_in_one_file_are_none(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros(SHAPE, np.uint8))
    assert open_array(tmp_path / "a.npz", SHAPE) is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, MetabenchError("digest")])
def test_interrupted_or_refused_build_publishes_nothing(tmp_path, error):
    path = tmp_path / "train.npy"

    def stop(out):
        out[:10] = 7
        raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        cached_array(path, SHAPE, stop)
    assert not path.exists() and leftovers(tmp_path) == []
    assert cached_array(path, SHAPE, fill)[0, 0, 1, 0] == 1


def test_what_a_killed_process_left_is_cleared_and_not_used(tmp_path):
    path = tmp_path / "train.npy"
    (tmp_path / "train.npy.partial").write_bytes(b"half")
    (tmp_path / "val.npy.partial").write_bytes(b"another's")
    cached_array(path, SHAPE, fill)
    assert leftovers(tmp_path) == ["val.npy.partial"]


def test_two_at_once_build_once(tmp_path, monkeypatch):
    path, builds, started = tmp_path / "train.npy", [], threading.Event()
    requests = count_lock_requests(monkeypatch)

    def slow(out):
        builds.append(1)
        started.set()
        wait_until(lambda: len(requests) == 2, 10)  # the other one has every chance to come in
        fill(out)

    first = threading.Thread(target=cached_array, args=(path, SHAPE, slow))
    second = threading.Thread(target=cached_array, args=(path, SHAPE, slow))
    first.start()
    started.wait(5)
    second.start()
    first.join(10)
    second.join(10)
    assert len(builds) == 1 and open_array(path, SHAPE) is not None


def test_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MetabenchError, match=r"cannot be written .*--home"):
        cached_array(tmp_path / "file" / "train.npy", SHAPE, fill)
