"""Digests of the data that a run reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class _Unknown(dict[str, str]):
    """Empty digests of any split."""

    def __missing__(self, split: str) -> str:
        return ""


@dataclass(frozen=True)
class DataDigests:
    """Digests by split, which make the keys of a run and of its weights.

    Attributes:
        measured: of `RunSpec.dataset`.
        trained: of `RunSpec.trained_on`.
    """

    measured: Mapping[str, str]
    trained: Mapping[str, str]

    @staticmethod
    def of_one(digests: Mapping[str, str]) -> DataDigests:
        """Return the digests of a run that is trained and measured on one dataset."""
        return DataDigests(digests, digests)

    def training(self, split: str) -> str:
        """Return the digest of a split that is trained on; of a union (``train+val``) the digests of both."""
        return "+".join(self.trained[part] for part in split.split("+"))


NO_DIGESTS = DataDigests.of_one(_Unknown())
"""Stands where the digests of the data are not known, or do not matter."""
