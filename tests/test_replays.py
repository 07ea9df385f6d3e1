"""Which committed records are replayed whole: those that differ from the commit that a change starts from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scipy.stats import binom

from tests.record_factory import changed, make_record
from tests.replays import LEAST, MOST, RARE, choose_replays, most_differing

RECORD = make_record()


def git(folder: Path, *words: str) -> None:
    named = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *named, *words], check=True, capture_output=True)


def commit(folder: Path, **contents: str) -> None:
    for name, content in contents.items():
        (folder / "records" / f"{name}.json").write_text(content * 50)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "records", "--allow-empty")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository on main with two commits, each with a record of its own."""
    folder = tmp_path / "checkout"
    (folder / "records").mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, old="a")
    commit(folder, last="b")
    return folder


def whole(folder: Path, **environ: str) -> set[str]:
    found = choose_replays("changed", folder / "records", environ).whole
    assert found is not None
    return {Path(name).stem for name in found}


def test_on_main_those_of_the_last_commit(checkout: Path) -> None:
    assert whole(checkout) == {"last"}
    git(checkout, "checkout", "--quiet", "--detach")
    assert whole(checkout) == {"last"}


def test_on_a_branch_those_since_it_left_main(checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "-b", "change")
    commit(checkout, added="c")
    commit(checkout, old="d")
    git(checkout, "checkout", "--quiet", "main")
    commit(checkout, elsewhere="e")
    git(checkout, "checkout", "--quiet", "change")
    assert whole(checkout) == {"added", "old"}


def test_what_is_not_committed_counts_and_a_new_name_alone_does_not(checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "-b", "change")
    git(checkout, "mv", "records/old.json", "records/renamed.json")
    (checkout / "records" / "last.json").write_text("altered")
    (checkout / "records" / "new.json").write_text("new")
    assert whole(checkout) == {"last", "new"}
    (checkout / "records" / "last.json").unlink()
    assert whole(checkout) == {"new"}


def test_a_clone_goes_by_the_main_of_its_origin(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "checkout", "--quiet", "-b", "change")
    commit(checkout, first="c")
    git(checkout, "checkout", "--quiet", "-b", "more")
    commit(checkout, second="d")
    git(tmp_path, "clone", "--quiet", str(checkout), "clone")
    assert whole(tmp_path / "clone") == {"first", "second"}
    assert whole(tmp_path / "clone", GITHUB_BASE_REF="change") == {"second"}


def test_without_history_the_first_episodes_of_all_and_it_says_so(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", checkout.as_uri(), "shallow")
    found = choose_replays("changed", tmp_path / "shallow" / "records", {})
    assert found.episodes("last.json", RECORD) == MOST and "history does not reach back" in str(found)
    found = choose_replays("changed", tmp_path, {})
    assert found.episodes("last.json", RECORD) == MOST and "no git repository" in str(found)


def test_episodes_and_the_line_at_the_head_of_the_tests(checkout: Path) -> None:
    found = choose_replays("changed", checkout / "records", {})
    assert (found.episodes("last.json", RECORD), found.episodes("old.json", RECORD)) == (None, MOST)
    assert str(found).startswith(
        "replays: the first 8 to 50 episodes of each record, all episodes of 1 record (those that differ from "
    )
    every = choose_replays("all", checkout / "records", {})
    assert every.episodes("old.json", RECORD) is None
    assert str(every) == "replays: every episode of every record (--replay=all)"


@pytest.mark.parametrize(("seconds", "episodes"), [(0.01, MOST), (1.0, 12), (100.0, LEAST)])
def test_a_slow_record_is_replayed_in_a_few_seconds(checkout: Path, seconds: float, episodes: int) -> None:
    record = changed(make_record(), cost={"scoring_seconds": seconds})  # of four episodes
    assert choose_replays("changed", checkout / "records", {}).episodes("old.json", record) == episodes


def test_of_all_episodes_a_share_may_differ() -> None:
    assert most_differing(0.005, 2000, True) == 10


@pytest.mark.parametrize(("share", "episodes", "most"), [(0.005, 8, 1), (0.005, 50, 2), (0.25, 8, 5), (0.25, 50, 20)])
def test_of_a_part_as_many_may_differ_as_chance_may_bring_and_no_more(share: float, episodes: int, most: int) -> None:
    assert most_differing(share, episodes, False) == most
    assert binom.sf(most, episodes, share) <= RARE < binom.sf(most - 1, episodes, share)
