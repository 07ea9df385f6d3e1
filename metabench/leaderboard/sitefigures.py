"""The pictures of the HTML page, with their headings and legends."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.leaderboard import figures as draw
from metabench.leaderboard.board import Section
from metabench.leaderboard.markup import el, text
from metabench.plotting.svg import Picture, group, line, path, tag

_EPISODES = (
    "Mean rank of the rows over the episodes that all of them met, ties shared; rows under one bar differ by less than "
    "the critical difference (Nemenyi, 5 %). Episodes are the blocks: it speaks of this test set."
)
_DATA_SETS = (
    "Mean rank over data sets of the rows measured on all of them, by the mean of their columns; rows under one bar "
    "differ by less than the critical difference (Nemenyi, 5 %)."
)
_COSTS = (
    "Embedding and scoring, on the machine that each record names; the dashed line joins the rows that no cheaper one "
    "beats. Floors are left out."
)
_CURVES = "Bands are closed 95 % intervals; floors are dotted."


class FigureNames:
    """Hands out an id for each picture of a page."""

    def __init__(self) -> None:
        self._count = 0

    def next(self) -> str:
        """Return a name that was not given before."""
        self._count += 1
        return f"f{self._count}"


def figures(section: Section, ids: FigureNames) -> str:
    """Return all pictures of a section."""
    opened = any(result.open95 is not None for row in section.rows for result in row.cells.values())
    claims = any(section.claim(row, cell) for row in section.rows for cell in row.cells)
    parts = [
        _set("Accuracy and its intervals", _dot_legend(opened, claims), draw.dot_plots(section), ids),
        _set("Mean rank over episodes", _words(_EPISODES), draw.ranked_by_episodes(section), ids),
        _set("Accuracy over shots", _words(_CURVES), draw.shot_curves(section), ids),
        _set("Accuracy against time", _words(_COSTS), draw.costs(section), ids),
    ]
    return "\n".join(filter(None, parts))


def across_data_sets(picture: Picture, ids: FigureNames) -> str:
    """Return the picture of the comparison over data sets."""
    return el("section", _set("Mean rank over data sets", _words(_DATA_SETS), [picture], ids))


def _set(title: str, legend: str, pictures: Sequence[Picture], ids: FigureNames) -> str:
    if not pictures:
        return ""
    drawn = [el("figure", el("figcaption", text(p.title)) + p.inline(ids.next())) for p in pictures]
    return el("h3", title) + legend + el("div", "\n".join(drawn), cls="figures")


def _words(legend: str) -> str:
    return el("p", text(legend), cls="legend")


def _dot_legend(opened: bool, claims: bool) -> str:
    """What the marks of the dot plots mean, with the marks themselves."""
    dot = tag("circle", cls="dot", cx=20.0, cy=7.0, r=4.0)
    items = [(line(6, 7, 34, 7, "closed") + dot, "closed 95 % interval: new episodes")]
    if opened:
        ends = line(2, 7, 38, 7, "open") + line(2, 3, 2, 11, "open") + line(38, 3, 38, 11, "open")
        items.append((ends + dot, "open 95 % interval: new classes and examples"))
    if claims:
        diamond = path([(15.5, 7), (20, 2.5), (24.5, 7), (20, 11.5)], "paper", closed=True)
        items.append((line(10, 7, 30, 7, "paper") + diamond, "published value"))
    arrow = group(path([(14, 7), (22, 3), (22, 11)], "dot", closed=True), cls="floor")
    items.append((arrow, "beyond the axis; grey: a floor"))
    swatches = [
        el("span", tag("svg", mark, cls="mb", viewBox="0 0 40 14", aria_hidden="true") + text(name))
        for mark, name in items
    ]
    return el("p", "".join(swatches), cls="legend")
