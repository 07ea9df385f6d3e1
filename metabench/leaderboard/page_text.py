"""What the Markdown and the HTML page say in the same words; plain text that each page escapes for itself."""

from __future__ import annotations

from msgspec import structs

from metabench.leaderboard.board import Board, Section
from metabench.leaderboard.published import Published
from metabench.leaderboard.rows import Result, Row
from metabench.records.copy_counts import BETWEEN_SPLITS, MARK, copies_words, most
from metabench.records.inputs import PluginInputs
from metabench.registry.metric import ACCURACY, Metric
from metabench.reports.text import params_text, width_text

LONGEST = 120  # characters of a stranger's string in a table

CLOSED = (
    "{} The first ± is the half-width of a 95 % Student-t interval over the episodes of a fixed "
    "test set{}: the closed interval. It covers the "
    "draw of the episodes, not new data and not another training run."
)
EQUAL = " (where no two episodes differ: Clopper-Pearson over all queries)"
OPEN = "The open ± is a 95 % interval for new classes and examples of the same kind, for the same trained model."
RANKS = (
    "Ranks are made within a column: every two rows are compared by a t test, paired as far as both met the same "
    "episodes, all comparisons of the column are corrected together (Holm, 5 %), and the rank of a row is one more "
    "than the number of rows that are significantly better, but never better than that of a row with a better mean. "
    "A rank with = is shared; with a single episode there is none. A row of several seeds stands for its method: the "
    "spread of its trainings is in the tests. A row of one seed, 1 (-), stands for its one trained model: another "
    "training of it may well rank elsewhere. The tests speak of this test set."
)
FLOORS = "Floor rows learned nothing, neither here nor before: they tell what a number is worth."
ORDER = "Rows are sorted by the first column; those without a value there come last."
SETTING = (
    "Transductive rows use all queries of an episode together, be it only for the statistics of batch normalisation."
)
SEEDS = (
    "Seeds is the number of training seeds; in brackets the standard deviation of the {0} between them, one for "
    "each column. {1} {0} is the mean over seeds, and its ± is for these trainings; the ± with seeds is a 95 % "
    "interval for another training too."
)
PUBLISHED = (
    "Below a measured value stands the one that the paper printed, and how far above (+) or below (-) it we measured; "
    "the paper's parameters may differ from the row's, but not the number of queries where that matters, since they "
    "normalise each other. ▲ and ▼ mark the values that differ by more than the 95 % interval of the difference, the "
    "root of the sum of both squared ± (where a paper prints no ±, only its rounding is allowed for)."
)
CONTAMINATION = (
    "‡ marks pre-training on the test classes or on the test examples themselves, ? pre-training of which nobody has "
    "said (in contamination.toml) whether it met them."
)
COPIES = (
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
    numbers = [CLOSED.format(" ".join(map(_said, metrics)), EQUAL if ACCURACY in metrics else "")] + (
        [OPEN] if any(result.open95 is not None for result in results) else []
    )
    order = [RANKS, ORDER] + ([FLOORS] if any(row.floor for row in rows) else [])
    marks = [SEEDS.format(one, "A" if one[0] not in "aeiou" else "An")] if any(row.seeds > 1 for row in rows) else []
    marks += [SETTING] if any(row.setting != "inductive" for row in rows) else []
    marks += [CONTAMINATION] if any(row.first.inputs.backbone.trained_on for row in rows) else []
    marked = any(section.copies_behind(row) for section in board.sections for row in section.rows)
    marks += [COPIES] if marked else []
    marks += [PUBLISHED] if board.claims else []
    return [" ".join(part) for part in (numbers, order, marks) if part]


def _said(metric: Metric) -> str:
    """A sentence for a metric: its unit, and which way is better where that is not plain."""
    unit = {"%": " in percent", "": ""}.get(metric.unit, f" in {metric.unit}")
    better = "" if metric.higher_is_better else ": lower is better"
    return f"{metric.name[0].upper()}{metric.name[1:]}{unit}{better}."


def named(part: PluginInputs) -> str:
    """``name v2``, and its parameters on a second line; version 1 goes without saying."""
    text = part.name + (f" v{part.version}" if part.version != 1 else "")
    return text + (f"\n{params_text(part.params)}" if part.params else "")


def pre_training(section: Section, row: Row) -> str:
    """What the backbone was trained on before, and on a second line whether that met the test classes."""
    trained_on = row.first.inputs.backbone.trained_on
    verdict = section.contamination(row)
    return f"pre-trained on {trained_on}" + (f"\n{_MET[verdict]}" if verdict else "") if trained_on else ""


def mark(section: Section, row: Row) -> str:
    """`` ‡`` or `` ?`` after the name of a row that was pre-trained on something doubtful."""
    said = _MET.get(section.contamination(row), "")
    return f" {said[0]}" if said[:1] in ("‡", "?") else ""


def copy_mark(section: Section, row: Row) -> str:
    """`` †`` after the name of a row whose test data hold copies."""
    return f" {MARK}" if section.copies_behind(row) else ""


def statistics(row: Row) -> str:
    """Which batch statistics normalise in evaluation."""
    return f"batch statistics: {row.statistics}" if row.statistics else ""


def seeds(section: Section, row: Row) -> str:
    """``1 (-)``, or ``3 (0.21/0.05)`` with the spread in every column; ``-`` where nothing was trained."""
    if row.seeds < 2:
        return f"{row.seeds} (-)" if row.seeds else "-"
    spread = [(row.cells[cell].seed_sd if cell in row.cells else None, cell.metric.digits) for cell in section.cells]
    shown = ["-" if sd is None else f"{sd:.{digits}f}" for sd, digits in spread]
    return f"{row.seeds} ({'/'.join(shown)})"


def episodes(row: Row) -> str:
    """Number and seed of the test episodes."""
    counts = sorted({len(entry.record.measured) for entry in row.entries})
    return f"{'/'.join(f'{count:,}' for count in counts)}, seed {row.first.inputs.evaluation.seed}"


def protocols(row: Row) -> list[str]:
    """The protocol with its parameters but way and shot, as often as they differ between columns."""
    inputs = [entry.inputs.protocol for entry in row.entries]
    rest = [structs.replace(p, params={k: v for k, v in p.params.items() if k not in ("way", "shot")}) for p in inputs]
    return list(dict.fromkeys(map(named, rest)))


def training(row: Row) -> str:
    """Seeds, way, shot (only where it is not the column's) and number of the training episodes."""
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
    lengths = sorted({run.episodes for _, run in runs if run.episodes is not None}, reverse=True)
    words += [f"{'/'.join(f'{length:,}' for length in lengths)} episodes"] if lengths else []
    return ", ".join(words) or "yes"


def open_part(result: Result) -> str:
    """`` (open ± 1.03)``, or nothing."""
    return "" if result.open95 is None else f" (open ± {width_text(result.open95, result.metric.digits)})"


_KINDS = {
    "disjoint-t": "no two episodes share an image",
    "anytime-asymptotic": "stopped by its width; the interval allows for it",
    "anytime-bernstein": "stopped by its width; the interval allows for it",
}


def remarks(result: Result) -> list[str]:
    """What a reader must know about a result besides its score and intervals."""
    digits = result.metric.digits
    total = "" if result.total95 is None else f"with seeds ± {width_text(result.total95, digits)}"
    if result.total_open95 is not None:
        total += f" (open ± {width_text(result.total_open95, digits)})"
    lines = (_made_of(result), total, _KINDS.get(result.kind, ""), _learned(result), short(result.note))
    return [line for line in lines if line]


def _learned(result: Result) -> str:
    """``† 2 in training too``: the copies that are of the training and not of the test data."""
    seen = most({BETWEEN_SPLITS: entry.record.copies.get(BETWEEN_SPLITS, 0)} for entry in result.entries)
    return f"{MARK} {copies_words(seen)}" if seen else ""


def _made_of(result: Result) -> str:
    """``novel 36.74, base 96.53``: what the score is made of, the mean over seeds."""
    records = [entry.record for entry in result.entries]
    told = []
    for part in (part.metric for part in records[0].measured.parts):
        means = [record.summary.parts[part.name].mean for record in records if part.name in record.summary.parts]
        if len(means) == len(records):
            told.append(f"{part.name} {sum(means) / len(means):.{part.digits}f}")
    return ", ".join(told)


def gap(claim: Published, result: Result) -> str:
    """How far a result is from a claim, with a mark where that is beyond the interval of the difference."""
    distance = claim.gap(result.score)
    mark = (" ▲" if distance > 0 else " ▼") if claim.misses(result.score, result.ci95) else ""
    return f"{distance:+.2f}{mark}"


def short(text: str) -> str:
    """Return `text` cut to what a table can hold."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
