from __future__ import annotations

import numpy as np
import pytest

from metabench.data.encoded_sentences import decode_texts, encode_texts


def test_texts_come_back_from_their_rows() -> None:
    texts = ["", "a", "Köln", "日本", "ends in a space ", "\n"]
    rows = encode_texts(texts, 16)
    assert (rows.dtype, rows.shape) == (np.uint8, (6, 16))
    assert rows[1].tolist() == [97, *[0] * 15]
    assert decode_texts(rows) == texts
    out = np.full((6, 16), 7, np.uint8)
    assert encode_texts(texts, 16, out) is out
    np.testing.assert_array_equal(out, rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [("nine char", "^text 1 takes 9 bytes, more than 8$"), ("a\0b", "^text 1 has a zero character$")],
)
def test_what_has_no_row_of_its_own_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_texts(["fits", text], 8)
