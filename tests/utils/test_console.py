from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from metabench.utils import console as module
from metabench.utils.console import Console

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[;m]")
SHOW_BAR = """
import sys
from metabench.utils.console import Console
console = Console(quiet=len(sys.argv) > 1)
with console.progress("embedding [x]", 40) as bar:
    bar.update(20, "loss 0.5")
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """Set the time that plain progress sees."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


def test_notes_and_warnings_go_to_stderr(capsys) -> None:
    console = Console()
    console.note("three runs")
    console.warn("one is old")
    assert capsys.readouterr() == ("", "three runs\nwarning: one is old\n")


def test_quiet_leaves_the_warnings(capsys) -> None:
    console = Console(quiet=True)
    console.note("three runs")
    console.warn("one is old")
    assert capsys.readouterr() == ("", "warning: one is old\n")


def test_plain_progress_is_a_line_now_and_then(clock, capsys) -> None:
    with Console().progress("training", 100) as progress:
        for done in range(1, 100):
            clock.now += 0.5
            progress.update(done, "loss 0.5" if done > 30 else "")
    assert capsys.readouterr().err.splitlines() == [
        "training: 20 of 100",
        "training: 40 of 100 loss 0.5",
        "training: 60 of 100 loss 0.5",
        "training: 80 of 100 loss 0.5",
    ]


def test_quiet_progress_says_nothing(clock, capsys) -> None:
    with Console(quiet=True).progress("training", 100) as progress:
        clock.now += 1000
        progress.update(50)
    assert capsys.readouterr() == ("", "")


def on_terminal(*words: str, **environment: str) -> str:
    """Return what a process with a terminal for stderr writes there."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    variables = {**plain, "TERM": "xterm-256color", **environment}
    with subprocess.Popen([sys.executable, "-c", SHOW_BAR, *words], stderr=theirs, env=variables) as process:
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 4096):
                text += piece
        except OSError:  # how Linux says that the other side is closed
            pass
    os.close(ours)
    assert process.returncode == 0
    return text.decode()


def test_terminal_gets_a_bar() -> None:
    text = on_terminal()
    assert "embedding [x] loss 0.5" in text
    assert "20/40" in text
    assert COLOUR.search(text)


def test_no_color_is_honoured() -> None:
    text = on_terminal(NO_COLOR="1")
    assert "20/40" in text
    assert not COLOUR.search(text)


def test_quiet_and_dumb_terminals_get_no_bar() -> None:
    assert on_terminal("quiet") == ""
    assert on_terminal(TERM="dumb") == ""


def test_pipe_gets_no_escape_codes_and_no_rich() -> None:
    code = SHOW_BAR + "assert 'rich' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_the_total_may_become_known_later(clock, capsys) -> None:
    """Of a preparation: files, of which there are as many as its loader says."""
    with Console().progress("preparing folder:a", 1) as progress:
        for done in (1, 250):
            clock.now += 20
            progress.update(done, "test", 300)
    assert capsys.readouterr().err.splitlines() == [
        "preparing folder:a: 1 of 300 test",
        "preparing folder:a: 250 of 300 test",
    ]
