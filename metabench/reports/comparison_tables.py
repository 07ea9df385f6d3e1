"""A comparison as a terminal table, Markdown or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from metabench.comparison.pairs import RankedMethods, Versus
from metabench.records.copy_counts import copies_note, marked_name
from metabench.registry.metric import ACCURACY
from metabench.reports.text import width_text
from metabench.reports.text_table import text_table
from metabench.statistics.dataset_ranking import PairAcross, Ranking
from metabench.statistics.pairwise_tests import INDEPENDENT_EPISODES, SAME_EPISODE, Difference
from metabench.utils.text import counted, escape, printable

_WINS = {
    SAME_EPISODE: ("", "probability that A is better than B on the same new episode"),
    INDEPENDENT_EPISODES: (
        " ‡",
        "probability that A on one new episode is better than B on another, independent one",
    ),
}
"""The mark of a probability of winning, and what it says, by the pairs of episodes that it is over."""


def to_json(found: Sequence[Versus], rankings: Sequence[RankedMethods]) -> str:
    """Return one JSON document ``{"pairs": [...], "rankings": [...]}``."""
    document = {"pairs": [pair.as_row() for pair in found], "rankings": [each.as_row() for each in rankings]}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def to_text(found: Sequence[Versus], rankings: Sequence[RankedMethods], markdown: bool = False) -> str:
    """Return everything as text for people: the pairs, the footnotes, and the ranking over data sets."""
    clean: Callable[[str], str] = escape if markdown else printable
    several = len({pair.a.cell for pair in found}) > 1
    header = (*(("data set", "episodes of") if several else ()), *_header(found))
    where = [(_dataset(pair), pair.a.where) if several else () for pair in found]
    alone = marked_name(found[0].a.dataset, *(each.copies for pair in found for each in (pair.a, pair.b)))
    blocks = [] if several else [clean(f"{alone}, {found[0].a.where}")]
    blocks.append(_table(header, [(*w, *_cells(pair)) for w, pair in zip(where, found, strict=True)], clean))
    blocks.append(("\n\n" if markdown else "\n").join(clean(line) for line in _footnotes(found)))
    for each in rankings:
        blocks += [clean(line) for line in _standing_lines(each)]
        rows = [_across_cells(each, pair) for pair in each.ranking.pairs]
        across = ("A", "B", f"A - B ({each.metric.step})", "95 % interval", "wins/ties/losses")
        blocks.append(_table((*across, "Wilcoxon p (Holm)", "Nemenyi"), rows, clean))
    return "\n\n".join(blocks)


def difference_text(difference: Difference, digits: int = 2) -> str:
    """Return ``+1.20 ± 0.31 (open ± 0.74)``."""
    closed = "" if difference.ci95 is None else f" ± {width_text(difference.ci95, digits)}"
    opened = "" if difference.open95 is None else f" (open ± {width_text(difference.open95, digits)})"
    return f"{difference.mean:+.{digits}f}{closed}{opened}"


def p_text(p: float) -> str:
    """Return a p-value with the digits that matter."""
    return "<0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"


def _header(found: Sequence[Versus]) -> tuple[str, ...]:
    """The columns of the pairs; the unit stands above them if it is the same for all."""
    metrics = {pair.a.metric for pair in found}
    (score, step) = ("%", "points") if metrics == {ACCURACY} else ("score", "score")
    if len(metrics) == 1 and metrics != {ACCURACY}:
        score = step = metrics.pop().name
    return "A", "B", f"A ({score})", f"B ({score})", f"A - B ({step})", "p (Holm)", "A wins", "verdict"


def _cells(pair: Versus) -> tuple[str, ...]:
    digits = pair.a.metric.digits
    said = f"{pair.verdict} ({pair.difference.note})" if _says_more(pair) else pair.verdict
    return (
        pair.a.label,
        pair.b.label,
        f"{pair.a.score:.{digits}f}",
        f"{pair.b.score:.{digits}f}",
        difference_text(pair.difference, digits),
        p_text(pair.p_holm),
        f"{pair.difference.a_beats_b:.2f}{_WINS[pair.difference.a_beats_b_over][0]}",
        said,
    )


def _dataset(pair: Versus) -> str:
    return marked_name(pair.a.dataset, pair.a.copies, pair.b.copies)


def _says_more(pair: Versus) -> bool:
    return bool(pair.difference.note) and pair.difference.note != pair.verdict


def _footnotes(found: Sequence[Versus]) -> list[str]:
    methods = {pair.difference.method for pair in found}
    tests = [
        name
        for method, name in (("paired-t", "Student's t of the differences, paired by episode"), ("welch", "Welch's t"))
        if method in methods
    ]
    lines = [f"p: {' or '.join(tests)}, corrected for {counted(len(found), 'comparison')} (Holm)"] if tests else []
    lines.append("±: 95 % interval of the difference over episodes of this test set, for these trained models")
    if any(pair.difference.open95 is not None for pair in found):
        lines.append(
            "open ±: for new classes and examples; where it reaches 0, the difference need not hold on other data"
        )
    over = {pair.difference.a_beats_b_over for pair in found}
    lines += [f"A wins{mark}: {said}, a tie counting half" for kind, (mark, said) in _WINS.items() if kind in over]
    copies = copies_note(each.record for pair in found for each in (pair.a, pair.b))
    return [*lines, copies] if copies else lines


def _standing_lines(each: RankedMethods) -> list[str]:
    found = each.ranking
    names, what = ", ".join(each.datasets), "" if each.metric == ACCURACY else f", {each.metric.name}"
    ranks = sorted(zip(found.mean_ranks, each.methods, strict=True))
    lines = [
        f"{each.protocol}{what} over {found.datasets} data sets ({names})" + (f": {found.note}" if found.note else ""),
        "mean ranks: " + ", ".join(f"{name} {rank:.2f}" for rank, name in ranks)
        + f"; critical difference {found.critical_difference:.2f} (Nemenyi, 5 %)",
        f"Friedman: chi-squared {found.chi2_ties:.2f} with ties; Iman-Davenport: F {found.f:.2f}; p of both "
        f"{p_text(found.p_f)} ({_counted(found)})",
    ]  # fmt: skip
    if each.left_out:
        lines.append(f"not measured on all of them, and left out: {', '.join(each.left_out)}")
    return lines


def _counted(found: Ranking) -> str:
    how = f"{found.draws:,} random" if found.draws else "exact, from all"
    return f"{how} arrangements of the ranks"


def _interval_text(pair: PairAcross, digits: int) -> str:
    """Return ``[-1.20, +3.40]``; a dash where there is no interval."""
    if pair.low is None or pair.high is None:
        return "-"
    return f"[{pair.low:+.{digits}f}, {pair.high:+.{digits}f}]"


def _across_cells(each: RankedMethods, pair: PairAcross) -> tuple[str, ...]:
    digits = each.metric.digits
    return (
        each.methods[pair.first],
        each.methods[pair.second],
        f"{pair.mean:+.{digits}f}",
        _interval_text(pair, digits),
        f"{pair.wins}/{pair.ties}/{pair.losses}",
        p_text(pair.p_holm),
        "apart" if pair.nemenyi else "not apart",
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], clean: Callable[[str], str]) -> str:
    body = [[clean(cell) for cell in row] for row in rows]
    return text_table(header, body, clean is escape)
