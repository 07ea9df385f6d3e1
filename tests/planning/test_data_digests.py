"""Digests of the data that a run reads."""

from __future__ import annotations

from metabench.planning.data_digests import NO_DIGESTS, DataDigests
from metabench.planning.planner import Selection, plan
from metabench.registry.registry import load_registry


def test_a_union_has_the_digests_of_both_parts() -> None:
    digests = DataDigests({"test": "c"}, {"train": "a", "val": "b"})
    assert (digests.training("train"), digests.training("train+val")) == ("a", "a+b")


def test_unknown_digests_are_empty_and_stay_unknown() -> None:
    assert NO_DIGESTS.measured["test"] == ""
    assert "test" not in NO_DIGESTS.measured


def test_the_identity_of_a_run_does_not_depend_on_other_runs() -> None:
    registry = load_registry()
    (plain,) = plan(Selection(("protonet",)), registry)
    before = plain.identity
    (generalised,) = plan(Selection(("protonet",), protocol="generalised"), registry)  # reads the digest of train
    assert generalised.identity != before
    assert plain.identity == before
