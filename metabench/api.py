"""What a plugin author imports: the one door to metabench for plugins, their tests and notebooks.

Importing it loads no torch: each name is imported from its module when it is first asked for, so that a plugin that
only declares itself is listed in no time. A name that is not here may change at any time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from metabench.data.archives import Members, open_members
    from metabench.data.array_cache import cached_array, open_array
    from metabench.data.bit_depth import Depth, measure_depth
    from metabench.data.context import DataContext
    from metabench.data.downloads import OfficialFile, downloads, find, obtain
    from metabench.data.image_arrays import Files, ImageForm, cached_images, quiet_decoders
    from metabench.data.image_decoding import COLOURS, FITS, Decoder, Form
    from metabench.data.image_folders import Classes, require_images
    from metabench.data.joint_split import JointSplit
    from metabench.data.label_tables import read_layout, read_split_names
    from metabench.data.paired_split import PairedSplit
    from metabench.data.prepared_copies import MARK, Prepared
    from metabench.data.restricted_pickle import Bytes, PickledArray, Raw, open_pickle, read_pickle
    from metabench.data.resumable_array import cached_rows, first_three
    from metabench.data.skipped_files import Skipped, Unread
    from metabench.data.split import ClassSplit, Rows, image_digest, merge, split_digest
    from metabench.data.text import decode_texts, encode_texts
    from metabench.episodes.batch import EpisodeBatch
    from metabench.episodes.protocols import (
        DisjointProtocol,
        EpisodeProtocol,
        GroupedProtocol,
        ListedProtocol,
        ValuedProtocol,
    )
    from metabench.errors import MetabenchError, MissingError, UsageError, did_you_mean
    from metabench.models.adaptive import Params, TaskAdaptiveAlgorithm, at_least, descend, gradients
    from metabench.models.interfaces import Backbone, FeatureHead, normalise, numbers, objective
    from metabench.models.prototypes import distances_to_means, prototypes, squared_distances
    from metabench.models.task_context import training_episode
    from metabench.models.task_norm import TaskNorm, noting_statistics
    from metabench.records.schema import Record
    from metabench.registry.metric import Metric
    from metabench.registry.params import Param, Value
    from metabench.registry.recipe import Recipe
    from metabench.registry.specs import (
        SAME_CLASSES,
        AlgorithmSpec,
        BackboneSpec,
        DatasetSpec,
        Declared,
        Exempt,
        KnownCopy,
        ProtocolSpec,
        SplitSize,
    )
    from metabench.testing.checks.algorithm import AlgorithmConformance
    from metabench.testing.checks.backbone import BackboneConformance
    from metabench.testing.checks.dataset import DatasetConformance
    from metabench.testing.checks.protocol import ProtocolConformance
    from metabench.utils.atomic_files import write_atomic
    from metabench.utils.hashing import content_key, file_sha256
    from metabench.utils.paths import is_folder, is_there
    from metabench.utils.random_streams import Stream, below, choose, unit
    from metabench.utils.text import are, counted, have

hookimpl = pluggy.HookimplMarker("metabench")
"""Marks a function as an implementation of a hook."""

_MODULES = {
    # what plugins declare
    "registry.specs": (
        "AlgorithmSpec BackboneSpec DatasetSpec Declared Exempt KnownCopy ProtocolSpec SplitSize SAME_CLASSES"
    ),
    "registry.params": "Param Value",
    "registry.recipe": "Recipe",
    "records.schema": "Record",
    "registry.metric": "Metric",
    # errors
    "errors": "MetabenchError MissingError UsageError did_you_mean",
    # algorithms and backbones (torch)
    "models.interfaces": "Backbone FeatureHead normalise numbers objective",
    "models.prototypes": "distances_to_means prototypes squared_distances",
    "models.adaptive": "Params TaskAdaptiveAlgorithm at_least descend gradients",
    "models.task_context": "training_episode",
    "models.task_norm": "TaskNorm noting_statistics",
    # protocols
    "episodes.batch": "EpisodeBatch",
    "episodes.protocols": "DisjointProtocol EpisodeProtocol GroupedProtocol ListedProtocol ValuedProtocol",
    "utils.random_streams": "Stream below choose unit",
    "data.joint_split": "JointSplit",
    "data.paired_split": "PairedSplit",
    # data sets
    "data.split": "ClassSplit Rows image_digest merge split_digest",
    "data.context": "DataContext",
    "data.archives": "Members open_members",
    "data.array_cache": "cached_array open_array",
    "data.bit_depth": "Depth measure_depth",
    "data.downloads": "OfficialFile downloads find obtain",
    "data.image_arrays": "Files ImageForm cached_images quiet_decoders",
    "data.image_decoding": "COLOURS FITS Decoder Form",
    "data.image_folders": "Classes require_images",
    "data.label_tables": "read_layout read_split_names",
    "data.prepared_copies": "MARK Prepared",
    "data.restricted_pickle": "Bytes PickledArray Raw open_pickle read_pickle",
    "data.resumable_array": "cached_rows first_three",
    "data.skipped_files": "Skipped Unread",
    "data.text": "decode_texts encode_texts",
    "utils.atomic_files": "write_atomic",
    "utils.hashing": "content_key file_sha256",
    "utils.paths": "is_folder is_there",
    "utils.text": "are counted have",
    # the conformance kit
    "testing.checks.algorithm": "AlgorithmConformance",
    "testing.checks.backbone": "BackboneConformance",
    "testing.checks.dataset": "DatasetConformance",
    "testing.checks.protocol": "ProtocolConformance",
}
"""The module, below ``metabench``, of every name."""

_WHERE = {name: f"metabench.{module}" for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "COLOURS",
    "FITS",
    "MARK",
    "SAME_CLASSES",
    "AlgorithmConformance",
    "AlgorithmSpec",
    "Backbone",
    "BackboneConformance",
    "BackboneSpec",
    "Bytes",
    "ClassSplit",
    "Classes",
    "DataContext",
    "DatasetConformance",
    "DatasetSpec",
    "Declared",
    "Decoder",
    "Depth",
    "DisjointProtocol",
    "EpisodeBatch",
    "EpisodeProtocol",
    "Exempt",
    "FeatureHead",
    "Files",
    "Form",
    "GroupedProtocol",
    "ImageForm",
    "JointSplit",
    "KnownCopy",
    "ListedProtocol",
    "Members",
    "MetabenchError",
    "Metric",
    "MissingError",
    "OfficialFile",
    "PairedSplit",
    "Param",
    "Params",
    "PickledArray",
    "Prepared",
    "ProtocolConformance",
    "ProtocolSpec",
    "Raw",
    "Recipe",
    "Record",
    "Rows",
    "Skipped",
    "SplitSize",
    "Stream",
    "TaskAdaptiveAlgorithm",
    "TaskNorm",
    "Unread",
    "UsageError",
    "Value",
    "ValuedProtocol",
    "are",
    "at_least",
    "below",
    "cached_array",
    "cached_images",
    "cached_rows",
    "choose",
    "content_key",
    "counted",
    "decode_texts",
    "descend",
    "did_you_mean",
    "distances_to_means",
    "downloads",
    "encode_texts",
    "file_sha256",
    "find",
    "first_three",
    "gradients",
    "have",
    "hookimpl",
    "image_digest",
    "is_folder",
    "is_there",
    "measure_depth",
    "merge",
    "normalise",
    "noting_statistics",
    "numbers",
    "objective",
    "obtain",
    "open_array",
    "open_members",
    "open_pickle",
    "prototypes",
    "quiet_decoders",
    "read_layout",
    "read_pickle",
    "read_split_names",
    "require_images",
    "split_digest",
    "squared_distances",
    "training_episode",
    "unit",
    "write_atomic",
]


def __dir__() -> list[str]:
    """Show what is to be imported, whether it is loaded or not."""
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module 'metabench.api' has no attribute '{name}'")
    value = globals()[name] = getattr(importlib.import_module(_WHERE[name]), name)
    return value
