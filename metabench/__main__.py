"""``python -m metabench``."""

from metabench.cli.main import entry

entry()
