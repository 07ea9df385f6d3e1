from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from metabench.errors import UsageError
from metabench.leaderboard.maintainer_files import Invalidated, Overlap, contamination, read_invalidated, read_overlaps

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
        (GOOD.replace("reason", "reasn"), "$.invalidated[0]: object contains unknown field `reasn`"),
        (GOOD.replace("reason", "#"), "$.invalidated[0]: object missing required field `reason`"),
        (GOOD + 'who = "me"\n', "$.invalidated[0]: object contains unknown field `who`"),
        (GOOD.replace("2026-11-24", '"2026-11-24"'), "$.invalidated[0].date: expected `date`, got `str`"),
        (GOOD.replace("2026-11-24", "2026-11-24T00:00:00"), "$.invalidated[0].date: expected `date`, got `datetime`"),
        (GOOD.replace(KEY, KEY[:12]), "$.invalidated[0].key: expected `str` matching regex '^[0-9a-f]{64}"),
        (GOOD.replace(KEY, KEY.upper()), "$.invalidated[0].key: expected `str` matching regex '^[0-9a-f]{64}"),
        (GOOD.replace("wrong  split", " "), "$.invalidated[0].reason must have 1 to 500 characters"),
        (GOOD.replace("wrong  split", "x" * 501), "$.invalidated[0].reason must have 1 to 500 characters"),
        (GOOD.replace("wrong", "wrong\\u001b[2J"), "$.invalidated[0].reason has the control character U+001B"),
        (GOOD.replace("wrong", "wrong\\u202e"), "$.invalidated[0].reason has the control character U+202E"),
        (GOOD.replace("wrong", "wrong\\u001c"), "$.invalidated[0].reason has the control character U+001C"),
        (GOOD + GOOD, "$.invalidated[1].key is there twice (abababababab)"),
        (GOOD + GOOD.partition("\n")[2], "Cannot overwrite a value"),
        (GOOD + 'removed = "yes"\n', "$.invalidated[0].removed: expected `bool`, got `str`"),
        (GOOD.replace("invalidated", "invalid"), "$: object contains unknown field `invalid`"),
        ("invalidated = 3\n", "$.invalidated: expected `array`, got `int`"),
        ("= nonsense", "invalidated.toml: "),
        ("invalidated = [1]\n", "$.invalidated[0]: expected `object`, got `int`"),
    ],
)
def test_a_mistake_in_the_list_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "invalidated.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_invalidated(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reason_may_have_spaces_of_every_kind_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "invalidated.toml"
    path.write_text(GOOD.replace("wrong  split", "wrong\\n\\tsplit:\u00a05\u2009%"), encoding="utf-8")
    assert read_invalidated(path)[KEY].reason == "wrong split: 5 %"


def test_overlaps_are_read(tmp_path: Path) -> None:
    path = tmp_path / "contamination.toml"
    assert read_overlaps(path) == []
    path.write_text(OVERLAP)
    assert read_overlaps(path) == [Overlap("imagenet-1k", "mini", "classes", "a subset")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OVERLAP.replace('"classes"', '"some"'), "overlap must be one of none, classes, images"),
        (OVERLAP.replace("imagenet-1k", "ImageNet-1k"), "one name in lower case"),
        (OVERLAP.replace("imagenet-1k", "a, b"), "one name in lower case"),
        (OVERLAP.replace("a subset", "a\\u0007subset"), r"\[0\]\.reason has the control character U\+0007"),
        (OVERLAP + OVERLAP, "imagenet-1k and mini are there twice"),
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
    assert contamination("clean", "another dataset", overlaps) == "unchecked"
