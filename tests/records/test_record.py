from __future__ import annotations

import copy
import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metabench.records.record as records
from metabench.records.record import (
    NewerSchemaError,
    RecordError,
    build_record,
    read_record,
    upgrade,
    validate_record,
    write_record,
)
from metabench.records.schema import MAX_STRING
from metabench.statistics.stopping import StopRule
from metabench.utils.hashing import canonical_json, content_key
from tests.record_factory import made_scores, make_inputs, make_record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
)  # fmt: skip


@given(JSON)
def test_canonical_json_survives_a_round_trip(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value
    assert content_key(json.loads(canonical_json(value))) == content_key(value)


@given(st.dictionaries(st.text(max_size=5), st.integers(), min_size=2))
def test_the_key_does_not_depend_on_the_order(value: dict[str, int]) -> None:
    assert content_key(dict(reversed(value.items()))) == content_key(value)


@given(st.lists(st.integers(0, 75), min_size=1, max_size=20))
def test_any_scores_round_trip(tmp_path_factory: pytest.TempPathFactory, correct: list[int]) -> None:
    path = tmp_path_factory.mktemp("r") / "record.json"
    record = make_record(tuple(correct))
    write_record(path, record)
    assert read_record(path) == record
    assert path.read_text(encoding="utf-8") == canonical_json(record) + "\n"


def test_tuples_become_plain() -> None:
    built = build_record(make_inputs(), "ok", scores={**made_scores([]), "correct": (1, 2, 3, 4)})
    assert built["scores"]["correct"] == [1, 2, 3, 4]
    assert built["key"] == content_key(make_inputs())


def test_a_failure_is_a_record_without_scores(tmp_path: Path) -> None:
    error = {"type": "RuntimeError", "message": "loss is NaN"}
    record = build_record(make_inputs(), "failed", error=error)
    write_record(tmp_path / "f.json", record)
    assert read_record(tmp_path / "f.json")["error"] == error
    assert build_record(make_inputs(), "interrupted")["summary"] is None


@pytest.mark.parametrize(
    ("status", "parts", "message"),
    [
        ("ok", {}, "scores are missing"),
        ("failed", {}, "error is missing from a failed run"),
        ("skipped", {}, "error is missing from a skipped run"),
        ("done", {}, "status is not one of ok, failed"),
        ("ok", {"scores": made_scores([1])}, "does not hold 4 episodes"),
        ("ok", {"scores": made_scores([76] * 4)}, r"in \[0, 75\]"),
        ("ok", {"scores": made_scores([1] * 4, episodes_digest="")}, "episodes_digest"),
        ("failed", {"error": {"type": "X"}}, "error.message is missing"),
    ],
)
def test_parts_that_make_no_record(status: str, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        build_record(make_inputs(), status, **parts)


DEEP: list[Any] = []
for _ in range(20):
    DEEP = [DEEP]

RULE = {"half_width": 5.0, "bound": "asymptotic", "tightest": 300}
CLASSES = {"episodes": [4, 4, 3, 3, 2, 4], "correct": [296, 296, 221, 224, 147, 296]}

TAMPERINGS: list[tuple[str, Any, str]] = [
    ("schema", 0, "schema is not 1"),
    ("schema", True, "schema is not an integer"),
    ("key", "0" * 64, "key is not the key of the inputs"),
    ("key", None, "key is not the key"),
    ("status", ["ok"], "status"),
    ("status", "failed", "error is missing"),
    ("inputs", [], "inputs is not an object"),
    ("inputs.precision", "float16", "key is not the key"),
    ("inputs.algorithm", None, "inputs.algorithm is not an object"),
    ("inputs.algorithm.version", "1", "inputs.algorithm.version is not a int"),
    ("inputs.algorithm.version", True, "inputs.algorithm.version is not a int"),
    ("inputs.algorithm.name", "", "inputs.algorithm.name is empty"),
    ("inputs.algorithm.name", "x" * 201, "too long"),
    ("inputs.backbone.params.channels", 65, "key is not the key"),
    ("inputs.dataset.digest", 5, "inputs.dataset.digest"),
    ("inputs.protocol.params.way", "5", "inputs.protocol.params.way is not an integer"),
    ("inputs.protocol.params.shot", -1, "inputs.protocol.params.shot is not an integer"),
    ("inputs.evaluation.episodes", 0, "inputs.evaluation.episodes is not in"),
    ("inputs.evaluation.episodes", 10**7, "inputs.evaluation.episodes is not in"),
    ("inputs.evaluation.seed", 1.0, "inputs.evaluation.seed"),
    ("inputs.evaluation.sampling", "other", "inputs.evaluation.sampling is not closed or open"),
    ("inputs.evaluation.stop", {}, "inputs.evaluation.stop is not an object of"),
    ("inputs.evaluation.stop", RULE, "key is not the key"),
    ("inputs.training", 3, "inputs.training"),
    ("inputs.training.seed", "7", "inputs.training.seed"),
    ("inputs.surprise", 1, "inputs.'surprise' is not a known field"),
    ("scores", [1], "scores is neither"),
    ("scores", None, "scores are missing"),
    ("scores.n_query", 0, "scores.n_query"),
    ("scores.n_query", 76, "summary.accuracy"),
    ("scores.correct", [], "scores.correct is not a list"),
    ("scores.correct", [75, 74, 75], "holds a count outside"),
    ("scores.correct", [75, 74, 75, 73], "scores.classes does not add up to the scores"),
    ("scores.correct", [76, 73, 75, 72], "outside"),
    ("scores.correct", [75, 75, 75, 71], "summary.sd is not what the scores give"),
    ("scores.correct", [75, 74, 75, 76], "outside"),
    ("scores.correct", [75, 74, 75, -1], "outside"),
    ("scores.correct", [75, 74, 75, 72.0], "other than integers"),
    ("scores.correct", [75, 74, 75, True], "other than integers"),
    ("scores.episodes_digest", "zz" * 32, "scores.episodes_digest"),
    ("scores.classes", None, "summary.open95 is not what the scores give"),
    ("scores.classes", [], "scores.classes is neither null nor an object"),
    ("scores.classes.episodes", [4] * 5, "different lengths"),
    ("scores.classes.episodes", [20], "scores.classes.episodes is not a list of 2"),
    ("scores.classes.episodes", [5, 3, 3, 3, 2, 4], r"scores.classes.episodes holds a count outside \[0, 4\]"),
    ("scores.classes.episodes", [4, 4, 3, 3, 2, 3], "same number of classes"),
    ("scores.classes.episodes", [4, 3, 3, 3, 1, 2], "is not of 5-way episodes"),
    ("scores.classes.of", "alphabets", "scores.classes.of is not 'groups'"),
    ("scores.classes.of", "groups", "is not of episodes of one group each"),
    ("scores.classes.correct", [296, 296, 220, 225, 147, 296], "summary.open95"),
    ("scores.classes.correct", [296, 296, 221, 224, 147, 295], "does not add up"),
    ("scores.classes.correct", [296, 296, 221, 224, 151, 292], "has a sum that is too large"),
    ("scores.classes.correct", [296, 296, 221, 224, 147, 296.0], "other than integers"),
    ("scores.classes.correct", [296, 296, 221, 224, 147, True], "other than integers"),
    ("scores.classes.surprise", 1, "not a known field"),
    ("inputs.dataset.beside", 5, "inputs.dataset.beside is not an object"),
    ("inputs.dataset.support", 5, "inputs.dataset.support is not an object"),
    ("inputs.dataset.beside", {"train": 5}, "inputs.dataset.beside is not of short texts"),
    ("inputs.dataset.beside", {"train": "a" * 201}, "is not of short texts"),
    ("summary.open95", 0.01, "summary.open95"),
    ("summary", None, "summary is not an object"),
    ("summary.accuracy", 99.9, "summary.accuracy"),
    ("summary.accuracy", "98.6", "summary.accuracy"),
    ("summary.sd", None, "summary.sd"),
    ("summary.ci95", 0.01, "summary.ci95"),
    ("summary.interval", "open", "summary.interval"),
    ("summary.episodes", 400, "summary.episodes"),
    ("summary.note", "", "summary.note"),
    ("training", "yes", "training is no object"),
    ("cost", None, "cost is not an object"),
    ("cost.seconds", float("nan"), "not finite"),
    ("cost.seconds", float("inf"), "not finite"),
    ("cost.seconds", 2**70, "64 bits"),
    ("provenance", [], "provenance is not an object"),
    ("provenance.metabench", "x" * (MAX_STRING + 1), "longer than"),
    ("provenance.metabench", "\ud800", "not Unicode"),
    ("provenance.metabench", (1, 2), "holds a tuple"),
    ("provenance.metabench", {"\ud800": 1}, "not Unicode"),
    ("provenance.metabench", {"k" * 201: 1}, "bad key"),
    ("provenance.metabench", {5: 1}, "bad key"),
    ("provenance.metabench", DEEP, "nested deeper"),
    ("provenance.metabench", [0] * 300_000, "more than 200000 values"),
    ("error", {"type": "X", "message": "y"}, "error stands in a record with status ok"),
    ("surprise", 1, "'surprise' is not a known field"),
]


@pytest.mark.parametrize(("where", "value", "message"), TAMPERINGS)
def test_every_tampering_is_found(where: str, value: Any, message: str) -> None:
    record = copy.deepcopy(make_record(classes=CLASSES))
    *parts, last = where.split(".")
    target = record
    for part in parts:
        target = target[part]
    target[last] = value
    with pytest.raises(RecordError, match=message) as caught:
        validate_record(record)
    assert "\n" not in str(caught.value)


def _made_of_parts() -> dict[str, Any]:
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


def test_what_a_score_is_made_of_is_summarised_beside_it() -> None:
    found = _made_of_parts()["summary"]
    assert found["harmonic"] == 2.125
    assert found["parts"]["novel"] == found["parts"]["base"] == {"mean": 2.625, "ci95": pytest.approx(1.989029)}


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("scores.parts", {}, "scores.parts is not a list"),
        ("scores.parts", [1], "other than objects"),
        ("scores.parts", [{}] * 9, "is not a list of up to 8"),
        ("scores.parts.0", {"metric": {}}, "values' is missing|values is missing"),
        ("scores.parts.0.values", [1, 2, 3], "is not a list of 4"),
        ("scores.parts.0.values", [1, 2, 3, None], "other than numbers"),
        ("scores.parts.0.values", [1, 2, 3, 1e300], "beyond"),
        ("scores.parts.0.metric.name", "base", "has one name twice"),
        ("scores.parts.0.metric.name", "harmonic", "has one name twice"),
        ("scores.parts.0.metric.name", "<b>", "is not a short word"),
        ("scores.parts.0.metric.unit", 7, "is not a str"),
        ("scores.parts.0.values", [1, 2, 3, 5], "summary.parts"),
        ("summary.parts.novel.mean", 9.0, "summary.parts"),
        ("summary.parts.novel", 9.0, "summary.parts"),
        ("summary.parts", None, "summary.parts"),
    ],
)
def test_every_tampering_with_parts_is_found(where: str, value: Any, message: str) -> None:
    record = _made_of_parts()
    *parts, last = where.split(".")
    target: Any = record
    for part in parts:
        target = target[int(part) if part.isdigit() else part]
    target[int(last) if last.isdigit() else last] = value
    with pytest.raises(RecordError, match=message):
        validate_record(record)


def test_a_run_with_a_stop_rule_ends_where_the_rule_says() -> None:
    correct = tuple(np.random.default_rng(0).binomial(75, 0.8, 5000).tolist())
    rule = StopRule.from_inputs(RULE)
    end = rule.reached(np.array(correct) / 75)
    inputs = make_inputs(evaluation__stop=RULE, evaluation__episodes=5000)

    def build(episodes: int) -> dict[str, Any]:
        return build_record(inputs, "ok", scores=made_scores(correct[:episodes]))

    assert build(end)["summary"]["interval"] == "anytime-asymptotic"
    for wrong in (end - 1, end + 1, end + 100, 5000):
        with pytest.raises(RecordError, match="does not end where the stop rule"):
            build(wrong)
    inputs["evaluation"]["episodes"] = end - 1
    assert build(end - 1)["summary"]["episodes"] == end - 1


def test_open_sampling_ends_where_the_data_do() -> None:
    inputs = make_inputs(evaluation__sampling="open", evaluation__episodes=3)
    assert build_record(inputs, "ok", scores=made_scores([75, 70]))["summary"]["interval"] == "disjoint-t"
    with pytest.raises(RecordError, match="more than 3 episodes"):
        build_record(inputs, "ok", scores=made_scores([75, 70, 71, 72]))
    inputs["evaluation"]["stop"] = RULE
    with pytest.raises(RecordError, match="beside open sampling"):
        build_record(inputs, "ok", scores=made_scores([75, 70]))


def test_the_sums_of_a_large_evaluation_stay_small(tmp_path: Path) -> None:
    """10,000 20-way episodes over 1,692 classes."""
    random = np.random.default_rng(0)
    members = np.argsort(random.random((10_000, 1692)).astype(np.float32), axis=1)[:, :20]
    correct = random.integers(250, 301, 10_000)
    episodes = np.bincount(members.ravel(), minlength=1692)
    sums = np.bincount(members.ravel(), weights=np.repeat(correct, 20), minlength=1692).astype(int)
    record = build_record(
        make_inputs(evaluation__episodes=10_000, protocol__params__way=20),
        "ok",
        scores=made_scores(correct, 300, classes={"episodes": episodes.tolist(), "correct": sums.tolist()}),
    )
    write_record(tmp_path / "r.json", record)
    assert (tmp_path / "r.json").stat().st_size < 60_000
    assert record["summary"]["open95"] < 1


@pytest.mark.parametrize("name", list(make_record()))
def test_no_field_may_be_missing(name: str) -> None:
    record = make_record()
    del record[name]
    with pytest.raises(RecordError, match=name):
        validate_record(record)


@pytest.mark.parametrize("value", [None, 3, "x", [], [make_record()]])
def test_a_record_is_an_object(value: Any) -> None:
    with pytest.raises(RecordError, match="not a JSON object"):
        validate_record(value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"schema": 1, "schema": 1}', "repeats a key"),
        (b'{"schema": NaN}', "NaN"),
        (b'{"schema": ' + b"9" * 5000 + b"}", "not JSON"),
    ],
)
def test_files_that_are_no_records(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(raw)
    with pytest.raises(RecordError, match=message) as caught:
        read_record(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_huge_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_BYTES", 100)
    write_record(tmp_path / "r.json", make_record())
    with pytest.raises(RecordError, match="larger than 100 bytes"):
        read_record(tmp_path / "r.json")


def test_a_newer_schema_is_told_apart() -> None:
    with pytest.raises(NewerSchemaError, match="upgrade metabench"):
        validate_record({**make_record(), "schema": 2})


def test_upgrades_are_applied_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {-1: lambda r: {**r, "schema": 0}, 0: lambda r: {**r, "schema": 1}}
    monkeypatch.setattr(records, "UPGRADES", steps)
    assert upgrade({"schema": -1}) == {"schema": 1}
    assert upgrade({"schema": "x"}) == {"schema": "x"}


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    path = tmp_path / "record.json"
    write_record(path, make_record())
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space") as caught:
        write_record(path, make_record((1, 2, 3, 4)))
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]
