"""Body only update in inner loop (Oh, Yoo, Kim and Yun 2021)."""

from __future__ import annotations

from metabench_algorithms.gradient.maml import Maml


class Boil(Maml):
    """MAML whose inner loop moves the backbone alone; the classifier is meta-learned but never adapted (section 3)."""

    def adapted(self, name: str) -> bool:
        """Return whether `name` is of the backbone."""
        return name.startswith("backbone.")
