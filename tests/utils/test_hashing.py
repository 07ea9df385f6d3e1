from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from metabench.utils.hashing import canonical_json, content_key

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
