"""The conformance class of datasets."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from metabench.data import ClassSplit, DataContext, split_digest
from metabench.data.duplicates import by_splits, duplicates
from metabench.data.split_checks import (
    content_problem,
    item_shape,
    layout_problem,
    shape_problem,
    shared_class_problem,
    size_problem,
    type_problem,
)
from metabench.registry.registry import load_registry
from metabench.registry.specs import UNKNOWN_COPY, DatasetSpec, Declared, Kind
from metabench.testing.checks.spec import SpecChecks
from metabench.testing.conformance import (
    NotApplicable,
    Subject,
    Violation,
    conformance_check,
    construct,
    make_subject,
    scratch_folder,
)
from metabench.utils.home import Home
from metabench.utils.text import is_or_are, pluralise


class DatasetConformance(SpecChecks[DatasetSpec]):
    """Every check of a dataset. Data that must be downloaded are looked for as ever, but never fetched."""

    kind: ClassVar[Kind] = "dataset"
    dataset: ClassVar[str] = ""

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def load_subject(name: str, files: tuple[Path, ...]) -> Subject[DatasetSpec]:
        """Return the dataset of that name."""
        registry = load_registry(files)
        return make_subject(registry, registry.find("dataset", name))

    @conformance_check(
        "every split is a uint8 array in class order",
        means="Episodes cannot be drawn from it, or are drawn wrongly.",
        fix="Return a ClassSplit whose images of class c are rows starts[c] to starts[c+1], starts from 0 to N.",
    )
    def test_layout(self) -> None:
        """Check types, shapes, boundaries and names of train, val and test."""
        for split, data in self._splits().items():
            shape = item_shape(self.spec, self.values, construct(lambda: self.subject.target(**self.values)))
            problem = layout_problem(data, self.spec.kind) or shape_problem(data, self.spec, shape)
            if problem := problem or content_problem(data, self.spec.kind):
                raise Violation(f"{split}: {problem}")

    @conformance_check(
        "class and image counts are as declared",
        means="Something is missing or doubled, or another version of the data is here.",
        fix="Correct sizes in the spec, and bump its version if results exist.",
    )
    def test_counts(self) -> None:
        """Compare the counts of every split."""
        declared = self._declared
        if declared is None:
            raise NotApplicable("no counts are declared for these parameters")
        for split, data in self._splits().items():
            if problem := size_problem(data, declared.sizes[split]):
                raise Violation(f"{split}: {problem}")

    @conformance_check(
        "the pixels are as declared, also when loaded again",
        means="Two people who name this dataset measure on different images.",
        fix="Put the digests that are found into the spec, and bump its version if results exist; if they change "
        "from load to load, make decoding repeatable.",
    )
    def test_digest(self) -> None:
        """Compare the SHA-256 of every split, loaded anew."""
        for split, data in self._splits().items():
            actual, again = split_digest(data), split_digest(self._load(split))
            if actual != again:
                raise Violation(f"{split} has digest {actual[:12]} and, loaded again, {again[:12]}")
            if self._declared is None or actual == self._declared.digests.get(split):
                continue
            if not self.spec.copies:
                raise Violation(f"{split} has digest {actual}, declared is {self._declared.digests.get(split)}")
            if self.spec.copy_name(split, actual) == UNKNOWN_COPY:
                raise NotApplicable(f"{split} has digest {actual}: these pixels are no copy that the spec describes")

    @conformance_check(
        "no class is in two splits",
        means="Test classes are met in training: accuracy is that of supervised learning.",
        fix="Divide the classes, not the images; name classes so that equal names mean equal classes.",
    )
    def test_disjoint_classes(self) -> None:
        """Compare the names of the classes."""
        if problem := shared_class_problem({split: data.names for split, data in self._splits().items()}):
            raise Violation(problem)

    @conformance_check(
        "no image is in two splits",
        means="Test images are met in training.",
        fix="Remove the copies; if the official data have them, list their digests in the spec's shared_images.",
    )
    def test_disjoint_images(self) -> None:
        """Compare images by content; known shared ones must be listed, and each listed one must exist."""
        copies = duplicates(self._splits())
        shared = {digest for splits, images in by_splits(copies).items() if len(splits) > 1 for digest in images}
        listed = self._listed(shared)
        if unknown := sorted(shared - listed):
            where = " and ".join(dict.fromkeys(split for split, _ in copies[unknown[0]]))
            several = f"{pluralise(len(unknown), 'image')} {is_or_are(len(unknown))} in several splits"
            raise Violation(f"{several}, such as {unknown[0]} in {where}")
        if stale := sorted(listed - shared):
            raise Violation(f"{len(stale)} listed shared images are in no two splits, such as {stale[0]}")

    def _listed(self, shared: set[str]) -> set[str]:
        """Return the images that the spec says are in two splits; for other parameters, those of them that are."""
        spec = self.spec
        if self._declared is None:
            return shared & set(spec.shared_images)
        known = spec.known_shared({split: split_digest(data) for split, data in self._splits().items()})
        if known is None and spec.copies:
            raise NotApplicable("these pixels are no copy that the spec describes")
        return set(spec.shared_images if known is None else known)

    @property
    def _declared(self) -> Declared | None:
        """Declaration of the spec for the parameters that are checked."""
        return self.spec.declared(self.values)

    def _splits(self) -> Mapping[str, ClassSplit]:
        return _load_all(self.subject, tuple(sorted(self.values.items())))

    def _load(self, split: str) -> ClassSplit:
        return _load(self.subject, tuple(sorted(self.values.items())), split)


Values = tuple[tuple[str, int | float | bool | str], ...]


@functools.lru_cache(maxsize=4)
def _load_all(subject: Subject[DatasetSpec], values: Values) -> dict[str, ClassSplit]:
    return {split: _load(subject, values, split) for split in subject.spec.splits}


def _load(subject: Subject[DatasetSpec], values: Values, split: str) -> ClassSplit:
    """Load a split; what can be made anew is made in a temporary folder, what is downloaded lies at home."""
    spec, home = subject.spec, Home.resolve()
    cache: Path = (home if spec.download else Home(scratch_folder())).dataset_cache(spec.cache_name)
    dataset = construct(lambda: subject.target(**dict(values)))
    loaded = dataset.load(split, DataContext(cache, home.sources, allow_download=False))
    if problem := type_problem(loaded):
        raise Violation(f"{split}: {problem}")
    assert isinstance(loaded, ClassSplit)
    return loaded
