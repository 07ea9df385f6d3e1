from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabench.records.strict_json import MAX_DEPTH, JsonFault, check_json

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64) + 1, 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, (dict, list))) + max(map(_depth, inner), default=0)


@given(JSON.filter(lambda value: _depth(value) <= MAX_DEPTH), st.booleans(), st.sampled_from([None, 1]))
def test_whatever_an_honest_writer_writes_passes(value: Any, escaped: bool, indent: int | None) -> None:
    check_json(json.dumps(value, ensure_ascii=escaped, indent=indent))


@given(st.dictionaries(KEYS, st.integers(0, 9), min_size=1, max_size=4), st.data())
def test_a_key_that_is_repeated_is_found_however_it_is_written(pairs: dict[str, int], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(sorted(pairs)))
    escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in again)
    text = json.dumps({"a": [0, pairs]})[:-3] + f', "{escaped}": 1}}]}}'
    with pytest.raises(JsonFault, match=r"^\$\.a\[1\].* is there twice$"):
        check_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": {"b": [{"c": 1}, {"c": NaN}]}}', "$.a.b[1].c is NaN, which is not a JSON number"),
        ('{"a": [1, -Infinity]}', "$.a[1] is -Infinity, which is not a JSON number"),
        ('{"a": ["x", 1e999]}', "$.a[1] is not a finite number"),
        ('{"a": [true, 18446744073709551616]}', "$.a[1] is an integer beyond 64 bits"),
        ('{"a b": {"c": -1e400}}', '$["a b"].c is not a finite number'),
        ('{"a": 1, "b": {"a": 2}, "a": 3}', "$.a is there twice"),
        ("[" * (MAX_DEPTH + 1), f"${'[0]' * MAX_DEPTH} is nested deeper than 12 levels"),
        ("[" * MAX_DEPTH + "[1]", f"${'[0]' * MAX_DEPTH} is nested deeper than 12 levels"),
        ('{"a": "' + "x" * 20_001 + '"}', "$.a is longer than 20,000 characters"),
        ('{"a": "\\ud800"}', "$.a is text that is not Unicode"),
        ('{"a": "\\q"}', "$.a is not JSON (a bad escape)"),
        ('{"a": "x', "$ is not JSON (at character 6)"),
    ],
)
def test_a_fault_has_its_path(text: str, message: str) -> None:
    with pytest.raises(JsonFault) as caught:
        check_json(text)
    assert str(caught.value) == message


def test_numbers_just_within_64_bits_and_the_largest_double_pass() -> None:
    check_json('{"a": 18446744073709551615, "b": -18446744073709551615, "c": [1.7976931348623157e308]}')
