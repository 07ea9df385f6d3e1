"""Checks of a record that are more than types: the key, the sums by class and the summary follow from the rest.

Records may come from strangers, so whatever can be computed again is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.errors import MetabenchError
from metabench.records.inputs import Inputs, PluginInputs, as_plain
from metabench.records.schema import Record
from metabench.records.scores import ClassSums, Scores, summary_of
from metabench.registry.metric import ACCURACY
from metabench.statistics.stopping import closes

_TAKEN = frozenset(("mean", "sd", "ci95", "interval", "open95", "episodes", "note", "parts", ACCURACY.name))
"""Names of other fields of a summary, which no metric may have."""


class RecordError(MetabenchError):
    """Error of a record that is malformed or contradicts itself."""


def need(condition: bool, path: str, fault: str) -> None:
    """Raise a RecordError with the path and the fault, unless the condition holds."""
    if not condition:
        raise RecordError(f"{path} {fault}")


def check_record(record: Record) -> None:
    """Check a decoded record.

    Raises:
        RecordError: one line with the path of the fault.
    """
    _check_inputs(record.inputs)
    need(record.key == record.inputs.key, "$.key", "is not the key of the inputs")
    _check_error(record)
    if record.scores is None:
        need(record.status != "ok", "$.scores", "is missing from a record with status ok")
        need(record.summary_fields is None, "$.summary", "must be null in a record without scores")
        return
    check_scores(record.scores)
    _check_against_inputs(record, record.scores)
    _check_summary(record, record.scores)


def _check_inputs(inputs: Inputs) -> None:
    for name in ("way", "shot", "query"):
        if name in inputs.protocol.params:
            _check_cell_number(inputs.protocol, name)
    evaluation = inputs.evaluation
    if evaluation.stop is not None:
        need(evaluation.sampling == "closed", "$.inputs.evaluation.stop", "stands beside open sampling")


def _check_cell_number(protocol: PluginInputs, name: str) -> None:
    """Check a number that names a column of a leaderboard; a protocol need not have it, but then not as text."""
    value = protocol.params[name]
    is_number = type(value) is int and 0 <= value <= 10**6
    need(is_number, f"$.inputs.protocol.params.{name}", "is not an integer in [0, 1000000]")


def _check_error(record: Record) -> None:
    if record.error is None:
        need(record.status not in ("failed", "skipped"), "$.error", f"is missing from a {record.status} run")
    else:
        need(record.status != "ok", "$.error", "stands in a record with status ok")


def check_scores(scores: Scores) -> None:
    """Check what the scores of a record must be whatever the inputs.

    Raises:
        RecordError: one line with the path of the fault.
    """
    need(bool(scores.correct) != bool(scores.values), "$.scores", "must have either correct or values")
    need(bool(scores.values) == (not scores.is_counted), "$.scores.metric", "must stand beside values and only there")
    need(bool(scores.values) or not scores.parts, "$.scores.parts", "must stand beside values")
    _check_queries(scores)
    if not scores.is_counted:
        _check_metrics(scores)
    if scores.classes is not None:
        _check_classes(scores, scores.classes)


def _check_queries(scores: Scores) -> None:
    count, n_query = len(scores), scores.n_query
    if not isinstance(n_query, int):
        need(len(n_query) == count, "$.scores.n_query", f"is not a list of {count}, one for each episode")
    if scores.is_counted:
        above = np.flatnonzero(np.asarray(scores.correct) > np.asarray(n_query))
        if len(above):
            raise RecordError(f"$.scores.correct[{above[0]}] is more than the queries of its episode")


def _check_metrics(scores: Scores) -> None:
    named = [("$.scores.metric.name", scores.metric.name)]
    for index, part in enumerate(scores.parts):
        where = f"$.scores.parts[{index}]"
        need(len(part.values) == len(scores), f"{where}.values", f"is not a list of {len(scores)}")
        named.append((f"{where}.metric.name", part.metric.name))
    seen: set[str] = set()
    for where, name in named:
        need(name not in _TAKEN, where, "is the name of something else")
        need(name not in seen, where, "is there twice")
        seen.add(name)


def _check_classes(scores: Scores, classes: ClassSums) -> None:
    """Check the form of the sums by class: correct answers where all episodes have as many queries, else totals."""
    is_whole = scores.is_counted and scores.same_queries is not None
    name, sums, other = (
        ("correct", classes.correct, classes.totals) if is_whole else ("totals", classes.totals, classes.correct)
    )
    need(bool(sums) and not other, "$.scores.classes", f"must have {name}, and not the other kind of sums")
    need(len(classes.episodes) == len(sums), "$.scores.classes", "has two lists of different lengths")
    count = len(scores)
    above = np.flatnonzero(np.asarray(classes.episodes) > count)
    if len(above):
        raise RecordError(f"$.scores.classes.episodes[{above[0]}] is more than the {count} episodes")


def _check_against_inputs(record: Record, scores: Scores) -> None:
    if record.status == "ok":
        _check_complete(record.inputs, scores)
    if scores.classes is not None:
        way = record.inputs.protocol.params.get("way")
        ways = _check_participations(scores, scores.classes, way if isinstance(way, int) else None)
        _check_class_sums(scores, scores.classes, ways)


def _check_complete(inputs: Inputs, scores: Scores) -> None:
    """Check that a run that succeeded has all episodes: as asked for, as the data have, or as its rule wants."""
    count, evaluation, where = len(scores), inputs.evaluation, f"$.scores.{scores.answers_name}"
    if evaluation.stop is not None:
        need(scores.is_counted, "$.inputs.evaluation.stop", "stands beside values, and it is a rule for accuracies")
        ends = count <= evaluation.episodes and closes(evaluation.stop.rule, scores.shares, evaluation.episodes)
        need(ends, where, "does not end where the stop rule of the inputs says")
    elif evaluation.sampling == "open":
        need(count <= evaluation.episodes, where, f"holds more than {evaluation.episodes} episodes")
    else:
        need(count == evaluation.episodes, where, f"does not hold {evaluation.episodes} episodes")


def _check_participations(scores: Scores, classes: ClassSums, way: int | None) -> int:
    """Return the number of classes in an episode: each counts once for every one of its classes.

    Where episodes differ in it, the sums cannot be distinguished from others, but for their bounds.
    """
    where = "$.scores.classes"
    ways, rest = divmod(sum(classes.episodes), len(scores))
    if scores.same_queries is None:
        need(ways >= 1, where, "has fewer classes than episodes")
    elif classes.of:
        need((ways, rest) == (1, 0), where, "is not of episodes of one group each")
    else:
        need(rest == 0 and ways >= 1, where, "is not of episodes with the same number of classes")
        need(way in (None, ways), where, f"is not of {way}-way episodes")
    return ways


def _check_class_sums(scores: Scores, classes: ClassSums, ways: int) -> None:
    where = "$.scores.classes"
    if classes.correct and scores.same_queries is not None:
        need(sum(classes.correct) == ways * sum(scores.correct), where, "does not add up to the scores")
        fits = bool((np.asarray(classes.correct) <= scores.same_queries * np.asarray(classes.episodes)).all())
    else:
        row = scores.shares if scores.is_counted else np.asarray(scores.values, np.float64)
        fits = _is_within_bounds(classes, row)
        if scores.same_queries is not None:
            total, expected = math.fsum(classes.totals), ways * math.fsum(row)
            near = math.isclose(total, expected, rel_tol=1e-9, abs_tol=1e-9 * float(np.abs(row).sum()))
            need(near, where, "does not add up to the scores")
    need(fits, where, "has a sum that is too large")


def _is_within_bounds(classes: ClassSums, row: NDArray[np.float64]) -> bool:
    """Return whether the mean of every class lies between the smallest and the largest score, but for rounding."""
    numbers, totals = np.asarray(classes.episodes), np.asarray(classes.totals, np.float64)
    room = 1e-9 * max(1.0, float(np.abs(row).max())) * np.maximum(1, numbers)
    return bool(((totals >= numbers * row.min() - room) & (totals <= numbers * row.max() + room)).all())


def _check_summary(record: Record, scores: Scores) -> None:
    recorded = record.summary_fields
    if recorded is None:
        raise RecordError("$.summary is missing from a record with scores")
    expected = summary_of(scores, record.inputs.evaluation).as_record()
    for name in expected:
        need(name in recorded, f"$.summary.{name}", "is missing")
    unknown = next((name for name in recorded if name not in expected), "")
    need(not unknown, f"$.summary.{unknown[:40]}", "is not a known field")
    for name, value in expected.items():
        need(_is_same(recorded[name], value), f"$.summary.{name}", f"is not what the scores give ({as_plain(value)})")


def _is_same(recorded: Any, expected: Any) -> bool:
    """Return whether two values are equal but for the last digit: quantiles may differ between scipy versions."""
    if isinstance(expected, dict):
        return (
            isinstance(recorded, dict)
            and recorded.keys() == expected.keys()
            and all(_is_same(recorded[name], value) for name, value in expected.items())
        )
    if isinstance(expected, float):
        return type(recorded) in (int, float) and math.isclose(recorded, expected, rel_tol=1e-6, abs_tol=2e-6)
    return type(recorded) is type(expected) and bool(recorded == expected)
