"""The metric of a protocol: its name, its unit and its ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Metric:
    """What the score of an episode is: a number of its own, in its own unit.

    Attributes:
        name: what stands above a column of it, and its name in a record's summary.
        unit: ``%`` for shares, empty for numbers without one.
        higher_is_better: which way is better.
        digits: decimals that are shown.
    """

    name: str
    unit: str = ""
    higher_is_better: bool = True
    digits: int = 2

    def __str__(self) -> str:
        """The name: what stands in JSON, CSV and data frames."""
        return self.name

    @property
    def title(self) -> str:
        """The name with its unit, as in ``accuracy (%)``."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def axis(self) -> str:
        """The name with its unit, as in ``accuracy, %``."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    @property
    def ends(self) -> tuple[float, float] | None:
        """The range of the scores: 0 to 100 for shares, None where there is no known one."""
        return (0.0, 100.0) if self.unit == "%" else None

    @property
    def difference_ends(self) -> tuple[float, float] | None:
        """The range of the difference of two scores; None where there is no known one."""
        return None if self.ends is None else (self.ends[0] - self.ends[1], self.ends[1] - self.ends[0])

    @property
    def step(self) -> str:
        """The unit of differences: points of a percentage, or the name."""
        return "points" if self.unit == "%" else self.name

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1: a score times this is the larger the better."""
        return 1 if self.higher_is_better else -1


ACCURACY = Metric("accuracy", "%")
"""Share of correct answers: the metric of classification, which records hold as counts."""
