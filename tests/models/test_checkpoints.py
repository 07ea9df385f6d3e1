"""Checkpoints whose metadata are not what metabench writes."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from metabench.errors import MetabenchError
from metabench.models.checkpoints import load_tensors, save_tensors
from metabench.records.checkpoint_metadata import tensors_meta


@pytest.mark.parametrize("read", [load_tensors, tensors_meta])
@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ("[1]", "its metadata are no JSON object"),
        ("[" * 500_000, "nested too deeply"),
        ("{", "Expecting property name"),
    ],
)
def test_foreign_metadata_is_one_line(tmp_path, read, metadata, reason):
    path = tmp_path / "weights.safetensors"
    save_file({"a": np.zeros(2, np.float32)}, path, metadata={"metabench": metadata})
    with pytest.raises(MetabenchError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_metadata_of_others_is_ignored_and_ours_comes_back(tmp_path):
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    assert tensors_meta(tmp_path / "a.safetensors") == {}
    save_tensors(tmp_path / "b.safetensors", {"a": torch.zeros(2)}, {"made_for": "x"})
    assert tensors_meta(tmp_path / "b.safetensors") == load_tensors(tmp_path / "b.safetensors")[1] == {"made_for": "x"}
