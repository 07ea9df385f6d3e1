"""The session that the runs of one command share."""

from __future__ import annotations

from metabench.data.dataset_loader import DatasetLoader
from metabench.execution.copy_counter import CopyCounter
from metabench.records.store import Store
from metabench.registry.registry import Registry, load_registry
from metabench.runtime.devices import check_device_name
from metabench.runtime.memory_budget import MemoryBudget
from metabench.utils.console import Console
from metabench.utils.home import Home


class Session:
    """Folders, reporting, device, plugins, records and data that runs share.

    Args:
        home: the user's folder.
        console: progress and warnings.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        rerun: measure again what the store already holds.
        allow_download: fetch missing data.
        max_memory: bytes that the process may take (on a GPU: the tensors there); 0: what the machine has.
        registry: the plugins; those that are installed where None.

    Attributes:
        store: the records.
        loader: loads datasets.
        copies: counts the copies among the items of a run.
        memory: what `max_memory` allows.

    Raises:
        UsageError: no device can have this name.
    """

    def __init__(
        self,
        home: Home,
        console: Console,
        device: str = "auto",
        *,
        rerun: bool = False,
        allow_download: bool = True,
        max_memory: int = 0,
        registry: Registry | None = None,
    ) -> None:
        check_device_name(device)  # even where nothing is left to measure
        home.ensure()
        self.home, self.console, self.device_name, self.rerun = home, console, device, rerun
        self.memory = MemoryBudget(max_memory)
        self.registry = registry or load_registry()
        self.store = Store(home.root, console.warn)
        self.loader = DatasetLoader(home, console, allow_download)
        self.copies = CopyCounter(self)
