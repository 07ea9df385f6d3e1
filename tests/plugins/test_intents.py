"""The intent datasets, on small files in the official forms."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench.cli.datasets.class_splits import class_splits
from metabench.cli.datasets.verification import verify_splits
from metabench.data import DataContext, split_digest
from metabench.data.downloads import OfficialFile, find_source
from metabench.data.encoded_sentences import decode_texts
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.execution.session import Session
from metabench.registry.registry import load_registry
from metabench.registry.resolved import ResolvedPlugin
from metabench.registry.specs import DatasetSpec
from metabench.utils.console import Console
from metabench.utils.home import Home
from metabench_datasets._intents import IntentClass, IntentSource, content_digest, intent_classes, read_intents
from metabench_datasets.intents import SOURCES, SPECS, Clinc150, Hwu64

SENTENCES = {
    "alarm": ["wake me", "Weck mich um 7 in Köln", "alarm"],
    "greet": ["hi", "hello"],
    "pay": ["pay up", "pay up"],
}
ROLES = {"alarm": "rvttt", "greet": "vtrrr", "pay": "trvvv"}


def source(**more: Any) -> IntentSource:
    classes = tuple(IntentClass(name, len(texts), ROLES[name]) for name, texts in SENTENCES.items())
    file = OfficialFile("OOS/full.jsonl", (), "sha256:")
    fields = {
        "file": file,
        "names": ("OOS/full.jsonl", "data_full.json", "full.jsonl"),
        "folders": ("", "data"),
        "classes": classes,
        "length": 30,
        "content": content_digest(SENTENCES),
    }
    return IntentSource(**{**fields, **more})


def lines() -> list[bytes]:
    """The sentences as JSON lines, in no order."""
    rows = [{"global_ix": 3, "sentence": text, "label": name} for name, texts in SENTENCES.items() for text in texts]
    return [json.dumps(row, ensure_ascii=False).encode() for row in rows[::-1]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine/data/OOS/full.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\n".join([*lines(), b""]))
    return path


def context(tmp_path: Path, **more: Any) -> DataContext:
    return DataContext(tmp_path / "cache", (tmp_path / "mine",), **more)


def test_classes_by_name_and_sentences_by_their_bytes(tmp_path: Path, file: Path) -> None:
    split = Clinc150(2, source()).load("train", context(tmp_path))
    assert (split.names, split.starts.tolist()) == (("pay",), [0, 2])
    assert decode_texts(split.images) == ["pay up", "pay up"]
    split = Clinc150(3, source()).load("test", context(tmp_path))
    assert decode_texts(split.images) == ["Weck mich um 7 in Köln", "alarm", "wake me"]
    assert split.images.shape == (3, 30)
    with pytest.raises(ValueError, match="read-only"):
        split.images[0, 0] = 1


def test_prepared_sentences_need_no_file(tmp_path: Path, file: Path) -> None:
    first = Clinc150(1, source()).load("val", context(tmp_path))
    file.unlink()
    again = Clinc150(1, source()).load("val", context(tmp_path))
    np.testing.assert_array_equal(first.images, again.images)
    with pytest.raises(MissingError, match=r"^clinc150: OOS/full.jsonl or data_full.json not found; put the official"):
        Clinc150(1, source()).load("test", context(tmp_path))


def test_the_authors_own_file_gives_the_same_sentences(tmp_path: Path, file: Path) -> None:
    here = Clinc150(1, source()).load("test", context(tmp_path))
    document = {
        "oos_val": [["what is love", "oos"]],
        "train": [[text, name] for name, texts in SENTENCES.items() for text in texts[1:]],
        "test": [[texts[0], name] for name, texts in SENTENCES.items()],
    }
    file.unlink()
    (tmp_path / "mine/data_full.json").write_text(json.dumps(document, indent=0), encoding="utf-8")
    there = Clinc150(1, source()).load("test", DataContext(tmp_path / "other", (tmp_path / "mine",)))
    assert split_digest(here) == split_digest(there)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Köln".encode("latin-1"), r", line 2: not UTF-8 \(byte 0xf6 at 2\); get the official file again"),
        (b'{"sentence": "cut o', r", line 2: not JSON \(Unterminated string"),
        (b'["hi", "greet"]', r", line 2: not an object with label and sentence"),
        (b'{"sentence": "hi"}', r", line 2: its label is missing or no text"),
        (b'{"sentence": " ", "label": "greet"}', r", line 2: its sentence is missing or no text"),
        (b'{"sentence": 7, "label": "greet"}', r", line 2: its sentence is missing or no text"),
        (b'{"sentence": "hi", "label": "greed"}', r", line 2: there is no class 'greed' in this dataset"),
        (b'{"sentence": "hi", "label": "greet"}', r": class 'greet' has 3 sentences instead of 2"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, file: Path, line: bytes, message: str) -> None:
    first, *rest = lines()
    file.write_bytes(b"\n".join([first, line, *rest]))
    with pytest.raises(MetabenchError, match=f"^{file}{message}") as caught:
        Clinc150(1, source()).load("test", context(tmp_path))
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_class_without_sentences_and_other_sentences(tmp_path: Path, file: Path) -> None:
    file.write_bytes(b"\n".join(line for line in lines() if b"greet" not in line))
    with pytest.raises(MetabenchError, match="class 'greet' has no sentences; get the official file again"):
        read_intents(file, source())
    file.write_bytes(b"\n".join(lines()).replace(b"hello", b"hullo"))
    with pytest.raises(MetabenchError, match="the sentences are not the published ones"):
        read_intents(file, source())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"train": [["hi", "greet"]', r"data_full.json: not JSON"),
        (b'{"train": [["hi"]]}', r"data_full.json, 'train', item 1: not a pair of sentence and label"),
        (b'{"train": {"hi": "greet"}}', r"data_full.json, 'train', item 1: not a pair"),
        (b'{"train":\n[["h\xff", "greet"]]}', r"data_full.json, line 2: not UTF-8 \(byte 0xff at 5\)"),
        (b"[]", r"data_full.json: class 'alarm' has no sentences"),
    ],
)
def test_a_wrong_document_is_named(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "data_full.json"
    path.write_bytes(text)
    with pytest.raises(MetabenchError, match=message):
        read_intents(path, source())


def test_what_there_is_not() -> None:
    with pytest.raises(UsageError, match=r"^hwu64: fold must be 1 to 5, not 6$"):
        Hwu64(6)
    with pytest.raises(UsageError, match=r"^clinc150: there is no split 'dev'; use train, val, test$"):
        Clinc150().load("dev", DataContext(Path("nowhere")))


def test_a_download_that_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"not found, and cannot download OOS/full.jsonl \(\)"):
        Clinc150(1, source()).load("test", context(tmp_path, allow_download=True))


def test_every_class_has_one_role_in_every_class_split() -> None:
    for name, classes, sentences in (("clinc150", 150, 22500), ("banking77", 77, 13083), ("hwu64", 64, 11036),
                                     ("liu", 54, 25478)):  # fmt: skip
        found = intent_classes(name)
        assert (len(found), sum(item.sentences for item in found)) == (classes, sentences)
        assert all(len(item.roles) == 5 and set(item.roles) <= set("rvt") for item in found)
        assert [item.name for item in found] == sorted(item.name for item in found)


def test_specs_are_of_text() -> None:
    registry = load_registry()
    for spec in SPECS:
        assert spec.kind == "text"
        assert registry.backbones[spec.backbone].takes == "text"
        assert spec.image_shape == (SOURCES[spec.name].length,)
        assert set(spec.sizes) == set(spec.digests) == set(spec.splits)
        assert [params["fold"] for params, _ in spec.forms()] == [1, 2, 3, 4, 5]
        assert len({digest for _, declared in spec.forms() for digest in declared.digests.values()}) == 15


def test_the_digests_of_every_class_split_are_known_without_reading(tmp_path: Path) -> None:
    session = Session(Home(tmp_path), Console(quiet=True), "cpu")
    found = [session.loader.digests(ResolvedPlugin(SPECS[3], {"fold": fold})) for fold in range(1, 6)]
    assert found == [dict(declared.digests) for _, declared in SPECS[3].forms()]
    assert not (tmp_path / "data").exists()


def real_folders(spec: DatasetSpec) -> tuple[Path, ...]:
    given = os.environ.get("METABENCH_DATA") or str(Path(__file__).parents[3] / "shared/data")
    folders = tuple(folder for folder in map(Path, given.split(os.pathsep)) if folder.is_dir())
    known = SOURCES[spec.name]
    if find_source(known.names, DataContext(Path("nowhere"), folders), known.folders) is None:
        pytest.skip(f"no {spec.name} in METABENCH_DATA or ../shared/data")
    return folders


@pytest.mark.realdata
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_the_real_sentences_are_those_declared(tmp_path: Path, spec: DatasetSpec) -> None:
    home = Home(tmp_path, real_folders(spec))
    for form in class_splits(ResolvedPlugin(spec, {"fold": 1})):
        checks = list(verify_splits(form, home))
        assert {check.status for check in checks[:3]} == {"ok"}
        assert not [check.detail for check in checks if "not declared" in check.detail]
