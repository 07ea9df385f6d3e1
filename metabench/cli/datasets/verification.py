"""Verification of a dataset: its digests, sizes, unreadable files and copies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from metabench.cli.datasets.class_splits import class_split_name
from metabench.cli.datasets.copy_findings import Copies, Item, find_copies
from metabench.data.split import ClassSplit, split_digest
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.execution.session import Session
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import UNKNOWN_COPY, DatasetSpec, Declared
from metabench.utils.console import Console
from metabench.utils.home import Home

_THIS_COMMAND = re.compile("; 'metabench datasets verify .*' lists all")
"""Remedy in an error about unreadable files that leads to this command."""
_COPIED = {"repeated": "within a class", "conflicting": "into another class", "shared": "into another split"}


@dataclass(frozen=True)
class SplitCheck:
    """Result of verifying one split, or one kind of copies or unread files.

    Attributes:
        dataset: name of the dataset, with the class split where it has several.
        split: name of the split, several joined by ``+``, or ``-`` for all.
        status: of a split ``ok``, ``known copy``, ``differs``, ``unverified`` (no digest known), ``missing``,
            ``broken``, or ``rejected`` (a folder of the user's that is not laid out as it must be); of files
            ``unreadable`` (cannot be decoded) or ``skipped`` (not tried); of copies their `CopyKind`.
        classes: number of classes.
        images: number of items; of copies their number, the first of each item not counted.
        digest, expected: SHA-256 of what was read, and as declared.
        detail: one line about the status.
        files: names of the unread files.
        copies: groups of equal items.
        failed: something must be corrected. Copies in data with a published digest, or listed by the spec, are no
            failure.
    """

    dataset: str
    split: str
    status: str
    classes: int = 0
    images: int = 0
    digest: str = ""
    expected: str = ""
    detail: str = ""
    files: tuple[str, ...] = ()
    copies: Sequence[Sequence[Item]] = ()
    failed: bool = False


def loaded_splits(dataset: ResolvedPlugin[DatasetSpec], session: Session) -> Iterator[tuple[str, ClassSplit]]:
    """Yield each split in turn, with progress on stderr."""
    for split in session.loader.splits(dataset):
        yield split, session.loader.split(dataset, split)


def verify_splits(dataset: ResolvedPlugin[DatasetSpec], folders: Home, title: str = "") -> Iterator[SplitCheck]:
    """Yield a check of each split and of the files that are not read.

    Data that are missing or broken are one check for the whole dataset.

    Args:
        dataset: one class split of it.
        folders: where its files are.
        title: its name in the checks, where its own means several datasets.
    """
    session, name = Session(folders, Console(), allow_download=False), title or class_split_name(dataset)
    try:
        splits, checks = {}, {}
        for split, loaded in loaded_splits(dataset, session):
            splits[split], checks[split] = loaded, _compared(dataset, name, split, loaded, folders)
            yield checks[split]
        names = {split: session.loader.item_names(dataset, split) for split in splits}
        for copies in find_copies(splits, names):
            yield _copies_check(dataset.spec, name, copies, checks)
    except MissingError as error:
        yield SplitCheck(name, "-", "missing", detail=str(error))
    except UsageError as error:
        yield SplitCheck(name, "-", "rejected", detail=str(error))
    except MetabenchError as error:
        yield SplitCheck(name, "-", "broken", detail=_THIS_COMMAND.sub("", str(error)), failed=True)
    yield from _unread(dataset, name, session)


def _unread(dataset: ResolvedPlugin[DatasetSpec], name: str, session: Session) -> Iterator[SplitCheck]:
    """Yield a check for each reason for which files of a dataset are not read."""
    try:
        for part in session.loader.unread(dataset):
            count = len(part.files)
            yield SplitCheck(name, part.split, part.status, images=count, detail=part.detail, files=part.files)
    except MetabenchError:  # reported by the check of the whole dataset
        return


def _copies_check(spec: DatasetSpec, name: str, copies: Copies, checks: Mapping[str, SplitCheck]) -> SplitCheck:
    """Return the check of copies; those in published data, or that the spec lists, are no failure."""
    where = "+".join(copies.splits)
    items = "texts" if spec.kind == "text" else spec.kind
    known = spec.known_shared({split: check.digest for split, check in checks.items()}) or ()
    unknown = [digest for digest in copies.digests if digest not in known]
    if copies.kind == "shared":
        failed = bool(unknown)
        note = f", {len(unknown)} of them not declared" if unknown else ", all of them declared"
    else:
        failed, note = not checks[where].expected and checks[where].status != "known copy", ""
    detail = f"{items} copied {_COPIED[copies.kind]}: {copies.count}{note}"
    return SplitCheck(name, where, copies.kind, images=copies.count, detail=detail, copies=copies.groups, failed=failed)


def _compared(
    dataset: ResolvedPlugin[DatasetSpec], name: str, split: str, loaded: ClassSplit, folders: Home
) -> SplitCheck:
    """Return the check of a split against the digest and sizes that its spec declares."""
    spec = dataset.spec
    declared = spec.declared(dataset.params) or Declared({}, {})
    digest, expected = split_digest(loaded), declared.digests.get(split, "")
    size = declared.sizes.get(split)
    classes, images = len(loaded.names), len(loaded.images)
    status, detail = ("ok", "") if expected else ("unverified", "the dataset declares no digest")
    if spec.copies and digest != expected:
        expected, detail = "", spec.copy_name(split, digest)
        status = "unverified" if detail == UNKNOWN_COPY else "known copy"
    wrong_size = size is not None and (size.classes, size.images) != (classes, images)
    if wrong_size or (expected and digest != expected):
        status, folder = "differs", folders.dataset_cache(spec.cache_name)
        remedy = f"move {folder} elsewhere and run again" if spec.download else "please report it to its author"
        detail = f"{name} {split} has digest {digest[:12]}, expected {expected[:12]}; {remedy}"
    return SplitCheck(name, split, status, classes, images, digest, expected, detail, failed=status == "differs")
