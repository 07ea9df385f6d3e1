from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from metabench.errors import MetabenchError, UsageError
from metabench.leaderboard import Leaderboard
from metabench.leaderboard.published import read_published
from metabench.records.record import Record, RecordError, build_record, write_record
from tests.record_factory import changed, make_inputs, make_record

ROOT = Path(__file__).parents[2]
HEADER = "algorithm,backbone,dataset,way,shot,query,accuracy,ci95,source,kind\n"
CLAIMS = HEADER + (
    "protonet,conv4,omniglot,5,1,,98.8,,A & B 2017 Table 1,paper\n"
    "protonet,conv4,omniglot,5,1,,98.2,0.1,someone's README,replication\n"
    "protonet,conv4,omniglot,20,1,,96.0,,A & B 2017 Table 1,paper\n"
)
FLOOR: dict[str, Any] = {
    "algorithm__name": "chance",
    "backbone__name": "pixels",
    "backbone__params": {},
    "training": None,
}


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    folder = tmp_path / "leaderboards"
    folder.mkdir()
    (folder / "published.csv").write_text(CLAIMS)
    return Leaderboard(folder)


def _three() -> list[Record]:
    return [
        make_record(),
        make_record((75, 75, 75, 74), protocol__params__shot=5, training__shot=5),
        make_record((15, 16, 14, 15), **FLOOR),
    ]


def test_building_twice_gives_the_same_bytes(board: Leaderboard, tmp_path: Path) -> None:
    board.add(_three())
    changed = board.build()
    assert [path.name for path in changed] == ["README.md", "index.html", "omniglot.csv", "omniglot.md"]
    first = {path.name: path.read_bytes() for path in changed}
    assert board.build() == []
    other = Leaderboard(tmp_path / "other")
    other.add(_three()[::-1])
    (other.folder / "published.csv").write_text(HEADER + "".join(CLAIMS.splitlines(True)[:0:-1]))
    other.build()
    assert {name: (other.folder / name).read_bytes() for name in first} == first
    assert all(b"\r" not in data for data in first.values())


def test_stale_pages_are_named(board: Leaderboard) -> None:
    board.add(_three())
    assert len(board.stale()) == 4
    board.build()
    assert board.stale() == []
    page = board.folder / "omniglot.md"
    page.write_bytes(page.read_bytes().replace(b"98.67", b"99.67"))
    assert board.stale() == [page]
    board.build()
    page.write_bytes(page.read_bytes().replace(b"\n", b"\r\n"))
    assert board.stale() == [page]


def test_pages_without_a_dataset_are_removed_and_others_kept(board: Leaderboard) -> None:
    (path,) = board.add([make_record(dataset__name="glyphs")])
    board.build()
    path.unlink()
    (board.folder / "mine.md").write_text("# mine")
    (board.folder / "mine.csv").write_text("a,b")
    gone = [board.folder / "glyphs.csv", board.folder / "glyphs.md"]
    assert [path for path in board.build() if "glyphs" in path.name] == gone
    assert not any(path.exists() for path in gone)
    assert (board.folder / "mine.md").exists()
    assert (board.folder / "mine.csv").exists()
    assert board.stale() == []


def test_adding_again_changes_nothing(board: Leaderboard) -> None:
    record = make_record()
    (path,) = board.add([record])
    before = path.read_bytes()
    board.add([changed(record, cost={"seconds": 99.0})])
    assert path.read_bytes() == before


def test_the_same_run_with_other_scores_is_refused(board: Leaderboard) -> None:
    board.add([make_record()])
    with pytest.raises(MetabenchError, match="with other scores"):
        board.add([make_record((75, 74, 75, 73))])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (build_record(make_inputs(), "failed", error={"type": "X", "message": "y"}), "is failed"),
        (build_record(make_inputs(), "interrupted"), "is interrupted"),
        (changed(make_record(), provenance={"local": ["algorithm mine"]}), "local code or data"),
        (replace(make_record(), key="0" * 64), "key is not the key"),
        (make_record(algorithm__name="../../evil"), "algorithm name '../../evil' is not fit"),
        (make_record(algorithm__name="a|b"), "not fit"),
        (make_record(backbone__name="<script>"), "not fit"),
        (make_record(dataset__name="a/b"), "not fit"),
        (make_record(dataset__name="x\n"), "not fit"),
        (make_record(dataset__name="ReadMe"), "cannot have a dataset"),
        (make_record(dataset__name="published"), "cannot have a dataset"),
        (make_record(protocol__name="[x](y)"), "not fit"),
    ],
)
def test_what_may_not_be_added(board: Leaderboard, record: Record, message: str) -> None:
    with pytest.raises(MetabenchError, match=message) as caught:
        board.add([make_record(precision="bfloat16"), record])
    assert "\n" not in str(caught.value)
    assert not (board.folder / "records").exists()


def test_a_record_put_there_by_hand_is_checked_too(board: Leaderboard) -> None:
    record = make_record()
    write_record(board.folder / "records" / "renamed.json", record)
    with pytest.raises(RecordError, match="must be named protonet-omniglot-5w1s"):
        board.build()
    write_record(board.folder / "records" / "renamed.json", make_record(dataset__name="a b"))
    with pytest.raises(RecordError, match=r"renamed\.json: .*not fit"):
        board.build()
    (board.folder / "records" / "renamed.json").write_text("{}")
    with pytest.raises(RecordError, match=r"renamed\.json"):
        board.build()


def test_an_empty_leaderboard_can_be_built(tmp_path: Path) -> None:
    readme, page = Leaderboard(tmp_path).build()
    assert "There are none yet." in readme.read_text()
    assert "Nothing is measured yet." in page.read_text()


def test_the_committed_leaderboard_is_up_to_date() -> None:
    board = Leaderboard(ROOT / "leaderboards")
    claims = read_published(board.folder / "published.csv")
    found = {(c.algorithm, c.cell.way, c.cell.shot): c.accuracy for c in claims if c.kind == "paper"}
    assert found["protonet", 20, 1] == 96.0
    assert found["matching-net", 5, 1] == 98.1
    assert board.stale() == []


def test_records_that_disagree_about_the_same_episodes_are_refused(board: Leaderboard) -> None:
    board.add([make_record(), make_record(algorithm__name="other", episodes_digest="ef" * 32)])
    with pytest.raises(RecordError, match="but the episodes differ"):
        board.build()


def test_a_link_is_no_record(board: Leaderboard, tmp_path: Path) -> None:
    (path,) = board.add([make_record()])
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(RecordError, match="it is a link"):
        board.build()


def _invalidate(board: Leaderboard, key: str, more: str = "") -> None:
    text = f'[[invalidated]]\nkey = "{key}"\nreason = "the <test> | split leaked"\ndate = 2026-11-24\n{more}'
    (board.folder / "invalidated.toml").write_text(text)


def test_an_invalidated_record_is_out_of_the_ranks_and_listed(board: Leaderboard) -> None:
    best, second = make_record((75, 75, 75, 74)), make_record((60, 61, 62, 60), algorithm__name="second")
    board.add([best, second])
    board.build()
    assert _ranks(board) == {"protonet": "1", "second": "2"}
    _invalidate(board, best.key)
    board.build()
    assert _ranks(board) == {"second": "1"}
    text = (board.folder / "omniglot.md").read_text(encoding="utf-8")
    assert "## Invalidated records" in text
    assert "| 2026-11-24 | the &lt;test&gt; \\| split leaked |" in text
    assert "the &lt;test&gt; | split leaked" in (board.folder / "index.html").read_text(encoding="utf-8")


def _ranks(board: Leaderboard) -> dict[str, str]:
    with (board.folder / "omniglot.csv").open(newline="", encoding="utf-8") as stream:
        return {row["algorithm"]: row["rank"] for row in csv.DictReader(stream)}


def test_a_key_that_fits_no_record_cannot_be_invalidated(board: Leaderboard) -> None:
    board.add([make_record()])
    _invalidate(board, "0" * 64)
    with pytest.raises(UsageError, match=r"no record has the key 0{12}\. .* removed = true"):
        board.build()
    _invalidate(board, "0" * 64, "removed = true\n")
    board.build()
    for name in ("README.md", "index.html"):
        assert "Removed records" in (board.folder / name).read_text(encoding="utf-8")
    _invalidate(board, make_record().key, "removed = true\n")
    with pytest.raises(UsageError, match="is listed as removed, but it is in the folder"):
        board.build()


def test_what_was_measured_for_choosing_is_no_result(board: Leaderboard) -> None:
    record = make_record(dataset__split="val")
    with pytest.raises(MetabenchError, match="measures the split 'val', which is for choosing"):
        board.add([record])
    (board.folder / "records").mkdir()
    path = board.folder / "records" / f"protonet-omniglot-5w1s-{record.short_key}.json"
    write_record(path, record)
    with pytest.raises(MetabenchError, match=f"{path.name}: .*which is for choosing"):
        board.build()
