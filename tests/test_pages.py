"""How the outputs that a page shows are held against those of its commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import Block, blocks, compare

SHOWN = """algorithm  shot  accuracy (%)
---------  ----  --------------------------
protonet   5     87.38 ± 0.36 (open ± 1.26)
chance     5     19.94 ± 0.20 (open ± 0.21)
trained in 12.5 s
"""


def _block(text: str = SHOWN, *approximate: str) -> Block:
    return Block("text", text, "page.md, line 1", approximate)


def test_the_same_output_passes_whatever_the_time_it_took() -> None:
    compare(_block(), SHOWN)
    compare(_block(), SHOWN.replace("12.5 s", "3 s").replace("---", "-----"))


@pytest.mark.parametrize(
    ("old", "new"),
    [("87.38", "87.39"), ("0.21)", "0.22)"), ("chance     5", "chance     1"), ("chance", "guess"), ("19.94", "19.9")],
)
def test_another_figure_or_word_fails(old: str, new: str) -> None:
    with pytest.raises(AssertionError, match=r"page.md, line 1"):
        compare(_block(), SHOWN.replace(old, new))


def test_decimals_of_approximate_lines_may_differ_a_little() -> None:
    compare(_block(SHOWN, "protonet"), SHOWN.replace("87.38 ± 0.36 (open ± 1.26)", "85.00 ± 0.41 (open ± 1.70)"))
    compare(_block(SHOWN, "*"), SHOWN.replace("19.94", "20.50"))


@pytest.mark.parametrize(
    ("old", "new"),
    [("87.38", "80.00"), ("± 0.36", "± 0.90"), ("protonet   5", "protonet   1"), ("19.94", "19.95")],
)
def test_decimals_of_approximate_lines_may_not_differ_much_nor_numbers_of_things(old: str, new: str) -> None:
    with pytest.raises(AssertionError, match="other figures"):
        compare(_block(SHOWN, "protonet"), SHOWN.replace(old, new))


def test_of_unsettled_lines_the_first_word_counts() -> None:
    shown = (
        "A         B    difference\nprotonet  one  -0.42 ± 0.25  different\nchance    two  +9.00 ± 0.25  different\n"
    )
    block = Block("text", shown, "page.md, line 1", (), ("one",))
    compare(block, shown.replace("-0.42 ± 0.25  different", "+0.10 ± 0.30  undecided"))
    for old, new in (("protonet", "maml"), ("9.00", "9.01"), ("+9.00 ± 0.25  different", "+9.00 ± 0.25  undecided")):
        with pytest.raises(AssertionError):
            compare(block, shown.replace(old, new))


def test_dots_stand_for_any_lines() -> None:
    compare(_block("...\nchance     5     19.94 ± 0.20 (open ± 0.21)\n...\n"), SHOWN)
    compare(_block("algorithm  shot  accuracy (%)\n...\ntrained in 3 s\n"), SHOWN)
    with pytest.raises(AssertionError):
        compare(_block("...\nchance     5     19.94 ± 0.20 (open ± 0.21)\n"), SHOWN)


def test_a_comment_above_a_block_says_which_lines_are_approximate(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    both = "<!-- approximate: *; unsettled: a, b -->\n```text\nv\n```"
    shown = ["```sh\nls\n```", both, "<!-- approximate: protonet, conv4 -->\n```text\nx\n```", "```text\ny\n```"]
    page.write_text("\n\n".join([*shown, "<!-- approximate: * -->\n```text\nz\n```\n"]))
    shell, settled, marked, plain, last = blocks(page)
    assert (settled.approximate, settled.unsettled) == (("*",), ("a", "b"))
    assert (shell.language, shell.approximate) == ("sh", ())
    assert (marked.text, marked.approximate, marked.where) == ("x\n", ("protonet", "conv4"), "page.md, line 11")
    assert plain.approximate == ()
    assert (last.text, last.approximate) == ("z\n", ("*",))
