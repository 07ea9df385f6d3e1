"""Number of tasks that run at once in the available memory."""

from __future__ import annotations

from dataclasses import dataclass

from metabench.errors import UsageError
from metabench.runtime.memory import MIB
from metabench.runtime.memory_budget import MemoryBudget


@dataclass(frozen=True)
class TaskMemory:
    """The memory that tasks of one kind take.

    Attributes:
        task: bytes of one task.
        base: bytes that are taken whatever the number of tasks.
        most: tasks that run at once where there is room.
        least: tasks that must run at once.
    """

    task: int
    base: int
    most: int
    least: int

    def fit(self, available: int, budget: MemoryBudget) -> int:
        """Return how many tasks run at once.

        Args:
            available: bytes that the process may take on this machine.
            budget: what it is allowed.

        Raises:
            UsageError: there is no room for `least` tasks, and the budget is strict.
        """
        limit = budget.limit(available)
        if self.base + self.least * self.task > limit and budget.is_strict:
            many = "a task" if self.least == 1 else f"{self.least} tasks, no fewer since they draw random numbers,"
            raise UsageError(
                f"needs {self.least * self.task // MIB + 1} MB for {many} beside {self.base // MIB + 1} MB, and may "
                f"take {limit // MIB} MB: allow more (--max-memory), or use fewer --shots, fewer inner steps or a "
                "smaller --backbone"
            )
        return max(self.least, min(self.most, (limit - self.base) // self.task))

    def note(self, work: str, at_once: int) -> str:
        """Return a line that says what `work` takes with so many tasks at once."""
        total = (self.base + at_once * self.task) // MIB
        size = f"{self.task / MIB:.0f} MB" if self.task >= MIB else "less than 1 MB"
        tasks = f"{at_once} tasks at once of {size} each" if at_once > 1 else f"one task at a time of {size}"
        return f"{work} takes about {total} MB of memory, {tasks}"
