"""What shaping costs: the list without it measured beside the shaped one, and every rule by itself."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.data.truth import Truth
from tonearm.evaluation.meters import Items, ListMeter, check_ks, focus_of
from tonearm.ranking.features import Scratch
from tonearm.ranking.recommender import Made, Recommender
from tonearm.types import AnyArray


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
        self._removed = {rule: np.zeros(1, np.int64) for rule in ("all", *self.shaper.rules)}
        self._totals = np.zeros(5, np.int64)  # entries without rules, and with; filled, above limits; short lists

    def add(self, block: Block, made: Made) -> None:
        """Measure and count the lists of a block beside those without rules, and those of every rule alone."""
        ranked = self._rank(self._free, block) if self.shaper.masks else made.ranked.lists
        plain = ranked.head(self.k)
        self.unshaped.add(block.users, plain, block.pairs)
        short = int((np.diff(made.lists.indptr) < self.k).sum())
        entries = len(plain.item), len(made.lists.item), int((made.place < 0).sum())
        self._totals += *entries, int(made.relaxed.sum()), short
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

    def sums(self) -> dict[str, AnyArray]:
        """All that adds up over users, by name, but what the meters of the lists count."""
        removed = {f"removed by {rule}": array for rule, array in self._removed.items()}
        alone = {f"{rule} {name}": array for rule, (_, meter) in self._alone.items() for name, array in counts(meter)}
        return removed | alone | {"totals": self._totals}

    def _rank(self, recommender: Recommender, block: Block) -> Lists:
        """All candidates of a block, best first."""
        return recommender.ranked(block, None, self._scratch).lists

    def summary(self, final: ListMeter) -> dict[str, Any]:
        """The `shape` part of metrics.json.

        final: the meter of the shaped list
        """
        rules = {rule: self._cost(rule, meter) for rule, (_, meter) in self._alone.items()}
        entries, shown, filled, relaxed, short = self._totals.tolist()
        return {
            "entries": shown,
            "filled_by_popular": filled,
            "above_limits": relaxed,
            "short_lists": short,
            "unshaped_entries": entries,
            "rules": rules,
            "all": self._cost("all", final),
            "notes": list(self.shaper.notes),
        }

    def _cost(self, rule: str, meter: ListMeter) -> dict[str, Any]:
        before, after, focus = self.unshaped.summary(), meter.summary(), self.unshaped.focus
        removed, entries = int(self._removed[rule][0]), int(self._totals[0])
        found: dict[str, Any] = {"removed": removed, "removed_share": None}
        if entries:
            found["removed_share"] = removed / entries
        for name in (f"ndcg@{focus}", "coverage", f"diversity@{focus}"):
            old, new = before[name], after[name]
            found[name] = None if old is None or new is None else new - old
        return found


def counts(meter: ListMeter) -> Iterator[tuple[str, AnyArray]]:
    """Everything that a meter has counted, by name; to write into the arrays is to change it."""
    yield "values", meter.values
    yield from meter.sums().items()
    for part, accuracy in meter.parts.items():
        yield f"{part} values", accuracy.values
        for name, array in accuracy.sums().items():
            yield f"{part} {name}", array


def _removed(before: Lists, after: Lists, n_items: int) -> int:
    """Entries of lists that are in the same row of the others no more."""
    old, new = (lists.row.astype(np.int64) * n_items + lists.item for lists in (before, after))
    return int(np.isin(old, new, assume_unique=True, invert=True).sum())
