"""Rows of runs as a terminal table, Markdown, CSV or JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from metabench.records.copy_counts import MARK, copies_line, most
from metabench.registry.metric import Metric
from metabench.registry.specs import FIXED_WAY
from metabench.reports.rows import COLUMNS, Row, csv_text, part_text
from metabench.reports.text import score_text
from metabench.reports.text_table import text_table
from metabench.utils.atomic_files import write_atomic
from metabench.utils.text import counted, escape, printable

ALWAYS = ("algorithm", "backbone", "dataset", "way", "shot")
"""What every table shows of a row, and below what it shows where rows differ in it."""
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
"""What a table shows of rows, so far as they differ in it, that are the same in everything else."""
UNSAID = {"protocol": {FIXED_WAY}, "setting": {"inductive"}}
"""What goes without saying; anything else is shown even where all rows have it."""
_REASON = 100  # characters of a failure's reason in a cell; a longer one stands below the table
_WHOLE_REASON = 2_000  # as long as `metabench run` keeps one; a stranger's record may hold more


def terminal(rows: Sequence[Row]) -> str:
    """Return a plain table for people, with a last line that says what the interval is."""
    header, body = _compact(rows)
    clean = [[printable(cell) for cell in line] for line in body]
    table = text_table(header, clean)
    return "\n".join([table, "", *map(printable, _long_reasons(rows)), *_footnotes(rows)]).rstrip("\n")


def markdown(rows: Sequence[Row]) -> str:
    """Return the same table as Markdown, every cell escaped."""
    header, body = _compact(rows)
    safe = [[escape(cell) for cell in line] for line in body]
    table = text_table(header, safe, markdown=True)
    return "\n\n".join([table, *map(escape, _long_reasons(rows)), *_footnotes(rows)]) + "\n"


def to_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as CSV, all or nothing."""
    write_atomic(path, csv_text(COLUMNS, rows))


def to_json(rows: Sequence[Row], seeds: Sequence[Row] = ()) -> str:
    """Return one JSON document ``{"rows": [...], "seeds": [...]}``: the runs, and what they say over seeds."""
    document = {"rows": list(rows), "seeds": list(seeds)}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, default=str)


def _compact(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The columns that identify a row, those that tell these rows apart, and the score."""
    rows = with_dataset_labels(rows)
    varied = [name for name in IF_VARIED if len({row[name] for row in rows} | UNSAID.get(name, set())) > 1]
    names = [*ALWAYS, *varied]
    needed = needed_columns(rows, names)
    metrics = {row["metric"] for row in rows if row["status"] == "ok"}
    several = len(metrics) > 1
    parts = list(dict.fromkeys(part["metric"] for row in rows for part in row["parts"]))
    body = []
    for index, row in enumerate(rows):
        made_of = {part["metric"]: part_text(part) for part in row["parts"]}
        shown = [made_of.get(part, "-") for part in parts]
        told = [texts[index] for texts in needed.values()]
        body.append([*(cell_text(row, name) for name in names), *told, _result(row, several), *shown])
    title = metrics.pop().title if len(metrics) == 1 else "score"
    return [*names, *needed, title, *(part.title for part in parts)], body


def with_dataset_labels(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the start of its digest after the name of a data set, where the name means several."""
    digests: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        digests[_named_data(row)].add(row["dataset_digest"])
    several = [len(digests[_named_data(row)] - {""}) > 1 for row in rows]
    return [
        {**row, "dataset": f"{row['dataset']} {row['dataset_digest'][:8]}".rstrip()} if ambiguous else row
        for row, ambiguous in zip(rows, several, strict=True)
    ]


def _named_data(row: Row) -> tuple[str, ...]:
    return row["dataset"], row["dataset_params"], row["split"]


def needed_columns(
    rows: Sequence[Row], names: Sequence[str], needed: Sequence[str] = IF_NEEDED
) -> dict[str, list[str]]:
    """Return those columns in which rows differ that are the same in those of `names`, a text for each row."""
    found: dict[str, list[str]] = {}
    for name in needed:
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            groups[*(cell_text(row, each) for each in names), *(texts[index] for texts in found.values())].append(index)
        texts = [""] * len(rows)
        for members in groups.values():
            items = [rows[index][name].split(", ") for index in members]
            common = set(items[0]).intersection(*items[1:])
            for index, own in zip(members, items, strict=True):
                texts[index] = ", ".join(item for item in own if item not in common)
        if any(texts):
            found[name] = texts
    return found


def cell_text(row: Row, name: str) -> str:
    """Return what a table shows of a row in one column; the data set is ``A -> B`` where that is what happened.

    A pre-trained backbone has a ``+`` and what it was trained on, a data set with copies a mark.
    """
    if name == "backbone" and row["trained_on"]:
        return f"{row['backbone']} + {row['trained_on']}"
    if name == "dataset":
        source = f"{row['train_dataset']} -> " if row["train_dataset"] else ""
        return f"{source}{row['dataset']}{f' {MARK}' if row['copies'] else ''}"
    return "-" if row[name] is None else str(row[name])


def _result(row: Row, name_metric: bool) -> str:
    if row["status"] != "ok":
        reason = _reason(row)
        return reason if len(reason) <= _REASON else f"{row['status']}: {str(row['note']).partition(':')[0]}, see below"
    metric: Metric = row["metric"]
    text = score_text(row["score"], row["ci95"], row["open95"], metric.digits)
    text += f" {metric.title}" if name_metric else ""
    return f"{text} ({row['note']})" if row["note"] else text


_KINDS = {
    "closed-t": "±: 95 % Student-t interval over {} of this test set (closed: it speaks of no other data)",
    "disjoint-t": "±: 95 % Student-t interval over {} that share no image: other images of the same classes",
    "anytime-asymptotic": "±: 95 % asymptotic confidence sequence over {}, valid where the run stopped (closed)",
    "anytime-bernstein": "±: 95 % empirical Bernstein sequence over {}, valid where the run stopped (closed)",
    "clopper-pearson": "± where no two episodes differ: 95 % Clopper-Pearson interval over all queries "
    "(ignores clustering)",
}


def _reason(row: Row) -> str:
    """Return why there is no score."""
    return f"{row['status']}: {row['note']}" if row["note"] else str(row["status"])


def _long_reasons(rows: Sequence[Row]) -> list[str]:
    """Return the reasons that are too long for a cell, each once for all rows."""
    reasons = dict.fromkeys(_reason(row)[:_WHOLE_REASON] for row in rows if row["status"] != "ok")
    return [reason for reason in reasons if len(reason) > _REASON]


def _footnotes(rows: Sequence[Row]) -> list[str]:
    """Say which population each interval that stands in the table speaks of."""
    measured = [row for row in rows if row["status"] == "ok"]
    lines = []
    for kind, line in _KINDS.items():
        counts = {row["episodes"] for row in measured if row["interval"] == kind}
        if counts:
            lines.append(line.format(counted(counts.pop(), "episode") if len(counts) == 1 else "the episodes"))
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


def _copies(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Return the numbers of copies of every data set."""
    found: dict[str, list[Mapping[str, int]]] = defaultdict(list)
    for row in rows:
        found[row["dataset"]].append(row["copies"])
    return {name: most(counts) for name, counts in found.items()}
