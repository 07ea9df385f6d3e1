"""Registry of this command line: the installed plugins, and the files given with ``--plugin``."""

from __future__ import annotations

from pathlib import Path

import click

from metabench.cli.main import PLUGIN_FILES
from metabench.registry.registry import Registry, load_registry


def current_registry() -> Registry:
    """Return the registry of the running command.

    Raises:
        UsageError, MissingError: a file of ``--plugin`` cannot be used.
    """
    return load_registry(plugin_files())


def plugin_files() -> tuple[Path, ...]:
    """Return the files given with ``--plugin``."""
    return tuple(click.get_current_context().meta.get(PLUGIN_FILES, ()))
