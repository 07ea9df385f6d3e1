"""The leaderboard as one HTML page: tables and pictures, no network, deterministic bytes.

The page is made from ``templates/*.html.j2``, which get plain texts and escape all of them. Nothing is loaded from
anywhere, and the content security policy of the page says so: of inline styles and scripts it lets through exactly
the two that are written here, so that no string of a record could ever run.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup

from metabench.leaderboard import figures, html_tables, page_text
from metabench.leaderboard.board import Board, Section
from metabench.leaderboard.maintainer_files import Invalidated
from metabench.plotting.svg import Picture, escape_xml, style

Draw = Callable[[Picture], dict[str, Any]]
"""Makes a figure of the page (``title``, ``svg``) from a picture."""


def html_page(boards: Sequence[Board], removed: Sequence[Invalidated], prefix: str = "") -> str:
    """Return the page; `prefix` leads from it to the leaderboard's folder (``""``, or with a / at its end)."""
    draw = _numbered()
    across = figures.ranked_by_datasets(boards)
    page = template_environment().get_template("page.html.j2").render(
        policy=_policy(),
        style=Markup(_style()),
        script=Markup(_script()),
        across_datasets=None if across is None else draw(across),
        boards=[_board(board, prefix, draw) for board in boards],
        removed=removed,
    )  # fmt: skip
    return page + "\n"


@cache
def template_environment() -> Environment:
    """Return the environment of the templates: every value is escaped, and an undefined name is an error."""
    environment = Environment(
        loader=PackageLoader("metabench.leaderboard"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_escaped,
        extensions=[DroppedLineEnds],
    )
    environment.filters |= {"lines": _lines, "short": page_text.short}
    return environment


class DroppedLineEnds(Extension):
    """Extension by which templates are readable and pages are free of their layout.

    Line ends and indentation between two tags are dropped; an empty line between them stays as one line end. A line
    end within text is a space.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return the source without its layout."""
        source = re.sub(r"(?<=[>}])[ ]*\n([ ]*\n)?[ ]*(?=[<{])", lambda ends: "\v" if ends[1] else "", source.strip())
        return re.sub(r"\n[ ]*", " ", source).replace("\v", "\n")


def _escaped(value: object) -> Markup:
    """Escape a value as texts in pictures are, without control characters, unless it is markup.

    Raises:
        TypeError: the value is None, which no page shows.
    """
    if isinstance(value, Markup):
        return value
    if value is None:
        raise TypeError("cannot show None in a template: a value is missing. Pass '' for no text.")
    return Markup(escape_xml(str(value)))


def _lines(text: str) -> Markup:
    """Return a text escaped, its line ends as line breaks, without empty lines."""
    return Markup("<br>").join(_escaped(line) for line in text.split("\n") if line)


def _numbered() -> Draw:
    """Return a function that gives each picture of a page an id of its own."""
    numbers = itertools.count(1)
    return lambda picture: {"title": picture.title, "svg": Markup(picture.inline(f"f{next(numbers)}"))}


def _board(board: Board, prefix: str, draw: Draw) -> dict[str, Any]:
    return {
        "name": board.name,
        "sections": [_section(section, board.name, prefix, draw) for section in board.sections],
        "explanations": page_text.explain(board) if board.sections else [],
        "claims": html_tables.claimed_table(board),
        "invalid": html_tables.invalid_rows(board, prefix),
        "invalid_score": html_tables.invalid_score_title(board),
    }


def _section(section: Section, name: str, prefix: str, draw: Draw) -> dict[str, Any]:
    return {
        "title": page_text.short(section.title),
        "caption": html_tables.measured_caption(section, name),
        "heads": html_tables.measured_heads(section),
        "rows": [html_tables.measured_row(section, row, prefix) for row in section.rows],
        "without_floor": "; ".join(map(section.title_of, section.floorless)),
        "figures": _figures(section, draw),
    }


def _figures(section: Section, draw: Draw) -> dict[str, Any]:
    results = [result for row in section.rows for result in row.cells.values()]
    return {
        "intervals": list(map(draw, figures.dot_plots(section))),
        "ranks": list(map(draw, figures.ranked_by_episodes(section))),
        "curves": list(map(draw, figures.shot_curves(section))),
        "costs": list(map(draw, figures.costs(section))),
        "has_open_intervals": any(result.open95 is not None for result in results),
        "has_claims": any(section.claim(row, column) for row in section.rows for column in row.cells),
    }


@cache
def _style() -> str:
    return _file("page.css") + style()


@cache
def _script() -> str:
    return _file("page.js")


def _file(name: str) -> str:
    return (resources.files("metabench.leaderboard") / "templates" / name).read_text(encoding="utf-8")


@cache
def _policy() -> Markup:
    rules = f"style-src {_csp_hash(_style())}; script-src {_csp_hash(_script())}"
    return Markup(f"default-src 'none'; {rules}; base-uri 'none'; form-action 'none'")


def _csp_hash(content: str) -> str:
    """Return the word by which a content security policy lets exactly this inline style or script through."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
