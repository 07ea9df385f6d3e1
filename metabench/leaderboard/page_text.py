"""Texts that the Markdown and the HTML page share; plain text that each page escapes for itself."""

from __future__ import annotations

from msgspec import structs

from metabench.leaderboard.board import Board, Section
from metabench.leaderboard.published import Published
from metabench.leaderboard.rows import BoardRow, CellResult
from metabench.records.copy_counts import BETWEEN_SPLITS, MARK, copies_words, most
from metabench.records.inputs import PluginInputs
from metabench.records.training_text import EPISODES, trained_by
from metabench.registry.metric import ACCURACY, Metric
from metabench.reports.score_text import params_text, width_text

_MAX_LENGTH = 120  # characters of a record's string in a table

_CLOSED = (
    "{} The first ± is the half-width of a 95 % Student-t interval over the episodes of a fixed "
    "test set{}: the closed interval. It covers the "
    "draw of the episodes, not new data and not another training run."
)
_EQUAL = " (where no two episodes differ: Clopper-Pearson over all queries)"
_OPEN = "The open ± is a 95 % interval for new classes and examples of the same kind, for the same trained model."
_RANKS = (
    "Ranks are made within a column: every two rows are compared by a t test, paired as far as both met the same "
    "episodes, all comparisons of the column are corrected together (Holm, 5 %), and the rank of a row is one more "
    "than the number of rows that are significantly better, but never better than that of a row with a better mean. "
    "A rank with = is shared; with a single episode there is none. A row of several seeds stands for its method: the "
    "spread of its trainings is in the tests. A row of one seed, 1 (-), stands for its one trained model: another "
    "training of it may well rank elsewhere. The tests speak of this test set."
)
_FLOORS = "Floor rows learned nothing, neither here nor before: they tell what a number is worth."
_ORDER = "Rows are sorted by the first column; those without a value there come last."
_SETTING = (
    "Transductive rows use all queries of an episode together, be it only for the statistics of batch normalisation."
)
_SEEDS = (
    "Seeds is the number of training seeds; in brackets the standard deviation of the {0} between them, one for "
    "each column. {1} {0} is the mean over seeds, and its ± is for these trainings; the ± with seeds is a 95 % "
    "interval for another training too."
)
_PUBLISHED = (
    "Below a measured value stands the one that the paper printed, and how far above (+) or below (-) it we measured; "
    "the paper's parameters may differ from the row's, but not the number of queries where that matters, since they "
    "normalise each other. ▲ and ▼ mark the values that differ by more than the 95 % interval of the difference, the "
    "root of the sum of both squared ± (where a paper prints no ±, only its rounding is allowed for)."
)
_CONTAMINATION = (
    "‡ marks pre-training on the test classes or on the test examples themselves, ? pre-training of which nobody has "
    "said (in contamination.toml) whether it met them."
)
_COPIES = (
    "† marks test data that hold an item more than once (equal in every byte; the first of each is not counted): "
    "within a class support and query can be the same item, in another class one item has two labels, and what is in "
    "training too was learned from."
)

_MET = {
    "images": "‡ saw the test images",
    "classes": "‡ saw the test classes",
    "unchecked": "? overlap with the test classes unchecked",
    "none": "no overlap with the test classes",
}


def explain(board: Board) -> list[str]:
    """Return the paragraphs that explain the tables of a board, only those that it needs."""
    rows = [row for section in board.sections for row in section.rows]
    results = [result for row in rows for result in row.cells.values()]
    metrics = sorted({result.metric for result in results}) or [ACCURACY]
    one = metrics[0].name if len(metrics) == 1 else "score"
    numbers = [_CLOSED.format(" ".join(map(_metric_sentence, metrics)), _EQUAL if ACCURACY in metrics else "")] + (
        [_OPEN] if any(result.open95 is not None for result in results) else []
    )
    order = [_RANKS, _ORDER] + ([_FLOORS] if any(row.floor for row in rows) else [])
    marks = [_SEEDS.format(one, "A" if one[0] not in "aeiou" else "An")] if any(row.seeds > 1 for row in rows) else []
    marks += [_SETTING] if any(row.setting != "inductive" for row in rows) else []
    marks += [_CONTAMINATION] if any(row.first.inputs.backbone.trained_on for row in rows) else []
    marked = any(section.copies_behind(row) for section in board.sections for row in section.rows)
    marks += [_COPIES] if marked else []
    marks += [_PUBLISHED] if board.claims else []
    return [" ".join(part) for part in (numbers, order, marks) if part]


def _metric_sentence(metric: Metric) -> str:
    """Return a sentence for a metric: its unit, and the better direction where that is down."""
    unit = {"%": " in percent", "": ""}.get(metric.unit, f" in {metric.unit}")
    better = "" if metric.higher_is_better else ": lower is better"
    return f"{metric.name[0].upper()}{metric.name[1:]}{unit}{better}."


def named(part: PluginInputs) -> str:
    """Return ``name v2``, and its parameters on a second line; version 1 is not shown."""
    text = part.name + (f" v{part.version}" if part.version != 1 else "")
    return text + (f"\n{params_text(part.params)}" if part.params else "")


def pre_training_text(section: Section, row: BoardRow) -> str:
    """Return the pre-training of the backbone, and on a second line whether that met the test classes."""
    trained_on = row.first.inputs.backbone.trained_on
    verdict = section.contamination(row)
    return f"pre-trained on {trained_on}" + (f"\n{_MET[verdict]}" if verdict else "") if trained_on else ""


def mark(section: Section, row: BoardRow) -> str:
    """Return the mark of a row with doubtful pre-training, `` ‡`` or `` ?``; '' for others."""
    verdict = _MET.get(section.contamination(row), "")
    return f" {verdict[0]}" if verdict[:1] in ("‡", "?") else ""


def copy_mark(section: Section, row: BoardRow) -> str:
    """Return the mark of a row whose test data hold copies, `` †``; '' for others."""
    return f" {MARK}" if section.copies_behind(row) else ""


def statistics(row: BoardRow) -> str:
    """Return the batch statistics that normalise in evaluation; '' where the algorithm does not say."""
    return f"batch statistics: {row.statistics}" if row.statistics else ""


def seeds(section: Section, row: BoardRow) -> str:
    """Return ``1 (-)``, or ``3 (0.21/0.05)`` with the spread in every column; ``-`` where nothing was trained."""
    if row.seeds < 2:
        return f"{row.seeds} (-)" if row.seeds else "-"
    spread = [(row.cells[cell].seed_sd if cell in row.cells else None, cell.metric.digits) for cell in section.cells]
    shown = ["-" if sd is None else f"{sd:.{digits}f}" for sd, digits in spread]
    return f"{row.seeds} ({'/'.join(shown)})"


def episodes(row: BoardRow) -> str:
    """Return the number and the seed of the test episodes."""
    counts = sorted({len(entry.record.measured) for entry in row.entries})
    return f"{'/'.join(f'{count:,}' for count in counts)}, seed {row.first.inputs.evaluation.seed}"


def protocols(row: BoardRow) -> list[str]:
    """Return the protocol with its parameters except way and shot, once for each variant among the columns."""
    inputs = [entry.inputs.protocol for entry in row.entries]
    rest = [structs.replace(p, params={k: v for k, v in p.params.items() if k not in ("way", "shot")}) for p in inputs]
    return list(dict.fromkeys(map(named, rest)))


def training(row: BoardRow) -> str:
    """Return seeds, way, shot (only where it is not the column's) and number of the training episodes."""
    runs = [(entry.cell, entry.training) for entry in row.entries if entry.training is not None]
    if not runs:
        return "none"
    files = dict.fromkeys(entry.checkpoint for entry in row.entries)
    words = [] if "" in files else [f"checkpoint {file[:12]}" for file in files]
    inputs, measured = row.first.origin or row.first.inputs, row.first.inputs.dataset.name
    source = inputs.training_dataset or inputs.dataset.name
    words += [f"{short(source)} -> {short(measured)}"] if source != measured else []
    known = sorted({run.seed for _, run in runs if run.seed is not None})
    words += [f"seed{'s' * (len(known) > 1)} {', '.join(map(str, known))}"] if known else []
    ways = sorted({str(run.way) for _, run in runs if run.way})
    words += [f"{'/'.join(map(short, ways))}-way"] if ways else []
    if any(run.shot not in (None, cell.shot) for cell, run in runs):
        shots = dict.fromkeys((cell, short(str(run.shot))) for cell, run in sorted(runs, key=lambda r: r[0]))
        words.append(f"{'/'.join(shot for _, shot in shots)}-shot")
    stages = dict.fromkeys(trained_by(entry.training, entry.record.training) for entry in row.entries)
    words += [text for text in stages if text not in ("", EPISODES)]
    lengths = sorted({run.episodes for _, run in runs if run.episodes is not None}, reverse=True)
    words += [f"{'/'.join(f'{length:,}' for length in lengths)} episodes"] if lengths else []
    return ", ".join(words) or "yes"


def open_part(result: CellResult) -> str:
    """Return `` (open ± 1.03)``; '' without an open interval."""
    return "" if result.open95 is None else f" (open ± {width_text(result.open95, result.metric.digits)})"


_KINDS = {
    "disjoint-t": "no two episodes share an image",
    "anytime-asymptotic": "stopped by its width; the interval allows for it",
    "anytime-bernstein": "stopped by its width; the interval allows for it",
}


def remarks(result: CellResult) -> list[str]:
    """Return what a reader must know about a result besides its score and intervals, a line each."""
    digits = result.metric.digits
    total = "" if result.total95 is None else f"with seeds ± {width_text(result.total95, digits)}"
    if result.total_open95 is not None:
        total += f" (open ± {width_text(result.total_open95, digits)})"
    lines = (_made_of(result), total, _KINDS.get(result.kind, ""), _learned(result), short(result.note))
    return [line for line in lines if line]


def _learned(result: CellResult) -> str:
    """Return ``† 2 in training too``: the copies between training and test data; '' without any."""
    seen = most({BETWEEN_SPLITS: entry.record.copies.get(BETWEEN_SPLITS, 0)} for entry in result.entries)
    return f"{MARK} {copies_words(seen)}" if seen else ""


def _made_of(result: CellResult) -> str:
    """Return the parts of a score, the mean over seeds: ``novel 36.74, base 96.53``; '' without parts."""
    records = [entry.record for entry in result.entries]
    means_of = []
    for part in (part.metric for part in records[0].measured.parts):
        means = [record.summary.parts[part.name].mean for record in records if part.name in record.summary.parts]
        if len(means) == len(records):
            means_of.append(f"{part.name} {sum(means) / len(means):.{part.digits}f}")
    return ", ".join(means_of)


def claim_gap(claim: Published, result: CellResult) -> str:
    """Return the distance of a result from a claim, with a mark where it is beyond its interval."""
    distance = claim.gap(result.score)
    mark = (" ▲" if distance > 0 else " ▼") if claim.differs_from(result.score, result.ci95) else ""
    return f"{distance:+.2f}{mark}"


def short(text: str) -> str:
    """Return `text` cut to a length that fits a table cell."""
    return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 1] + "…"
