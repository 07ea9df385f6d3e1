from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from metabench.cli.main import main
from metabench.errors import MetabenchError, UsageError
from metabench.leaderboard import Leaderboard
from metabench.leaderboard.diff import Changes, changes
from metabench.records.record import build_record, write_record
from metabench.utils.hashing import file_sha256
from tests.record_factory import changed, made_scores, make_inputs, make_record

SECOND = {"algorithm__name": "second"}
EDITED = {"provenance": {"git": "edited"}, "cost": {"seconds": 9.0}}


def _git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    """A committed leaderboard of two records, in a folder of a repository."""
    folder = tmp_path / "a b" / "leaderboards"
    found = Leaderboard(folder)
    found.add([make_record(), make_record((60, 61, 62, 60), **SECOND)])
    found.build()
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "-m", "start")
    return found


def _path(board: Leaderboard, name: str) -> Path:
    (path,) = (board.folder / "records").glob(f"{name}-*.json")
    return path


def _changes(board: Leaderboard) -> Changes:
    return changes(board.folder, "HEAD")


def test_nothing_changed(board: Leaderboard) -> None:
    found = _changes(board)
    assert (found.added, found.removed, found.altered, found.ranks, found.refused) == ([], [], [], [], [])


def test_a_new_record_shows_the_rows_that_it_moves(board: Leaderboard) -> None:
    (path,) = board.add([make_record((72, 71, 70, 68), algorithm__name="third")])
    found = _changes(board)
    assert found.added == [path.name]
    assert found.refused == []
    assert [(c.where, c.row, c.before, c.after) for c in found.ranks] == [
        ("omniglot, 5-way 1-shot", "second", "2", "3"),
        ("omniglot, 5-way 1-shot", "third", None, "2"),
    ]
    assert "omniglot: no floor row is measured for 5-way 1-shot" in found.remarks


def test_a_removed_record_is_refused_unless_it_is_listed(board: Leaderboard) -> None:
    key = make_record().key
    path = _path(board, "protonet")
    path.unlink()
    found = _changes(board)
    assert found.removed == [path.name]
    assert found.refused == [f"removed {path.name}: list it in invalidated.toml, with removed = true and the reason"]
    assert [(c.row, c.before, c.after) for c in found.ranks] == [("protonet", "1", None), ("second", "2", "1")]
    text = f'[[invalidated]]\nkey = "{key}"\nreason = "r"\ndate = 2026-11-24\nremoved = true\n'
    (board.folder / "invalidated.toml").write_text(text)
    found = _changes(board)
    assert (found.removed, found.invalidated, found.refused) == ([], [path.name], [])


def test_a_renamed_record_is_no_way_out(board: Leaderboard) -> None:
    path = _path(board, "protonet")
    path.rename(path.with_name("other.json"))
    with pytest.raises(MetabenchError, match=r"other\.json: the file must be named"):
        _changes(board)


@pytest.mark.parametrize("part", ["scores", "provenance", "cost"])
def test_an_altered_record_is_refused(board: Leaderboard, part: str) -> None:
    path = _path(board, "protonet")
    if part == "scores":
        other = make_record((75, 75, 75, 75))
    else:
        other = changed(make_record(), **{part: EDITED[part]})
    write_record(path, other)
    found = _changes(board)
    assert found.altered == [path.name]
    assert found.refused[0].startswith(f"altered {path.name}: records are never edited")


def test_other_whitespace_is_no_alteration(board: Leaderboard) -> None:
    path = _path(board, "protonet")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    assert _changes(board).altered == []


def test_the_list_of_invalid_records_cannot_shrink(board: Leaderboard, tmp_path: Path) -> None:
    text = f'[[invalidated]]\nkey = "{make_record().key}"\nreason = "r"\ndate = 2026-11-24\n'
    listed = board.folder / "invalidated.toml"
    listed.write_text(text)
    assert [c.after for c in _changes(board).ranks if c.row == "protonet"] == [None]
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "-m", "invalid")
    listed.unlink()
    assert "no longer listed in invalidated.toml" in _changes(board).refused[0]


def test_weights_must_be_of_a_record_and_what_their_name_says(board: Leaderboard) -> None:
    weights = board.folder / "weights"
    weights.mkdir()
    (weights / "data").write_bytes(b"x" * 10)
    sha256 = file_sha256(weights / "data")
    stray = weights / f"{sha256}.safetensors"
    (weights / "data").rename(stray)
    assert _changes(board).refused == [f"weights/{stray.name}: no record is of these weights"]
    record = build_record(
        make_inputs(algorithm__name="third"),
        "ok",
        scores=made_scores([70, 71, 72, 73]),
        training={"weights_sha256": sha256},
    )
    board.add([record])
    found = _changes(board)
    assert found.refused == []
    assert not any("third" in remark for remark in found.remarks)
    stray.write_bytes(b"y")
    assert _changes(board).refused == [f"weights/{stray.name}: the name is not the SHA-256 of the file"]
    stray.write_bytes(b"y" * (2 * 2**20 + 1))
    assert "larger than 2,097,152 bytes" in _changes(board).refused[0]


def test_claims_are_counted(board: Leaderboard) -> None:
    (board.folder / "published.csv").write_text(
        "algorithm,backbone,dataset,way,shot,query,accuracy,ci95,source,kind\nprotonet,conv4,omniglot,5,1,,98.8,,s,paper\n"
    )
    assert "published.csv: claims: 1 added, 0 removed" in _changes(board).remarks


def test_a_folder_that_is_new_in_this_contribution(board: Leaderboard, tmp_path: Path) -> None:
    other = Leaderboard(tmp_path / "new")
    other.add([make_record()])
    assert len(changes(other.folder, "HEAD").added) == 1


def test_what_cannot_be_compared(board: Leaderboard, tmp_path_factory: pytest.TempPathFactory) -> None:
    for ref in ("nonsense", "--output=x", ""):
        with pytest.raises(UsageError, match="revision not found"):
            changes(board.folder, ref)
    with pytest.raises(UsageError, match="not in a git repository"):
        changes(tmp_path_factory.mktemp("alone"), "HEAD")


def test_the_command_prints_and_refuses(board: Leaderboard, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["leaderboard", "check", "--dir", str(board.folder), "--against", "HEAD"]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("against HEAD: records 0 added, 0 removed, 0 altered, 0 invalidated\n")
    _path(board, "protonet").unlink()
    assert main(words) == 1
    output = capsys.readouterr()
    assert (
        "omniglot, 5-way 1-shot:\n  protonet  98.67 ± 3.00  gone\n  second  81.00 ± 2.03  rank 2 -> 1\n" in output.out
    )
    assert output.err.startswith("refused: removed protonet-omniglot-5w1s-")
    assert main([*words, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["removed"][0].startswith("protonet-")
