from __future__ import annotations

import csv
import io
from pathlib import Path

from metabench.leaderboard import Leaderboard
from metabench.leaderboard.board import boards
from metabench.leaderboard.csv_page import board_csv
from metabench.leaderboard.curated import Overlap
from metabench.leaderboard.entries import Column, Entry, file_name
from metabench.leaderboard.published import Published
from metabench.records.record import Record, read_record
from tests.leaderboard.samples import FLOOR
from tests.record_factory import changed, make_record

CLAIM = Published("protonet", "conv4", "omniglot", Column("", 5, 1), 99.9, 0.05, "99.9", "A, B 2017", "paper")


def _rows(*records: Record, overlaps: tuple[Overlap, ...] = ()) -> list[dict[str, str]]:
    entries = [Entry(record, file_name(record)) for record in records]
    (board,) = boards(entries, [CLAIM], {}, overlaps)
    return list(csv.DictReader(io.StringIO(board_csv(board))))


def test_a_line_for_every_row_and_column() -> None:
    rows = _rows(
        make_record((74, 75, 73, 75) * 20),
        make_record((75, 75, 75, 74) * 20, protocol__params__shot=5, training__shot=5),
        make_record((15, 16, 14, 15) * 20, **FLOOR),
    )
    assert [(r["algorithm"], r["way"], r["shot"], r["accuracy"], r["rank"], r["floor"]) for r in rows] == [
        ("protonet", "5", "1", "99.0000", "1", ""),
        ("protonet", "5", "5", "99.6667", "1", ""),
        ("chance", "5", "1", "20.0000", "2", "yes"),
    ]
    one, five, floor = rows
    assert (one["published"], one["gap"], one["intervals_apart"]) == ("99.9000", "-0.9000", "yes")
    assert (five["published"], five["intervals_apart"]) == ("", "")
    assert (one["seeds"], one["seed_sd"], floor["seeds"]) == ("7", "", "")
    assert one["published_source"] == "A, B 2017"


def test_a_single_episode_has_no_rank() -> None:
    one = make_record((75,), algorithm__name="once", episodes_digest="ab" * 32)
    rows = _rows(one, make_record((74, 75) * 20))
    assert [(row["algorithm"], row["rank"], row["rank_shared"], row["ci95"] != "") for row in rows] == [
        ("protonet", "1", "", True),
        ("once", "", "", False),
    ]


def test_seeds_ties_and_marks() -> None:
    rows = _rows(
        make_record((74, 75) * 40, training__seed=0, backbone__trained_on="Clean"),
        make_record((70, 75) * 40, training__seed=1, backbone__trained_on="Clean"),
        make_record((72, 75) * 40, algorithm__name="same", algorithm__params={"bn": "transductive"}),
        overlaps=(Overlap("clean", "omniglot", "none", ""),),
    )
    assert [(row["rank"], row["rank_shared"]) for row in rows] == [("1", "yes"), ("1", "yes")]
    seeds = next(row for row in rows if row["algorithm"] == "protonet")
    assert (seeds["seeds"], seeds["seed_sd"], seeds["contamination"]) == ("0 1", "1.8856", "none")
    assert len(seeds["keys"].split()) == len(seeds["records"].split()) == 2
    other = next(row for row in rows if row["algorithm"] == "same")
    assert (other["setting"], other["statistics"]) == ("transductive", "transductive")


def test_a_column_for_copies_where_there_are_some() -> None:
    copied = changed(make_record(), provenance={"copies": {"within_class": 3, "between_splits": 2}})
    rows = _rows(copied, make_record((15, 16, 14, 15), **FLOOR))
    assert [row["copies"] for row in rows] == ["3 within a class, 2 in training too", "3 within a class"]
    assert "copies" not in _rows(make_record())[0]


def test_the_records_named_are_there(tmp_path: Path) -> None:
    board = Leaderboard(tmp_path)
    board.add([make_record(), make_record(training__seed=8)])
    board.build()
    with (tmp_path / "omniglot.csv").open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    for key, file in zip(row["keys"].split(), row["records"].split(), strict=True):
        assert read_record(tmp_path / file).key == key
