import os

from metabench.data.prepared_copies import PreparedCopies


def test_what_was_prepared_last_is_found(tmp_path):
    prepared = PreparedCopies(tmp_path / "v1")
    assert prepared.latest() is None
    prepared.folder.mkdir()
    first, second = "a" * 64, "b" * 64
    for age, (split, mark) in enumerate([("train", second), ("test", first), ("train", first)]):
        path = prepared.path(split, mark)
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    prepared.draft("test").touch()
    assert prepared.latest() == second[:16]
    assert prepared.path("train", prepared.latest()) == prepared.path("train", second)
    assert prepared.draft("train").parent == prepared.folder
