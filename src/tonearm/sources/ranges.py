"""What `tonearm tune` may try for an option."""

from dataclasses import dataclass, replace
from typing import Any

Value = float | int | str


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, whole ones where both are; log: drawn evenly on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def with_default(self, value: Any) -> "Range | None":
        """The range widened to hold a value; None where no such range can."""
        if self.log and not value > 0:
            return None
        return replace(self, low=min(self.low, value), high=max(self.high, value))


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    def with_default(self, value: Any) -> "Choice":
        """The choice with one more value, if it is not among them."""
        return self if value in self.values else Choice((*self.values, value))


Space = dict[str, Range | Choice]

RECENCY = Choice((0.0, 5.0, 20.0, 80.0))
