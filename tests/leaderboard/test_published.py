from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metabench.errors import UsageError
from metabench.leaderboard.entries import Column
from metabench.leaderboard.published import Published, read_published

HEADER = "algorithm,backbone,dataset,way,shot,query,accuracy,ci95,source,kind\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("protonet,conv4,omniglot,5,1,,101,,s,paper", "accuracy '101' is not a percentage"),
        ("protonet,conv4,omniglot,5,1,,nan,,s,paper", "accuracy 'nan' is not a percentage"),
        ("protonet,conv4,omniglot,5,1,,,,s,paper", "missing required field `accuracy`"),
        ("protonet,conv4,omniglot,5,1,,98,x,s,paper", "ci95 'x' is not a percentage"),
        ("protonet,conv4,omniglot,0,1,,98,,s,paper", "line 2: way '0' is not a whole number from 1 to 999999"),
        ("protonet,conv4,omniglot,5,1,0,98,,s,paper", "line 2: query '0' is not a whole number"),
        ("protonet,conv4,omniglot,five,1,,98,,s,paper", "line 2: way 'five' is not a whole number"),
        *(
            (f"protonet,conv4,omniglot,{way},1,,98,,s,paper", "line 2: way .* is not a whole number from 1 to 999999")
            for way in ("5.0", "1e2", "+5", " 5", "05", "5_0", "\u0665", "1000000", "true")
        ),
        ("protonet,conv4,omniglot,5,1e0,,98,,s,paper", "line 2: shot '1e0' is not a whole number"),
        ("protonet,conv4,omniglot,5,1,15.0,98,,s,paper", "line 2: query '15.0' is not a whole number"),
        ("protonet,conv4,omniglot,5,1,,\u0669\u0668,,s,paper", "accuracy '\u0669\u0668' is not a percentage"),
        ("protonet,conv4,omniglot,5,1,,98,,a\x1b[2Jb,paper", r"line 2: the source has the control character U\+001B\."),
        ("protonet,conv4,omniglot,5,1,,98,,a\u202eb,paper", r"line 2: the source has the control character U\+202E\."),
        ("protonet,conv4,omniglot,5,1,,98,,,paper", "needs a source"),
        ("protonet,conv4,omniglot,5,1,,98,,s,rumour", "kind must be one of paper, replication"),
        ("proto net,conv4,omniglot,5,1,,98,,s,paper", "not a plugin name"),
        ("protonet,conv4,omniglot,5,1,,98,,s,paper,more", "line 2: has more columns than 10"),
        ("protonet,conv4,readme,5,1,,98,,s,paper", "cannot have a dataset"),
        ("protonet,conv4", "line 2: .*missing required field `dataset`"),
        ("protonet,conv4,omniglot,5,1,,98,,s,paper\nprotonet,conv4,omniglot,5,1,,97,,s,paper", "line 3: it repeats"),
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
        ("98.8", "", 98.74, 0.05, False),  # with rounding, 0.05, the root is 0.071
        ("98.8", "", 98.72, 0.05, True),
        ("98.80", "", 98.74, 0.05, True),  # one more digit, a tenth of the rounding
        ("98.8", "0.3", 98.29, 0.4, True),  # 3, 4, 5; the sum of the half-widths is 0.7
        ("98.8", "0.3", 98.31, 0.4, False),
        ("98.8", "0.3", 99.31, 0.4, True),
        ("98.8", "", 98.8, None, False),
        ("98.8", "0.3", 20.0, None, False),  # one episode has no interval
    ],
)
def test_whether_a_value_differs_from_the_published_one(
    tmp_path: Path, accuracy: str, ci95: str, measured: float, half: float | None, apart: bool
) -> None:
    (tmp_path / "published.csv").write_text(f"{HEADER}protonet,conv4,omniglot,5,1,,{accuracy},{ci95},s,paper\n")
    (claim,) = read_published(tmp_path / "published.csv")
    assert claim.differs_from(measured, half) is apart
    assert claim.gap(99.8) == pytest.approx(1.0)


@pytest.mark.parametrize(("distance", "low", "high"), [(0.0, 0.045, 0.055), (3.0, 0.84, 0.86)])
def test_the_error_and_the_power_of_the_marks(distance: float, low: float, high: float) -> None:
    """The paper's value and ours have a standard error of 0.5, so their difference has one of 0.707."""
    random = np.random.default_rng(0)
    papers = random.normal(50, 0.5, 20_000)
    ours = random.normal(50 + distance * 0.5**0.5, 0.5, 20_000)
    half = 1.96 * 0.5
    marked = [
        Published("a", "b", "d", Column("", 5, 1), paper, half, "", "s", "paper").differs_from(value, half)
        for paper, value in zip(papers.tolist(), ours.tolist(), strict=True)
    ]
    assert low < np.mean(marked) < high


def test_a_field_that_is_too_long_for_csv_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "published.csv"
    known = (Path(__file__).parents[2] / "leaderboards" / "published.csv").read_text().splitlines()[0]
    file.write_text(f"{known}\n{'x' * 200_000}\n")
    with pytest.raises(UsageError, match=r"^cannot read .*published.csv: line \d+: field larger than field limit"):
        read_published(file)
