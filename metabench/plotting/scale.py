"""Linear and logarithmic scales from numbers to pixels, with round ticks; labels that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A map from `low`..`high` to the pixels `start`..`end` (which may run backwards)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value; outside of the domain it is beyond the ends."""
        low, high, value = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def inside(self, value: float) -> bool:
        """Return whether a value lies in the domain."""
        return self.low <= value <= self.high

    def clip(self, value: float) -> float:
        """Return the place of a value, or of the end of the domain that it is beyond."""
        return self(min(self.high, max(self.low, value)))

    def ticks(self, about: int = 5) -> list[float]:
        """Return round values inside the domain, roughly `about` of them."""
        if self.log:
            return self._log_ticks(about)
        step = _round_step((self.high - self.low) / max(1, about))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(index * step, 10) for index in range(first, last + 1)]

    def _log_ticks(self, about: int) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,)):
            values = [round(digit * 10.0**decade, 12) for decade in decades for digit in digits]
            values = [value for value in values if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]
            if len(values) <= about:
                break
        if len(values) < 2:  # less than an octave
            return Scale(self.low, self.high, self.start, self.end).ticks(about)
        return values[:: math.ceil(len(values) / about)]


def _round_step(step: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(step))
    return next(factor for factor in _STEPS if factor * magnitude >= step * (1 - 1e-9)) * magnitude


def tick_text(value: float) -> str:
    """Return a tick with as many digits as it needs.

    >>> tick_text(20.0), tick_text(97.5), tick_text(0.02)
    ('20', '97.5', '0.02')
    """
    return f"{value:.6g}"


def padded(values: Sequence[float], least: float, bounds: tuple[float, float] = (0.0, 100.0)) -> tuple[float, float]:
    """Return a domain around values: some air on both sides, at least `least` wide, within `bounds`."""
    low, high = min(values), max(values)
    air = max(0.06 * (high - low), (least - (high - low)) / 2, 1e-6)
    low, high = max(bounds[0], low - air), min(bounds[1], high + air)
    if high - low < least:  # pushed against a bound
        low, high = max(bounds[0], min(low, high - least)), min(bounds[1], max(high, low + least))
    return low, high


def apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places as little as needed so that neighbours are `gap` apart, in order, within `low`..`high`."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    previous = -math.inf
    for index in order:
        moved[index] = previous = max(places[index], previous + gap, low)
    following = high + gap
    for index in reversed(order):
        moved[index] = following = min(moved[index], following - gap)
    return moved
