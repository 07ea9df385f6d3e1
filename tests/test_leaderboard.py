from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from metabench.errors import MetabenchError, UsageError
from metabench.keys import content_key
from metabench.leaderboard import Leaderboard
from metabench.leaderboard.entries import read_published
from metabench.records import RecordError, build_record, read_record, write_record
from tests.record_factory import make_inputs, make_record

ROOT = Path(__file__).parents[1]
HEADER = "algorithm,backbone,dataset,way,shot,accuracy,ci95,source,kind\n"
CLAIMS = HEADER + (
    "protonet,conv4,omniglot,5,1,98.8,,A & B 2017 Table 1,paper\n"
    "protonet,conv4,omniglot,5,1,98.2,0.1,someone's README,replication\n"
    "protonet,conv4,omniglot,20,1,96.0,,A & B 2017 Table 1,paper\n"
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


def _three() -> list[dict[str, Any]]:
    return [
        make_record(),
        make_record((75, 75, 75, 74), protocol__params__shot=5, training__shot=5),
        make_record((15, 16, 14, 15), **FLOOR),
    ]


def _table(text: str, title: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    below = text.split(title, 1)[1]
    lines = re.search(r"(^\|.*\n)+", below, re.MULTILINE).group().splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_page_of_a_small_leaderboard(board: Leaderboard) -> None:
    records = _three()
    board.add(records)
    board.build()
    one, five, floor = (record["key"] for record in records)
    text = (board.folder / "omniglot.md").read_text(encoding="utf-8")
    assert text[text.index("## test split") :] == (
        "## test split, version 1, digest abababababab\n"
        "\n"
        "| Algorithm | Backbone | Setting | 5-way 1-shot | 5-way 5-shot | Episodes | Protocol | Training |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| protonet | conv4<br>channels=64 | inductive "
        f"| 98.67 ± 3.00 ([{one[:8]}](records/protonet-omniglot-5w1s-{one[:12]}.json))<br>few episodes"
        "<br>paper 98.8[^1], -0.13 "
        f"| 99.67 ± 1.06 ([{five[:8]}](records/protonet-omniglot-5w5s-{five[:12]}.json))<br>few episodes "
        "| 4, seed 0 | fixed-way<br>query=15 | seed 7, 60-way, 100 episodes |\n"
        "| chance | pixels | inductive "
        f"| 20.00 ± 1.73 ([{floor[:8]}](records/chance-omniglot-5w1s-{floor[:12]}.json))<br>few episodes "
        "|  | 4, seed 0 | fixed-way<br>query=15 | none |\n"
        "\n"
        "## Published values\n"
        "\n"
        "| Algorithm | Backbone | Kind | 5-way 1-shot | 20-way 1-shot |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| protonet | conv4 | paper[^1] | 98.8 | 96.0 |\n"
        "| protonet | conv4 | replication[^2] | 98.2 ± 0.1 |  |\n"
        "\n"
        "[^1]: A &amp; B 2017 Table 1\n"
        "[^2]: someone's README\n"
    )


def test_the_data_beside_the_page(board: Leaderboard) -> None:
    import csv

    board.add(_three())
    board.build()
    with (board.folder / "omniglot.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["algorithm"], r["way"], r["shot"], r["accuracy"]) for r in rows] == [
        ("protonet", "5", "1", "98.6667"),
        ("protonet", "5", "5", "99.6667"),
        ("chance", "5", "1", "20.0000"),
    ]
    assert (rows[0]["published"], rows[0]["gap"]) == ("98.8000", "-0.1333")
    assert (rows[0]["training_seed"], rows[2]["training_seed"]) == ("7", "")
    for row in rows:
        assert read_record(board.folder / row["record"])["key"] == row["key"]


def test_building_twice_gives_the_same_bytes(board: Leaderboard, tmp_path: Path) -> None:
    board.add(_three())
    changed = board.build()
    assert [path.name for path in changed] == ["README.md", "omniglot.csv", "omniglot.md"]
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
    assert len(board.stale()) == 3
    board.build()
    assert board.stale() == []
    page = board.folder / "omniglot.md"
    page.write_bytes(page.read_bytes().replace(b"98.67", b"99.67"))
    assert board.stale() == [page]
    board.build()
    page.write_bytes(page.read_bytes().replace(b"\n", b"\r\n"))
    assert board.stale() == [page]


def test_pages_without_a_data_set_are_removed_and_others_kept(board: Leaderboard) -> None:
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
    board.add([{**record, "cost": {"seconds": 99.0}}])
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
        ({**make_record(), "provenance": {"local": True}}, "local code or data"),
        ({**make_record(), "key": "0" * 64}, "key is not the key"),
        (make_record(algorithm__name="../../evil"), "algorithm name '../../evil' is not fit"),
        (make_record(algorithm__name="a|b"), "not fit"),
        (make_record(backbone__name="<script>"), "not fit"),
        (make_record(dataset__name="a/b"), "not fit"),
        (make_record(dataset__name="x\n"), "not fit"),
        (make_record(dataset__name="ReadMe"), "cannot have a data set"),
        (make_record(dataset__name="published"), "cannot have a data set"),
        (make_record(protocol__name="[x](y)"), "not fit"),
    ],
)
def test_what_may_not_be_added(board: Leaderboard, record: dict[str, Any], message: str) -> None:
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


HOSTILE = "a|b`c`\n# h\n<script>alert(1)</script>[x](javascript:alert(1)) https://evil.example ![i](//e) [^1]"


def test_hostile_strings_stay_inside_their_cell(board: Leaderboard) -> None:
    plain, hostile = make_record(), make_record(
        algorithm__params={HOSTILE[:100]: HOSTILE},
        algorithm__setting=HOSTILE,
        backbone__trained_on=HOSTILE,
        dataset__split=HOSTILE,
        dataset__digest=HOSTILE,
        dataset__params={"p": HOSTILE},
        precision=HOSTILE,
        training={"seed": 1, "way": HOSTILE, "shot": HOSTILE},
    )  # fmt: skip
    board.add([plain])
    board.build()
    before = (board.folder / "omniglot.md").read_text(encoding="utf-8").count("\n")
    board.add([hostile])
    board.build()
    text = (board.folder / "omniglot.md").read_text(encoding="utf-8")
    assert text.count("\n") == before + 6  # one more section: blank, title, blank, and a table of three
    assert "<script" not in text
    assert "https:" not in text
    assert re.search(r"(?<!\\)\[(x|i)", text) is None
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {9, 7}
    assert sum(line.startswith("#") for line in text.splitlines()) == 4


def _rows(board: Leaderboard) -> list[list[str]]:
    board.build()
    return _table((board.folder / "omniglot.md").read_text(encoding="utf-8"), "## test split")


def test_runs_that_differ_in_more_than_the_cell_have_their_own_rows(board: Leaderboard) -> None:
    board.add(
        [
            make_record(),
            make_record(training__seed=8),
            make_record(algorithm__params={"metric": "cosine"}),
            make_record(algorithm__version=2),
            make_record(algorithm__setting="transductive"),
            make_record(backbone__trained_on="images of the web"),
            make_record(precision="bfloat16"),
            make_record(evaluation__seed=1),
            make_record(protocol__params__query=10),
            make_record(training={"checkpoint": "ef" * 32}),
        ]
    )
    header, _, *rows = _rows(board)
    assert len(rows) == 10
    shown = {tuple(cell for i, cell in enumerate(row) if i != header.index("5-way 1-shot")) for row in rows}
    assert len(shown) == 10, "every difference is visible"


def test_one_cell_reached_from_two_trainings_divides_the_group(board: Leaderboard) -> None:
    board.add(
        [
            make_record(),
            make_record((70, 71, 72, 73), training__shot=5),
            make_record((70, 71, 72, 73), protocol__params__shot=5, training__shot=5),
        ]
    )
    header, _, *rows = _rows(board)
    training = [row[header.index("Training")] for row in rows]
    assert training == ["seed 7, 60-way, 100 episodes", "seed 7, 60-way, 5/5-shot, 100 episodes"]
    assert rows[0][header.index("5-way 5-shot")] == ""


def test_rows_are_sorted_by_accuracy_and_missing_ones_come_last(board: Leaderboard) -> None:
    board.add(
        [
            make_record((10, 11), algorithm__name="low"),
            make_record((70, 71), algorithm__name="high"),
            make_record((75, 75), algorithm__name="other", protocol__params__way=20),
            make_record((75, 75), algorithm__name="drawn", protocol__params={}, protocol__name="dynamic"),
        ]
    )
    header, _, *rows = _rows(board)
    assert [row[0] for row in rows] == ["high", "low", "other", "drawn"]
    assert header[3:6] == ["5-way 1-shot", "20-way 1-shot", "dynamic"]
    names = {path.name.rpartition("-")[0] for path in (board.folder / "records").iterdir()}
    assert "drawn-omniglot-dynamic" in names
    assert "other-omniglot-20w1s" in names


def test_other_test_data_has_its_own_section(board: Leaderboard) -> None:
    board.add([make_record(), make_record(dataset__digest="cd" * 32)])
    board.build()
    text = (board.folder / "omniglot.md").read_text(encoding="utf-8")
    assert text.count("## test split") == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("protonet,conv4,omniglot,5,1,101,,s,paper", "accuracy '101' is no percentage"),
        ("protonet,conv4,omniglot,5,1,nan,,s,paper", "accuracy 'nan' is no percentage"),
        ("protonet,conv4,omniglot,5,1,,,s,paper", "accuracy '' is no percentage"),
        ("protonet,conv4,omniglot,5,1,98,x,s,paper", "ci95 'x' is no percentage"),
        ("protonet,conv4,omniglot,0,1,98,,s,paper", "way and shot start at 1"),
        ("protonet,conv4,omniglot,five,1,98,,s,paper", "line 2"),
        ("protonet,conv4,omniglot,5,1,98,,,paper", "needs a source"),
        ("protonet,conv4,omniglot,5,1,98,,s,rumour", "kind must be one of paper, replication"),
        ("proto net,conv4,omniglot,5,1,98,,s,paper", "no plugin name"),
        ("protonet,conv4,readme,5,1,98,,s,paper", "cannot have a data set"),
        ("protonet,conv4", "line 2"),
        ("protonet,conv4,omniglot,5,1,98,,s,paper\nprotonet,conv4,omniglot,5,1,97,,s,paper", "line 3: repeats"),
    ],
)
def test_a_bad_claim_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "published.csv"
    path.write_text(HEADER + line + "\n")
    with pytest.raises(UsageError, match=message):
        read_published(path)


def test_claims_need_their_header_but_not_their_file(tmp_path: Path) -> None:
    assert read_published(tmp_path / "published.csv") == []
    (tmp_path / "published.csv").write_text("a,b\n")
    with pytest.raises(UsageError, match="the first line must be algorithm,backbone"):
        read_published(tmp_path / "published.csv")


def test_an_empty_leaderboard_can_be_built(tmp_path: Path) -> None:
    (path,) = Leaderboard(tmp_path).build()
    assert "There are none yet." in path.read_text()


def test_the_committed_leaderboard_is_up_to_date() -> None:
    board = Leaderboard(ROOT / "leaderboards")
    claims = read_published(board.folder / "published.csv")
    found = {(c.algorithm, c.cell.way, c.cell.shot): c.accuracy for c in claims if c.kind == "paper"}
    assert found["protonet", 20, 1] == 96.0
    assert found["matching-net", 5, 1] == 98.1
    assert board.stale() == []


def test_a_large_leaderboard_builds_in_seconds(board: Leaderboard) -> None:
    """The budget is 5 s for 2,000 records; twice that rate, in processor time, allows for a busy machine."""
    folder = board.folder / "records"
    folder.mkdir()
    record = make_record((70, 71, 72, 73) * 250)
    for seed in range(500):
        inputs = make_inputs(evaluation__episodes=1000, training__seed=seed)
        key = content_key(inputs)
        text = json.dumps({**record, "inputs": inputs, "key": key})
        (folder / f"protonet-omniglot-5w1s-{key[:12]}.json").write_text(text)
    started = time.process_time()
    board.build()
    assert time.process_time() - started < 2.5
    assert len(_table((board.folder / "omniglot.md").read_text(encoding="utf-8"), "## test split")) == 502
