"""Arguments of the functions that users call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import metabench
from metabench.errors import UsageError


def test_words_of_python_that_are_wrong(tmp_path: Path) -> None:
    for words, message in (
        ({"seed": 1}, "run\\(\\) takes no seed=; did you mean 'seeds'"),
        ({"train_episodes": 3}, 'write settings={"train.episodes": 3}'),
        ({"shots": "1,5"}, "shots takes whole numbers, not '1,5'"),
        ({"episodes": 1.5}, "episodes takes whole numbers, not 1.5"),
        ({"backbone": object()}, "a plugin"),
    ):
        with pytest.raises(UsageError, match=message):
            metabench.run("chance", home=str(tmp_path), **words)
    frame = metabench.run("chance", shots=np.array([1, 2]), episodes=np.int64(5), home=str(tmp_path))
    assert len(frame) == 2 and {"run", "predict", "load_results"} <= set(dir(metabench))
