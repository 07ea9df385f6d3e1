"""Each deliberately wrong plugin is caught by the check made for its mistake; a right one passes them all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from metabench.api import AlgorithmConformance, BackboneConformance, DatasetConformance, ProtocolConformance
from metabench.cli import check_printer
from metabench.registry.registry import load_registry
from metabench.testing.conformance import CheckDescription
from metabench.testing.runner import CHECKED_KINDS, CheckResult, CheckTarget, run_checks

HERE = Path(__file__).parent.parent
RIGHT = HERE / "right_plugin.py"
RIGHT_HEADS = HERE / "right_heads.py"
CAUGHT = {
    "batch-norm-in-train-mode": "query-independence",
    "weights-not-restored": "no-memory",
    "labels-from-query-order": "query-order",
    "labels-kept-from-training": "shuffled-labels",
    "global-seed-set": "global-rng",
    "seeded-constructor": "global-rng",
    "hard-coded-five-ways": "shapes",
    "undeclared-gradient": "shapes",
    "constructor-raises": "shapes",
    "scoring-parameter-trains": "scoring-parameters",
    "scoring-share-trains": "scoring-parameters",
    "scoring-choice-trains": "scoring-parameters",
    "spec-other-way": "spec",
    "spec-no-maps": "spec",
    "prototypes-cached": "no-memory",
    "prototypes-cached-globally": "no-memory",
    "ties-by-index": "fair-ties",
    "support-in-order": "support-order",
    "labels-of-first-episode": "batch-equals-loop",
    "normalised-over-batch": "batch-composition",
    "favourite-label": "label-permutation",
    "ignores-support": "separable-classes",
    "numbers-ignore-support": "levels",
    "numbers-of-other-queries": "query-independence",
    "unregistered-weights": "save-load",
    "numpy-weights": "same-seed",
    "changes-its-input": "inputs-untouched",
    "piles-up": "no-leak",
    "no-transduction": "query-use",
    "needless-exemption": "support-order",
    "loss-upside-down": "learns",
    "loss-from-python-random": "same-training",
    "undocumented": "spec",
    "study-adds-up": "study",
    "study-keeps-features": "study",
    "study-moves-weights": "study",
    "study-keeps-on-the-class": "save-load",
    "study-without-effect": "base-use",
    "study-undeclared": "spec",
    "backbone-width": "features",
    "backbone-positions-first": "maps",
    "backbone-statistics-move": "eval-determinism",
    "backbone-batch-norm": "batch-independence",
    "backbone-blind": "uses-images",
    "backbone-fused-wrong": "for-inference",
    "backbone-trained-wrong": "for-training",
    "backbone-adapted-wrong": "for-adapting",
    "backbone-frozen": "trains",
    "backbone-seeds": "seed",
    "backbone-unregistered": "save-load",
    "dataset-gap": "layout",
    "dataset-ungrouped": "layout",
    "dataset-short": "counts",
    "dataset-changing": "digest",
    "dataset-shared-class": "disjoint-classes",
    "dataset-shared-image": "disjoint-images",
    "protocol-leaking": "distinct-images",
    "protocol-swapped": "labels",
    "protocol-neighbours": "addressed",
    "protocol-global": "global-rng",
    "protocol-in-order": "every-class",
    "protocol-first-images": "every-image",
    "protocol-miscounting": "n-query",
    "protocol-trusting": "refusal",
    "protocol-doubling": "open",
    "protocol-recalling": "reserve",
    "protocol-mixing": "support-split",
}
SLOW = ("learns", "same-training")
ONLY_HERE = ("lazy-import", "cuda")  # the first is tried in test_conformance.py, the second needs a GPU
ALWAYS_SKIPPED = {"lazy-import", "query-use", "levels", *(() if torch.cuda.is_available() else ("cuda",))}
SKIPPED_HEADS = {
    "local-match": {"learns", "same-training", "study", "base-use", "scoring-parameters"},
    "one-way": {"label-permutation", "fair-ties", "study", "base-use"},
    "against-base": {"learns", "same-training", "scoring-parameters"},
    "tuned": {"learns", "same-training", "study", "base-use", "scoring-parameters"},
}
"""Correct heads, and the checks that do not apply to them."""
Results = Mapping[tuple[str, str], CheckResult]


def checks_of(kit: type) -> list[CheckDescription]:
    return [getattr(kit, name).metabench_check for name in dir(kit) if name.startswith("test_")]


def provided(*files: Path) -> list[CheckTarget]:
    return [
        CheckTarget(kind, name, plugin=(file,))
        for file in files
        for kind in CHECKED_KINDS
        for name, spec in load_registry([file]).names(kind).items()
        if spec.file_sha256
    ]


@pytest.fixture(scope="module")
def results() -> Results:
    """All checks but the two that train, on all plugins; those two on the right one and where they are due."""
    targets = provided(RIGHT, RIGHT_HEADS, *sorted((HERE / "wrong_plugins").glob("*.py")))
    quick = run_checks(targets, only=sorted({*CAUGHT.values(), *ONLY_HERE} - set(SLOW)))
    due = [target for target in targets if target.plugin[0] in (RIGHT, RIGHT_HEADS) or CAUGHT.get(target.name) in SLOW]
    slow = run_checks(due, only=SLOW)
    return {(result.name, result.check): result for result in [*quick, *slow]}


@pytest.mark.parametrize("name", CAUGHT)
def test_a_mistake_is_caught_by_the_check_made_for_it(results: Results, name: str) -> None:
    result = results[name, CAUGHT[name]]
    assert result.status == "failed"
    assert result.found and result.means and result.fix
    assert "\n" not in result.found


def test_every_wrong_plugin_is_tried(results: Results) -> None:
    right = {"dataset-sound", "protocol-sound", "soft-nearest", *SKIPPED_HEADS}
    assert {name for name, _ in results} == {*CAUGHT, *right}


def test_a_protocol_fails_the_check_of_its_mistake_alone(results: Results) -> None:
    names = {check.name for check in checks_of(ProtocolConformance)}
    for name in ("protocol-sound", *(name for name in CAUGHT if name.startswith("protocol-"))):
        of = {check: result.status for (found, check), result in results.items() if found == name}
        assert set(of) == names
        failed = [check for check, status in of.items() if status == "failed"]
        due = [CAUGHT[name]] if name in CAUGHT else []
        # Global random numbers make an episode another one each time, too.
        assert sorted(failed) == sorted([*due, "addressed"] if name == "protocol-global" else due), name


def test_a_sound_dataset_passes(results: Results) -> None:
    found = {check: result.status for (name, check), result in results.items() if name == "dataset-sound"}
    assert found.pop("lazy-import") == "skipped"
    names = ("spec", "layout", "counts", "digest", "disjoint-classes", "disjoint-images")
    assert found == dict.fromkeys(names, "passed")


def test_one_mistake_alone_fails_one_check_alone(results: Results) -> None:
    """What looks at one thing must not fail for another; these mistakes touch nothing else."""
    for name in ("batch-norm-in-train-mode", "global-seed-set", "ties-by-index", "piles-up", "no-transduction"):
        failed = [check for (of, check), result in results.items() if of == name and result.status == "failed"]
        assert failed == [CAUGHT[name]]


def test_a_constructor_that_raises_is_one_failure(results: Results) -> None:
    own = {check: result for (name, check), result in results.items() if name == "constructor-raises"}
    assert [check for check, result in own.items() if result.status == "failed"] == ["shapes"]
    finding = "its constructor raised ZeroDivisionError: division by zero (constructor_raises.py:25)"
    assert own["shapes"].found == finding
    not_run = [result for result in own.values() if result.status == "not run"]
    assert {result.reason for result in not_run} == {"its constructor raised, see shapes"}
    assert {"no-memory", "save-load", "fair-ties"} <= {result.check for result in not_run}
    assert own["spec"].status == "passed"


@pytest.mark.parametrize("kit", [AlgorithmConformance, BackboneConformance, DatasetConformance, ProtocolConformance])
def test_every_check_has_a_plugin_that_fails_it(kit: type) -> None:
    names = {check.name for check in checks_of(kit)}
    assert names - set(ONLY_HERE) <= set(CAUGHT.values())
    assert len(names) > 5 and max(map(len, names)) <= check_printer.COLUMNS[0]


def test_a_right_plugin_passes_everything(results: Results) -> None:
    own = {check: result for (name, check), result in results.items() if name == "soft-nearest"}
    assert set(own) == {check.name for check in checks_of(AlgorithmConformance)}
    skipped = {*ALWAYS_SKIPPED, "study", "base-use", "scoring-parameters"}
    assert {check: result.status for check, result in own.items()} == {
        check: "skipped" if check in skipped else "passed" for check in own
    }


@pytest.mark.parametrize("name", SKIPPED_HEADS)
def test_a_right_head_passes_everything(results: Results, name: str) -> None:
    own = {check: result for (of, check), result in results.items() if of == name}
    assert set(own) == {check.name for check in checks_of(AlgorithmConformance)}
    skipped = {
        "lazy-import",
        "query-use",
        "levels",
        *SKIPPED_HEADS[name],
        *(() if torch.cuda.is_available() else ("cuda",)),
    }
    expected = {check: "skipped" if check in skipped else "passed" for check in own}
    assert {check: result.status for check, result in own.items()} == expected, [r.found for r in own.values()]


def test_the_documentation_lists_every_check_and_every_mistake() -> None:
    text = (HERE.parent / "docs" / "conformance.md").read_text(encoding="utf-8")
    for kit in (AlgorithmConformance, BackboneConformance, DatasetConformance, ProtocolConformance):
        for check in checks_of(kit):
            assert f"| `{check.name}` | {check.promise} |" in text
    for name, check_name in CAUGHT.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert row.split(" | ")[2] == f"`{check_name}`"
        file = HERE / "wrong_plugins" / f"{name.replace('-', '_')}.py"
        mistake = row.split(" | ")[1]
        several = HERE / "wrong_plugins" / f"{name.partition('-')[0]}_faults.py"
        assert mistake in (file if file.exists() else several).read_text()
