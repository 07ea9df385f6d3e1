"""The metric of a protocol: its name, its unit and its ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Metric:
    """The kind of score an episode has: a number with a name and a unit.

    Attributes:
        name: heading of its column, and its name in the summary of a record.
        unit: ``%`` for shares, empty for numbers without one.
        higher_is_better: whether larger scores are better.
        digits: decimals shown.
    """

    name: str
    unit: str = ""
    higher_is_better: bool = True
    digits: int = 2

    def __str__(self) -> str:
        """Return the name, as in JSON, CSV and data frames."""
        return self.name

    @property
    def title(self) -> str:
        """The name with its unit in brackets, as in ``accuracy (%)``."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def axis(self) -> str:
        """The name with its unit after a comma, as in ``accuracy, %``."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    @property
    def ends(self) -> tuple[float, float] | None:
        """The range of the scores: 0 to 100 for shares, None where it is unknown."""
        return (0.0, 100.0) if self.unit == "%" else None

    @property
    def difference_ends(self) -> tuple[float, float] | None:
        """The range of the difference of two scores; None where it is unknown."""
        return None if self.ends is None else (self.ends[0] - self.ends[1], self.ends[1] - self.ends[0])

    @property
    def step(self) -> str:
        """The unit of differences: points of a percentage, or the name."""
        return "points" if self.unit == "%" else self.name

    @property
    def sign(self) -> int:
        """Return 1 where higher is better, else -1; a score times this is better the larger it is."""
        return 1 if self.higher_is_better else -1


ACCURACY = Metric("accuracy", "%")
"""Share of correct answers, the metric of classification; records hold counts."""
