"""What a record must look like. Records may come from strangers: nothing here trusts a type or a size."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.errors import MetabenchError
from metabench.records.copy_counts import copies_problem
from metabench.registry.metric import ACCURACY
from metabench.registry.specs import SAMPLINGS
from metabench.statistics.episode_scores import answers, answers_name, shares
from metabench.statistics.stopping import StopRule, check_rule, closes
from metabench.statistics.summary import summary_of
from metabench.utils.hashing import content_key

SCHEMA = 1
STATUSES = ("ok", "failed", "skipped", "interrupted")
MAX_EPISODES = MAX_CLASSES = 1_000_000
MAX_VALUE = 1e30  # of a metric; what is larger has diverged, and its square must still be a number
MAX_STRING = 20_000
MAX_PARTS = 8
MAX_DEPTH = 12
MAX_NODES = 200_000  # values outside `scores`

TOP = ("schema", "key", "status", "inputs", "scores", "summary", "training", "cost", "provenance", "error")
INPUTS = ("algorithm", "backbone", "dataset", "protocol", "evaluation", "training", "precision")
PARTS: Mapping[str, Mapping[str, type]] = {
    "algorithm": {"name": str, "version": int, "params": dict, "setting": str},
    "backbone": {"name": str, "version": int, "params": dict, "trained_on": str},
    "dataset": {"name": str, "version": int, "params": dict, "split": str, "digest": str},
    "protocol": {"name": str, "version": int, "params": dict},
    "evaluation": {"episodes": int, "seed": int, "sampling": str},
}
_METRIC = {"name": str, "unit": str, "higher_is_better": bool, "digits": int}
_METRIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,29}")
_UNIT = re.compile(r"[A-Za-z0-9%°/^*·-]{1,12}")
_SHORT = 200  # names and the like, which end up in tables and file names


class RecordError(MetabenchError):
    """A record is malformed, or does not hold together."""


class NewerSchemaError(RecordError):
    """A record was written by a newer metabench: sound perhaps, but not ours to judge."""


def validate_record(obj: Any) -> None:
    """Check a decoded record of the current schema.

    Raises:
        RecordError: one line that names the field and what is wrong with it.
    """
    need(isinstance(obj, dict), "", "is not a JSON object")
    schema = obj.get("schema")
    need(type(schema) is int, "schema", "is not an integer")
    if schema > SCHEMA:
        raise NewerSchemaError(f"record: schema {schema} is newer than {SCHEMA}; upgrade metabench")
    need(schema == SCHEMA, "schema", f"is not {SCHEMA}")
    _need_keys(obj, TOP, "")
    _check_scores_shape(obj["scores"])
    _check_bounded({k: v for k, v in obj.items() if k != "scores"})
    need(obj["status"] in STATUSES, "status", f"is not one of {', '.join(STATUSES)}")
    _check_inputs(obj["inputs"])
    need(obj["key"] == content_key(obj["inputs"]), "key", "is not the key of the inputs")
    _check_rest(obj)
    if obj["scores"] is None:
        need(obj["status"] != "ok", "scores", "are missing from a record with status ok")
        need(obj["summary"] is None, "summary", "stands without scores")
    else:
        _check_scores(obj)


def need(condition: bool, where: str, what: str) -> None:
    """Raise a RecordError that says where and what, unless the condition holds."""
    if not condition:
        raise RecordError(f"record: {where + ' ' if where else ''}{what}")


def _need_keys(obj: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    prefix = f"{where}." if where else ""
    for key in keys:
        need(key in obj, f"{prefix}{key}", "is missing")
    for key in obj:
        need(key in keys, f"{prefix}{str(key)[:40]!r}", "is not a known field")


def _check_bounded(root: Any) -> None:
    """Refuse values that no honest record holds: deep, huge, not finite, or not plain JSON."""
    level, nodes = [root], 0
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
                need(all(isinstance(k, str) and len(k) <= _SHORT for k in value), "", "has a bad key")
                inner += value  # the keys once more, as text
            elif isinstance(value, list):
                inner += value
            elif problem := _problem(value):
                raise RecordError(f"record: {problem}")
        nodes += len(level)
        need(nodes + len(inner) <= MAX_NODES, "", f"holds more than {MAX_NODES} values")
        level = inner
    need(not level, "", f"is nested deeper than {MAX_DEPTH}")


def _problem(value: Any) -> str:
    """What is wrong with a value that is neither object nor list; empty if nothing is."""
    if isinstance(value, str):
        if len(value) > MAX_STRING:
            return f"holds a string longer than {MAX_STRING}"
        return "" if value.isascii() or not _has_surrogate(value) else "holds text that is not Unicode"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "holds a number that is not finite"
    if isinstance(value, int):
        return "" if abs(value) < 2**64 else "holds an integer of more than 64 bits"
    return "" if value is None else f"holds a {type(value).__name__}"


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _check_inputs(inputs: Any) -> None:
    need(isinstance(inputs, dict), "inputs", "is not an object")
    _need_keys(inputs, INPUTS, "inputs")
    for part, fields in PARTS.items():
        need(isinstance(inputs[part], dict), f"inputs.{part}", "is not an object")
        for name, kind in fields.items():
            where, value = f"inputs.{part}.{name}", inputs[part].get(name)
            need(type(value) is kind, where, f"is not a {kind.__name__}")
            need(kind is not str or len(inputs[part][name]) <= _SHORT, where, "is too long")
        need(inputs[part].get("name") != "", f"inputs.{part}.name", "is empty")
    for name in ("beside", "support"):
        _check_other_splits(inputs["dataset"].get(name, {}), f"inputs.dataset.{name}")
    for where, value in _cell_numbers(inputs):
        need(type(value) is int and 0 <= value <= 10**6, where, "is not an integer in [0, 1000000]")
    need(1 <= inputs["evaluation"]["episodes"] <= MAX_EPISODES, "inputs.evaluation.episodes",
          f"is not in [1, {MAX_EPISODES}]")  # fmt: skip
    _check_evaluation(inputs["evaluation"])
    precision, training = inputs["precision"], inputs["training"]
    need(isinstance(precision, str) and 0 < len(precision) <= _SHORT, "inputs.precision", "is no name")
    need(training is None or isinstance(training, dict), "inputs.training", "is neither null nor an object")
    seed = (training or {}).get("seed", 0)
    need(type(seed) is int, "inputs.training.seed", "is not an integer")


def _check_other_splits(splits: Any, where: str) -> None:
    """The splits that episodes are drawn from beside the measured one, each with its digest."""
    need(isinstance(splits, dict), where, "is not an object")
    sound = all(isinstance(text, str) and len(text) <= _SHORT for item in splits.items() for text in item)
    need(sound, where, "is not of short texts")


def _check_evaluation(evaluation: Mapping[str, Any]) -> None:
    need(evaluation["sampling"] in SAMPLINGS, "inputs.evaluation.sampling", f"is not {' or '.join(SAMPLINGS)}")
    need("stop" in evaluation, "inputs.evaluation.stop", "is missing")
    if evaluation["stop"] is not None:
        problem = check_rule(evaluation["stop"])
        need(not problem, "inputs.evaluation.stop", problem)
        need(evaluation["sampling"] == "closed", "inputs.evaluation.stop", "stands beside open sampling")


def _cell_numbers(inputs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The numbers that name a leaderboard cell; a protocol need not have them, but then not as text."""
    params = inputs["protocol"]["params"]
    names = [name for name in ("way", "shot", "query") if name in params]
    return [(f"inputs.protocol.params.{name}", params[name]) for name in names]


def _check_rest(obj: Mapping[str, Any]) -> None:
    for name in ("cost", "provenance"):
        need(isinstance(obj[name], dict), name, "is not an object")
    problem = copies_problem(obj["provenance"].get("copies", {}))
    need(not problem, "provenance.copies", problem)
    need(obj["training"] is None or isinstance(obj["training"], dict), "training", "is no object")
    error = obj["error"]
    if error is None:
        need(obj["status"] not in ("failed", "skipped"), "error", f"is missing from a {obj['status']} run")
        return
    need(obj["status"] != "ok", "error", "stands in a record with status ok")
    need(isinstance(error, dict), "error", "is not an object")
    _need_keys(error, ("type", "message"), "error")
    need(all(isinstance(text, str) for text in error.values()), "error", "holds something other than text")


def _check_scores_shape(scores: Any) -> None:
    """Types and sizes of the scores, cheaply: a record may hold a million of them."""
    if scores is None:
        return
    need(isinstance(scores, dict), "scores", "is neither null nor an object")
    counted = "correct" in scores
    answers = ("correct",) if counted else ("values", "metric", *(("parts",) if "parts" in scores else ()))
    _need_keys(scores, ("n_query", *answers, "episodes_digest", "classes"), "scores")
    name, digest = answers[0], scores["episodes_digest"]
    episodes = scores[name]
    need(isinstance(episodes, list) and 1 <= len(episodes) <= MAX_EPISODES, f"scores.{name}",
         f"is not a list of 1 to {MAX_EPISODES} numbers")  # fmt: skip
    _check_queries(scores["n_query"], len(episodes))
    if counted:
        _need_integers(episodes, 10**6, "scores.correct")
        fits = bool((np.asarray(episodes) <= np.asarray(scores["n_query"])).all())
        need(fits, "scores.correct", "holds a count outside [0, n_query]")
    else:
        _check_metric(scores["metric"], "scores.metric")
        _need_floats(episodes, "scores.values")
        _check_parts(scores, len(episodes))
    is_hex = isinstance(digest, str) and re.fullmatch("[0-9a-f]{16,128}", digest)
    need(bool(is_hex), "scores.episodes_digest", "is not a hexadecimal digest")
    if scores["classes"] is not None:
        _check_classes(scores["classes"], scores)


def _check_queries(n_query: Any, episodes: int) -> None:
    where, bounds = "scores.n_query", "is not in [1, 1000000]"
    if not isinstance(n_query, list):
        need(type(n_query) is int and 1 <= n_query <= 10**6, where, bounds)
        return
    need(len(n_query) == episodes, where, f"is not a list of {episodes}, one for each episode")
    _need_integers(n_query, 10**6, where)
    need(min(n_query) >= 1, where, bounds)


def _check_parts(scores: Mapping[str, Any], episodes: int) -> None:
    """What values are made of: other metrics of the same episodes."""
    parts, names = scores.get("parts", []), [scores["metric"]["name"]]
    need(isinstance(parts, list) and len(parts) <= MAX_PARTS, "scores.parts", f"is not a list of up to {MAX_PARTS}")
    for part in parts:
        need(isinstance(part, dict), "scores.parts", "holds something other than objects")
        _need_keys(part, ("metric", "values"), "scores.parts")
        _check_metric(part["metric"], "scores.parts.metric")
        values = part["values"]
        need(
            isinstance(values, list) and len(values) == episodes, "scores.parts.values", f"is not a list of {episodes}"
        )
        _need_floats(values, "scores.parts.values")
        names.append(part["metric"]["name"])
    need(len(set(names)) == len(names), "scores.parts", "has one name twice")


def _check_metric(metric: Any, where: str) -> None:
    """A metric of values; counts are always accuracy and need none."""
    need(isinstance(metric, dict), where, "is not an object")
    _need_keys(metric, tuple(_METRIC), where)
    for name, kind in _METRIC.items():
        need(type(metric[name]) is kind, f"{where}.{name}", f"is not a {kind.__name__}")
    need(bool(_METRIC_NAME.fullmatch(metric["name"])), f"{where}.name", "is not a short word")
    taken = metric["name"] in ("sd", "ci95", "interval", "open95", "episodes", "note", "parts", ACCURACY.name)
    need(not taken, f"{where}.name", "is the name of something else")
    need(metric["unit"] == "" or bool(_UNIT.fullmatch(metric["unit"])), f"{where}.unit", "is not a short unit")
    need(0 <= metric["digits"] <= 9, f"{where}.digits", "is not in [0, 9]")


def _need_integers(values: list[Any], most: int, where: str) -> None:
    need(set(map(type, values)) == {int}, where, "holds something other than integers")
    need(min(values) >= 0 and max(values) <= most, where, f"holds a count outside [0, {most}]")


def _need_floats(values: list[Any], where: str) -> None:
    need(set(map(type, values)) <= {int, float}, where, "holds something other than numbers")
    need(all(abs(value) <= MAX_VALUE for value in values), where, f"holds a value beyond {MAX_VALUE:g}")


def _check_classes(classes: Any, scores: Mapping[str, Any]) -> None:
    """The sums of a class: correct answers where all episodes have as many queries, else sums of scores."""
    where, counted = "scores.classes", _whole(scores)
    name = "correct" if counted else "totals"
    episodes = len(answers(scores))
    need(isinstance(classes, dict), where, "is neither null nor an object")
    grouped = "of" in classes
    need(classes.get("of", "groups") == "groups", f"{where}.of", "is not 'groups'")
    _need_keys(classes, ("episodes", name, *["of"] * grouped), where)
    for part, values in ((part, classes[part]) for part in ("episodes", name)):
        need(isinstance(values, list) and 2 <= len(values) <= MAX_CLASSES, f"{where}.{part}",
             f"is not a list of 2 to {MAX_CLASSES} numbers")  # fmt: skip
    _need_integers(classes["episodes"], episodes, f"{where}.episodes")
    if counted:
        _need_integers(classes["correct"], episodes * scores["n_query"], f"{where}.correct")
    else:
        _need_floats(classes["totals"], f"{where}.totals")
    need(len(classes["episodes"]) == len(classes[name]), where, "has two lists of different lengths")


def _whole(scores: Mapping[str, Any]) -> bool:
    return "correct" in scores and isinstance(scores["n_query"], int)


def _check_class_sums(scores: Mapping[str, Any], way: int | None) -> None:
    """The sums by class must be sums of these scores: every episode counts once for each of its classes.

    Where episodes differ in their number of classes the sums cannot be told from others, but for their bounds.
    """
    episodes, count = scores["classes"]["episodes"], len(answers(scores))
    found, rest = divmod(sum(episodes), count)
    if isinstance(scores["n_query"], list):
        need(found >= 1, "scores.classes", "has fewer classes than episodes")
    elif "of" in scores["classes"]:
        need((found, rest) == (1, 0), "scores.classes", "is not of episodes of one group each")
    else:
        need(rest == 0 and found >= 1, "scores.classes", "is not of episodes with the same number of classes")
        need(way in (None, found), "scores.classes", f"is not of {way}-way episodes")
    if _whole(scores):
        sums = scores["classes"]["correct"]
        need(sum(sums) == found * sum(scores["correct"]), "scores.classes", "does not add up to the scores")
        most = [number * scores["n_query"] for number in episodes]
        fits = all(total <= bound for total, bound in zip(sums, most, strict=True))
    else:
        row = shares(scores) if "correct" in scores else np.asarray(scores["values"], np.float64)
        fits = _within_bounds(scores["classes"], row)
        if isinstance(scores["n_query"], int):
            total = math.fsum(scores["classes"]["totals"])
            near = math.isclose(total, found * math.fsum(row), rel_tol=1e-9, abs_tol=1e-9 * float(np.abs(row).sum()))
            need(near, "scores.classes", "does not add up to the scores")
    need(fits, "scores.classes", "has a sum that is too large")


def _within_bounds(classes: Mapping[str, Any], row: NDArray[np.float64]) -> bool:
    """Whether each class's mean lies between the smallest and the largest score, but for rounding."""
    numbers, totals = np.asarray(classes["episodes"]), np.asarray(classes["totals"], np.float64)
    room = 1e-9 * max(1.0, float(np.abs(row).max())) * np.maximum(1, numbers)
    return bool(((totals >= numbers * row.min() - room) & (totals <= numbers * row.max() + room)).all())


def _check_scores(obj: Mapping[str, Any]) -> None:
    scores, summary, evaluation = obj["scores"], obj["summary"], obj["inputs"]["evaluation"]
    if obj["status"] == "ok":
        _check_complete(scores, evaluation)
    if scores["classes"] is not None:
        _check_class_sums(scores, obj["inputs"]["protocol"]["params"].get("way"))
    need(isinstance(summary, dict), "summary", "is not an object")
    expected = summary_of(scores, evaluation).as_record()
    _need_keys(summary, tuple(expected), "summary")
    for name, value in expected.items():
        need(_same(summary[name], value), f"summary.{name}", f"is not what the scores give ({value})")


def _check_complete(scores: Mapping[str, Any], evaluation: Mapping[str, Any]) -> None:
    """A run that succeeded has all its episodes: as many as asked for, as the data have, or as its rule wants."""
    count, most, where = len(answers(scores)), evaluation["episodes"], f"scores.{answers_name(scores)}"
    if evaluation["stop"] is not None:
        need("correct" in scores, "inputs.evaluation.stop", "stands beside values, and it is a rule for accuracies")
        fits = count <= most and closes(StopRule.from_inputs(evaluation["stop"]), shares(scores), most)
        need(fits, where, "does not end where the stop rule of the inputs says")
    elif evaluation["sampling"] == "open":
        need(count <= most, where, f"holds more than {most} episodes")
    else:
        need(count == most, where, f"does not hold {most} episodes")


def _same(found: Any, expected: Any) -> bool:
    """Equality, but for the last digit of a float: quantiles may differ between scipy versions."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(_same(found[name], value) for name, value in expected.items())
        )
    if isinstance(expected, float):
        return type(found) in (int, float) and math.isclose(found, expected, rel_tol=1e-6, abs_tol=2e-6)
    return type(found) is type(expected) and bool(found == expected)
