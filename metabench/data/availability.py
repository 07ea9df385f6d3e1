"""Status of a dataset on this machine, determined without decoding anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from metabench.data.loader_context import DataContext
from metabench.data.split_checks import valid_split
from metabench.errors import MetabenchError, MissingError
from metabench.registry.loader import one_line
from metabench.registry.params import Value
from metabench.registry.registry import availability, load_target
from metabench.registry.specs import DatasetSpec
from metabench.utils.home import Home

Presence = Literal["built in", "prepared", "not prepared", "downloadable", "missing", "unavailable", "broken"]
USABLE: tuple[Presence, ...] = ("built in", "prepared", "not prepared", "downloadable")


@dataclass(frozen=True)
class DatasetStatus:
    """Status of a dataset on this machine.

    Attributes:
        presence: ``not prepared`` where the official files are there; ``downloadable`` where they are not, and are
            fetched at the first use; ``unavailable`` where a package is missing.
        detail: what is wrong, and what to do, or what is downloaded; empty if nothing is.
    """

    presence: Presence
    detail: str = ""


class _Preparing(Exception):
    """A dataset has found its files and begins to decode them."""


def dataset_status(
    spec: DatasetSpec, params: Mapping[str, Value], home: Home, allow_download: bool = True
) -> DatasetStatus:
    """Return whether a dataset can be used: its loader begins to load every split, and is stopped when it decodes.

    Nothing is downloaded; `allow_download` says whether that would be done where files are missing.
    """
    if reason := availability(spec):
        return DatasetStatus("unavailable", reason)
    if not spec.download:
        return DatasetStatus("built in")
    cache, wanted = home.dataset_cache(spec.cache_name), list[str]()
    context = DataContext(cache, home.sources, allow_download=False, progress=_stop, wants=wanted.append)
    try:
        dataset = load_target(spec)(**params)
        for split in dataset.splits(context) if hasattr(dataset, "splits") else spec.splits:
            valid_split(dataset.load(split, context), split, spec.name, spec, params, dataset)
    except _Preparing:
        return DatasetStatus("not prepared")
    except MissingError as error:
        if wanted and allow_download:
            return DatasetStatus("downloadable", f"{' and '.join(dict.fromkeys(wanted))} will be downloaded")
        return DatasetStatus("missing", str(error))
    except Exception as error:  # a dataset is a plugin: whatever it raises is one line here
        return DatasetStatus("broken", str(error) if isinstance(error, MetabenchError) else one_line(error))
    return DatasetStatus("prepared")


def _stop(text: str, done: int, total: int) -> None:
    raise _Preparing
