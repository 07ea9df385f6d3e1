"""Records that were tampered with or were never records: refused, with the path of the fault."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from metabench.records.record import Record, RecordError, build_record, read_record
from metabench.records.schema import Cost
from metabench.records.strict_json import MAX_STRING
from tests.record_factory import decoded, make_inputs, make_record, plain_of

DEEP: list[Any] = []
for _ in range(20):
    DEEP = [DEEP]

RULE = {"half_width": 5.0, "bound": "asymptotic", "tightest": 300}
CLASSES = {"episodes": [4, 4, 3, 3, 2, 4], "correct": [296, 296, 221, 224, 147, 296]}

TAMPERINGS: list[tuple[str, Any, str]] = [
    ("schema", 0, "$.schema: invalid enum value 0"),
    ("schema", True, "$.schema: expected `int`, got `bool`"),
    ("key", "0" * 64, "$.key is not the key of the inputs"),
    ("key", None, "$.key: expected `str`, got `null`"),
    ("status", ["ok"], "$.status: expected `str`, got `array`"),
    ("status", "failed", "$.error is missing from a failed run"),
    ("inputs", [], "$.inputs: expected `object`, got `array`"),
    ("inputs.precision", "float16", "$.key is not the key of the inputs"),
    ("inputs.precision", "", "$.inputs.precision: expected `str` of length >= 1"),
    ("inputs.algorithm", None, "$.inputs.algorithm: expected `object`, got `null`"),
    ("inputs.algorithm.version", "1", "$.inputs.algorithm.version: expected `int`, got `str`"),
    ("inputs.algorithm.version", True, "$.inputs.algorithm.version: expected `int`, got `bool`"),
    ("inputs.algorithm.version", 1.0, "$.inputs.algorithm.version: expected `int`, got `float`"),
    ("inputs.algorithm.name", "", "$.inputs.algorithm.name: expected `str` of length >= 1"),
    ("inputs.algorithm.name", "x" * 201, "$.inputs.algorithm.name: expected `str` of length <= 200"),
    ("inputs.algorithm.surprise", 1, "$.inputs.algorithm: object contains unknown field `surprise`"),
    ("inputs.backbone.params.channels", 65, "$.key is not the key of the inputs"),
    ("inputs.backbone.params.channels", 64.0, "$.key is not the key of the inputs"),
    ("inputs.backbone.params.channels", [64], "$.inputs.backbone.params[...]: expected `bool | int | float | str`"),
    ("inputs.dataset.digest", 5, "$.inputs.dataset.digest: expected `str`, got `int`"),
    ("inputs.dataset.beside", 5, "$.inputs.dataset.beside: expected `object`, got `int`"),
    ("inputs.dataset.beside", {}, "$.inputs.dataset.beside: expected `object` of length >= 1"),
    ("inputs.dataset.support", {"train": 5}, "$.inputs.dataset.support[...]: expected `str`, got `int`"),
    ("inputs.dataset.beside", {"train": "a" * 201}, "$.inputs.dataset.beside[...]: expected `str` of length <= 200"),
    ("inputs.protocol.params.way", "5", "$.inputs.protocol.params.way is not an integer in [0, 1000000]"),
    ("inputs.protocol.params.way", True, "$.inputs.protocol.params.way is not an integer"),
    ("inputs.protocol.params.shot", -1, "$.inputs.protocol.params.shot is not an integer"),
    ("inputs.evaluation.episodes", 0, "$.inputs.evaluation.episodes: expected `int` >= 1"),
    ("inputs.evaluation.episodes", 10**7, "$.inputs.evaluation.episodes: expected `int` <= 1000000"),
    ("inputs.evaluation.seed", 1.0, "$.inputs.evaluation.seed: expected `int`, got `float`"),
    ("inputs.evaluation.sampling", "other", "$.inputs.evaluation.sampling: invalid enum value 'other'"),
    ("inputs.evaluation.stop", {}, "$.inputs.evaluation.stop: object missing required field `half_width`"),
    ("inputs.evaluation.stop", {**RULE, "half_width": 0}, "$.inputs.evaluation.stop.half_width: expected `int` >= 1"),
    ("inputs.evaluation.stop", {**RULE, "half_width": 0.0}, "$.inputs.evaluation.stop.half_width: expected `float`"),
    ("inputs.evaluation.stop", {**RULE, "half_width": 101}, "$.inputs.evaluation.stop.half_width: expected `int` <="),
    ("inputs.evaluation.stop", {**RULE, "bound": []}, "$.inputs.evaluation.stop.bound: expected `str`, got `array`"),
    ("inputs.evaluation.stop", {**RULE, "bound": "z"}, "$.inputs.evaluation.stop.bound: invalid enum value 'z'"),
    ("inputs.evaluation.stop", {**RULE, "tightest": 0}, "$.inputs.evaluation.stop.tightest: expected `int` >= 1"),
    ("inputs.evaluation.stop", {**RULE, "more": 1}, "$.inputs.evaluation.stop: object contains unknown field `more`"),
    ("inputs.evaluation.stop", RULE, "$.key is not the key of the inputs"),
    ("inputs.training", 3, "$.inputs.training: expected `object | null`, got `int`"),
    ("inputs.training.seed", "7", "$.inputs.training.seed: expected `int | null`, got `str`"),
    ("inputs.training.surprise", 1, "$.inputs.training: object contains unknown field `surprise`"),
    ("inputs.surprise", 1, "$.inputs: object contains unknown field `surprise`"),
    ("scores", [1], "$.scores: expected `object | null`, got `array`"),
    ("scores", None, "$.scores is missing from a record with status ok"),
    ("scores.n_query", 0, "$.scores.n_query: expected `int` >= 1"),
    ("scores.n_query", 76, "$.summary.accuracy is not what the scores give"),
    ("scores.correct", [], "$.scores.correct: expected `array` of length >= 1"),
    ("scores.correct", [75, 74, 75], "$.scores.classes.episodes[0] is more than the 3 episodes"),
    ("scores.correct", [75, 74, 75, 73], "$.scores.classes does not add up to the scores"),
    ("scores.correct", [76, 73, 75, 72], "$.scores.correct[0] is more than the queries of its episode"),
    ("scores.correct", [75, 75, 75, 71], "$.summary.sd is not what the scores give"),
    ("scores.correct", [75, 74, 75, 76], "$.scores.correct[3] is more than the queries of its episode"),
    ("scores.correct", [75, 74, 75, -1], "$.scores.correct[3]: expected `int` >= 0"),
    ("scores.correct", [75, 74, 75, 72.0], "$.scores.correct[3]: expected `int`, got `float`"),
    ("scores.correct", [75, 74, 75, True], "$.scores.correct[3]: expected `int`, got `bool`"),
    ("scores.correct", [75, 74, float("nan"), 72], "$.scores.correct[2] is NaN, which is not a JSON number"),
    ("scores.correct", [75, 74, 2**90, 72], "$.scores.correct[2]: expected `int` <= 1000000"),
    ("scores.values", [1, 2, 3, 4], "$.scores must have either correct or values"),
    ("scores.episodes_digest", "zz" * 32, "$.scores.episodes_digest: expected `str` matching regex"),
    ("scores.classes", None, "$.summary.open95 is not what the scores give"),
    ("scores.classes", [], "$.scores.classes: expected `object | null`, got `array`"),
    ("scores.classes.episodes", [4] * 5, "$.scores.classes has two lists of different lengths"),
    ("scores.classes.episodes", [20], "$.scores.classes.episodes: expected `array` of length >= 2"),
    ("scores.classes.episodes", [5, 3, 3, 3, 2, 4], "$.scores.classes.episodes[0] is more than the 4 episodes"),
    ("scores.classes.episodes", [4, 4, 3, 3, 2, 3], "$.scores.classes is not of episodes with the same number of"),
    ("scores.classes.episodes", [4, 3, 3, 3, 1, 2], "$.scores.classes is not of 5-way episodes"),
    ("scores.classes.of", "alphabets", "$.scores.classes.of: invalid enum value 'alphabets'"),
    ("scores.classes.of", "groups", "$.scores.classes is not of episodes of one group each"),
    ("scores.classes.correct", [296, 296, 220, 225, 147, 296], "$.summary.open95 is not what the scores give"),
    ("scores.classes.correct", [296, 296, 221, 224, 147, 295], "$.scores.classes does not add up to the scores"),
    ("scores.classes.correct", [296, 296, 221, 224, 151, 292], "$.scores.classes has a sum that is too large"),
    ("scores.classes.correct", [296, 296, 221, 224, 147, 296.0], "$.scores.classes.correct[5]: expected `int`"),
    ("scores.classes.totals", [1.0] * 6, "$.scores.classes must have correct, and not the other kind of sums"),
    ("scores.classes.surprise", 1, "$.scores.classes: object contains unknown field `surprise`"),
    ("summary.open95", 0.01, "$.summary.open95 is not what the scores give"),
    ("summary", None, "$.summary is missing from a record with scores"),
    ("summary.accuracy", 99.9, "$.summary.accuracy is not what the scores give"),
    ("summary.accuracy", "98.6", "$.summary.accuracy is not what the scores give"),
    ("summary.sd", None, "$.summary.sd is not what the scores give"),
    ("summary.ci95", 0.01, "$.summary.ci95 is not what the scores give"),
    ("summary.interval", "open", "$.summary.interval is not what the scores give"),
    ("summary.episodes", 400, "$.summary.episodes is not what the scores give"),
    ("summary.note", "", "$.summary.note is not what the scores give"),
    ("summary.surprise", 1, "$.summary.surprise is not a known field"),
    ("training", "yes", "$.training: expected `object | null`, got `str`"),
    ("training", {"surprise": 1}, "$.training: object contains unknown field `surprise`"),
    ("cost", None, "$.cost: expected `object`, got `null`"),
    ("cost.seconds", float("nan"), "$.cost.seconds is NaN, which is not a JSON number"),
    ("cost.seconds", float("-inf"), "$.cost.seconds is -Infinity, which is not a JSON number"),
    ("cost.seconds", 2**70, "$.cost.seconds is an integer beyond 64 bits"),
    *((f"cost.{name}", -1, f"$.cost.{name}: expected `int` >= 0") for name in Cost.__struct_fields__),
    ("cost.seconds", -0.5, "$.cost.seconds: expected `float` >= 0"),
    *(
        ("training", {name: -1}, f"$.training.{name}: expected `int` >= 0")
        for name in ("episode", "best_episode", "stale", "seconds")
    ),
    ("cost.surprise", 1, "$.cost: object contains unknown field `surprise`"),
    ("provenance", [], "$.provenance: expected `object`, got `array`"),
    ("provenance.metabench", "x" * (MAX_STRING + 1), "$.provenance.metabench is longer than 20,000 characters"),
    ("provenance.metabench", "\ud800", "$ is not JSON"),
    ("provenance.metabench", {"k" * 201: 1}, "is a key longer than 200 characters"),
    ("provenance.metabench", DEEP, "is nested deeper than 12 levels"),
    ("provenance.metabench", ["x"] * 300_000, "is beyond the 200,000 values that a document may have"),
    ("provenance.pixels", "squeezed", "$.provenance.pixels: expected `object`, got `str`"),
    ("provenance.surprise", 1, "$.provenance: object contains unknown field `surprise`"),
    ("error", {"type": "X", "message": "y"}, "$.error stands in a record with status ok"),
    ("surprise", 1, "$: object contains unknown field `surprise`"),
    ("sur\nprise", 1, "$: object contains unknown field `sur prise`"),
]


@pytest.mark.parametrize(("where", "value", "message"), TAMPERINGS)
def test_every_tampering_is_refused_with_its_path(where: str, value: Any, message: str) -> None:
    plain = plain_of(make_record(classes=CLASSES))
    *parts, last = where.split(".")
    target = plain
    for part in parts:
        target = target[part]
    target[last] = value
    with pytest.raises(RecordError, match=re.escape(message)) as caught:
        decoded(plain)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("$")


PART = {"metric": {"name": "novel", "unit": "%", "higher_is_better": True, "digits": 2}, "values": [1, 2.5, 3, 4]}


def made_of_parts() -> Record:
    metric = {"unit": "%", "higher_is_better": True, "digits": 2}
    parts = [{"metric": {"name": name, **metric}, "values": [1, 2.5, 3, 4]} for name in ("novel", "base")]
    scores = {
        "n_query": 8,
        "values": [1.0, 2.0, 2.0, 3.5],
        "metric": {"name": "harmonic", **metric},
        "parts": parts,
        "episodes_digest": "cd" * 32,
        "classes": None,
    }
    return build_record(make_inputs(), "ok", scores=scores)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("scores.parts", {}, "$.scores.parts: expected `array`, got `object`"),
        ("scores.parts", [], "$.scores.parts: expected `array` of length >= 1"),
        ("scores.parts", [1], "$.scores.parts[0]: expected `object`, got `int`"),
        ("scores.parts", [PART] * 9, "$.scores.parts: expected `array` of length <= 8"),
        ("scores.parts.0", {"metric": {}}, "$.scores.parts[0].metric: object missing required field `name`"),
        ("scores.parts.0.values", [1, 2, 3], "$.scores.parts[0].values is not a list of 4"),
        ("scores.parts.0.values", [1, 2, 3, None], "$.scores.parts[0].values[3]: expected `int | float`, got `null`"),
        ("scores.parts.0.values", [1, 2, 3, 1e300], "$.scores.parts[0].values[3]: expected `float` <= 1e"),
        ("scores.parts.0.metric.name", "base", "$.scores.parts[1].metric.name is there twice"),
        ("scores.parts.0.metric.name", "harmonic", "$.scores.parts[0].metric.name is there twice"),
        ("scores.parts.0.metric.name", "<b>", "$.scores.parts[0].metric.name: expected `str` matching regex"),
        ("scores.parts.0.metric.unit", 7, "$.scores.parts[0].metric.unit: expected `str`, got `int`"),
        ("scores.parts.0.values", [1, 2, 3, 5], "$.summary.parts is not what the scores give"),
        ("summary.parts.novel.mean", 9.0, "$.summary.parts is not what the scores give"),
        ("summary.parts.novel", 9.0, "$.summary[...][...]: expected `object`, got `float`"),
        ("summary.parts", None, "$.summary.parts is not what the scores give"),
    ],
)
def test_every_tampering_with_parts_is_refused(where: str, value: Any, message: str) -> None:
    plain = plain_of(made_of_parts())
    *parts, last = where.split(".")
    target: Any = plain
    for part in parts:
        target = target[int(part) if part.isdigit() else part]
    target[int(last) if last.isdigit() else last] = value
    with pytest.raises(RecordError, match=re.escape(message)):
        decoded(plain)


@pytest.mark.parametrize("name", sorted(plain_of(make_record())))
def test_no_field_may_be_missing(name: str) -> None:
    plain = plain_of(make_record())
    del plain[name]
    with pytest.raises(RecordError, match=rf"^\$: object missing required field `{name}`"):
        decoded(plain)


@pytest.mark.parametrize("value", [None, 3, "x", [], [plain_of(make_record())]])
def test_a_record_is_an_object(value: Any) -> None:
    with pytest.raises(RecordError, match=r"^\$: expected `object`, got"):
        decoded(value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "$ is not JSON"),
        (b"{", "$ is not JSON"),
        (b"\xff\xfe", "$ is not JSON"),
        (b"[" * 200_000, "is nested deeper than 12 levels"),
        (b'{"a": "' + b'\\"' * 100_000, "$ is not JSON"),
        (b'{"schema": 1, "schema": 1}', "$.schema is there twice"),
        (b'{"inputs": {"dataset": {"name": 1, "n\\u0061me": 2}}}', "$.inputs.dataset.name is there twice"),
        (b'{"schema": NaN}', "$.schema is NaN"),
        (b'{"schema": 1e999}', "$.schema is not a finite number"),
        (b'{"schema": ' + b"9" * 5000 + b"}", "$.schema is an integer beyond 64 bits"),
    ],
)
def test_files_that_are_no_records(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(raw)
    with pytest.raises(RecordError, match=re.escape(message)) as caught:
        read_record(path)
    assert str(caught.value).startswith(f"cannot read record {path}: $")
    assert "\n" not in str(caught.value)
