from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from metabench.errors import UsageError
from metabench.records.partial_scores import PartialScores
from metabench.records.record import NewerSchemaError, Record, RecordError, build_record
from metabench.records.store import Store
from tests.record_factory import make_inputs, make_record, plain_of
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
KEY = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def _failed() -> Record:
    error = {"type": "RuntimeError", "message": "no"}
    return build_record(make_inputs(), "failed", error=error)


def test_what_is_put_is_found(store: Store) -> None:
    record = make_record()
    assert store.find(record.key) is None
    path = store.put(record)
    assert path == store.root / "records" / f"{record.key}.json"
    assert store.find(record.key) == record
    assert store.warnings == []


def test_only_success_satisfies_a_look_up(store: Store) -> None:
    failed = _failed()
    store.put(failed)
    assert store.find(failed.key) is None
    assert list(store.records()) == [failed]


def test_a_failure_never_replaces_a_success(store: Store) -> None:
    good, failed = make_record(), _failed()
    assert good.key == failed.key
    store.put(failed)
    store.put(good)
    store.put(failed)
    assert store.find(good.key) == good


def test_an_invalid_record_is_not_stored(store: Store) -> None:
    with pytest.raises(RecordError):
        store.put(replace(make_record(), key=KEY))
    assert not (store.root / "records").exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"null"])
def test_a_damaged_record_is_moved_aside(tmp_path: Path, damage: bytes) -> None:
    lines: list[str] = []
    store = Store(tmp_path, lines.append)
    record, other = make_record(), make_record(precision="bfloat16")
    path = store.put(record)
    store.put(other)
    path.write_bytes(damage)
    assert list(store.records()) == [other]
    assert store.find(record.key) is None
    assert path.with_name(path.name + ".corrupt").read_bytes() == damage
    assert lines == store.warnings
    assert len(lines) == 1
    assert str(path) in lines[0]
    store.put(record)
    assert store.find(record.key) == record


def test_a_record_under_the_name_of_another_is_damaged(store: Store) -> None:
    path = store.put(make_record())
    path.rename(path.with_name(f"{KEY}.json"))
    assert store.find(KEY) is None
    assert "$.key is not the name of the file" in store.warnings[0]


def test_a_record_from_a_newer_metabench_is_left_alone(store: Store) -> None:
    record = make_record()
    path = store.put(record)
    text = json.dumps({**plain_of(record), "schema": 2})
    path.write_text(text)
    with pytest.raises(NewerSchemaError, match="Upgrade metabench"):
        store.find(record.key)
    assert list(store.records()) == []
    assert path.read_text() == text
    assert "Upgrade metabench" in store.warnings[0]


def test_foreign_files_are_not_touched(store: Store) -> None:
    path = store.put(make_record())
    (path.parent / "notes.json").write_text("mine")
    assert len(list(store.records())) == 1
    assert (path.parent / "notes.json").read_text() == "mine"


def test_a_prefix_names_one_record(store: Store) -> None:
    found = {store.put(make_record(evaluation__seed=i)).stem for i in range(3)}
    for key in found:
        assert store.resolve(key[:12]).key == key
        assert store.resolve(key).key == key


@pytest.mark.parametrize("bad", ["", "abc", "../../etc/passwd", "*" * 8, "ABCDEF12", "g" * 8, "a" * 65])
def test_a_prefix_is_hexadecimal(store: Store, bad: str) -> None:
    with pytest.raises(UsageError, match="not a record key"):
        store.resolve(bad)


def test_unknown_and_ambiguous_prefixes(store: Store) -> None:
    with pytest.raises(UsageError, match="no record 'abcd'"):
        store.resolve("abcd")
    folder = store.root / "records"
    folder.mkdir(parents=True)
    for last in "01":
        (folder / f"{KEY[:-1]}{last}.json").write_text("{}")
    with pytest.raises(UsageError, match="fits 2 records"):
        store.resolve("abab")


@pytest.mark.parametrize("bad", ["", "../x", "AB" * 32, "ab" * 31])
def test_a_key_cannot_leave_the_store(store: Store, bad: str) -> None:
    with pytest.raises(UsageError):
        store.find(bad)
    with pytest.raises(UsageError), store.lock(bad):
        pass
    with pytest.raises(UsageError):
        PartialScores(store.root, bad)


WORKER = """
import sys
from pathlib import Path
from metabench.records.store import Store
from tests.record_factory import make_record
from tests.waiting import wait_until

root, record = Path(sys.argv[1]), make_record()
store = Store(root)
with store.lock(record.key):
    (root / "held").touch()
    assert store.find(record.key) is None
    wait_until((root / "go").exists)
    store.put(record)
"""


def test_a_second_process_waits_and_finds_the_result(store: Store) -> None:
    store.root.mkdir()
    record = make_record()
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(store.root)], cwd=ROOT)
    try:
        wait_until(lambda: (store.root / "held").exists() or worker.poll() is not None)
        assert worker.poll() is None
        # The worker now waits for our word while holding the lock; a lock that does not lock fails here.
        assert store.find(record.key) is None
        (store.root / "go").touch()
        with store.lock(record.key):
            assert store.find(record.key) == record
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait()


def test_locks_of_different_keys_are_independent(store: Store) -> None:
    with store.lock(KEY), store.lock("cd" * 32):
        assert len(list((store.root / "locks").iterdir())) == 2


def test_partial_scores_accumulate(tmp_path: Path) -> None:
    partial = PartialScores(tmp_path, KEY)
    assert partial.load().tolist() == []
    partial.append([1, 0.1])
    partial.append(np.array([3], dtype=np.int64))
    loaded = partial.load()
    assert loaded.dtype == np.float64
    assert loaded.tolist() == [1, 0.1, 3]
    assert (tmp_path / "partial" / f"{KEY}.f64").read_bytes() == bytes(32) + struct.pack("<3d", 1, 0.1, 3)
    partial.remove()
    partial.remove()
    assert PartialScores(tmp_path, KEY).load().size == 0


@pytest.mark.parametrize("cut", [1, 8, 23])
def test_scores_with_parts_are_rows_and_a_cut_one_is_replaced(tmp_path: Path, cut: int) -> None:
    partial = PartialScores(tmp_path, KEY, 3)
    assert partial.load().shape == (0, 3)
    partial.append(np.arange(6.0).reshape(2, 3))
    partial.path.write_bytes(partial.path.read_bytes()[:-cut])
    np.testing.assert_array_equal(partial.load(), [[0, 1, 2]])
    partial.append([[7, 8, 9]])
    np.testing.assert_array_equal(partial.load(), [[0, 1, 2], [7, 8, 9]])


def test_scores_of_other_weights_count_as_none(tmp_path: Path) -> None:
    one, two, anyone = (PartialScores(tmp_path, KEY, scorer=scorer) for scorer in ("11" * 32, "22" * 32, ""))
    one.append([1, 2])
    assert one.load().tolist() == anyone.load().tolist() == [1, 2]
    assert two.load().tolist() == []
    two.append([3])
    assert two.load().tolist() == anyone.load().tolist() == [3]
    assert one.load().tolist() == []
    anyone.append([4])
    assert two.load().tolist() == [3, 4]


@pytest.mark.parametrize("left", [0, 5, 32, 35])
def test_a_first_write_that_was_cut_is_replaced(tmp_path: Path, left: int) -> None:
    partial = PartialScores(tmp_path, KEY, scorer="11" * 32)
    partial.append([1])
    partial.path.write_bytes(partial.path.read_bytes()[:left])
    assert partial.load().tolist() == []
    partial.append([2, 3])
    assert partial.load().tolist() == [2, 3]


@pytest.mark.parametrize("cut", [1, 4, 7])
def test_a_truncated_tail_is_ignored_and_then_replaced(tmp_path: Path, cut: int) -> None:
    partial = PartialScores(tmp_path, KEY)
    partial.append([10, 20, 30])
    partial.path.write_bytes(partial.path.read_bytes()[:-cut])
    assert partial.load().tolist() == [10, 20]
    partial.append([40])
    assert partial.load().tolist() == [10, 20, 40]


def test_a_partial_file_larger_than_that_of_any_record_is_one_line(tmp_path: Path) -> None:
    partial = PartialScores(tmp_path, KEY)
    partial.append([1])
    with partial.path.open("ab") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(UsageError) as caught:
        partial.load()
    assert str(caught.value) == (
        f"cannot read {partial.path}: it is larger than 268435456 bytes. Check that it is the right file. "
        "Or remove it: then its run starts anew."
    )


def test_a_folder_in_the_place_of_a_record_is_reported(store: Store) -> None:
    (store.root / "records" / f"{'a' * 64}.json").mkdir(parents=True)
    assert list(store.records()) == []
    assert "it is a folder" in store.warnings[0]
