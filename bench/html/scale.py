"""From values to places on an axis, and where the axis has its ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["Linear", "Logarithmic", "Scale", "Steps", "Tail", "fitting"]

# Far enough from the ends of what a float can be for arithmetic with it.
_TINY: Final = 1e-100
_HUGE: Final = 1e100


def _short(value: float) -> str:
    """Write a tick: as many digits as it needs, and k or M for thousands or millions."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):g}{letter}"
    return f"{value:,.10g}"


class Scale(Protocol):
    """An axis."""

    def place(self, value: float) -> float:
        """Return where a value is, from 0 to 1 along the axis; what is beyond its ends is put at them."""

    def ticks(self) -> list[tuple[float, str]]:
        """Return values and what is written at them."""


def _within(part: float) -> float:
    return min(max(part, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Linear:
    """From 0 to `top`, the end of the last step of a round size."""

    top: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Linear:
        """Make one with room for the values."""
        highest = min(max((value for value in values if value > _TINY), default=1.0), _HUGE)
        step = cls._step(highest)
        return cls(math.ceil(highest / step - 1e-9) * step)

    @staticmethod
    def _step(highest: float) -> float:
        rough = highest / 5
        power = 10.0 ** math.floor(math.log10(rough))
        return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)

    def place(self, value: float) -> float:
        """See Scale."""
        return _within(value / self.top)

    def ticks(self) -> list[tuple[float, str]]:
        """See Scale."""
        step = self._step(self.top)
        return [(step * i, _short(step * i)) for i in range(round(self.top / step) + 1)]


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """From `low` to `high`, both above 0."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Logarithmic:
        """Make one with room for those values that are above 0, and some more at both ends."""
        positive = [value for value in values if value > 0] or [1.0]
        low, high = (min(max(value, _TINY), _HUGE) for value in (min(positive), max(positive)))
        room = max((high / low) ** 0.06, 1.15)
        return cls(low / room, high * room)

    def place(self, value: float) -> float:
        """See Scale."""
        if value <= self.low:
            return 0.0
        return _within(math.log(value / self.low) / math.log(self.high / self.low))

    def ticks(self) -> list[tuple[float, str]]:
        """See Scale."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        decades = last - first
        factors = (1, 2, 5) if decades <= 3 else (1,)
        every = max(1, decades // 6)
        found = [factor * 10.0**power for power in range(first, last + 1, every) for factor in factors]
        return [(value, _short(value)) for value in found if self.low <= value <= self.high]


@dataclass(frozen=True, slots=True)
class Steps:
    """A few values, ascending, equally far from each other."""

    values: tuple[float, ...]

    def place(self, value: float) -> float:
        """See Scale."""
        return (self.values.index(value) + 0.5) / len(self.values)

    def ticks(self) -> list[tuple[float, str]]:
        """See Scale."""
        return [(value, f"{value:,.10g}") for value in self.values]


@dataclass(frozen=True, slots=True)
class Tail:
    """Parts of all, from 0 up to just below 1, each further nine taking as much room as the one before."""

    nines: float

    def place(self, value: float) -> float:
        """See Scale."""
        if value >= 1:
            return 1.0
        return _within(-math.log10(1 - value) / self.nines)

    def ticks(self) -> list[tuple[float, str]]:
        """See Scale."""
        found = [(0.0, "0"), (0.5, "50 %"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")]
        found += [(0.99999, "99.999"), (0.999999, "99.9999")]
        return [tick for tick in found if -math.log10(1 - tick[0]) <= self.nines + 1e-9]


def fitting(values: Sequence[float], wide: float = 12.0) -> Scale:
    """Choose a scale: from 0, or a logarithmic one where the values are further apart than by a factor."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) / min(positive) > wide:
        return Logarithmic.over(positive)
    return Linear.over(values)
