"""Intents of short sentences: CLINC150, BANKING77, HWU64 and Liu, with the five class splits of Dopierre et al. (2021).

The sentences are read from the copy that those authors published with their splits, or, CLINC150, from the file of its
own authors, which holds the same ones. BANKING77 as its authors publish it differs in the white space of 13 sentences.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metabench.api import (
    ClassSplit,
    DataContext,
    DatasetSpec,
    MissingError,
    OfficialFile,
    Param,
    UsageError,
    cached_array,
    download_folder,
    download_if_allowed,
    encode_texts,
    find_source,
)
from metabench_datasets._intents import FOLDS, ROLES, IntentSource, declared_folds, intent_classes, read_intents

URL = "https://raw.githubusercontent.com/tdopierre/ProtAugment/6352ababa740133708daed815666b5bf39850d98/data/"
_SPLITS = "class splits: Dopierre, Gravier & Logerais, ACL 2021"
_CLONES = ("", "data", "ProtAugment/data", "protaugment/data", "text/protaugment/data")
"""Places of the copy with the splits in a user's folder: by itself, or in a clone of its repository."""


def _source(
    name: str, folder: str, sha256: str, length: int, content: str, names: tuple[str, ...] = ()
) -> IntentSource:
    file = OfficialFile(f"{folder}/full.jsonl", (f"{URL}{folder}/full.jsonl",), f"sha256:{sha256}")
    folders = (*_CLONES, *(() if not names else ("oos-eval/data", "clinc150", "text/clinc150")))
    return IntentSource(file, (file.name, *names, "full.jsonl"), folders, intent_classes(name), length, content)


SOURCES = {
    "clinc150": _source(
        "clinc150",
        "OOS",
        "ae5573aa7fada6614862657b0d6aabcd9f33135f56c8cd8dd4aefab6bc8ccd26",
        136,
        "1124fbba2432084906d3094c1c3526a995b7c809d429f3950104f08eae21ccbe",
        ("data_full.json",),
    ),
    "banking77": _source(
        "banking77",
        "BANKING77",
        "2aef59a59888b66ebfd99a08e82a18f396a81c0430410938ef416a4bd5081b98",
        433,
        "388103626d6e3c5e59c7a35743c3bb1968989c2d7dc9b828a0247f5aef4bfd94",
    ),
    "hwu64": _source(
        "hwu64",
        "HWU64",
        "a4c337fc8d12a5b62715d80e6df3b51bea20d137da0a833e8eb584e90c429d13",
        133,
        "695731c552076e70591edd2537724f41744ff8c49c54b561b79c10871fa38d8b",
    ),
    "liu": _source(
        "liu",
        "Liu",
        "d4860503f63e87874c6b385e5e70bcc38d4d247f03a86d99047de7a182923b38",
        367,
        "91cb65ac0b960abb1bbb4313852ac69a5af14e5bbbeded441be09c0e8afb14e1",
    ),
}


def _spec(name: str, target: str, summary: str, reference: str, licence: str) -> DatasetSpec:
    source, (first, *others) = SOURCES[name], declared_folds(name, SOURCES[name])
    return DatasetSpec(
        name=name,
        version=1,
        target=f"metabench_datasets.intents:{target}",
        summary=summary,
        reference=f"{reference}; {_SPLITS}",
        licence=licence,
        params=(Param("fold", 1, "which of the five class splits", tuple(range(1, FOLDS + 1))),),
        kind="text",
        backbone="ngrams",
        image_shape=(source.length,),
        sizes=first.sizes,
        digests=first.digests,
        download=True,
        shared_images=first.shared_images,
        folds=dict(enumerate(others, 2)),
    )


SPECS = [
    _spec(
        "clinc150",
        "Clinc150",
        "150 intents of 10 domains of a voice assistant (OOS without its out-of-scope queries), 150 sentences each",
        "Larson et al., EMNLP 2019",
        "CC BY 3.0",
    ),
    _spec(
        "banking77",
        "Banking77",
        "77 intents of customers of one bank",
        "Casanueva et al., NLP4ConvAI 2020",
        "CC BY 4.0",
    ),
    _spec(
        "hwu64",
        "Hwu64",
        "64 intents of a home assistant in 21 domains",
        "Liu et al., IWSDS 2019, in the form of Casanueva et al., NLP4ConvAI 2020",
        "CC BY 4.0",
    ),
    _spec("liu", "Liu", "54 intents of a home assistant, very uneven classes", "Liu et al., IWSDS 2019", "CC BY 4.0"),
]


class Intents:
    """An intent dataset with one of its class splits.

    Args:
        fold: which class split, from 1.
        source: what it consists of; None is the published data.

    Raises:
        UsageError: there is no such class split.
    """

    name: ClassVar[str]

    def __init__(self, fold: int = 1, source: IntentSource | None = None) -> None:
        """Choose the class split; nothing is read yet."""
        if not 1 <= fold <= FOLDS:
            raise UsageError(f"{self.name}: fold must be 1 to {FOLDS}, not {fold}")
        self.fold, self.source = fold, source or SOURCES[self.name]

    def load(self, split: str, context: DataContext) -> ClassSplit:
        """Return a split, reading it on first use; later it opens as a memory map.

        Returns:
            uint8 (N, bytes of the longest sentence of the dataset), see `metabench.data.encoded_sentences`; classes by
            name, the sentences of a class by their bytes.

        Raises:
            MissingError: the file is neither here nor downloadable.
            MetabenchError: the file is damaged or holds other sentences than the published ones.
        """
        if split not in ROLES:
            raise UsageError(f"{self.name}: there is no split {split!r}; use {', '.join(ROLES)}")
        classes = self.source.split(split, self.fold)
        names = tuple(item.name for item in classes)
        starts = np.concatenate([[0], np.cumsum([item.sentences for item in classes], dtype=np.int64)])

        def build(out: NDArray[np.uint8]) -> None:
            path = self._find(context)
            context.progress(f"{split} split", 0, 1)
            sentences = read_intents(path, self.source)
            encode_texts([text for name in names for text in sentences[name]], self.source.length, out)
            context.progress(f"{split} split", 1, 1)

        path = context.cache / f"fold{self.fold}" / f"{split}-{self.source.content[:16]}.npy"
        return ClassSplit(cached_array(path, (int(starts[-1]), self.source.length), build), starts, names)

    def _find(self, context: DataContext) -> Path:
        """Return the file with the sentences: the user's own copy, or a download."""
        source = self.source
        path, why = find_source(source.names, context, source.folders), ""
        if path is None:
            path, why = download_if_allowed(source.file, context)
        if path is None:
            raise MissingError(
                f"{self.name}: {' or '.join(source.names[:-1])} {why}; put the official file into "
                f"{download_folder(context) / source.file.name} or run `metabench datasets download {self.name} "
                "--from DIR` with the folder that holds it"
            )
        return path


class Clinc150(Intents):
    """CLINC150 (Larson et al. 2019), the 150 classes without the out-of-scope queries."""

    name = "clinc150"


class Banking77(Intents):
    """BANKING77 (Casanueva et al. 2020)."""

    name = "banking77"


class Hwu64(Intents):
    """HWU64: 64 of the intents of Liu et al. (2019), with their scenarios."""

    name = "hwu64"


class Liu(Intents):
    """Liu: 54 intents of Liu et al. (2019), without their scenarios."""

    name = "liu"
