"""Selection of runs: what the user asked for, and the checks that need no plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metabench.errors import UsageError
from metabench.registry.params import Value
from metabench.registry.specs import SAMPLINGS, TEST
from metabench.statistics.stopping import BOUNDS, StopRule

PRECISIONS = ("float32", "bfloat16")
MOST_EPISODES = 1_000_000
EPISODES, MOST_UNTIL = 2_000, 100_000
"""Test episodes where the user gives no number: without a stop rule, and at most with one."""
MAX_SEED = 2**63 - 1
LISTS = ("algorithms", "datasets", "backbones", "ways", "shots", "seeds")
"""Fields of `Selection` that hold several values; each combination of them is a run."""


@dataclass(frozen=True)
class Selection:
    """The user's request; every combination of the lists is one run."""

    algorithms: Sequence[str]
    datasets: Sequence[str] = ("glyphs",)
    backbones: Sequence[str] = ()
    """Empty: the default of each dataset, else of each algorithm."""
    ways: Sequence[int] = ()
    """Empty, as with shots: the default of the protocol."""
    shots: Sequence[int] = ()
    query: int | None = None
    """None: the default of the protocol; of a local dataset with small classes, as many as they have."""
    protocol: str = ""
    """Empty: that of the datasets, `FIXED_WAY` unless they declare another."""
    episodes: int | None = None
    """None: `EPISODES`, or with `until_ci` at most `MOST_UNTIL`; all where the protocol lists them."""
    seeds: Sequence[int] = (0,)
    """Training seeds."""
    episode_seed: int = 0
    sampling: str = "closed"
    """``open``: no two episodes share an image; as many as the data have, at most `episodes`."""
    until_ci: float | None = None
    """Stop when the half-width is at most this many percentage points; `episodes` is then the maximum."""
    bound: str = "asymptotic"
    """Confidence sequence behind `until_ci`, one of `metabench.statistics.stopping.BOUNDS`."""
    precision: str = "float32"
    checkpoint: Path | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)
    """``scope.name`` to value, the scope one of `metabench.planning.settings.SCOPES`."""
    split: str = TEST
    """Split whose classes are measured; ``val`` is for choosing parameters, and gives no result."""
    train_dataset: str = ""
    """Dataset trained and validated on; empty: the measured one."""


def check_selection(selection: Selection, episodes: int) -> None:
    """Raise UsageError for an empty list, a number out of range, an unknown word, or options that contradict.

    Args:
        selection: with `ways` and `shots` filled in.
        episodes: the number of episodes, or the maximum under a stop rule.
    """
    require_lists(selection, "algorithms", "datasets", "seeds")
    _check_numbers(selection, episodes)
    _check_word("--sampling", selection.sampling, SAMPLINGS)
    _check_word("--bound", selection.bound, BOUNDS)
    _check_stop_rule(selection)
    _check_word("precision", selection.precision, PRECISIONS)


def require_lists(selection: Selection, *names: str) -> None:
    """Raise UsageError for the first of the named lists that is empty."""
    for name in names:
        if not getattr(selection, name):
            raise UsageError(f"no {name} given")


def stop_rule(selection: Selection, episodes: int) -> StopRule | None:
    """Return the stop rule of at most `episodes`; None where the number of episodes is fixed.

    Raises:
        UsageError: a half-width so small that no number of episodes reaches it.
    """
    if selection.until_ci is None:
        return None
    try:
        return StopRule.aimed(float(selection.until_ci), selection.bound, episodes)
    except OverflowError:
        raise UsageError(f"--until-ci must be a half-width that can be reached, not {selection.until_ci}") from None


def _check_numbers(selection: Selection, episodes: int) -> None:
    for name, values, least, most in (
        ("--ways", selection.ways, 2, None),
        ("--shots", selection.shots, 1, None),
        ("--query", () if selection.query is None else (selection.query,), 1, None),
        ("--episodes", (episodes,), 1, MOST_EPISODES),
        ("--seed", selection.seeds, 0, MAX_SEED),
        ("--episode-seed", (selection.episode_seed,), 0, MAX_SEED),
    ):
        for value in values:
            if value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")
            if most is not None and value > most:
                raise UsageError(f"{name} must be at most {most}, not {value}")


def _check_word(name: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise UsageError(f"unknown {name} '{word}'; use {' or '.join(known)}")


def _check_stop_rule(selection: Selection) -> None:
    if selection.until_ci is None:
        if selection.bound != BOUNDS[0]:
            raise UsageError("cannot apply --bound: it needs --until-ci. Add --until-ci, or leave --bound out.")
        return
    if not 0 < selection.until_ci <= 100:
        raise UsageError(
            f"--until-ci must be a half-width in points, above 0 and at most 100, not {selection.until_ci}"
        )
    if selection.sampling == "open":
        raise UsageError(
            "cannot apply --until-ci: open sampling has a limited number of episodes. Leave --sampling open out."
        )
