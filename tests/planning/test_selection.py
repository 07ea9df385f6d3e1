"""What a user asks for: numbers of episodes, sampling, stop rules, and values out of range."""

from __future__ import annotations

from typing import Any

import pytest

from metabench.errors import UsageError
from metabench.utils.hashing import content_key
from tests.planning.small_registry import DIGESTS, runs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithms": ()}, "no algorithms given"),
        ({"seeds": ()}, "no seeds given"),
        ({"datasets": ("digit",)}, "unknown dataset 'digit'; did you mean 'digits'?"),
        ({"ways": (5, 1)}, "--ways must be at least 2, not 1"),
        ({"seeds": (-1,)}, "--seed must be at least 0, not -1"),
        ({"seeds": (2**63,)}, "--seed must be at most 9223372036854775807"),
        ({"episode_seed": 2**63}, "--episode-seed must be at most 9223372036854775807"),
        ({"episodes": 1_000_001}, "--episodes must be at most 1000000, not 1000001"),
        ({"precision": "float16"}, "unknown precision 'float16'; use float32 or bfloat16"),
        ({"settings": {"lr": 1}}, "--set lr: write SCOPE.NAME=VALUE with a scope of algo, backbone"),
        ({"settings": {"trains.lr": 1}}, "--set trains.lr: write SCOPE.NAME=VALUE"),
        ({"settings": {"algo.kk": 1}}, "algorithm 'learner' has no parameter 'kk'; did you mean 'k'?"),
        ({"settings": {"backbone.k": 1}}, "backbone 'net' has no parameter 'k'; known: channels"),
        ({"settings": {"protocol.ways": 3}}, "protocol 'fixed-way' has no parameter 'ways'; did you mean 'way'?"),
        ({"settings": {"protocol.way": 3}}, "--set protocol.way: use --ways"),
        ({"settings": {"protocol.shot": 3}}, "--set protocol.shot: use --shots"),
        ({"settings": {"algo.k": "x"}}, "parameter 'k' of algorithm 'learner' is a whole number, not 'x'"),
        ({"settings": {"train.source": "me"}}, "--set train.source: no such setting"),
        ({"settings": {"train.episodes": 1.5}}, "--set train.episodes must be a whole number, not 1.5"),
        ({"settings": {"train.episodes": float("inf")}}, "--set train.episodes must be a whole number, not inf"),
        ({"settings": {"train.lr": "nan"}}, "--set train.lr must be a number of at least 0, not 'nan'"),
        ({"settings": {"train.lr": "inf"}}, "--set train.lr must be a number of at least 0, not 'inf'"),
        ({"settings": {"train.patience": -1}}, "--set train.patience must be a number of at least 0, not -1"),
        (
            {"settings": {"train.episodes": 0}},
            "number of at least 1, not 0. For untrained weights use --algo nearest-mean",
        ),
        ({"settings": {"train.validate_every": 0}}, "--set train.validate_every must be a number of at least 1"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        runs(**options)
    assert message in str(caught.value)


def test_how_episodes_are_sampled_and_when_they_end_is_part_of_the_key() -> None:
    options: list[dict[str, Any]] = [
        {},
        {"sampling": "open"},
        {"until_ci": 0.5},
        {"until_ci": 0.5, "bound": "bernstein"},
    ]
    found = [runs(**each)[0] for each in options]
    assert len({content_key(run.inputs(DIGESTS)) for run in found}) == 4
    assert len({run.stage_keys(DIGESTS)[-1] for run in found}) == 1  # the weights are the same


def test_the_number_of_episodes_follows_the_stop_rule() -> None:
    assert runs()[0].episodes == 2_000
    assert (runs(until_ci=0.2)[0].episodes, runs(until_ci=0.2, episodes=500)[0].episodes) == (100_000, 500)
    (run,) = runs(until_ci=0.2)
    assert run.inputs(DIGESTS)["evaluation"]["stop"] == {"half_width": 0.2, "bound": "asymptotic", "tightest": 23_028}
    assert runs()[0].inputs(DIGESTS)["evaluation"]["stop"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "other"}, "unknown --sampling 'other'; use closed or open"),
        ({"until_ci": 1, "bound": "z"}, "unknown --bound 'z'"),
        ({"until_ci": float("nan")}, "half-width"),
        ({"until_ci": 101}, "half-width"),
        ({"until_ci": 1e-300}, "half-width that can be reached, not 1e-300"),
        ({"until_ci": 1, "sampling": "open"}, "Leave --sampling open out"),
        ({"episodes": 0}, "--episodes must be at least 1"),
    ],
)
def test_evaluations_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        runs(**options)


@pytest.mark.parametrize("ways", [(0,), (0, 5), (1,)])
def test_too_few_ways_are_refused_as_such(ways: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=f"^--ways must be at least 2, not {ways[0]}$"):
        runs(("floor",), ways=ways)
