"""Runs the code of a documentation page, block after block, in one folder, as its reader would.

- ``sh``: each line is run and must succeed; ``# exit code N`` at its end says that it must not.
- ``text`` after it: the output of that block's last line. A line ``...`` stands for any lines. Every figure must be
  the same digit for digit, save what `FREE` lists, and save decimals in lines with a word of a comment
  ``<!-- approximate: word, word -->`` above the block (``*``: in all lines). Those come from trained or pre-trained
  networks, whose last bits, and with them single answers, depend on the type of the processor: they may be `POINTS`
  away, a half-width (after ±) or a share of something (``28%``, written without a space) by `SHARE` of itself.
  In lines with a word of ``<!-- approximate: word; unsettled: word, word -->`` the first word alone counts: a verdict
  on a difference near zero or the label of one image may be another on another processor.
- ``python``, ``toml``, ``ini``: a file if the first line is ``# its/path``. If that file is there already, it must
  contain the block. Python without a path is run.
- ``diff``: starts with ``--- path``; the lines with ``-`` must be in the file and are replaced by those with ``+``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.sandbox import Sandbox

POINTS = 6.0
"""How far a figure of a trained network may be from the one that a page shows, in its unit (percentage points).

Trainings of a hundred episodes ended 3.1 points apart on two processors."""
SHARE = 0.5
"""How far a half-width of such a row may be, as a share of itself; 0.03 is always within reach."""
FREE = re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|s|min|h|KiB|MiB|GiB|kB|MB|GB)\b")
"""Figures that are not compared: times and sizes, which are those of the machine."""

_BLOCK = re.compile(
    r"(?:^<!-- approximate: (?P<words>[^\n;]*)(?:; unsettled: (?P<unsettled>[^\n;]*))? -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    flags=re.MULTILINE | re.DOTALL,
)
_FIGURE = re.compile(r"(?P<half>± ?)?(?P<digits>\d(?:[\d.,]*\d)?)(?P<percent>%)?")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, its line on the page, the words of approximate and unsettled lines."""

    language: str
    text: str
    where: str
    approximate: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a Markdown page, in order."""
    source = page.read_text(encoding="utf-8")
    return [
        Block(
            match["language"],
            match["text"],
            f"{page.name}, line {source[: match.start('language')].count(chr(10)) + 1}",
            *(
                tuple(word.strip() for word in (match[words] or "").split(",") if word.strip())
                for words in ("words", "unsettled")
            ),
        )
        for match in _BLOCK.finditer(source)
    ]


def compare(block: Block, output: str) -> None:
    """Hold the output of a command against the block that shows it."""
    shown, got = block.text.rstrip().splitlines(), output.rstrip().splitlines()

    def is_open(line: str, other: str) -> bool:
        return any(word in line for word in block.unsettled) and line.split()[:1] == other.split()[:1]

    def same(line: str, other: str) -> bool:
        return _words(line) == _words(other) or is_open(line, other)

    there = f"{block.where} shows\n{block.text}\nwhere there was\n{output}"
    assert _fits(shown, got, same), there

    def exact(line: str, other: str) -> bool:
        loose = any(word == "*" or word in line for word in block.approximate)
        return is_open(line, other) or (same(line, other) and _same_figures(line, other, loose))

    assert _fits(shown, got, exact), f"other figures: {there}"


class Reader:
    """Follows a page in a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.output = ""

    def follow(self, page: Path) -> int:
        """Run every block of `page`; return their number."""
        found = blocks(page)
        for block in found:
            method = {"sh": self._type, "text": self._compare, "diff": self._edit}.get(block.language, self._write)
            method(block)
        return len(found)

    def _type(self, block: Block) -> None:
        for line in block.text.splitlines():
            command, _, code = line.partition("  # exit code ")
            done = self.sandbox.run(command)
            said = f"{block.where}: {line}\n{done.stdout}\n{done.stderr}"
            assert done.returncode == int(code or 0), said
            assert "\x1b" not in done.stdout, said
            self.output = done.stdout

    def _compare(self, block: Block) -> None:
        compare(block, self.output)

    def _write(self, block: Block) -> None:
        first, _, rest = block.text.partition("\n")
        name = re.fullmatch(r"# ([\w./-]+\.\w+)", first)
        if name is None:
            assert block.language == "python", f"{block.where}: nothing runs '{block.language}'"
            done = self.sandbox.run([str(self.sandbox.bin / "python"), "-W", "error", "-c", block.text])
            assert done.returncode == 0, f"{block.where}\n{done.stderr}"
            self.output = done.stdout
            return
        file = self.sandbox.work / name[1]
        if file.exists():
            assert rest in file.read_text(encoding="utf-8"), f"{block.where}: {file.name} is not like that"
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rest, encoding="utf-8")

    def _edit(self, block: Block) -> None:
        first, *lines = block.text.splitlines()
        file = self.sandbox.work / first.removeprefix("--- ")
        assert {line[:1] for line in lines} <= set("+- "), f"{block.where}: lines begin with +, - or a space"
        before, after = ("".join(f"{line[1:]}\n" for line in lines if line[0] in signs) for signs in ("- ", "+ "))
        text = file.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{block.where}: not once in {file.name}:\n{before}"
        file.write_text(text.replace(before, after), encoding="utf-8")


def _fits(shown: Sequence[str], got: Sequence[str], same: Callable[[str, str], bool]) -> bool:
    """Whether lines are those shown, where ``...`` stands for any number of lines."""

    @cache
    def fits(i: int, j: int) -> bool:
        if i == len(shown):
            return j == len(got)
        if shown[i] == "...":
            return fits(i + 1, j) or (j < len(got) and fits(i, j + 1))
        return j < len(got) and same(shown[i], got[j]) and fits(i + 1, j + 1)

    return fits(0, 0)


def _words(line: str) -> str:
    """Return a line of which only the words count: no figures, no widths."""
    return " ".join(re.sub("-{2,}", "--", re.sub(_FIGURE, r"\g<half>0\g<percent>", line)).split())


def _same_figures(line: str, other: str, loose: bool) -> bool:
    """Whether two lines of the same words have the same figures."""
    pairs = zip(*(_FIGURE.finditer(re.sub(FREE, "", text)) for text in (line, other)), strict=True)
    return all(shown["digits"] == got["digits"] or (loose and _close(shown, got)) for shown, got in pairs)


def _close(shown: re.Match[str], got: re.Match[str]) -> bool:
    """Whether two figures of a network are as near to each other as those of two types of processor."""
    if "." not in shown["digits"] and not shown["percent"]:
        return False  # a number of ways, shots, classes: the same everywhere
    value, other = (float(figure["digits"].replace(",", "")) for figure in (shown, got))
    return abs(value - other) <= (max(SHARE * value, 0.03) if shown["half"] or shown["percent"] else POINTS)
