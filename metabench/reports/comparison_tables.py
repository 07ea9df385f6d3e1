"""A comparison as a terminal table, Markdown or JSON."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.comparison.pairs import RankedMethods, Versus
from metabench.records.copy_counts import copies_note, marked_name
from metabench.registry.metric import ACCURACY
from metabench.reports.score_text import width_text
from metabench.reports.text_table import Notes, ReportBlock, Table, json_text, report_text
from metabench.statistics.dataset_ranking import PairAcross, Ranking
from metabench.statistics.pairwise_tests import INDEPENDENT_EPISODES, SAME_EPISODE, Difference
from metabench.utils.text import pluralise

_WINS = {
    SAME_EPISODE: ("", "probability that A is better than B on the same new episode"),
    INDEPENDENT_EPISODES: (
        " ‡",
        "probability that A on one new episode is better than B on another, independent one",
    ),
}
"""The mark of a probability of winning, and its meaning, by the pairs of episodes that it is over."""


def comparison_json(pairs: Sequence[Versus], rankings: Sequence[RankedMethods]) -> str:
    """Return one JSON document ``{"pairs": [...], "rankings": [...]}``."""
    return json_text({
        "pairs": [pair.as_row() for pair in pairs],
        "rankings": [ranking.as_row() for ranking in rankings],
    })  # fmt: skip


def comparison_text(pairs: Sequence[Versus], rankings: Sequence[RankedMethods], markdown: bool = False) -> str:
    """Return everything as text for people: the pairs, the footnotes, and the ranking over datasets."""
    several = len({pair.a.cell for pair in pairs}) > 1
    header = (*(("dataset", "episodes of") if several else ()), *_header(pairs))
    where = [(_dataset(pair), pair.a.where) if several else () for pair in pairs]
    dataset = marked_name(pairs[0].a.dataset, *(side.copies for pair in pairs for side in (pair.a, pair.b)))
    blocks: list[ReportBlock] = [] if several else [f"{dataset}, {pairs[0].a.where}"]
    blocks.append(Table(header, [(*w, *_cells(pair)) for w, pair in zip(where, pairs, strict=True)], plain_header=True))
    blocks.append(Notes(_footnotes(pairs)))
    for ranking in rankings:
        blocks += [*_ranking_lines(ranking), _ranking_table(ranking)]
    return report_text(blocks, markdown)


def difference_text(difference: Difference, digits: int = 2) -> str:
    """Return ``+1.20 ± 0.31 (open ± 0.74)``."""
    closed = "" if difference.ci95 is None else f" ± {width_text(difference.ci95, digits)}"
    opened = "" if difference.open95 is None else f" (open ± {width_text(difference.open95, digits)})"
    return f"{difference.mean:+.{digits}f}{closed}{opened}"


def p_text(p: float) -> str:
    """Return a p-value with the digits that matter."""
    return "<0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"


def _header(pairs: Sequence[Versus]) -> tuple[str, ...]:
    """Return the header of the pairs, with the unit if it is the same for all."""
    metrics = {pair.a.metric for pair in pairs}
    (score, step) = ("%", "points") if metrics == {ACCURACY} else ("score", "score")
    if len(metrics) == 1 and metrics != {ACCURACY}:
        score = step = metrics.pop().name
    return "A", "B", f"A ({score})", f"B ({score})", f"A - B ({step})", "p (Holm)", "A wins", "verdict"


def _cells(pair: Versus) -> tuple[str, ...]:
    digits = pair.a.metric.digits
    verdict = f"{pair.verdict} ({pair.difference.note})" if _has_note(pair) else pair.verdict
    return (
        pair.a.label,
        pair.b.label,
        f"{pair.a.score:.{digits}f}",
        f"{pair.b.score:.{digits}f}",
        difference_text(pair.difference, digits),
        p_text(pair.p_holm),
        f"{pair.difference.a_beats_b:.2f}{_WINS[pair.difference.a_beats_b_over][0]}",
        verdict,
    )


def _dataset(pair: Versus) -> str:
    return marked_name(pair.a.dataset, pair.a.copies, pair.b.copies)


def _has_note(pair: Versus) -> bool:
    """Return whether there is a note that the verdict does not repeat."""
    return bool(pair.difference.note) and pair.difference.note != pair.verdict


def _footnotes(pairs: Sequence[Versus]) -> list[str]:
    methods = {pair.difference.method for pair in pairs}
    tests = [
        name
        for method, name in (("paired-t", "Student's t of the differences, paired by episode"), ("welch", "Welch's t"))
        if method in methods
    ]
    lines = [f"p: {' or '.join(tests)}, corrected for {pluralise(len(pairs), 'comparison')} (Holm)"] if tests else []
    lines.append("±: 95 % interval of the difference over episodes of this test set, for these trained models")
    if any(pair.difference.open95 is not None for pair in pairs):
        lines.append(
            "open ±: for new classes and examples; where it reaches 0, the difference need not hold on other data"
        )
    over = {pair.difference.a_beats_b_over for pair in pairs}
    lines += [f"A wins{mark}: {words}, a tie counting half" for kind, (mark, words) in _WINS.items() if kind in over]
    copies = copies_note(side.record for pair in pairs for side in (pair.a, pair.b))
    return [*lines, copies] if copies else lines


def _ranking_lines(methods: RankedMethods) -> list[str]:
    ranking = methods.ranking
    names, metric = ", ".join(methods.datasets), "" if methods.metric == ACCURACY else f", {methods.metric.name}"
    ranks = sorted(zip(ranking.mean_ranks, methods.methods, strict=True))
    note = f": {ranking.note}" if ranking.note else ""
    lines = [
        f"{methods.protocol}{metric} over {ranking.datasets} datasets ({names}){note}",
        "mean ranks: " + ", ".join(f"{name} {rank:.2f}" for rank, name in ranks)
        + f"; critical difference {ranking.critical_difference:.2f} (Nemenyi, 5 %)",
        f"Friedman: chi-squared {ranking.chi2_ties:.2f} with ties; Iman-Davenport: F {ranking.f:.2f}; p of both "
        f"{p_text(ranking.p_f)} ({_arrangements(ranking)})",
    ]  # fmt: skip
    if methods.left_out:
        lines.append(f"not measured on all of them, and left out: {', '.join(methods.left_out)}")
    return lines


def _arrangements(ranking: Ranking) -> str:
    how = f"{ranking.draws:,} random" if ranking.draws else "exact, from all"
    return f"{how} arrangements of the ranks"


def _ranking_table(methods: RankedMethods) -> Table:
    difference = f"A - B ({methods.metric.step})"
    header = ("A", "B", difference, "95 % interval", "wins/ties/losses", "Wilcoxon p (Holm)", "Nemenyi")
    return Table(header, [_ranking_cells(methods, pair) for pair in methods.ranking.pairs], plain_header=True)


def _ranking_cells(methods: RankedMethods, pair: PairAcross) -> tuple[str, ...]:
    digits = methods.metric.digits
    return (
        methods.methods[pair.first],
        methods.methods[pair.second],
        f"{pair.mean:+.{digits}f}",
        _interval_text(pair, digits),
        f"{pair.wins}/{pair.ties}/{pair.losses}",
        p_text(pair.p_holm),
        "apart" if pair.nemenyi else "not apart",
    )


def _interval_text(pair: PairAcross, digits: int) -> str:
    """Return ``[-1.20, +3.40]``; a dash where there is no interval."""
    if pair.low is None or pair.high is None:
        return "-"
    return f"[{pair.low:+.{digits}f}, {pair.high:+.{digits}f}]"
