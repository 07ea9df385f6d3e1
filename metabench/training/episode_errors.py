"""Errors about training episodes, which name the settings of the recipe instead of options of the evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from metabench.errors import UsageError
from metabench.registry.stage import Stage

_ADVICE = re.compile(r"use --(ways|shots|query) (\d+) or fewer|the largest legal --(query) is (\d+)")
_OPTION = re.compile(r"(?:fewer |a smaller )?--(ways|shots|query)\b")


@contextmanager
def training_advice(stage: Stage, split: str, dataset: str) -> Iterator[None]:
    """Rephrase a UsageError of a protocol within this block as advice on the recipe.

    A protocol knows only its own ways, shots and queries. Those of training are set by ``STAGE.*`` and not by
    ``--ways``.

    Args:
        stage: draws the episodes.
        split: ``train``, ``train+val``, or ``val`` for validation.
        dataset: name for the message.

    Raises:
        UsageError: names the split and the settings to change.
    """
    settings = _settings(stage, split)
    try:
        yield
    except UsageError as error:
        advice = _ADVICE.sub(lambda m: f"use --set {stage.name}.{settings[m[1] or m[3]]}={m[2] or m[4]}", str(error))
        text = _OPTION.sub(lambda m: f"a smaller --set {stage.name}.{settings[m[1]]}", advice)
        what = "validation" if split == "val" else "training"
        raise UsageError(f"cannot draw {what} episodes from '{split}' of {dataset}: {text}") from error


def _settings(stage: Stage, split: str) -> dict[str, str]:
    """Return the fields of a stage that say what the options of the evaluation do, by name of the option."""
    if split != "val":
        return {"ways": "way", "shots": "shot", "query": "query"}
    has_own = not stage.is_episodic or stage.validation_shot
    return {
        "ways": "validation_way",
        "shots": "validation_shot" if has_own else "shot",
        "query": "validation_query",
    }
