"""Python functions take what is harmless and refuse the rest in one line that names the argument."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import metabench
from metabench import python_api
from metabench.errors import MetabenchError, UsageError
from metabench.planning.selection import Selection
from metabench.reports import frames
from tests.execution.test_launcher import DATA
from tests.photos import make_folder

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.binary(max_size=3),
    st.text(max_size=300), st.integers(-3, 9).map(np.int64), st.floats(-1, 1).map(np.float32),
    st.just(np.zeros((2, 3))), st.just(np.array(3)), st.just(np.array(["chance"])), st.just(object()), st.just(Path),
    st.just(Path("x")), st.just(len), st.just("x" * 5000), st.just("~nobody/x"),
)  # fmt: skip
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.tuples(SCALARS), 
    st.dictionaries(st.text(max_size=9), SCALARS, max_size=2),
    st.lists(SCALARS, max_size=2).map(iter), st.dictionaries(st.integers(), SCALARS, max_size=2),
)  # fmt: skip
FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def quick(folder: Path, /, **options: Any) -> Any:
    return metabench.run(**{"algo": "chance", "home": folder, "episodes": 5, "settings": DATA, **options})


@pytest.mark.parametrize("name", [*python_api.RUN_ARGUMENTS, "set"])
@FEW
@given(value=VALUES)
def test_run_raises_nothing_else(name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("metabench.execution.launcher.launch", lambda runs, session: [])
    monkeypatch.setattr("metabench.python_api.attempt_suite", lambda suite, runs, session: [])
    try:
        quick(tmp_path / "home", **{name: value})
    except MetabenchError as error:
        assert str(error) and "\n" not in str(error).strip()


@pytest.mark.parametrize("name", python_api.PREDICT_ARGUMENTS)
@FEW
@given(value=VALUES)
def test_predict_raises_nothing_else(name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("metabench.evaluation.prediction.label_images", lambda request, console: [])
    try:
        metabench.predict(**{"support": "known", "query": "new", name: value})
    except MetabenchError as error:
        assert str(error)


@pytest.mark.parametrize("name", ["source", "per", "home"])
@FEW
@given(value=VALUES)
def test_load_results_raises_nothing_else(
    name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [value] if name == "source" else []
    named = {} if name == "source" else {name: value}
    try:
        metabench.load_results(*words, **{"home": str(tmp_path), **named})
    except MetabenchError as error:
        assert str(error)


def test_every_field_of_a_selection_is_an_argument() -> None:
    fields = {python_api._LISTS.get(name, name) for name in python_api.RUN_ARGUMENTS} | {"algorithms"}
    assert set(Selection.__dataclass_fields__) <= fields
    assert set(frames._CONVERTERS) == {"sources", "per", "home"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": np.zeros((4, 8, 8))}, "dataset takes names, not a value of type ndarray; an algorithm, dataset"),
        ({"set": {"train.lr": 1}}, "run() takes no set=; did you mean 'settings'?"),
        ({"seed": 1}, "did you mean 'seeds'?"),
        ({"datasets": "glyphs"}, "did you mean 'dataset'?"),
        ({"algo": ()}, "cannot run: no algorithm given"),
        ({"shots": True}, "shots takes whole numbers, not True"),
        ({"until_ci": "1"}, "until_ci takes a number, not a value of type str"),
        ({"rerun": 1}, "rerun takes True or False"),
        ({"settings": {"train.lr": None}}, "settings['train.lr'] takes a text, a number, True or False, not None"),
        ({"skip_bad": True}, 'write settings={"data.skip_bad": True}'),
        ({"ways": 10**30}, "ways"),
        ({"shots": 10**30}, "shot"),
        ({"query": 10**30}, "query"),
    ],
)
def test_the_right_argument_is_named(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        quick(tmp_path, **options)
    assert message in str(caught.value)


def test_what_is_harmless_is_taken(tmp_path: Path) -> None:
    plain = quick(tmp_path, shots=[1, 2], ways=3, dataset="glyphs")
    numpy = quick(
        tmp_path, shots=np.array([1, 2]), ways=np.int64(3), dataset=(name for name in ["glyphs"]), home=tmp_path,
        episodes=np.int32(5), rerun=np.False_, device=torch.device("cpu"),
        settings={name: np.int64(value) for name, value in DATA.items()},
    )  # fmt: skip
    assert list(numpy["key"]) == list(plain["key"]) and all(numpy["cached"])
    loaded = metabench.load_results(home=tmp_path)
    assert set(loaded["key"]) == set(plain["key"])


def test_predict_names_the_argument(tmp_path: Path) -> None:
    make_folder(tmp_path / "known", {"a": 1, "b": 1})
    options: dict[str, Any] = {"support": tmp_path / "known", "query": tmp_path / "known", "algo": "nearest-mean"}
    for more, message in (
        ({"set": {}}, "did you mean 'settings'?"),
        ({"size": 8.5}, "size takes whole numbers, not 8.5"),
        ({"query": None}, "query takes a path, not None"),
    ):
        with pytest.raises(UsageError, match=message.replace("?", r"\?")):
            metabench.predict(**{**options, **more})
