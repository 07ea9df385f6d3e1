"""The command ``metabench``: imports the subcommand, and reports any error in one line."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from metabench.errors import MetabenchError, UsageError, did_you_mean

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("metabench.cli.run:run_command", "Measure algorithms on few-shot episodes."),
    "sweep": ("metabench.cli.sweep:sweep_command", "Choose parameters on the validation classes."),
    "suites": ("metabench.cli.suites:suites_command", "List the suites, or show what one measures."),
    "predict": ("metabench.cli.predict:predict_command", "Label new images from a few examples."),
    "compare": ("metabench.cli.compare:compare_command", "Compare runs: is one better than another?"),
    "curve": ("metabench.cli.curve:curve_command", "Show accuracy by number of shots."),
    "worst": ("metabench.cli.worst:worst_command", "Show a run's worst episodes, classes and confusions."),
    "list": ("metabench.cli.list:list_command", "List what is installed, or the runs that are stored."),
    "show": ("metabench.cli.show:show_command", "Show one plugin or one stored run in full."),
    "plugins": ("metabench.cli.list:plugins_command", "List the installed plugins and what is wrong with them."),
    "doctor": ("metabench.cli.doctor:doctor_command", "Check the installation, the home folder and the data."),
    "new": ("metabench.cli.new:new_command", "Write the first file of a plugin, or a package."),
    "check": ("metabench.cli.check:check_command", "Check that plugins keep the rules."),
    "datasets": ("metabench.cli.datasets:datasets_group", "Get, prepare and check datasets."),
    "reproduce": ("metabench.cli.reproduce:reproduce_command", "Replay a record's episodes and compare the answers."),
    "export": ("metabench.cli.export:export_command", "Write results as CSV, JSON lines or Parquet."),
    "leaderboard": ("metabench.cli.leaderboard:leaderboard_group", "Build and check leaderboards from records."),
}
"""Subcommand to its function and one line about it: ``--help`` imports none of them."""
INTERRUPTED = 130
_COMPLETE = "_METABENCH_COMPLETE"
PLUGIN_FILES = "metabench.plugin_files"
"""Key of plugin files in `click.Context.meta`, which all contexts of one command line share."""


def _set_verbose(context: click.Context, _: click.Parameter, value: bool) -> None:
    """Set ``-v`` for the whole command line, wherever it is written."""
    root = context.find_root()
    if value and root is not context:
        root.params["verbose"] = True


def _add_plugins(context: click.Context, _: click.Parameter, value: tuple[Path, ...]) -> None:
    """Collect plugin files from anywhere on the command line; `cli.plugin_option` reads them."""
    context.meta.setdefault(PLUGIN_FILES, []).extend(value)


def _plugin_option() -> click.Option:
    return click.Option(
        ["--plugin"], multiple=True, type=click.Path(path_type=Path), metavar="FILE.py", expose_value=False,
        callback=_add_plugins, help="Also use the plugin in this file; its runs are local, not for leaderboards.",
    )  # fmt: skip


def _accept_everywhere(command: click.Command) -> None:
    """Add ``-v`` and ``--plugin`` to a subcommand and its children."""
    if not any("-v" in param.opts for param in command.params):
        command.params.append(
            click.Option(
                ["-v", "--verbose"], is_flag=True, expose_value=False, callback=_set_verbose,
                help="Show the traceback of an error.",
            )
        )  # fmt: skip
    if not any("--plugin" in param.opts for param in command.params):
        command.params.append(_plugin_option())
    for child in getattr(command, "commands", {}).values():
        _accept_everywhere(child)


class LazyGroup(click.Group):
    """A command group that imports a subcommand when it is called, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Import a subcommand; raise UsageError with a suggestion for an unknown name."""
        if cmd_name not in COMMANDS:
            raise UsageError(f"unknown command '{cmd_name}'{did_you_mean(cmd_name, COMMANDS)}")
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        _accept_everywhere(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="metabench", message="metabench %(version)s")
def cli(verbose: bool) -> None:
    """Few-shot and meta-learning benchmarks whose numbers can be checked."""


cli.params.append(_plugin_option())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by default that of this process) and return its exit code.

    0 done; 1 something failed; 2 usage; 3 something needed is missing; 4 nothing measured; 130 interrupted.
    """
    context: click.Context | None = None
    try:
        code = 0
        try:
            _complete_in_shell()
            context = cli.make_context("metabench", list(sys.argv[1:] if argv is None else argv))
            with context:
                cli.invoke(context)
        except click.exceptions.Exit as stop:
            code = stop.exit_code
        sys.stdout.flush()  # so that a closed pipe or a full disk shows here
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:
        code = 1  # the reader has closed the pipe, as `head` does
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; run the same command again to resume", err=True)
        code = INTERRUPTED
    except Exception as error:
        code = _report(error, verbose=bool(context and context.params.get("verbose")))
    _settle_stdout()
    return code


def _complete_in_shell() -> None:
    """Answer a shell that asks for its completion script, or for words, in ``_METABENCH_COMPLETE``; then exit."""
    if instruction := os.environ.get(_COMPLETE):
        from click.shell_completion import shell_complete

        with suppress(MetabenchError):  # wrong words have no completion
            if not shell_complete(cli, {}, "metabench", _COMPLETE, instruction):
                raise click.exceptions.Exit(0)
            wanted = "bash_source, zsh_source or fish_source"
            click.echo(f"error: cannot complete with {_COMPLETE}={instruction}: use {wanted}", err=True)
        raise click.exceptions.Exit(2)


def entry() -> None:
    """Run the console script."""
    _wait_briefly()
    code = main()
    gc.freeze()  # what is left is not collected once more on the way out: with torch loaded that takes a second
    sys.exit(code)


def _wait_briefly() -> None:
    """Make waiting threads sleep soon: those of torch spin for milliseconds, on cores that others could use.

    Without it, training beside other work on all cores takes 1.4 times as long; alone it is as quick. It has an effect
    only before torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _report(error: Exception, verbose: bool) -> int:
    """Write one line about `error` to stderr and return the exit code."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()  # type: ignore[attr-defined]  # the message is the help, click >= 8.2
        return 2
    if verbose:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    code, line = _explain(error)
    click.echo(f"error: {' '.join(line.split())}", err=True)
    return code


def _explain(error: Exception) -> tuple[int, str]:
    if isinstance(error, MetabenchError):
        return error.exit_code, str(error)
    if isinstance(error, click.ClickException):
        context: Any = getattr(error, "ctx", None)
        hint = f"; try '{context.command_path} --help'" if context else ""
        return error.exit_code, error.format_message().rstrip(".") + hint
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" while writing {error.filename}" if error.filename else ""
        return 1, f"no space left on device{where}; free some space and run the same command again"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return 2, f"cannot use {error.filename2 or error.filename}: the name is too long. Give a shorter path"
    return 1, f"unexpected {type(error).__name__}: {error}; run again with -v for the traceback"


def _settle_stdout() -> None:
    """Drop output that cannot be written: the interpreter would report it once more when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
