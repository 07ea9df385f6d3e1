from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabench.plotting.scale import Scale, apart, padded


def test_a_linear_scale() -> None:
    scale = Scale(10, 20, 0, 100)
    assert (scale(10), scale(15), scale(20), scale(25)) == (0, 50, 100, 150)
    assert (scale.clip(25), scale.clip(0)) == (100, 0)
    assert scale.inside(20)
    assert not scale.inside(20.1)


def test_a_logarithmic_scale() -> None:
    scale = Scale(1, 100, 0, 100, log=True)
    assert scale(10) == pytest.approx(50)
    assert scale.ticks(10) == [1, 2, 5, 10, 20, 50, 100]
    assert scale.ticks(3) == [1, 10, 100]


def test_a_narrow_logarithmic_scale_has_ticks_too() -> None:
    assert len(Scale(0.032, 0.071, 0, 100, log=True).ticks(6)) >= 2


@given(st.floats(0, 99), st.floats(0.01, 100))
def test_ticks_are_round_and_inside(low: float, width: float) -> None:
    scale = Scale(low, low + width, 0, 100)
    ticks = scale.ticks(5)
    assert 1 <= len(ticks) <= 7
    assert all(scale.inside(value) or abs(value - low) < 1e-6 or abs(value - low - width) < 1e-6 for value in ticks)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_a_padded_domain_holds_its_values(values: list[float]) -> None:
    low, high = padded(values, 2.0)
    assert 0 <= low <= min(values)
    assert max(values) <= high <= 100
    assert high - low >= 2.0 - 1e-9


@given(st.lists(st.floats(0, 100), max_size=7))
def test_labels_keep_apart_and_in_order(places: list[float]) -> None:
    moved = apart(places, 10, 0, 100)
    order = sorted(range(len(places)), key=lambda index: places[index])
    for one, other in itertools.pairwise(order):
        assert moved[other] - moved[one] >= 10 - 1e-9
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in moved)


def test_labels_with_room_stay() -> None:
    assert apart([50, 10], 10, 0, 100) == [50, 10]
