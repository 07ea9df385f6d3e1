"""The memory that a run may take."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class MemoryBudget:
    """A limit on memory, and whether work beyond it is refused.

    Attributes:
        max_bytes: bytes that the process may take (on a GPU: the tensors there); 0: what the machine has.
        is_strict: refuse work that does not fit. Otherwise as little as possible runs at once, and it is tried.
    """

    max_bytes: int = 0
    is_strict: bool = True

    def limit(self, available: int) -> int:
        """Return the bytes that may be taken of those `available` on the machine."""
        return self.max_bytes or available

    def accepted(self) -> MemoryBudget:
        """Return the budget for work that was accepted before: memory that earlier work freed may count as taken."""
        return dataclasses.replace(self, is_strict=False)


NO_LIMIT = MemoryBudget()
