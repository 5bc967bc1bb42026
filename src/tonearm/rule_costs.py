"""What shaping costs: the list without it measured beside the shaped one, and every rule by itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tonearm.data import Block
from tonearm.lists import Lists
from tonearm.metrics import Items, ListMeter, Truth, check_ks, focus_of
from tonearm.shape import Shaped, Shaper
from tonearm.types import Int64s


class RuleCosts:
    """Adds up, block by block, what every rule takes out and what that does to the list.

    unshaped: the meter of the list before shaping
    """

    def __init__(
        self,
        shaper: Shaper,
        truth: Truth,
        items: Items,
        ks: Sequence[int],
        k: int,
        parts: Mapping[str, Truth] | None = None,
    ) -> None:
        focus = focus_of(check_ks(ks))
        self.shaper, self.k = shaper, k
        self.unshaped = ListMeter(truth, items, ks, parts)
        self._alone = {rule: (shaper.alone(rule), ListMeter(truth, items, (focus,))) for rule in shaper.rules}
        self._removed = dict.fromkeys(("all", *shaper.rules), 0)
        self._entries = self._shown = self._filled = self._relaxed = self._short = 0

    def shape(self, block: Block, ranked: Lists) -> Shaped:
        """The shaped lists of a block, measured and counted.

        ranked: all candidates of each user, best first
        """
        plain, shaped = ranked.head(self.k), self.shaper.shape(block, ranked, self.k)
        self.unshaped.add(block.users, plain, block.pairs)
        self._entries += len(plain.item)
        self._shown += len(shaped.lists.item)
        self._filled += int((shaped.place < 0).sum())
        self._relaxed += int(shaped.relaxed.sum())
        self._short += int((np.diff(shaped.lists.indptr) < self.k).sum())
        self._removed["all"] += len(plain.item) - self._kept(ranked, shaped)
        for rule, (shaper, meter) in self._alone.items():
            alone = shaped if len(self._alone) == 1 else shaper.shape(block, ranked, self.k)
            meter.add(block.users, alone.lists, block.pairs)
            self._removed[rule] += len(plain.item) - self._kept(ranked, alone)
        return shaped

    def summary(self, final: ListMeter) -> dict[str, Any]:
        """The `shape` part of metrics.json.

        final: the meter of the shaped list
        """
        rules = {rule: self._cost(rule, meter) for rule, (_, meter) in self._alone.items()}
        return {
            "entries": self._shown,
            "filled_by_popular": self._filled,
            "above_limits": self._relaxed,
            "short_lists": self._short,
            "unshaped_entries": self._entries,
            "rules": rules,
            "all": self._cost("all", final),
            "notes": list(self.shaper.notes),
        }

    def _cost(self, rule: str, meter: ListMeter) -> dict[str, Any]:
        before, after, focus = self.unshaped.summary(), meter.summary(), self.unshaped.focus
        found: dict[str, Any] = {"removed": self._removed[rule], "removed_share": None}
        if self._entries:
            found["removed_share"] = self._removed[rule] / self._entries
        for name in (f"ndcg@{focus}", "coverage", f"diversity@{focus}"):
            old, new = before[name], after[name]
            found[name] = None if old is None or new is None else new - old
        return found

    def _kept(self, ranked: Lists, shaped: Shaped) -> int:
        """Entries of the first k of the ranked lists that are still there."""
        start: Int64s = ranked.indptr[:-1][shaped.lists.row]
        return int(((shaped.place >= 0) & (shaped.place - start < self.k)).sum())
