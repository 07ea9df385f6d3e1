"""Everything a plugin author imports: for plugins, their tests and notebooks.

Each name is imported from its module when it is first used, so that listing a plugin loads no torch, NumPy or pandas.
A name that is not here may change at any time. The imports below are for type checkers and editors, and are the one
list of names: `_MODULES` is read from this file.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

hookimpl = pluggy.HookimplMarker("metabench")
"""Marks a function as an implementation of a hook."""

if TYPE_CHECKING:  # declaring a plugin
    from metabench.records.schema import Record as Record
    from metabench.registry.metric import Metric as Metric
    from metabench.registry.params import Param as Param
    from metabench.registry.params import Value as Value
    from metabench.registry.specs import SAME_CLASSES as SAME_CLASSES
    from metabench.registry.specs import AlgorithmSpec as AlgorithmSpec
    from metabench.registry.specs import BackboneSpec as BackboneSpec
    from metabench.registry.specs import DatasetSpec as DatasetSpec
    from metabench.registry.specs import Declared as Declared
    from metabench.registry.specs import Exempt as Exempt
    from metabench.registry.specs import KnownCopy as KnownCopy
    from metabench.registry.specs import ProtocolSpec as ProtocolSpec
    from metabench.registry.specs import SplitSize as SplitSize
    from metabench.registry.stage import Chain as Chain
    from metabench.registry.stage import Stage as Stage

if TYPE_CHECKING:  # errors and their messages
    from metabench.data.resumable_array import first_three as first_three
    from metabench.errors import MetabenchError as MetabenchError
    from metabench.errors import MissingError as MissingError
    from metabench.errors import UsageError as UsageError
    from metabench.errors import did_you_mean as did_you_mean
    from metabench.utils.text import pluralise as pluralise

if TYPE_CHECKING:  # algorithms and backbones
    from metabench.models.adaptive import TaskAdaptiveAlgorithm as TaskAdaptiveAlgorithm
    from metabench.models.adaptive import Weights as Weights
    from metabench.models.adaptive import gradient_step as gradient_step
    from metabench.models.adaptive import gradients as gradients
    from metabench.models.adaptive import require_at_least as require_at_least
    from metabench.models.episode import Episode as Episode
    from metabench.models.interfaces import Backbone as Backbone
    from metabench.models.interfaces import FeatureHead as FeatureHead
    from metabench.models.interfaces import decode_numbers as decode_numbers
    from metabench.models.interfaces import normalise as normalise
    from metabench.models.interfaces import objective as objective
    from metabench.models.prototypes import distances_to_means as distances_to_means
    from metabench.models.prototypes import prototypes as prototypes
    from metabench.models.prototypes import squared_distances as squared_distances
    from metabench.models.solvers.conjugate_gradient import conjugate_gradient as conjugate_gradient
    from metabench.models.solvers.crammer_singer import crammer_singer as crammer_singer
    from metabench.models.solvers.logistic_regression import logistic_regression as logistic_regression
    from metabench.models.solvers.ridge_regression import ridge_regression as ridge_regression
    from metabench.models.task_context import training_episode as training_episode
    from metabench.models.task_norm import TaskNorm as TaskNorm
    from metabench.models.task_norm import collect_statistics as collect_statistics

if TYPE_CHECKING:  # protocols: how episodes are drawn
    from metabench.data.joint_split import JointSplit as JointSplit
    from metabench.data.paired_split import PairedSplit as PairedSplit
    from metabench.data.split import RowIndices as RowIndices
    from metabench.episodes.batch import EpisodeBatch as EpisodeBatch
    from metabench.episodes.protocols import DisjointProtocol as DisjointProtocol
    from metabench.episodes.protocols import EpisodeProtocol as EpisodeProtocol
    from metabench.episodes.protocols import GroupedProtocol as GroupedProtocol
    from metabench.episodes.protocols import ListedProtocol as ListedProtocol
    from metabench.episodes.protocols import ValuedProtocol as ValuedProtocol
    from metabench.utils.random_streams import Stream as Stream
    from metabench.utils.random_streams import choose as choose
    from metabench.utils.random_streams import integers_below as integers_below
    from metabench.utils.random_streams import unit_floats as unit_floats

if TYPE_CHECKING:  # datasets: a split and its digests
    from metabench.data.encoded_sentences import decode_texts as decode_texts
    from metabench.data.encoded_sentences import encode_texts as encode_texts
    from metabench.data.loader_context import DataContext as DataContext
    from metabench.data.split import ClassSplit as ClassSplit
    from metabench.data.split import image_digest as image_digest
    from metabench.data.split import merge_splits as merge_splits
    from metabench.data.split import split_digest as split_digest
    from metabench.utils.hashing import content_key as content_key
    from metabench.utils.hashing import file_sha256 as file_sha256

if TYPE_CHECKING:  # datasets: official files, archives and pickles
    from metabench.data.archive_reader import ArchiveReader as ArchiveReader
    from metabench.data.archives import open_archive as open_archive
    from metabench.data.downloads import OfficialFile as OfficialFile
    from metabench.data.downloads import download_folder as download_folder
    from metabench.data.downloads import download_if_allowed as download_if_allowed
    from metabench.data.downloads import find_source as find_source
    from metabench.data.pickled_values import LazyBytes as LazyBytes
    from metabench.data.pickled_values import PickledArray as PickledArray
    from metabench.data.pickled_values import PickledBytes as PickledBytes
    from metabench.data.restricted_pickle import open_pickle as open_pickle
    from metabench.data.restricted_pickle import read_pickle as read_pickle

if TYPE_CHECKING:  # datasets: images
    from metabench.data.bit_depth import BitDepth as BitDepth
    from metabench.data.bit_depth import measure_depth as measure_depth
    from metabench.data.image_arrays import FileReader as FileReader
    from metabench.data.image_arrays import ImageDecoder as ImageDecoder
    from metabench.data.image_arrays import ImageSource as ImageSource
    from metabench.data.image_arrays import cached_images as cached_images
    from metabench.data.image_arrays import quiet_decoders as quiet_decoders
    from metabench.data.image_decoding import COLOUR_MODES as COLOUR_MODES
    from metabench.data.image_decoding import FIT_MODES as FIT_MODES
    from metabench.data.image_decoding import ImageFileDecoder as ImageFileDecoder
    from metabench.data.image_decoding import ImagePreprocessing as ImagePreprocessing
    from metabench.data.image_folders import ClassFiles as ClassFiles
    from metabench.data.image_folders import require_images as require_images
    from metabench.data.label_tables import read_layout as read_layout
    from metabench.data.label_tables import read_split_names as read_split_names
    from metabench.data.skipped_files import SkippedFiles as SkippedFiles
    from metabench.data.skipped_files import UnreadFiles as UnreadFiles

if TYPE_CHECKING:  # datasets: prepared arrays and files
    from metabench.data.array_cache import cached_array as cached_array
    from metabench.data.array_cache import open_array as open_array
    from metabench.data.prepared_copies import FINGERPRINT_LENGTH as FINGERPRINT_LENGTH
    from metabench.data.prepared_copies import PreparedCopies as PreparedCopies
    from metabench.data.resumable_array import cached_rows as cached_rows
    from metabench.utils.atomic_files import replacing as replacing
    from metabench.utils.atomic_files import write_atomic as write_atomic
    from metabench.utils.bounded_files import TABLE_BYTES as TABLE_BYTES
    from metabench.utils.bounded_files import parse_json as parse_json
    from metabench.utils.bounded_files import read_bounded as read_bounded
    from metabench.utils.bounded_files import read_cached_json as read_cached_json
    from metabench.utils.paths import is_folder as is_folder
    from metabench.utils.paths import path_exists as path_exists

if TYPE_CHECKING:  # the conformance kit
    from metabench.testing.checks.algorithm import AlgorithmConformance as AlgorithmConformance
    from metabench.testing.checks.backbone import BackboneConformance as BackboneConformance
    from metabench.testing.checks.dataset import DatasetConformance as DatasetConformance
    from metabench.testing.checks.protocol import ProtocolConformance as ProtocolConformance

_IMPORT = re.compile(r"^    from (\S+) import (\w+) as \2$", re.MULTILINE)
_MODULES = {name: module for module, name in _IMPORT.findall(Path(__file__).read_text("utf-8"))}
"""The module of every name that is imported above."""

__all__ = sorted(["hookimpl", *_MODULES])


def __dir__() -> list[str]:
    """Return the names that can be imported, loaded or not."""
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'metabench.api' has no attribute '{name}'")
    value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return value
