"""A command in a fork of the server is as one of its own: what it sees, prints and ends with."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.sandbox import Sandbox
from tests.warm_commands import write_command

SEEN = "import os, sys; print(sys.argv[1:], os.getcwd(), os.environ['MINE'], sys.prefix, 'tests' in sys.modules)"
ENDS = {
    "pass": (0, ""),
    "import sys; sys.exit(3)": (3, ""),
    "import sys; sys.exit('no')": (1, "no\n"),
    "raise ValueError('wrong')": (1, "ValueError: wrong\n"),
    "import os, signal; os.kill(os.getpid(), signal.SIGTERM)": (-15, ""),
    "import atexit, sys; atexit.register(sys.stderr.write, 'late')": (0, "late"),
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    folder = tmp_path_factory.mktemp("warm")
    return Sandbox(folder, folder / "home")


def make(sandbox: Sandbox, code: str) -> None:
    write_command(sandbox.bin / "mine", sandbox.bin / "python", sandbox.packages, code)


def test_it_sees_what_it_was_given(sandbox: Sandbox) -> None:
    make(sandbox, SEEN)
    done = sandbox.run("MINE='a b' mine 'one two' --three")
    seen = f"['one two', '--three'] {sandbox.work} a b {sandbox.bin.parent} False\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, seen, "")


def test_it_reads_and_writes_pipes(sandbox: Sandbox) -> None:
    make(sandbox, "import sys; print(sys.stdin.read().upper())")
    assert sandbox.run("echo word | mine | cat").stdout == "WORD\n\n"


def test_it_finds_what_was_installed_after_the_server_started(sandbox: Sandbox) -> None:
    (sandbox.packages / "latecomer.py").write_text("WORD = 'here'\n")
    make(sandbox, "import latecomer; print(latecomer.WORD)")
    assert sandbox.run("mine").stdout == "here\n"


@pytest.mark.parametrize("code", ENDS)
def test_it_ends_as_its_command_does(sandbox: Sandbox, code: str) -> None:
    make(sandbox, code)
    done = sandbox.run(["mine"])
    assert done.returncode == ENDS[code][0]
    assert done.stderr.endswith(ENDS[code][1])


def test_it_ends_where_its_client_is_killed(sandbox: Sandbox, tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    make(sandbox, f"import time\nwhile True:\n    open({str(beats)!r}, 'a').write('.')\n    time.sleep(0.01)")
    with pytest.raises(subprocess.TimeoutExpired):
        sandbox.run(["mine"], timeout=2)
    time.sleep(0.5)
    size = beats.stat().st_size
    time.sleep(0.2)
    assert beats.stat().st_size == size
