"""The global random states of torch, NumPy and Python, and who touches them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from metabench.testing.conformance import Violation


def _states() -> dict[str, Any]:
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - it is the global one that must not change
    return {
        "torch": bytes(torch.get_rng_state().numpy()),
        "NumPy": (bytes(numpy_state["state"]["key"]), numpy_state["state"]["pos"]),
        "Python": random.getstate(),
    }


@contextmanager
def _elsewhere(seed: int) -> Iterator[Mapping[str, Any]]:
    """Put the global random states to where nobody else puts them and yield them; afterwards all are as before."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            yield _states()
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


def watch(what: str, act: Callable[[], object], may_draw: bool = False) -> None:
    """Raise Violation if `act` touches global random states.

    It runs from two different states, because seeding hides from a look at one: a state that is seeded again and
    again is always the same.

    Args:
        what: names `act` in the message.
        may_draw: whether drawing from torch, which the harness seeds, is all right; seeding it is not.
    """
    ends = []
    for seed in (7_340_111, 7_340_112):
        with _elsewhere(seed) as before:
            act()
            after = _states()
        touched = [name for name in after if after[name] != before[name] and not (may_draw and name == "torch")]
        if touched:
            raise Violation(f"{what} changes the random state of {' and '.join(touched)}")
        ends.append(after["torch"])
    if ends[0] == ends[1]:
        raise Violation(f"{what} seeds torch: whatever seed the harness sets, it goes on with another")
