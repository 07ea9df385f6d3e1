from __future__ import annotations

import dataclasses
import sys

import pytest

from metabench.errors import MOST_LISTED, MetabenchError, MissingError, UsageError, did_you_mean
from metabench.registry.registry import Registry, availability, clear_registry, load_registry, load_target
from metabench.registry.resolved import as_recorded, resolve_params
from metabench.registry.specs import AlgorithmSpec, Kind, kind_of


@pytest.fixture
def registry(toys: None) -> Registry:
    return load_registry()


@pytest.fixture
def median(registry: Registry) -> AlgorithmSpec:
    return registry.find("algorithm", "toy-median")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("algorithm", "toy-median"), ("dataset", "toy-dots"), ("backbone", "toy-bone"), ("protocol", "toy-way")],
)
def test_find_by_kind_and_name(registry: Registry, kind: Kind, name: str) -> None:
    spec = registry.find(kind, name)
    assert spec.name == name
    assert kind_of(spec) == kind
    assert registry.names(kind)[name] is spec


def test_a_later_parameter_leaves_keys_alone_at_its_default() -> None:
    protonet = load_registry().find("algorithm", "protonet")
    (param,) = protonet.params
    assert param.omit_default
    assert as_recorded(protonet, {"per_feature": False}) == {}
    assert as_recorded(protonet, {"per_feature": True}) == {"per_feature": True}


def test_names_are_sorted_and_cannot_be_changed(registry: Registry) -> None:
    assert list(registry.algorithms) == sorted(registry.algorithms)
    with pytest.raises(TypeError):
        registry.algorithms["x"] = registry.algorithms["toy-median"]


def test_registry_is_cached_until_cleared(registry: Registry) -> None:
    assert load_registry() is registry
    clear_registry()
    assert load_registry() is not registry


def test_unknown_name_gets_a_suggestion(registry: Registry) -> None:
    with pytest.raises(UsageError, match=r"^unknown algorithm 'toy-medain'; did you mean 'toy-median'\?"):
        registry.find("algorithm", "toy-medain")


def test_a_message_lists_few_names_and_else_the_command_that_lists_them() -> None:
    names = [f"name{number}" for number in range(MOST_LISTED + 1)]
    assert did_you_mean("x", names, "metabench list") == "; see 'metabench list'"
    assert did_you_mean("x", names[1:], "metabench list") == f"; known: {', '.join(sorted(names[1:]))}"
    assert did_you_mean("nam1", names, "metabench list") == "; did you mean 'name1'?"


def test_unknown_name_points_at_broken_plugins(registry: Registry) -> None:
    with pytest.raises(UsageError, match=f"{len(registry.plugins.broken)} plugins are broken: see 'metabench plugins'"):
        registry.find("dataset", "zzz")


def test_two_plugins_with_one_name_and_neither_wins(registry: Registry) -> None:
    assert "toy-mean" not in registry.algorithms
    assert "toy-alone" in registry.algorithms  # the clash costs the clashing plugin nothing else
    with pytest.raises(UsageError, match="toy-clashing:clashing and toy-good:good") as caught:
        registry.find("algorithm", "toy-mean")
    assert "algorithm 'toy-mean'" in str(caught.value)


def test_listing_imports_no_target(registry: Registry) -> None:
    assert "toy_clashing" in sys.modules
    with pytest.raises(MetabenchError, match=r"toy-alone.*toy_clashing:Toy.*no such class"):
        load_target(registry.find("algorithm", "toy-alone"))


def test_load_target(median: AlgorithmSpec) -> None:
    target = load_target(median)
    assert (target.__module__, target.__name__) == ("toy_good", "ToyMedian")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("toy-typo", r"'toy_good:ToyMedain', but its module has no such class; did you mean 'ToyMedian'\?"),
        ("toy-astray", r"cannot be imported \(ModuleNotFoundError: No module named 'toy_good_no_such_module'\)"),
        ("toy-number", "which is a int, not a class"),
        ("toy-colonless", "not of the form 'package.module:Class'"),
    ],
)
def test_bad_targets(registry: Registry, name: str, why: str) -> None:
    with pytest.raises(MetabenchError, match=why) as caught:
        load_target(registry.find("algorithm", name))
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert f"algorithm '{name}'" in str(caught.value)


def test_missing_requirement_names_the_command(registry: Registry) -> None:
    heavy = registry.find("algorithm", "toy-heavy")
    command = "needs toy_no_such_module; pip install 'metabench[toys]'"
    assert availability(heavy) == command
    with pytest.raises(MissingError) as caught:
        load_target(heavy)
    assert str(caught.value) == f"algorithm 'toy-heavy' {command}"


def test_requirements_that_are_here_or_have_no_extra(median: AlgorithmSpec) -> None:
    assert availability(dataclasses.replace(median, requires=("json", "importlib.metadata"))) == ""
    absent = dataclasses.replace(median, requires=("json", "toy_absent.inner"))
    assert availability(absent) == "needs toy_absent.inner; pip install toy_absent.inner"


def test_parameters_default(median: AlgorithmSpec) -> None:
    assert resolve_params(median, {}) == {"steps": 5, "rate": 0.5, "fancy": False, "metric": "cosine"}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("steps", "7", 7),
        ("steps", 7, 7),
        ("steps", 7.0, 7),
        ("rate", "1e-3", 0.001),
        ("rate", 2, 2.0),
        ("rate", "-0.0", 0.0),
        ("fancy", "Yes", True),
        ("fancy", "1", True),
        ("fancy", "true", True),
        ("fancy", True, True),
        ("fancy", "no", False),
        ("fancy", "0", False),
        ("fancy", "FALSE", False),
        ("metric", "euclidean", "euclidean"),
    ],
)
def test_parameters_take_the_type_of_their_default(
    median: AlgorithmSpec, name: str, given: object, value: object
) -> None:
    result = resolve_params(median, {name: given})[name]
    assert repr(result) == repr(value)  # repr tells 7 from 7.0, True from 1 and 0.0 from -0.0
    assert list(resolve_params(median, {name: given})) == ["steps", "rate", "fancy", "metric"]


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("steps", "1.5", "a whole number, not '1.5'"),
        ("steps", 1.5, "a whole number, not 1.5"),
        ("steps", True, "a whole number, not True"),
        ("steps", "", "a whole number, not ''"),
        ("rate", "fast", "a number, not 'fast'"),
        ("rate", "nan", "a number, not 'nan'"),
        ("rate", float("inf"), "a number, not inf"),
        ("rate", False, "a number, not False"),
        ("rate", 10**400, f"a number, not {10**400}"),
        ("fancy", "maybe", "true or false, not 'maybe'"),
        ("fancy", 2, "true or false, not 2"),
        ("metric", 3, "text, not 3"),
        ("metric", "manhattan", "one of cosine, euclidean, not 'manhattan'"),
    ],
)
def test_bad_parameter_values(median: AlgorithmSpec, name: str, given: object, wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_params(median, {name: given})
    assert str(caught.value) == f"parameter '{name}' of algorithm 'toy-median' is {wanted}"


def test_unknown_parameters(registry: Registry, median: AlgorithmSpec) -> None:
    with pytest.raises(UsageError, match=r"'toy-median' has no parameter 'stesp'; did you mean 'steps'\?"):
        resolve_params(median, {"stesp": 1})
    with pytest.raises(UsageError, match="backbone 'toy-bone' has no parameter 'width'; it has none"):
        resolve_params(registry.find("backbone", "toy-bone"), {"width": 1})
