"""Records as rows, and rows as a terminal table, Markdown, CSV, JSON or a data frame."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.records.copy_counts import MARK, copies_line, copies_of, copies_words, most
from metabench.records.describe import train_dataset
from metabench.registry.metric import ACCURACY, Metric
from metabench.registry.specs import FIXED_WAY
from metabench.statistics.episode_scores import metric_of, parts_of, score_of
from metabench.text_table import text_table
from metabench.utils.atomic_files import write_atomic
from metabench.utils.text import counted, escape, inert, printable

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

COLUMNS = (
    "algorithm",
    "params",
    "setting",
    "backbone",
    "backbone_params",
    "trained_on",
    "dataset",
    "dataset_params",
    "dataset_digest",
    "split",
    "train_dataset",
    "protocol",
    "protocol_params",
    "way",
    "shot",
    "query",
    "metric",
    "score",
    "accuracy",
    "ci95",
    "interval",
    "open95",
    "parts",
    "episodes",
    "episode_seed",
    "sampling",
    "seed",
    "training",
    "precision",
    "status",
    "note",
    "copies",
    "cached",
    "key",
)
_OF_THE_CELL = ("way", "shot", "query")
_INTEGERS = ("way", "shot", "query", "episodes", "episode_seed", "seed")
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


def rows_from_records(records: Iterable[Mapping[str, Any]], cached: Collection[str] = ()) -> list[Row]:
    """Return one row (see `COLUMNS`) per record, in the order given.

    Args:
        records: valid records of any status.
        cached: keys of the records that were found in the store rather than measured now.

    `score` and its intervals are in the unit of `metric` (percent for accuracy) and None where nothing was measured;
    `parts` is what the score is made of, if anything: for each part its `metric`, `score` and `ci95`;
    `accuracy` is the score where that is the metric; `seed` is the seed of the training; `note` is the reason where a
    run failed; `copies` is the number of copies among the items by kind, see `metabench.records.copy_counts`.
    """
    return [_row(record, record["key"] in cached) for record in records]


def to_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the rows as a data frame; integers stay integers where some are missing."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for name, text in _TEXTS.items():
        frame[name] = frame[name].map(text).astype("object")
    frame["metric"] = frame["metric"].map(lambda metric: None if metric is None else str(metric)).astype("object")
    numbers = {"score": "float64", "accuracy": "float64", "ci95": "float64", "open95": "float64", "cached": "bool"}
    return frame.astype({**dict.fromkeys(_INTEGERS, "Int64"), **numbers})


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


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return CSV text; a text cell that a spreadsheet would run as a formula gets a leading apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        flat = {name: text(row[name]) for name, text in _TEXTS.items() if name in row}
        writer.writerow([inert({**row, **flat}[name]) for name in columns])
    return out.getvalue()


def score_text(score: float, ci95: float | None, open95: float | None = None, digits: int = 2) -> str:
    """Return ``98.21 ± 0.08 (open ± 0.31)``, without what is None.

    >>> score_text(100.0, 0.0025)
    '100.00 ± 0.002'
    """
    closed = "" if ci95 is None else f" ± {width_text(ci95, digits)}"
    opened = "" if open95 is None else f" (open ± {width_text(open95, digits)})"
    return f"{score:.{digits}f}{closed}{opened}"


def width_text(half_width: float, digits: int = 2) -> str:
    """Return a half-width with as many decimals as its score, or, where that would be zero, with one digit."""
    if half_width >= 0.5 * 10.0**-digits:
        return f"{half_width:.{digits}f}"
    least = min(1e-4, 10.0 ** -(digits + 2))
    return f"{half_width:.1g}" if half_width >= least else f"<{least:.{max(4, digits + 2)}f}"


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


def params_text(params: Mapping[str, Any]) -> str:
    """Return ``name=value, ...`` in the order of the names."""
    return ", ".join(f"{name}={params[name]}" for name in sorted(params))


def _row(record: Mapping[str, Any], cached: bool) -> Row:
    inputs, summary, error = record["inputs"], record["summary"] or {}, record["error"]
    cell, metric = inputs["protocol"]["params"], metric_of(record["scores"]) if record["scores"] else None
    score = score_of(record) if metric else None
    note = f"{error['type']}: {error['message']}" if error else summary.get("note", "")
    return {
        "algorithm": inputs["algorithm"]["name"],
        "params": params_text(inputs["algorithm"]["params"]),
        "setting": inputs["algorithm"]["setting"],
        "backbone": inputs["backbone"]["name"],
        "backbone_params": params_text(inputs["backbone"]["params"]),
        "trained_on": inputs["backbone"]["trained_on"],
        "dataset": inputs["dataset"]["name"],
        "dataset_params": params_text(inputs["dataset"]["params"]),
        "dataset_digest": inputs["dataset"]["digest"],
        "split": inputs["dataset"]["split"],
        "train_dataset": train_dataset(inputs),
        "protocol": inputs["protocol"]["name"],
        "protocol_params": params_text({name: cell[name] for name in cell if name not in _OF_THE_CELL}),
        **{name: cell.get(name) for name in _OF_THE_CELL},
        "metric": metric,
        "score": score,
        "accuracy": score if metric == ACCURACY else None,
        "ci95": summary.get("ci95"),
        "interval": summary.get("interval"),
        "open95": summary.get("open95"),
        "parts": _parts(record),
        "episodes": summary.get("episodes", inputs["evaluation"]["episodes"]),
        "episode_seed": inputs["evaluation"]["seed"],
        "sampling": inputs["evaluation"]["sampling"],
        "seed": (inputs["training"] or {}).get("seed"),
        "training": _training(inputs["training"] or {}),
        "precision": inputs["precision"],
        "status": record["status"],
        "note": note,
        "copies": copies_of(record),
        "cached": cached,
        "key": record["key"],
    }


def _training(training: Mapping[str, Any]) -> str:
    """The settings of a training but for its seed."""
    return params_text(
        {name: value for name, value in training.items() if name != "seed" and isinstance(value, (int, float, str))}
    )


def _parts(record: Mapping[str, Any]) -> list[Row]:
    found = (record["summary"] or {}).get("parts", {})
    metrics = [part.metric for part in parts_of(record["scores"])] if found else []
    return [
        {"metric": metric, "score": found[metric.name]["mean"], "ci95": found[metric.name]["ci95"]}
        for metric in metrics
    ]


def parts_text(parts: Sequence[Row]) -> str:
    """Return ``novel 31.20 ± 0.41, base 60.02 ± 0.33``."""
    return ", ".join(f"{part['metric']} {_part_text(part)}" for part in parts)


_TEXTS: Mapping[str, Callable[[Any], str]] = {"parts": parts_text, "copies": copies_words}
"""Columns that are no single value, and the text that stands for one in CSV files and data frames."""


def _part_text(part: Row) -> str:
    return score_text(part["score"], part["ci95"], None, part["metric"].digits)


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
        made_of = {part["metric"]: _part_text(part) for part in row["parts"]}
        shown = [made_of.get(part, "-") for part in parts]
        told = [texts[index] for texts in needed.values()]
        body.append([*(cell_text(row, name) for name in names), *told, _result(row, several), *shown])
    title = metrics.pop().title if len(metrics) == 1 else "score"
    return [*names, *needed, title, *(part.title for part in parts)], body


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
