"""What shaping costs: the list without it measured beside the shaped one, and every rule by itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.data.truth import Truth
from tonearm.evaluation.meters import Items, ListMeter, check_ks, focus_of
from tonearm.ranking.features import Scratch
from tonearm.ranking.recommender import Made, Recommender


class RuleCosts:
    """Adds up, block by block, what every rule takes out and what that does to the list.

    The list without rules is made from all items; and so is that of each rule but the hard ones, which each search anew
    among the items that they let pass.

    unshaped: the meter of the list without rules
    """

    def __init__(
        self,
        recommender: Recommender,
        truth: Truth,
        items: Items,
        ks: Sequence[int],
        parts: Mapping[str, Truth] | None = None,
    ) -> None:
        assert recommender.shaper is not None, "without rules nothing costs anything"
        focus = focus_of(check_ks(ks))
        self.shaper, self.k = recommender.shaper, recommender.k
        self.unshaped = ListMeter(truth, items, ks, parts)
        self._free, self._scratch = recommender.under(None), Scratch()
        self._alone = {
            rule: (recommender.under(self.shaper.alone(rule)), ListMeter(truth, items, (focus,)))
            for rule in self.shaper.rules
        }
        self._removed = dict.fromkeys(("all", *self.shaper.rules), 0)
        self._entries = self._shown = self._filled = self._relaxed = self._short = 0

    def add(self, block: Block, made: Made) -> None:
        """Measure and count the lists of a block beside those without rules, and those of every rule alone."""
        ranked = self._rank(self._free, block) if self.shaper.masks else made.ranked.lists
        plain = ranked.head(self.k)
        self.unshaped.add(block.users, plain, block.pairs)
        self._entries += len(plain.item)
        self._shown += len(made.lists.item)
        self._filled += int((made.place < 0).sum())
        self._relaxed += int(made.relaxed.sum())
        self._short += int((np.diff(made.lists.indptr) < self.k).sum())
        self._removed["all"] += _removed(plain, made.lists, block.n_items)
        for rule, (alone, meter) in self._alone.items():
            lists = made.lists
            if len(self._alone) > 1:
                assert alone.shaper is not None
                found = ranked
                if rule in self.shaper.masks:
                    found = made.ranked.lists if len(self.shaper.masks) == 1 else self._rank(alone, block)
                lists = alone.shaper.shape(block, found, self.k).lists
            meter.add(block.users, lists, block.pairs)
            self._removed[rule] += _removed(plain, lists, block.n_items)

    def _rank(self, recommender: Recommender, block: Block) -> Lists:
        """All candidates of a block, best first."""
        return recommender.ranked(block, None, self._scratch).lists

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


def _removed(before: Lists, after: Lists, n_items: int) -> int:
    """Entries of lists that are in the same row of the others no more."""
    old, new = (lists.row.astype(np.int64) * n_items + lists.item for lists in (before, after))
    return int(np.isin(old, new, assume_unique=True, invert=True).sum())
