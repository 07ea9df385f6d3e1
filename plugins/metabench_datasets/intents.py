"""Intents of short sentences: CLINC150, BANKING77, HWU64 and Liu, with the five class splits of Dopierre et al. (2021).

The sentences are read from the copy that those authors published with their splits, or, CLINC150, from the file of its
own authors, which holds the same ones. BANKING77 as its authors publish it differs in the white space of 13 sentences.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metabench.data import ClassSplit, DataContext
from metabench.data.cache import cached_array
from metabench.data.sources import OfficialFile, downloads, fetch, find
from metabench.data.text import encode_texts
from metabench.errors import MissingError, UsageError
from metabench.specs import DatasetSpec, Param, SplitSize
from metabench_datasets._intents import FOLDS, ROLES, IntentSource, intent_classes, read_intents

URL = "https://raw.githubusercontent.com/tdopierre/ProtAugment/6352ababa740133708daed815666b5bf39850d98/data/"
_SPLITS = "class splits: Dopierre, Gravier & Logerais, ACL 2021"
_CLONES = ("", "data", "ProtAugment/data", "protaugment/data", "text/protaugment/data")
"""Where the copy with the splits may lie in a user's folder: by itself, or in a clone of its repository."""


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


def _spec(
    name: str,
    target: str,
    summary: str,
    reference: str,
    licence: str,
    digests: tuple[str, str, str],
    shared: tuple[str, ...] = (),
) -> DatasetSpec:
    source = SOURCES[name]
    sizes = {}
    for split in ROLES:
        classes = source.split(split, 1)
        sizes[split] = SplitSize(len(classes), sum(item.sentences for item in classes))
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
        sizes=sizes,
        digests=dict(zip(ROLES, digests, strict=True)),
        download=True,
        shared_images=shared,
    )


SPECS = [
    _spec(
        "clinc150",
        "Clinc150",
        "150 intents of 10 domains of a voice assistant (OOS without its out-of-scope queries), 150 sentences each",
        "Larson et al., EMNLP 2019",
        "CC BY 3.0",
        (
            "32db56c93bea912e3fd80c31a2bc412d75b27eddef6802fa7852483f62586822",
            "25f9774211862199f6d45631fbf855f7a9e0119b164b78e335768039741431ae",
            "4a5f18147d77d9e2ac6282f7c499ed2c7c2dcb74e26c75f031ac634950b00e44",
        ),
        (
            "b2f04401aad68173",
            "ccb486500f5a2abe",
            "d1ab897aed1bde66",
        ),
    ),
    _spec(
        "banking77",
        "Banking77",
        "77 intents of customers of one bank",
        "Casanueva et al., NLP4ConvAI 2020",
        "CC BY 4.0",
        (
            "540d621e9fd164b25d7869ae17bfbe6b89a1a6ae3f5f3b236bea5fe372539405",
            "d72d667d5b61f84a63286959397427abddca669567cbc925a8e4a1d8e70c9fcc",
            "2686754804245f5983584688da0f1fd9b5e5d0e48d99cf8a990ff66b0a2f8f4c",
        ),
    ),
    _spec(
        "hwu64",
        "Hwu64",
        "64 intents of a home assistant in 21 domains",
        "Liu et al., IWSDS 2019, in the form of Casanueva et al., NLP4ConvAI 2020",
        "CC BY 4.0",
        (
            "4264886c568f83679ef0456271abb0a2074481e6c7811ef34fc17670e5c795e9",
            "14de4eeefb0db6ff4e55a422adc1153132585c0e7f3c270d96882b4a8d07ddfb",
            "d767c5fd4d170551dde22cd71b3d08d7e772fa8dfe68b6d4764e757de934c6b2",
        ),
    ),
    _spec(
        "liu",
        "Liu",
        "54 intents of a home assistant, very uneven classes",
        "Liu et al., IWSDS 2019",
        "CC BY 4.0",
        (
            "fa89a5289c1db24e9fc2abd66e80d90897cde9290361749ffc7531b27884d615",
            "40116852b1924e8ffdc2f9b5ea1ff39310461ef35bc4f19c8ac4df2fba30985d",
            "726bc5e079995847053f54f9863ec8674a813b920079537c2c936994b77efa6d",
        ),
        (
            "0279281ec46eadf5",
            "0f80d5049f62e095",
            "3541499c806c0f4d",
            "3b7badfcadd30d75",
            "5e8582a4d2116dfd",
            "7797b0f7b47e988d",
            "862d9a12fd066899",
            "c4a5f34bbbe92152",
            "d05908674dca53fa",
            "dc1f0a76a3dd21bc",
            "f3726ef25d7dc441",
        ),
    ),
]


class Intents:
    """An intent data set with one of its class splits.

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
            uint8 (N, bytes of the longest sentence of the data set), see `metabench.data.text`; classes by name, the
            sentences of a class by their bytes.

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
        path, why = find(source.names, context, source.folders), "not found"
        if path is None and context.allow_download:
            try:
                path = fetch(source.file, context)
            except MissingError as error:
                why = f"not found, and {error}"
        if path is None:
            raise MissingError(
                f"{self.name}: {' or '.join(source.names[:-1])} {why}; put the official file into "
                f"{downloads(context) / source.file.name} or run `metabench datasets download {self.name} --from DIR` "
                "with the folder that holds it"
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
