from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from metabench.errors import UsageError
from metabench.leaderboard.curated import Invalidated, Overlap, contamination, read_invalidated, read_overlaps

KEY = "ab" * 32
GOOD = f'[[invalidated]]\nkey = "{KEY}"\nreason = "wrong  split"\ndate = 2026-11-24\n'
OVERLAP = '[[contamination]]\ntrained_on = "imagenet-1k"\ndataset = "mini"\noverlap = "classes"\nreason = "a subset"\n'


def test_invalidated_records_are_read_by_key(tmp_path: Path) -> None:
    path = tmp_path / "invalidated.toml"
    assert read_invalidated(path) == {}
    path.write_text(GOOD)
    assert read_invalidated(path) == {KEY: Invalidated(KEY, "wrong split", datetime.date(2026, 11, 24))}
    path.write_text(GOOD + "removed = true\n")
    assert read_invalidated(path)[KEY].removed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("reason", "reasn"), "reason is missing or not text"),
        (GOOD + 'who = "me"\n', "unknown field 'who'; known: key, reason, date, removed"),
        (GOOD.replace("2026-11-24", '"2026-11-24"'), "date is missing or not a date"),
        (GOOD.replace("2026-11-24", "2026-11-24T00:00:00"), "date is missing or not a date"),
        (GOOD.replace(KEY, KEY[:12]), "all 64 hexadecimal digits"),
        (GOOD.replace(KEY, KEY.upper()), "all 64 hexadecimal digits"),
        (GOOD.replace("wrong  split", " "), "the reason has 1 to 500 characters"),
        (GOOD.replace("wrong  split", "x" * 501), "the reason has 1 to 500 characters"),
        (GOOD + GOOD, "[[invalidated]] 2: the key abababababab stands there twice"),
        (GOOD + 'removed = "yes"\n', "removed is true or false"),
        (GOOD.replace("invalidated", "invalid"), "holds [[invalidated]] tables and nothing else, not invalid"),
        ("invalidated = 3\n", "tables and nothing else"),
        ("= nonsense", "invalidated.toml: "),
        ("invalidated = [1]\n", "tables and nothing else"),
    ],
)
def test_a_mistake_in_the_list_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "invalidated.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_invalidated(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overlaps_are_read(tmp_path: Path) -> None:
    path = tmp_path / "contamination.toml"
    assert read_overlaps(path) == []
    path.write_text(OVERLAP)
    assert read_overlaps(path) == [Overlap("imagenet-1k", "mini", "classes", "a subset")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OVERLAP.replace('"classes"', '"some"'), "overlap is one of none, classes, images"),
        (OVERLAP.replace("imagenet-1k", "ImageNet-1k"), "one name in lower case"),
        (OVERLAP.replace("imagenet-1k", "a, b"), "one name in lower case"),
        (OVERLAP + OVERLAP, "imagenet-1k and mini stand there twice"),
    ],
)
def test_a_mistake_in_the_overlaps_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "contamination.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_overlaps(tmp_path / "contamination.toml")


@pytest.mark.parametrize(
    ("trained_on", "verdict"),
    [
        ("", ""),
        ("clean", "none"),
        ("Clean + seen", "classes"),
        ("seen, copied", "images"),
        ("clean, unknown", "unchecked"),
        ("seen, unknown", "classes"),
        (" , +", "unchecked"),
    ],
)
def test_the_worst_of_several_pre_trainings_counts(trained_on: str, verdict: str) -> None:
    overlaps = [Overlap(name, "d", what, "") for name, what in
                (("clean", "none"), ("seen", "classes"), ("copied", "images"))]  # fmt: skip
    assert contamination(trained_on, "d", overlaps) == verdict
    assert contamination("clean", "another data set", overlaps) == "unchecked"
