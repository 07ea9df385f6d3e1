"""Rows of runs as a terminal table, Markdown, CSV or JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from metabench.records.copy_counts import MARK, copies_line, most
from metabench.registry.metric import Metric
from metabench.registry.specs import FIXED_WAY
from metabench.reports.rows import RUN_COLUMNS, TableRow, flat_row, part_text
from metabench.reports.score_text import score_text
from metabench.reports.text_table import Notes, Table, csv_text, json_text, report_text
from metabench.utils.text import pluralise

ALWAYS = ("algorithm", "backbone", "dataset", "way", "shot")
"""Columns that every table shows; below, those that it shows where rows differ in them."""
IF_VARIED = (
    "params",
    "setting",
    "backbone_params",
    "split",
    "protocol",
    "query",
    "episodes",
    "episode_seed",
    "sampling",
    "seed",
    "precision",
)
IF_NEEDED = ("dataset_params", "protocol_params", "training")
"""Columns that a table shows, as far as they differ, for rows that are the same in all others."""
UNSAID = {"protocol": {FIXED_WAY}, "setting": {"inductive"}}
"""Values that are not shown where all rows have them; any other value is always shown."""
_MAX_CELL_REASON = 100  # characters of a failure's reason in a cell; a longer one is below the table
_MAX_REASON = 2_000  # as long as `metabench run` keeps one; a record from elsewhere may hold more


def run_text(rows: Sequence[TableRow], markdown: bool = False) -> str:
    """Return a table for people, with notes that say what its intervals are; Markdown ends with a line end."""
    text = report_text([_table(rows), Notes([*_long_reasons(rows), *_footnotes(rows)])], markdown)
    return text + "\n" * markdown


def run_csv(rows: Sequence[TableRow]) -> str:
    """Return the rows as CSV."""
    return csv_text(RUN_COLUMNS, [flat_row(row) for row in rows])


def run_json(rows: Sequence[TableRow], seeds: Sequence[TableRow] = ()) -> str:
    """Return one JSON document ``{"rows": [...], "seeds": [...]}``: the runs, and their means over seeds."""
    return json_text({"rows": list(rows), "seeds": list(seeds)})


def _table(rows: Sequence[TableRow]) -> Table:
    """Return the columns that identify a row, those in which these rows differ, and the score."""
    rows = with_dataset_labels(rows)
    varied = [name for name in IF_VARIED if len({row[name] for row in rows} | UNSAID.get(name, set())) > 1]
    if len({row["trained_by"] for row in rows} - {""}) > 1:
        varied.append("trained_by")
    names = [*ALWAYS, *varied]
    needed = needed_columns(rows, names)
    metrics = {row["metric"] for row in rows if row["status"] == "ok"}
    several = len(metrics) > 1
    parts = list(dict.fromkeys(part["metric"] for row in rows for part in row["parts"]))
    cells = []
    for index, row in enumerate(rows):
        made_of = {part["metric"]: part_text(part) for part in row["parts"]}
        shown = [made_of.get(part, "-") for part in parts]
        differing = [texts[index] for texts in needed.values()]
        cells.append([*(cell_text(row, name) for name in names), *differing, _result(row, several), *shown])
    title = metrics.pop().title if len(metrics) == 1 else "score"
    return Table([*names, *needed, title, *(part.title for part in parts)], cells, plain_header=True)


def with_dataset_labels(rows: Sequence[TableRow]) -> list[TableRow]:
    """Return the rows with the start of its digest after the name of a dataset, where the name means several."""
    digests: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        digests[_named_data(row)].add(row["dataset_digest"])
    several = [len(digests[_named_data(row)] - {""}) > 1 for row in rows]
    return [
        {**row, "dataset": f"{row['dataset']} {row['dataset_digest'][:8]}".rstrip()} if ambiguous else row
        for row, ambiguous in zip(rows, several, strict=True)
    ]


def _named_data(row: TableRow) -> tuple[str, ...]:
    return row["dataset"], row["dataset_params"], row["split"]


def needed_columns(
    rows: Sequence[TableRow], names: Sequence[str], needed: Sequence[str] = IF_NEEDED
) -> dict[str, list[str]]:
    """Return those columns in which rows differ that are the same in those of `names`, a text for each row."""
    columns: dict[str, list[str]] = {}
    for name in needed:
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            same = *(cell_text(row, shown) for shown in names), *(texts[index] for texts in columns.values())
            groups[same].append(index)
        texts = [""] * len(rows)
        for members in groups.values():
            items = [rows[index][name].split(", ") for index in members]
            common = set(items[0]).intersection(*items[1:])
            for index, own in zip(members, items, strict=True):
                texts[index] = ", ".join(item for item in own if item not in common)
        if any(texts):
            columns[name] = texts
    return columns


def cell_text(row: TableRow, name: str) -> str:
    """Return what a table shows of a row in one column; the dataset is ``A -> B`` where the training was on another.

    A pre-trained backbone has a ``+`` and what it was trained on, a dataset with copies a mark.
    """
    if name == "backbone" and row["trained_on"]:
        return f"{row['backbone']} + {row['trained_on']}"
    if name == "dataset":
        source = f"{row['train_dataset']} -> " if row["train_dataset"] else ""
        return f"{source}{row['dataset']}{f' {MARK}' if row['copies'] else ''}"
    return "-" if row[name] is None else str(row[name])


def _result(row: TableRow, name_metric: bool) -> str:
    if row["status"] != "ok":
        reason = _reason(row)
        if len(reason) <= _MAX_CELL_REASON:
            return reason
        return f"{row['status']}: {str(row['note']).partition(':')[0]}, see below"
    metric: Metric = row["metric"]
    text = score_text(row["score"], row["ci95"], row["open95"], metric.digits)
    text += f" {metric.title}" if name_metric else ""
    return f"{text} ({row['note']})" if row["note"] else text


_KINDS = {
    "closed-t": "±: 95 % Student-t interval over {} (closed: covers this test set only, not new classes or images)",
    "disjoint-t": "±: 95 % Student-t interval over {} that share no image: other images of the same classes",
    "anytime-asymptotic": "±: 95 % asymptotic confidence sequence over {}, valid where the run stopped (closed)",
    "anytime-bernstein": "±: 95 % empirical Bernstein sequence over {}, valid where the run stopped (closed)",
    "clopper-pearson": "± where no two episodes differ: 95 % Clopper-Pearson interval over all queries "
    "(ignores clustering)",
}


def _reason(row: TableRow) -> str:
    """Return why there is no score."""
    return f"{row['status']}: {row['note']}" if row["note"] else str(row["status"])


def _long_reasons(rows: Sequence[TableRow]) -> list[str]:
    """Return the reasons that are too long for a cell, each once for all rows."""
    reasons = dict.fromkeys(_reason(row)[:_MAX_REASON] for row in rows if row["status"] != "ok")
    return [reason for reason in reasons if len(reason) > _MAX_CELL_REASON]


def _footnotes(rows: Sequence[TableRow]) -> list[str]:
    """Return lines that say which population each kind of interval in the table is about."""
    measured = [row for row in rows if row["status"] == "ok"]
    lines = []
    for kind, line in _KINDS.items():
        counts = {row["episodes"] for row in measured if row["interval"] == kind}
        if counts:
            lines.append(line.format(pluralise(counts.pop(), "episode") if len(counts) == 1 else "the episodes"))
    if any(row["open95"] is not None for row in measured):
        lines.append("open ±: 95 % interval for new classes and new examples of the same kind (class-level jackknife)")
    if any(row["open95"] is not None and str(row["interval"]).startswith("anytime") for row in measured):
        lines.append("where the run stopped by its interval, open ± does not allow for that and may be the smaller")
    if any(row["setting"] == "transductive" for row in measured):
        lines.append(
            "transductive: the queries of an episode help each other; compare only with rows of as many (--query)"
        )
    if line := copies_line(_copies(rows)):
        lines.append(line)
    if any(row["trained_on"] for row in rows):
        lines.append(
            "+: the backbone was trained on these data before; where they hold the test classes, those are not new"
        )
    return lines


def _copies(rows: Sequence[TableRow]) -> dict[str, dict[str, int]]:
    """Return the numbers of copies of every dataset."""
    copies: dict[str, list[Mapping[str, int]]] = defaultdict(list)
    for row in rows:
        copies[row["dataset"]].append(row["copies"])
    return {name: most(counts) for name, counts in copies.items()}
