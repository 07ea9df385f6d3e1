from __future__ import annotations

from pathlib import Path

import pytest

from metabench.errors import UsageError
from metabench.leaderboard.published import read_published

HEADER = "algorithm,backbone,dataset,way,shot,query,accuracy,ci95,source,kind\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("protonet,conv4,omniglot,5,1,,101,,s,paper", "accuracy '101' is no percentage"),
        ("protonet,conv4,omniglot,5,1,,nan,,s,paper", "accuracy 'nan' is no percentage"),
        ("protonet,conv4,omniglot,5,1,,,,s,paper", "accuracy '' is no percentage"),
        ("protonet,conv4,omniglot,5,1,,98,x,s,paper", "ci95 'x' is no percentage"),
        ("protonet,conv4,omniglot,0,1,,98,,s,paper", "way, shot and query start at 1"),
        ("protonet,conv4,omniglot,5,1,0,98,,s,paper", "way, shot and query start at 1"),
        ("protonet,conv4,omniglot,five,1,,98,,s,paper", "line 2"),
        ("protonet,conv4,omniglot,5,1,,98,,,paper", "needs a source"),
        ("protonet,conv4,omniglot,5,1,,98,,s,rumour", "kind must be one of paper, replication"),
        ("proto net,conv4,omniglot,5,1,98,,s,paper", "no plugin name"),
        ("protonet,conv4,readme,5,1,,98,,s,paper", "cannot have a data set"),
        ("protonet,conv4", "line 2"),
        ("protonet,conv4,omniglot,5,1,,98,,s,paper\nprotonet,conv4,omniglot,5,1,,97,,s,paper", "line 3: repeats"),
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


@pytest.mark.parametrize(
    ("accuracy", "ci95", "measured", "half", "apart"),
    [
        ("98.8", "", 98.7, 0.05, False),  # rounding alone, 0.05, reaches ours
        ("98.8", "", 98.69, 0.05, True),
        ("98.80", "", 98.7, 0.05, True),  # one more digit, a tenth of the rounding
        ("98.8", "0.5", 98.0, 0.2, True),
        ("98.8", "0.5", 98.2, 0.2, False),
        ("98.8", "0.5", 99.6, 0.2, True),
        ("98.8", "", 98.8, None, False),
    ],
)
def test_whether_two_intervals_miss_each_other(
    tmp_path: Path, accuracy: str, ci95: str, measured: float, half: float | None, apart: bool
) -> None:
    (tmp_path / "published.csv").write_text(f"{HEADER}protonet,conv4,omniglot,5,1,,{accuracy},{ci95},s,paper\n")
    (claim,) = read_published(tmp_path / "published.csv")
    assert claim.misses(measured, half) is apart
    assert claim.gap(99.8) == pytest.approx(1.0)
