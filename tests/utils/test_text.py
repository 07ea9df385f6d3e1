"""Counts with their nouns, and what protocols advise: the right number, and the right option."""

from __future__ import annotations

import pytest

from metabench.errors import UsageError
from metabench.registry.stage import Stage
from metabench.training.episode_errors import training_advice
from metabench.utils.text import has_or_have, is_or_are, pluralise, short_digest, size_text

TRAIN = Stage(episodes=10)
PRETRAIN = Stage(name="pretrain", objective="classes", epochs=1)


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "image", "1 image"),
        (0, "image", "0 images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (1, "query", "1 query"),
        (3, "query", "3 queries"),
        (4, "way", "4 ways"),
        (2000, "episode", "2,000 episodes"),
    ],
)
def test_counts(number: int, noun: str, text: str) -> None:
    assert pluralise(number, noun) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "1 byte"),
        (1999, "1,999 bytes"),
        (64 << 20, "64 MiB"),
        ((64 << 20) + 1, "67,108,865 bytes"),
        (4 << 30, "4 GiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


def test_verbs_go_with_their_count() -> None:
    assert [is_or_are(1), is_or_are(2), has_or_have(1), has_or_have(0)] == ["is", "are", "has", "have"]


def test_an_irregular_plural_and_a_digest() -> None:
    assert pluralise(2, "index", "indices") == "2 indices"
    assert short_digest("ab" * 32) == "ab" * 6


@pytest.mark.parametrize(
    ("stage", "split", "refused", "advice"),
    [
        (TRAIN, "train", "use --ways 8 or fewer", "use --set train.way=8"),
        (TRAIN, "val", "use --ways 3 or fewer", "use --set train.validation_way=3"),
        (TRAIN, "train+val", "use --shots 4 or fewer", "use --set train.shot=4"),
        (TRAIN, "train", "the largest legal --query is 3", "use --set train.query=3"),
        (TRAIN, "val", "use fewer --shots or a smaller --query",
         "use a smaller --set train.shot or a smaller --set train.validation_query"),
        (PRETRAIN, "val", "use --ways 3 or fewer", "use --set pretrain.validation_way=3"),
        (PRETRAIN, "val", "use --shots 4 or fewer", "use --set pretrain.validation_shot=4"),
    ],
)  # fmt: skip
def test_training_is_not_told_of_options_that_do_not_reach_it(
    stage: Stage, split: str, refused: str, advice: str
) -> None:
    with pytest.raises(UsageError) as caught, training_advice(stage, split, "folder:parts"):
        raise UsageError(f"too few; {refused}")
    what = "validation" if split == "val" else "training"
    assert str(caught.value) == f"cannot draw {what} episodes from '{split}' of folder:parts: too few; {advice}"
