"""Raises the errors that the troubleshooting page shows, in this process.

Under each heading of the third level a ``sh`` block makes the error, in an empty folder: its
last line ends with ``# exit code N``. The ``text`` block after it holds the message, wrapped. Where messages have
changed, ``python -m tests.error_messages`` writes those of docs/troubleshooting.md anew.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from metabench.cli.main import main

PAGE = Path(__file__).parent.parent / "docs" / "troubleshooting.md"
HOME = "~/metabench"
"""What stands for the home folder in a message."""
_ENTRY = re.compile(r"^### (.*)\n(?:.*\n)*?```sh\n((?:.*\n)*?)```\n\n```text\n((?:.*\n)*?)```$", re.MULTILINE)
_CODE = re.compile(r"(.*)  # exit code (\d)")
_WIDTH = 110


@dataclass(frozen=True)
class Entry:
    """One error of the page: its heading, the lines that make it, and the message that is shown."""

    heading: str
    commands: tuple[str, ...]
    message: str

    @property
    def reason_to_skip(self) -> str:
        """Return why it cannot be raised on this machine; '' where it can."""
        last = self.commands[-1]
        if "cuda" in last and torch.cuda.is_available():
            return "there is a GPU"
        return "timm is installed" if "timm" in last and importlib.util.find_spec("timm") else ""


def entries(page: str) -> list[Entry]:
    """Return the errors of a page, in order."""
    return [Entry(head, tuple(lines.splitlines()), shown) for head, lines, shown in _ENTRY.findall(page)]


def raised(entry: Entry, work: Path, home: Path) -> str:
    """Run the lines of an entry in `work`, which is empty; return the message, wrapped as the page has it.

    Entries may share a `home`, which then has the generated data already.

    Raises:
        AssertionError: the last line ends with another exit code than the page says.
    """
    _draw_photos(work / "photos")
    *before, last = entry.commands
    command, code = _CODE.fullmatch(last).groups()  # type: ignore[union-attr]
    with _surroundings(home, work):
        for line in before:
            assert _run(line)[0] == 0, f"{entry.heading}: {line}"
        got, error = _run(command)
    line = error.rstrip().splitlines()[-1]
    assert got == int(code), f"{entry.heading}: exit code {got}\n{line}"
    line = line.replace(str(home), HOME).replace(f"{work}{os.sep}", "")
    return textwrap.fill(line, _WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def _run(line: str) -> tuple[int, str]:
    """Run a line, a command of metabench in this process; return its exit code and what it wrote to stderr."""
    name, _, rest = line.partition(" ")
    if name != "metabench":
        return subprocess.run(line, shell=True, check=False, capture_output=True).returncode, ""
    words = subprocess.run(f"printf '%s\\n' {rest}", shell=True, check=True, capture_output=True, text=True).stdout
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        code = main(words.splitlines())
    return code, error.getvalue()


def _draw_photos(folder: Path) -> None:
    """Make the three images that the commands use."""
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (24, 24), (80 * number, 120, 60)).save(folder / f"{number}.png")


@contextlib.contextmanager
def _surroundings(home: Path, work: Path) -> Iterator[None]:
    """Set the home folder, no folder of data and the working folder."""
    kept, before = dict(os.environ), Path.cwd()
    os.environ["METABENCH_HOME"] = str(home)
    os.environ.pop("METABENCH_DATA", None)
    os.chdir(work)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(kept)


def rewrite(page: str) -> str:
    """Return the page with the messages as they are now."""
    with tempfile.TemporaryDirectory() as home:
        for number, entry in enumerate(entries(page)):
            if not entry.reason_to_skip:
                work = Path(home, str(number))
                work.mkdir()
                old = "\n".join(["```sh", *entry.commands, "```", "", "```text", ""])
                page = page.replace(f"{old}{entry.message}```", f"{old}{raised(entry, work, Path(home, 'home'))}```")
    return page


if __name__ == "__main__":
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
