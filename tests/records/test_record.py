from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metabench.records.record as records
from metabench.records.inputs import TrainingInputs, as_plain
from metabench.records.record import (
    NewerSchemaError,
    Record,
    RecordError,
    build_record,
    decode_record,
    read_record,
    record_json,
    write_record,
)
from metabench.records.schema import StageOutcome, TrainingOutcome
from metabench.registry.stage import Stage
from metabench.statistics.stopping import StopRule
from metabench.training.trainer import Progress
from metabench.utils.hashing import content_key
from tests.record_factory import decoded, made_scores, make_inputs, make_record, plain_of
from tests.records.test_tampered_records import made_of_parts

COMMITTED = sorted((Path(__file__).parents[2] / "leaderboards" / "records").glob("*.json"))


@given(st.lists(st.integers(0, 75), min_size=1, max_size=20))
def test_any_scores_round_trip(tmp_path_factory: pytest.TempPathFactory, correct: list[int]) -> None:
    path = tmp_path_factory.mktemp("r") / "record.json"
    record = make_record(tuple(correct))
    write_record(path, record)
    assert read_record(path) == record
    assert path.read_text(encoding="utf-8") == record_json(record) + "\n"


def test_a_failure_is_a_record_without_scores(tmp_path: Path) -> None:
    error = {"type": "RuntimeError", "message": "loss is NaN"}
    record = build_record(make_inputs(), "failed", error=error)
    write_record(tmp_path / "f.json", record)
    assert str(read_record(tmp_path / "f.json").error) == "RuntimeError: loss is NaN"
    interrupted = build_record(make_inputs(), "interrupted")
    assert interrupted.summary_fields is None
    with pytest.raises(ValueError, match="is interrupted and has no scores"):
        _ = interrupted.summary


@pytest.mark.parametrize(
    ("status", "parts", "message"),
    [
        ("ok", {}, "cannot make a record: $.scores is missing from a record with status ok"),
        ("failed", {}, "$.error is missing from a failed run"),
        ("skipped", {}, "$.error is missing from a skipped run"),
        ("done", {}, "$.status: invalid enum value 'done'"),
        ("ok", {"scores": made_scores([1])}, "$.scores.correct does not hold 4 episodes"),
        ("ok", {"scores": made_scores([1, 2, 76, 3])}, "$.scores.correct[2] is more than the queries of its episode"),
        ("ok", {"scores": made_scores([1] * 4, episodes_digest="")}, "$.scores.episodes_digest: expected `str`"),
        ("ok", {"scores": {**made_scores([1] * 4), "correct": [1, 2, float("nan"), 4]}}, "$.scores.correct[2] is NaN"),
        ("failed", {"error": {"type": "X"}}, "$.error: object missing required field `message`"),
    ],
)
def test_parts_that_make_no_record(status: str, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=re.escape(message)):
        build_record(make_inputs(), status, **parts)


RULE = {"half_width": 5.0, "bound": "asymptotic", "tightest": 300}


def test_what_a_score_is_made_of_is_summarised_beside_it() -> None:
    record = made_of_parts()
    assert (record.score, record.metric.name, record.measured.is_counted) == (2.125, "harmonic", False)
    assert set(record.summary.parts) == {"novel", "base"}
    for part in record.summary.parts.values():
        assert (part.mean, part.ci95) == (2.625, pytest.approx(1.989029))
    assert decoded(plain_of(record)) == record


def test_a_run_with_a_stop_rule_ends_where_the_rule_says() -> None:
    correct = tuple(np.random.default_rng(0).binomial(75, 0.8, 5000).tolist())
    rule = StopRule(**RULE)
    end = rule.reached(np.array(correct) / 75)
    inputs = make_inputs(evaluation__stop=RULE, evaluation__episodes=5000)

    def build(episodes: int) -> Record:
        return build_record(inputs, "ok", scores=made_scores(correct[:episodes]))

    assert build(end).summary.interval == "anytime-asymptotic"
    for wrong in (end - 1, end + 1, end + 100, 5000):
        with pytest.raises(RecordError, match="does not end where the stop rule"):
            build(wrong)
    inputs["evaluation"]["episodes"] = end - 1
    assert build(end - 1).summary.episodes == end - 1


def test_open_sampling_ends_where_the_data_do() -> None:
    inputs = make_inputs(evaluation__sampling="open", evaluation__episodes=3)
    assert build_record(inputs, "ok", scores=made_scores([75, 70])).summary.interval == "disjoint-t"
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
    assert record.summary.open95 < 1


def test_numbers_keep_their_type() -> None:
    params = {"count": 1, "rate": 1.0, "flag": True, "name": "1", "small": 1e-5, "long": 2**60}
    record = make_record(algorithm__params=params)
    assert {name: (type(value), value) for name, value in record.inputs.algorithm.params.items()} == {
        name: (type(value), value) for name, value in params.items()
    }
    assert record.key == content_key(make_inputs(algorithm__params=params))
    assert plain_of(record)["inputs"]["algorithm"]["params"] == params


def test_a_record_is_frozen() -> None:
    record = make_record()
    with pytest.raises(AttributeError):
        record.key = "0" * 64
    with pytest.raises(AttributeError):
        record.inputs.algorithm.name = "other"


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_committed_record_has_the_same_bytes_and_key_when_written_again(path: Path) -> None:
    raw = path.read_bytes()
    record = decode_record(raw)
    assert f"{record_json(record)}\n".encode() == raw
    assert record.key == content_key(json.loads(raw)["inputs"])
    assert as_plain(record.summary_fields) == json.loads(raw)["summary"]


def test_there_are_committed_records() -> None:
    assert len(COMMITTED) > 100


def test_every_field_of_a_recipe_and_of_a_training_has_its_place() -> None:
    """A field that is new there would otherwise be refused only after hours of training."""
    recipe = {field.name for field in dataclasses.fields(Stage)} - {"params", "source", "repeat"}
    assert recipe <= set(TrainingInputs.__struct_fields__)
    for stage in (Stage(), Stage(objective="classes")):
        outcome = {*Progress().outcome(stage, 1), "seconds", "classes", "weights_sha256", "training_key"}
        assert outcome <= set(StageOutcome.__struct_fields__) <= set(TrainingOutcome.__struct_fields__)


def test_a_huge_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_BYTES", 100)
    write_record(tmp_path / "r.json", make_record())
    with pytest.raises(RecordError, match="larger than 100 bytes"):
        read_record(tmp_path / "r.json")


def test_a_newer_schema_has_an_error_of_its_own() -> None:
    with pytest.raises(NewerSchemaError, match="Upgrade metabench"):
        decoded({**plain_of(make_record()), "schema": 2})


def test_upgrades_are_applied_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {-1: lambda r: {**r, "schema": 0}, 0: lambda r: {**r, "schema": 1, "cost": {"seconds": 1.0}}}
    monkeypatch.setattr(records, "UPGRADES", steps)
    record = decoded({**plain_of(make_record()), "schema": -1, "cost": "cheap"})
    assert (record.schema, record.cost.seconds) == (1, 1.0)


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
