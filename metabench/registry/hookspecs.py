"""The hooks that a plugin may implement; ``metabench.api.hookimpl`` marks an implementation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import pluggy

from metabench.registry.specs import AlgorithmSpec, BackboneSpec, DatasetSpec, ProtocolSpec


class FinishedRun(Protocol):
    """A finished run as plugins are given it: a `metabench.api.Record`, whose schema is built on this package."""

    @property
    def key(self) -> str:
        """SHA-256 of the inputs of the run."""

    @property
    def status(self) -> str:
        """``ok``, ``failed``, ``skipped`` or ``interrupted``."""


hookspec = pluggy.HookspecMarker("metabench")


@hookspec
def metabench_algorithms() -> Iterable[AlgorithmSpec]:  # type: ignore[empty-body]
    """Return the algorithms this plugin provides."""


@hookspec
def metabench_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Return the datasets this plugin provides."""


@hookspec
def metabench_backbones() -> Iterable[BackboneSpec]:  # type: ignore[empty-body]
    """Return the backbones this plugin provides."""


@hookspec
def metabench_protocols() -> Iterable[ProtocolSpec]:  # type: ignore[empty-body]
    """Return the episode protocols this plugin provides."""


@hookspec
def metabench_suites() -> Iterable[str | Path]:  # type: ignore[empty-body]
    """Return the TOML files of the suites this plugin provides."""


@hookspec
def metabench_run_finished(record: FinishedRun, path: str) -> None:
    """Observe a finished run: its `metabench.api.Record` and the path where it is stored. Cannot change a score."""
