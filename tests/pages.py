"""Runs the code of a documentation page, block after block, in one folder, as its reader would.

- ``sh``: each line is run and must succeed; ``# exit code N`` at its end says that it must not.
- ``text`` after it: the output of that block's last line. Digits may differ, and ``...`` stands for any lines.
- ``python``, ``toml``, ``ini``: a file if the first line is ``# its/path``. If that file is there already, it must
  contain the block. Python without a path is run.
- ``diff``: starts with ``--- path``; the lines with ``-`` must be in the file and are replaced by those with ``+``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.sandbox import Sandbox

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text and the line of the page that it begins on."""

    language: str
    text: str
    where: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a Markdown page, in order."""
    source = page.read_text(encoding="utf-8")
    return [
        Block(match[2], match[3], f"{page.name}, line {source[: match.start()].count(chr(10)) + 1}")
        for match in _BLOCK.finditer(source)
    ]


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
        pattern = "".join("(?:.*\n)*" if line == "..." else f"{re.escape(line)}\n" for line in _masked(block.text))
        got = "".join(f"{line}\n" for line in _masked(self.output))
        assert re.fullmatch(pattern, got), f"{block.where} shows\n{block.text}\nwhere there was\n{self.output}"

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


def _masked(text: str) -> list[str]:
    """Return lines of which only the words count: no digits, no widths."""
    lines = (re.sub(r"[\d.,]*\d", "0", line) for line in text.rstrip().splitlines())
    return [" ".join(re.sub("-{2,}", "--", line).split()) for line in lines]
