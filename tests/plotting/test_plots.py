from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest

from metabench.plotting.dot_plot import Dot, dot_plot
from metabench.plotting.histogram import histogram
from metabench.plotting.line_plot import Curve, curves
from metabench.plotting.rank_diagram import cliques, rank_diagram
from metabench.plotting.scatter_plot import Point, pareto, scatter
from metabench.plotting.svg import Picture
from metabench.statistics.episode_scores import EpisodeScores

DOTS = [
    Dot("best", 98.0, 0.2, 0.9, claim=98.8, claim_margin=0.05, remark="rank 1", tip="98.00"),
    Dot("next", 97.0, 0.2, None, remark="rank 2"),
    Dot("chance", 20.0, 0.1, floor=True, remark="rank 3"),
]


def _elements(picture: Picture, cls: str) -> list[ET.Element]:
    return [element for element in ET.fromstring(picture.file()).iter() if element.get("class") == cls]


def _texts(picture: Picture) -> list[str]:
    return [e.text or "" for e in ET.fromstring(picture.file()).iter() if e.tag.endswith("}text")]


PICTURES: list[Callable[[], Picture]] = [
    lambda: dot_plot(DOTS, "t", "x"),
    lambda: rank_diagram({"a": 1.2, "b": 1.9, "c": 2.9}, 0.8, "t"),
    lambda: curves([Curve("a", {1.0: (50.0, 1.0), 5.0: (70.0, None)})], "t", "shots", "accuracy"),
    lambda: scatter([Point("a", 0.1, 50.0), Point("b", 2.0, 60.0)], "t", "ms", "accuracy"),
    lambda: histogram(EpisodeScores.of_counts([70, 71, 75, 75], 75), "t", "s", 100 / 75),
]


@pytest.mark.parametrize("draw", PICTURES)
def test_a_picture_is_the_same_every_time_and_stays_in_its_box(draw: Callable[[], Picture]) -> None:
    picture = draw()
    assert picture.file() == draw().file()
    for element in ET.fromstring(picture.file()).iter():
        for name, most in (("x", picture.width), ("x1", picture.width), ("cx", picture.width), ("y", picture.height)):
            value = element.get(name)
            if value is not None and element.get("class") != "backdrop":
                assert -1 <= float(value) <= most + 1
    assert picture.title
    assert picture.description


def test_a_dot_plot_has_intervals_claims_and_values() -> None:
    picture = dot_plot(DOTS, "t", "accuracy, %")
    closed = _elements(picture, "closed")
    assert len(closed) == 2  # the floor is beyond the axis, so it is an arrow
    opened = [e for e in _elements(picture, "open") if e.get("y1") == e.get("y2")]
    assert len(opened) == 1
    span = [float(e.get("x2")) - float(e.get("x1")) for e in (opened[0], closed[0])]
    assert span[0] / span[1] == pytest.approx(4.5, rel=0.01)
    assert {"98.00", "97.00", "20.00", "rank 3", "best"} <= set(_texts(picture))
    assert len(_elements(picture, "dot")) == 3


def test_a_long_name_is_divided_at_a_comma_and_others_stay_whole() -> None:
    name = "maml, bn=transductive, 320,000 episodes"
    texts = _texts(dot_plot([Dot(name, 98.0), Dot("short", 97.0)], "t", "x"))
    assert {"maml, bn=transductive,", "320,000 episodes", "short"} <= set(texts)
    assert name in _texts(dot_plot([Dot(name, 98.0), Dot("short", 97.0)], "t", "x", width=1000.0))


def test_floors_alone_are_drawn_as_they_are() -> None:
    picture = dot_plot([Dot("a", 20.0, 0.1, floor=True), Dot("b", 21.0, 0.1, floor=True)], "t", "x")
    assert len(_elements(picture, "closed")) == 2


def test_differences_have_their_sign_and_a_zero_line() -> None:
    picture = dot_plot([Dot("a", 0.5, 0.2), Dot("b", -0.1, 0.2)], "t", "points", bounds=(-100.0, 100.0), zero=True)
    assert {"+0.50", "-0.10"} <= set(_texts(picture))
    assert len(_elements(picture, "rule")) == 1


@pytest.mark.parametrize(
    ("ranks", "distance", "groups"),
    [
        ([1.0, 2.0, 3.0], 0.5, []),
        ([1.0, 1.4, 3.0], 0.5, [(0, 1)]),
        ([1.0, 1.4, 1.8], 0.5, [(0, 1), (1, 2)]),
        ([1.0, 1.4, 1.45], 0.5, [(0, 2)]),
        ([1.0, 2.0], 1.0, []),  # exactly the critical difference is enough (Demsar: "at least")
    ],
)
def test_bars_join_what_is_closer_than_the_rank_diagram(
    ranks: list[float], distance: float, groups: list[tuple[int, int]]
) -> None:
    assert cliques(ranks, distance) == groups
    named = {f"r{index}": value for index, value in enumerate(ranks)}
    assert len(_elements(rank_diagram(named, distance, "t"), "clique")) == len(groups)


def test_a_critical_difference_longer_than_the_line_is_words() -> None:
    assert any("longer than the line" in text for text in _texts(rank_diagram({"a": 1.0, "b": 2.0}, 5.0, "t")))


def test_curves_tell_rows_apart_without_colour() -> None:
    rows = [Curve(f"row {i}", {1.0: (50.0 + i, 1.0), 5.0: (60.0 + i, 1.0)}, floor=i == 0) for i in range(9)]
    picture = curves(rows, "t", "shots", "accuracy")
    groups = {e.get("class") for e in ET.fromstring(picture.file()).iter() if (e.get("class") or "").startswith("s")}
    assert {"s0", "s5", "sf"} <= groups
    assert len(_elements(picture, "line c d1")) == 2
    assert len(_elements(picture, "line c df")) == 1
    assert {f"row {i}" for i in range(9)} <= set(_texts(picture))


def test_the_front_is_what_nothing_beats_at_its_price() -> None:
    points = [Point("cheap", 1, 50), Point("worse", 2, 49), Point("equal", 2, 50), Point("dear", 3, 60)]
    assert [point.name for point in pareto(points)] == ["cheap", "dear"]
    assert len(_elements(scatter(points, "t", "ms", "accuracy"), "front")) == 1


def test_names_of_points_do_not_lie_on_each_other() -> None:
    points = [Point(f"point {i}", 1 + 0.001 * i, 50 + 0.01 * i) for i in range(20)]
    names = [text for text in _texts(scatter(points, "t", "ms", "accuracy")) if text.startswith("point")]
    assert 1 <= len(names) < 10


def test_the_bars_of_a_histogram_are_the_episodes() -> None:
    rng = np.random.default_rng(0)
    correct = rng.integers(40, 76, 500)
    picture = histogram(EpisodeScores.of_counts(correct, 75), "t", "s", 100 / 75)
    tips = [e.text for e in ET.fromstring(picture.file()).iter() if e.tag.endswith("}title") and "episodes" in e.text]
    assert sum(int(tip.split(": ")[1].split()[0].replace(",", "")) for tip in tips) == 500
    assert f"mean {100 * correct.mean() / 75:.2f}" in _texts(picture)
    worst = np.sort(correct)[:50].mean() / 0.75
    assert any(f"worst tenth of the episodes, mean {worst:.2f}" in text for text in _texts(picture))


@pytest.mark.parametrize("correct", [[75], [75, 75, 75], [0, 0], list(range(0, 301)), [0, 300]])
def test_any_spread_can_be_drawn(correct: list[int]) -> None:
    picture = histogram(EpisodeScores.of_counts(correct, 300), "t", "s", 100 / 300)
    assert 1 <= len(_elements(picture, "bar")) <= 51
