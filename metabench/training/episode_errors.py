"""Errors about training episodes, which name the settings of the recipe instead of options of the evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from metabench.errors import UsageError

_SETTINGS = {
    "train": {"ways": "way", "shots": "shot", "query": "query"},
    "val": {"ways": "validation_way", "shots": "shot", "query": "validation_query"},
}
_ADVICE = re.compile(r"use --(ways|shots|query) (\d+) or fewer|the largest legal --(query) is (\d+)")
_OPTION = re.compile(r"(?:fewer |a smaller )?--(ways|shots|query)\b")


@contextmanager
def training_advice(split: str, dataset: str) -> Iterator[None]:
    """Rephrase a UsageError of a protocol within this block as advice on the recipe.

    A protocol knows only its own ways, shots and queries. Those of training are set by ``train.*`` and not by
    ``--ways``.

    Args:
        split: ``train``, ``train+val``, or ``val`` for validation.
        dataset: name for the message.

    Raises:
        UsageError: names the split and the settings to change.
    """
    settings = _SETTINGS["val" if split == "val" else "train"]
    try:
        yield
    except UsageError as error:
        advice = _ADVICE.sub(lambda m: f"use --set train.{settings[m[1] or m[3]]}={m[2] or m[4]}", str(error))
        text = _OPTION.sub(lambda m: f"a smaller --set train.{settings[m[1]]}", advice)
        what = "validation" if split == "val" else "training"
        raise UsageError(f"cannot draw {what} episodes from '{split}' of {dataset}: {text}") from error
