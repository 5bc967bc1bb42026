"""What a run did not use: each part with its share, why, what it may cost, and the option that brings it back."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LeftOut:
    """One thing that was left out.

    what: the beginning of a sentence, as in "source spectral is off" or "17,250 rows of plays.parquet were dropped"
    share: of what it was taken from, 0 to 1; None where the whole is gone or a share says nothing
    why: the reason; cost: what it may cost; both without a full stop
    option: what brings it back, as for --set where it is a setting
    """

    what: str
    share: float | None
    why: str
    cost: str
    option: str

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        share = "" if self.share is None else f" ({self.share:.1%})"
        how = f"--set {self.option}" if "=" in self.option else self.option
        return f"{self.what}{share}, as {self.why}; {self.cost}. What brings it back: {how}."


def as_rows(parts: Iterable[LeftOut]) -> list[dict[str, Any]]:
    """Ready for JSON, each with its sentence; what is said twice stands once."""
    return [asdict(part) | {"sentence": part.sentence} for part in dict.fromkeys(parts)]
