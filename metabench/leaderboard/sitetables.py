"""The tables of the HTML page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from urllib.parse import quote

from metabench.leaderboard import page_text
from metabench.leaderboard.board import Board, Section
from metabench.leaderboard.entries import Cell, Entry
from metabench.leaderboard.markup import el, table, text
from metabench.leaderboard.published import Published
from metabench.leaderboard.rows import Result, Row
from metabench.leaderboard.sitefigures import FigureNames, figures
from metabench.registry.metric import ACCURACY
from metabench.reports.text import score_text, width_text
from metabench.statistics.tied_ranks import rank_text


def board_part(board: Board, prefix: str, ids: FigureNames) -> str:
    """Return the part of the page about one data set."""
    parts = [el("h2", text(board.name))]
    for section in board.sections:
        parts.append(el("p", text(page_text.short(section.title)), cls="data"))
        parts.append(_measured(section, board.name, prefix))
        if section.floorless:
            missing = "; ".join(map(section.title_of, section.floorless))
            parts.append(el("p", text(f"No floor row is measured for: {missing}."), cls="data"))
        parts.append(figures(section, ids))
    if not board.sections:
        parts.append(el("p", "Nothing is measured yet."))
    else:
        paragraphs = "".join(el("p", text(paragraph)) for paragraph in page_text.explain(board))
        parts.append(el("details", el("summary", "How to read this") + paragraphs, cls="notes", open=""))
    parts += [_published(board), _invalid(board, prefix)]
    return el("section", "\n".join(filter(None, parts)), id=f"data-{board.name}")


def _measured(section: Section, name: str, prefix: str) -> str:
    header = [_head("Algorithm"), *(_head(section.title_of(cell), number=True) for cell in section.cells)]
    order = "descending" if section.cells[0].metric.higher_is_better else "ascending"
    header[1] = _head(section.title_of(section.cells[0]), number=True, order=order)
    header += map(_head, ("Setting", "Backbone", "Seeds", "Training"))
    header.append(el("th", "Episodes", scope="col", data_type="number"))
    rows = [_row(section, row, prefix) for row in section.rows]
    metrics = {cell.metric.name for cell in section.cells}
    what = metrics.pop() if len(metrics) == 1 else "score"
    return table(header, rows, f"{name}: {what} by algorithm", "sortable")


def _head(title: str, number: bool = False, order: str | None = None) -> str:
    cls, kind = ("num", "number") if number else (None, "text")
    return el("th", text(title), scope="col", cls=cls, data_type=kind, aria_sort=order)


def _row(section: Section, row: Row, prefix: str) -> str:
    inputs = row.first.inputs
    name, *params = page_text.named(inputs.algorithm).split("\n")
    who = el("span", text(page_text.short(name))) + (" " + el("span", "floor", cls="tag") if row.floor else "")
    if mark := page_text.mark(section, row) + page_text.copy_mark(section, row):
        who += el("span", text(mark), cls="mark")
    parts = [el("th", who + _small(*params), scope="row", data_v=name)]
    parts += [_value(section, row, cell, prefix) for cell in section.cells]
    parts += [_setting(row), _backbone(section, row), el("td", text(page_text.seeds(section, row)))]
    parts += [el("td", text(page_text.short(page_text.training(row))), cls="wide"), _episodes(row)]
    return el("tr", "".join(parts), cls="floor" if row.floor else None)


def _value(section: Section, row: Row, cell: Cell, prefix: str) -> str:
    result = row.cells.get(cell)
    if result is None:
        return el("td", cls="num", data_v="")
    rank = section.ranks[row.identity, cell]
    first, shown = rank is not None and rank.place == 1, rank_text(rank)
    pill = el("span", text(shown), cls="rank first" if first else "rank", title=f"rank {shown}")
    digits = cell.metric.digits
    width = "" if result.ci95 is None else f" ± {width_text(result.ci95, digits)}"
    main = pill + _link(result.entries[0], f"{result.score:.{digits}f}", prefix) + text(width)
    notes = [text(f"open ± {width_text(result.open95, digits)}")] if result.open95 is not None else []
    notes += [text(remark) for remark in page_text.remarks(result)]
    if len(result.entries) > 1:
        notes.append("seeds " + " ".join(_link(entry, str(entry.seed), prefix) for entry in result.entries))
    if claim := section.claim(row, cell):
        notes.append(_claim(claim, result))
    small = "".join(el("small", note) for note in notes)
    return el("td", main + small, cls="num", data_v="" if rank is None else f"{result.score:.6f}")


def _claim(claim: Published, result: Result) -> str:
    distance, _, mark = page_text.gap(claim, result).replace("-", "\u2212").partition(" ")
    shown = f" {el('span', mark, cls='mark', title='beyond the 95 % interval of the difference')}" if mark else ""
    return text(f"paper {claim.text}, {distance}") + shown


def _backbone(section: Section, row: Row) -> str:
    name, *params = page_text.named(row.first.inputs.backbone).split("\n")
    before, _, met = page_text.pre_training(section, row).partition("\n")
    doubtful = el("small", el("span", text(met), cls="mark")) if page_text.mark(section, row) else _small(met)
    return el("td", text(page_text.short(name)) + _small(*params, before) + doubtful, cls="wide", data_v=name)


def _setting(row: Row) -> str:
    return el("td", text(page_text.short(row.setting)) + _small(page_text.statistics(row)))


def _episodes(row: Row) -> str:
    inputs = row.first.inputs
    protocols = [protocol.replace("\n", ", ") for protocol in page_text.protocols(row)]
    precision = "" if inputs.precision == "float32" else inputs.precision
    count = max(len(entry.record.measured) for entry in row.entries)
    return el("td", text(page_text.episodes(row)) + _small(*protocols, precision), cls="wide", data_v=str(count))


def _published(board: Board) -> str:
    if not board.claims:
        return ""
    cells = sorted({claim.cell for claim in board.claims})
    found: dict[tuple[str, ...], dict[Cell, str]] = defaultdict(dict)
    for claim in board.claims:
        found[claim.algorithm, claim.backbone, claim.kind, claim.source][claim.cell] = claim.text
    titles = ["Algorithm", "Backbone", "Kind", *(cell.full_title for cell in cells), "Source"]
    header = [el("th", text(title), scope="col", cls="num" if title[0].isdigit() else None) for title in titles]
    rows = [_published_row(place, values, cells) for place, values in sorted(found.items())]
    inner = table(header, rows, f"{board.name}: published values")
    return el("details", el("summary", f"Published values ({len(board.claims)})") + inner)


def _published_row(place: tuple[str, ...], values: dict[Cell, str], cells: Sequence[Cell]) -> str:
    algorithm, backbone, kind, source = place
    who = el("th", text(algorithm), scope="row") + el("td", text(backbone)) + el("td", text(kind))
    numbers = "".join(el("td", text(values.get(cell, "")), cls="num") for cell in cells)
    return el("tr", who + numbers + el("td", text(source), cls="wide"))


def _invalid(board: Board, prefix: str) -> str:
    if not board.invalid:
        return ""
    what = "Accuracy" if {entry.cell.metric for entry, _ in board.invalid} == {ACCURACY} else "Score"
    header = [el("th", name, scope="col") for name in ("Algorithm", "Column", what, "Invalid since", "Reason")]
    rows = []
    for entry, item in board.invalid:
        half, digits = entry.record.summary.ci95, entry.cell.metric.digits
        cells = [
            text(entry.cell.title),
            _link(entry, score_text(entry.record.score, half, digits=digits), prefix),
            item.date.isoformat(),
            text(item.reason),
        ]
        name = page_text.short(page_text.named(entry.inputs.algorithm))
        rows.append(el("tr", el("th", text(name), scope="row") + "".join(el("td", cell) for cell in cells)))
    lead = el("p", "These records count for nothing above.", cls="data")
    return el("h3", "Invalidated records") + lead + table(header, rows, f"{board.name}: invalidated records")


def _link(entry: Entry, content: str, prefix: str) -> str:
    return el("a", text(content), href=f"{quote(prefix)}records/{quote(entry.file)}")


def _small(*lines: str) -> str:
    return "".join(el("small", text(page_text.short(line))) for line in lines if line)
