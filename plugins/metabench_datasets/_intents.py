"""Intent datasets: their classes and the roles of these, and reading and verifying their files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from metabench.api import TABLE_BYTES, Declared, MetabenchError, OfficialFile, SplitSize, parse_json, read_bounded

ROLES = {"train": "r", "val": "v", "test": "t"}
"""Split to the letter that stands for it in the list of classes."""
FOLDS = 5
AGAIN = "get the official file again"


@dataclass(frozen=True)
class IntentClass:
    """A class: its name, how many sentences it has, and the letter of its role (see `ROLES`) in each class split."""

    name: str
    sentences: int
    roles: str


@dataclass(frozen=True)
class IntentSource:
    """Description of an intent dataset; tests use a small one.

    Attributes:
        file: the copy that came with the class splits, which is what we download.
        names: names of files with these sentences, with a folder where the name alone says too little.
        folders: where they may lie in a user's folder.
        classes: sorted by name.
        length: bytes of the longest sentence.
        content: SHA-256 of the sentences, see `content_digest`.
    """

    file: OfficialFile
    names: tuple[str, ...]
    folders: tuple[str, ...]
    classes: tuple[IntentClass, ...]
    length: int
    content: str

    def split(self, split: str, fold: int) -> tuple[IntentClass, ...]:
        """Return the classes of ``train``, ``val`` or ``test`` in class split `fold` (from 1), in order."""
        return tuple(c for c in self.classes if c.roles[fold - 1] == ROLES[split])


@cache
def intent_classes(dataset: str) -> tuple[IntentClass, ...]:
    """Return the classes of a published dataset, sorted by name, from the list in this package."""
    text = (resources.files("metabench_datasets") / "data/intents.txt").read_text("utf-8")
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return tuple(IntentClass(name, int(count), roles) for owner, name, count, roles in rows if owner == dataset)


def declared_folds(dataset: str, source: IntentSource) -> list[Declared]:
    """Return sizes, digests and shared sentences of each class split of a published dataset, from the first on."""
    text = (resources.files("metabench_datasets") / "data/intent_digests.txt").read_text("utf-8")
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    folds = []
    for fold, (*digests, shared) in ((int(fold), rest) for owner, fold, *rest in rows if owner == dataset):
        classes = {split: source.split(split, fold) for split in ROLES}
        sizes = {split: SplitSize(len(own), sum(c.sentences for c in own)) for split, own in classes.items()}
        images = () if shared == "-" else tuple(shared.split(","))
        folds.append(Declared(sizes, dict(zip(ROLES, digests, strict=True)), images))
    return folds


def read_intents(path: Path, source: IntentSource) -> dict[str, list[str]]:
    """Return the sentences of every class, sorted by their bytes, and verify them.

    Args:
        path: JSON lines with ``label`` and ``sentence`` (the copy with the class splits), or one JSON document of
            lists of [sentence, label] (CLINC150 as its authors publish it; its out-of-scope lists are left out).

    Raises:
        MetabenchError: wrong encoding, a malformed line, a class without sentences, other sentences than published.
    """
    pairs = _json_lines(path) if path.suffix == ".jsonl" else _json_lists(path)
    sentences: dict[str, list[str]] = {item.name: [] for item in source.classes}
    for where, label, sentence in pairs:
        if label not in sentences:
            raise MetabenchError(f"{where}: there is no class {label!r} in this dataset; {AGAIN}")
        sentences[label].append(sentence)
    for item in source.classes:
        if (count := len(sentences[item.name])) != item.sentences:
            has = f"has {count} sentences instead of {item.sentences}" if count else "has no sentences"
            raise MetabenchError(f"{path}: class {item.name!r} {has}; {AGAIN}")
    for texts in sentences.values():
        texts.sort(key=str.encode)
    if (actual := content_digest(sentences)) != source.content:
        raise MetabenchError(
            f"{path}: the sentences are not the published ones (digest {actual[:12]}, expected "
            f"{source.content[:12]}); {AGAIN}"
        )
    return sentences


def content_digest(sentences: Mapping[str, list[str]]) -> str:
    """Return the SHA-256 of all (class, sentence) pairs in the order of their bytes, whatever the file's is."""
    digest = hashlib.sha256()
    for label, text in sorted((label.encode(), text.encode()) for label, texts in sentences.items() for text in texts):
        digest.update(label + b"\0" + text + b"\n")
    return digest.hexdigest()


def _json_lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (where it stands, label, sentence) of a file of JSON lines."""
    for number, line in enumerate(read_bounded(path, TABLE_BYTES).splitlines(), 1):
        where = f"{path}, line {number}"
        try:
            row = parse_json(_utf8(line, where))
        except ValueError as error:
            raise MetabenchError(f"{where}: not JSON ({_reason(error)}); {AGAIN}") from None
        if not isinstance(row, dict):
            raise MetabenchError(f"{where}: not an object with label and sentence; {AGAIN}")
        yield where, *_pair(row.get("sentence"), row.get("label"), where)


def _json_lists(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (where it stands, label, sentence) of a JSON document of lists of [sentence, label]."""
    lines = read_bounded(path, TABLE_BYTES).split(b"\n")
    text = "\n".join(_utf8(line, f"{path}, line {number}") for number, line in enumerate(lines, 1))
    try:
        document = parse_json(text)
    except ValueError as error:
        raise MetabenchError(f"{path}: not JSON ({_reason(error)}); {AGAIN}") from None
    lists = document.items() if isinstance(document, dict) else ()
    for name, rows in lists:
        for number, row in enumerate(rows if isinstance(rows, list) else [None], 1):
            where = f"{path}, {name!r}, item {number}"
            if not (isinstance(row, list) and len(row) == 2):
                raise MetabenchError(f"{where}: not a pair of sentence and label; {AGAIN}")
            if not name.startswith("oos"):
                yield where, *_pair(row[0], row[1], where)


def _pair(sentence: Any, label: Any, where: str) -> tuple[str, str]:
    """Return (label, sentence) if both are text, and neither is empty."""
    for name, value in (("sentence", sentence), ("label", label)):
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise MetabenchError(f"{where}: its {name} is missing or no text; {AGAIN}")
    return label, sentence


def _utf8(line: bytes, where: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise MetabenchError(f"{where}: not UTF-8 (byte 0x{byte:02x} at {error.start + 1}); {AGAIN}") from None


def _reason(error: ValueError) -> str:
    return str(error).replace("\n", " ")
