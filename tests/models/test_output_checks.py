"""What plugins return is checked before anything is computed from it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

import metabench
from metabench.models.output_checks import OutputError, require_finite, require_tensor
from metabench.records.store import Store

ODD = Path(__file__).parent.parent / "odd_plugins"
NUMBERS = "returned numbers that are not finite"
BESIDE = "scores a query otherwise beside other"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METABENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def measured(home: Path, **options: object) -> tuple[float | None, str]:
    """Return the accuracy of a run, or None, and its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        row = metabench.run(dataset="glyphs", shots=[1], episodes=40, **options).iloc[0]  # type: ignore[arg-type]
    record = Store(home).find(row["key"])
    if row["status"] == "ok":
        return float(row["accuracy"]), ""
    failed = next(r for r in Store(home).records() if r.key == row["key"]) if record is None else record
    return None, failed.error.message


def of_head(home: Path, form: str) -> tuple[float | None, str]:
    return measured(home, algo="odd-head", settings={"algo.form": form}, plugins=[str(ODD / "odd_head.py")])


def of_body(home: Path, form: str) -> tuple[float | None, str]:
    plugins = [str(ODD / "odd_body.py")]
    return measured(home, algo="nearest-mean", backbone="odd-body", settings={"backbone.form": form}, plugins=plugins)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("one class too many", "75, 6), expected"),
        ("one class too few", "75, 4), expected"),
        ("one query for all", "1, 5), expected"),
        ("one episode for all", "returned (1, 75, 5), expected"),
        ("a class index", "75), expected"),
        ("integers", "returned int64 numbers, expected floating point"),
        ("booleans", "returned bool numbers, expected floating point"),
        ("a tuple", "returned a tuple, expected"),
        ("an array", "returned a ndarray, expected"),
        ("nothing", "returned a NoneType, expected"),
        ("meta device", "returned a tensor on meta, expected cpu"),
        ("nan", NUMBERS),
        ("minus infinity", NUMBERS),
        ("query statistics", BESIDE),
        ("episodes together", BESIDE),
        ("first episode for all", BESIDE),
        ("state", BESIDE),
        ("sparse", "returned a tensor of layout torch.sparse_coo, expected a dense one"),
    ],
)
def test_odd_scores_are_refused_by_run(home: Path, form: str, message: str) -> None:
    score, error = of_head(home, form)
    assert score is None
    assert error.startswith("algorithm 'odd-head' ") and message in error


def test_a_plugin_that_exits_is_a_failed_run(home: Path) -> None:
    assert of_head(home, "exit") == (None, "0")


def test_a_head_may_write_to_its_labels(home: Path) -> None:
    assert of_head(home, "labels changed") == of_head(home, "plain")


def test_scores_of_another_precision_count(home: Path) -> None:
    assert of_head(home, "double") == of_head(home, "plain")


@pytest.mark.parametrize("form", ["position", "position from the end"])
def test_the_position_of_a_query_tells_nothing(home: Path, form: str) -> None:
    score, error = of_head(home, form)
    assert not error and score == pytest.approx(20, abs=4)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("one row", "returned (1, 784), expected (64, 784)"),
        ("a scalar", "returned (), expected (64, 784)"),
        ("one column", "returned (64, 1), expected (64, 784)"),
        ("a map", "returned (64, 1, 28, 28), expected (64, 784)"),
        ("transposed", "returned (784, 64), expected (64, 784)"),
        ("double", "returned float64 numbers, expected float32"),
        ("half", "returned float16 numbers, expected float32"),
        ("integers", "returned int64 numbers, expected float32"),
        ("a tuple", "returned a tuple, expected (64, 784) as a torch tensor"),
        ("an array", "returned a ndarray, expected (64, 784) as a torch tensor"),
        ("nan", NUMBERS),
        ("infinite", NUMBERS),
        ("huge", "too large for float32 distances"),
        ("tiny", "too small for float32 distances"),
        ("batch statistics", "gives an item other features beside other items"),
        ("batch statistics beside a large feature", "gives an item other features beside other items"),
        ("last batch", "gives an item other features beside other items"),
        ("rank in the batch", "gives an item other features beside other items"),
        ("random", "gives an item other features beside other items"),
    ],
)
def test_odd_features_are_refused_by_run(home: Path, form: str, message: str) -> None:
    score, error = of_body(home, form)
    assert score is None
    assert error.startswith("backbone 'odd-body' ") and message in error


@pytest.mark.parametrize("form", ["offset", "offset of each feature"])
def test_an_offset_of_all_features_changes_no_score(home: Path, form: str) -> None:
    score, error = of_body(home, form)
    plain, _ = of_body(home, "plain")
    assert not error and score == pytest.approx(plain, abs=0.1)


TRAINED = """
import torch
from metabench.api import AlgorithmSpec, Stage, hookimpl
from metabench.models.adaptive import TaskAdaptiveAlgorithm
from metabench.models.interfaces import FeatureHead
from torch import nn


class Learnt(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def logits(self, episode):
        return episode.query[..., : episode.way + 1] * self.scale.sum()

    def loss(self, episode, query_labels):
        return (self.scale.sum() - 1) ** 2


class Adapted(TaskAdaptiveAlgorithm):
    def adapt(self, params, support, labels):
        return params

    def predict(self, params, support, labels, query, step=-1):
        scores = self.logits(params, query)
        return scores if self.training else scores[:, :1]


@hookimpl
def metabench_algorithms():
    shared = dict(version=1, trains=True, setting="inductive", summary="Odd.", reference="metabench",
                  licence="CC0-1.0", backbone="conv4",
                  recipes={"*": Stage(way=5, shot=1, query=2, episodes=10**6)})
    return [AlgorithmSpec(name="learnt", target="trained:Learnt", takes="features", **shared),
            AlgorithmSpec(name="adapted", target="trained:Adapted", takes="images", **shared)]
"""


@pytest.mark.parametrize("algo", ["learnt", "adapted"])
def test_odd_outputs_are_noticed_before_training(home: Path, tmp_path: Path, algo: str) -> None:
    plugin = tmp_path / "trained.py"
    plugin.write_text(TRAINED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = metabench.run(algo=["nearest-mean", algo], dataset="glyphs", shots=[1], episodes=10, plugins=[plugin])
    assert table["status"].tolist() == ["ok", "failed"]  # not after a million episodes
    (failed,) = (record for record in Store(home).records() if record.status == "failed")
    assert failed.error.message.startswith(f"algorithm '{algo}' returned (")


def test_what_is_expected_is_named() -> None:
    with pytest.raises(OutputError, match=r"^the loss returned \(2,\), expected a scalar$"):
        require_tensor(torch.zeros(2), (), "the loss")
    with pytest.raises(OutputError, match=r"first for episode 12$"):
        require_finite(torch.tensor([[0.0], [0.0], [torch.nan]]), "it", 10, "episode")
    require_finite(torch.zeros(0, 3), "it")


ODD_TRAINING = """
from metabench.api import AlgorithmSpec, Stage, hookimpl
from metabench.models.adaptive import TaskAdaptiveAlgorithm
from metabench.models.interfaces import FeatureHead
from metabench.models.prototypes import prototypes, squared_distances


class Transposed(FeatureHead):
    def __init__(self, feature_dim):
        super().__init__()

    def logits(self, episode):
        scores = -squared_distances(episode.query, prototypes(episode.support, episode.labels, episode.way))
        return scores.mT if self.training else scores


class Flat(TaskAdaptiveAlgorithm):
    def adapt(self, params, support, labels):
        return params

    def predict(self, params, support, labels, query, step=-1):
        scores = self.logits(params, query)
        return scores[:, 0] if self.training else scores


class Updated(Flat):
    def predict(self, params, support, labels, query, step=-1):
        return self.logits(params, query)

    def update(self, support, labels, query, truth):
        return truth.sum(), {"classifier.weight": truth.sum()}


@hookimpl
def metabench_algorithms():
    def spec(name, takes, answers, backbone):
        return AlgorithmSpec(name=name.lower(), target=f"odd_training:{name}", takes=takes, answers=(answers,),
                             version=1, trains=True, setting="transductive", summary="Odd.", reference="metabench",
                             licence="CC0-1.0", backbone=backbone,
                             recipes={"*": Stage(way=5, shot=1, query=2, episodes=4)})

    return [spec("Transposed", "features", "labels", "conv4"), spec("Flat", "images", "numbers", "mlp"),
            spec("Updated", "images", "numbers", "mlp")]
"""


@pytest.mark.parametrize(
    ("algo", "dataset", "message"),
    [
        ("transposed", "glyphs", "Transposed.logits returned (1, 5, 10), expected (1, 10, 5)"),
        ("flat", "sinusoid", "returned (2,), expected (2, 1)"),
        ("updated", "sinusoid", "Updated.update['classifier.weight'] returned (), expected (1, 40)"),
    ],
)
def test_odd_outputs_in_training_are_refused(home: Path, tmp_path: Path, algo: str, dataset: str, message: str) -> None:
    plugin = tmp_path / "odd_training.py"
    plugin.write_text(ODD_TRAINING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metabench.run(algo=algo, dataset=dataset, shots=[1], episodes=10, plugins=[plugin])
    (failed,) = Store(home).records()
    assert message in failed.error.message
