from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from metabench.cli import main as module
from metabench.cli.generated_docs.command_reference import command_line_page
from metabench.cli.main import COMMANDS, main
from metabench.errors import MetabenchError, MissingError, NothingMeasured, UsageError
from tests.conftest import Command

HEAVY = ("torch", "pandas", "scipy", "numpy", "rich", "PIL")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Put a subcommand ``fail`` into the table that raises what it is told to."""

    def install(error: BaseException | None = None, **options: object) -> None:
        @click.command()
        def fail() -> None:
            click.echo("started")
            if error is not None:
                raise error

        toy = ModuleType("toy_failing_command")
        toy.fail = fail
        monkeypatch.setitem(sys.modules, "toy_failing_command", toy)
        monkeypatch.setattr(module, "COMMANDS", {**COMMANDS, "fail": ("toy_failing_command:fail", "Fail.")})

    return install


@pytest.mark.parametrize(
    ("error", "code"),
    [(MetabenchError, 1), (UsageError, 2), (MissingError, 3), (NothingMeasured, 4)],
)
def test_errors_are_one_line_and_an_exit_code(failing, capsys, error: type[MetabenchError], code: int) -> None:
    failing(error("no such thing;\nlook elsewhere"))
    assert main(["fail"]) == code
    assert capsys.readouterr().err == "error: no such thing; look elsewhere\n"


def test_success(failing, capsys) -> None:
    failing()
    assert main(["fail"]) == 0
    assert capsys.readouterr() == ("started\n", "")


def test_unexpected_error_hides_its_traceback(failing, capsys) -> None:
    failing(TypeError("not\nthis"))
    assert main(["fail"]) == 1
    assert capsys.readouterr().err == "error: unexpected TypeError: not this; run again with -v for the traceback\n"


@pytest.mark.parametrize("words", [["-v", "fail"], ["--verbose", "fail"], ["fail", "-v"], ["fail", "--verbose"]])
def test_verbose_shows_the_traceback(failing, capsys, words: list[str]) -> None:
    failing(TypeError("not this"))
    assert main(words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("error: unexpected TypeError: not this")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interruption(failing, capsys, error: BaseException) -> None:
    failing(error)
    assert main(["fail"]) == 130
    assert capsys.readouterr().err == "interrupted; run the same command again to resume\n"


def test_full_disk(failing, capsys) -> None:
    failing(OSError(28, "No space left on device", "records/1.json"))
    assert main(["fail"]) == 1
    assert capsys.readouterr().err == (
        "error: no space left on device while writing records/1.json; free some space and run the same command again\n"
    )


def test_other_system_errors_are_not_taken_for_a_full_disk(failing, capsys) -> None:
    failing(PermissionError(13, "Permission denied", "records/1.json"))
    assert main(["fail"]) == 1
    assert "unexpected PermissionError" in capsys.readouterr().err


@pytest.mark.parametrize(("raised", "code"), [(SystemExit(3), 3), (SystemExit(), 0), (click.exceptions.Exit(4), 4)])
def test_exit_codes_of_subcommands(failing, raised: BaseException, code: int) -> None:
    failing(raised)
    assert main(["fail"]) == code


def test_unknown_command_and_option(capsys) -> None:
    assert main(["shwo"]) == 2
    assert capsys.readouterr().err == "error: unknown command 'shwo'; did you mean 'show'?\n"
    assert main(["list", "--jsn"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: No such option")
    assert error.endswith("try 'metabench list --help'\n")
    assert error.count("\n") == 1


def test_no_command_shows_the_help_and_fails(capsys) -> None:
    assert main([]) == 2
    assert "Commands:" in "".join(capsys.readouterr())


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("metabench ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there(capsys, name: str) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"Usage: metabench {name}" in out
    assert COMMANDS[name][1]


def test_help_imports_no_subcommand_and_nothing_heavy(command: Command) -> None:
    code = (
        "import sys; from metabench.cli.main import main; assert main(['--help']) == 0;"
        f"print('LOADED', [name for name in {(*HEAVY, 'pluggy')!r} if name in sys.modules],"
        "[name for name in sys.modules if name.startswith(('metabench.cli.', 'toy_'))])"
    )
    done = command(code=code)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "LOADED [] ['metabench.cli.main']"
    for name, (_, line) in COMMANDS.items():
        assert any(name in row and line in row for row in done.stdout.splitlines())


def test_list_imports_nothing_heavy(command: Command) -> None:
    heavy = ("torch", "pandas", "scipy", "rich", "PIL")
    code = (
        "import sys; from metabench.cli.main import main; assert main(['list']) == 0;"
        f"print('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = command(code=code)
    assert "toy-median" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_broken_plugins_do_not_show_on_help(command: Command) -> None:
    done = command("--help")
    assert done.returncode == 0
    assert done.stderr == ""


def test_closed_pipe_is_quiet() -> None:
    code = "import sys; from metabench.cli.main import entry; entry()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert error == b""
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_behind_stdout() -> None:
    code = "from metabench.cli.main import entry; entry()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == "error: no space left on device; free some space and run the same command again\n"
    assert done.returncode == 1


@pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP there")
@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
)
def test_threads_of_torch_do_not_spin_for_long_unless_the_user_says_so(given: dict[str, str], expected: str) -> None:
    code = (
        "import sys; sys.argv[1:] = ['--version']; from metabench.cli.main import entry\n"
        "try: entry()\nfinally: import torch"
    )
    env = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**env, **given, "OMP_DISPLAY_ENV": "verbose"}, capture_output=True, text=True
    )
    assert f"GOMP_SPINCOUNT = '{expected}'" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion_script(shell: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("_METABENCH_COMPLETE", f"{shell}_source")
    assert main([]) == 0
    out = capsys.readouterr().out
    assert f"_METABENCH_COMPLETE={shell}_complete" in out and "Usage:" not in out


@pytest.mark.parametrize(
    ("words", "found"), [("metabench r", "run"), ("metabench run --che", "--checkpoint"), ("metabench zzz --a", "")]
)
def test_words_are_completed(words: str, found: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("_METABENCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    main([])
    out, err = capsys.readouterr()
    assert (f"plain,{found}\n" in out) if found else not out
    assert not err


def test_an_unknown_shell_is_refused(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("_METABENCH_COMPLETE", "nosh_source")
    assert main([]) == 2
    assert "use bash_source, zsh_source or fish_source" in capsys.readouterr().err


def test_what_an_option_takes_has_the_same_name_in_every_command() -> None:
    page = command_line_page()
    takes: dict[str, set[str]] = {}
    for option, what in re.findall(r"^- `(?:-\w, )?(--[\w-]+) ([^`]+)`: ", page, re.MULTILINE):
        takes.setdefault(option, set()).add(what)
    for option in ("--home", "--data", "--dir", "--from", "--support"):
        assert takes[option] == {"DIR"}
    for option in ("--checkpoint", "--csv", "--jsonl", "--parquet", "--out"):
        assert takes[option] == {"FILE"}
    assert takes["--device"] == {"DEVICE"}
    assert takes["--protocol"] == takes["--train-dataset"] == {"NAME"}
    names = set().union(*takes.values())
    assert not names & {"TEXT", "PATH", "FILENAME", "DIRECTORY"}
