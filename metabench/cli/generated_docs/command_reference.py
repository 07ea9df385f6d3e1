"""Write the reference page of the command line from the commands themselves.

``python -m metabench.cli.generated_docs.command_reference > docs/cli.md`` writes it anew; a test compares.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from metabench.cli.main import COMMANDS, cli

_HEAD = """# Command line

Results go to stdout, progress and warnings to stderr. Exit codes: 0 done, 1 something failed or is stale, 2 usage,
3 something needed is missing, 4 nothing was measured, 130 interrupted (the same command again goes on).

`eval "$(_METABENCH_COMPLETE=bash_source metabench)"` completes commands and options in bash; `zsh_source`
and `fish_source` are for other shells.

Every command also takes `--help` (`-h`), `--verbose` (`-v`, the traceback of an error) and `--plugin FILE.py`, as often
as wanted, which uses a plugin that is not installed; its runs are local and not for leaderboards.
"""
_EVERYWHERE = {"--help", "--verbose", "--plugin"}


def command_line_page() -> str:
    """Return the page, Markdown."""
    root = click.Context(cli, info_name="metabench")
    return "\n".join([_HEAD, *(section for name in COMMANDS for section in _sections(name, root))])


def _sections(name: str, above: click.Context) -> Iterator[str]:
    """Yield the section of a command, then those of its subcommands."""
    assert isinstance(above.command, click.Group)
    command = above.command.get_command(above, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=above)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    heading = "##" if above.parent is None else "###"
    options = "".join(f"- `{flags}`: {meaning}\n" for flags, meaning in _options(command, context))
    prose = inspect.cleandoc(command.help or "")
    yield f"{heading} {context.command_path}\n\n```text\n{usage}\n```\n\n{prose}\n" + (options and f"\n{options}")
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            yield from _sections(child, context)


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield the flags and the meaning of each option that is the command's own."""
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and not _EVERYWHERE.intersection(parameter.opts):
            yield record[0], re.sub(r"[*_<`]", r"\\\g<0>", " ".join(record[1].split()))


if __name__ == "__main__":
    click.echo(command_line_page(), nl=False)
