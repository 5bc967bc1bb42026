"""Measures the lists of a run as they are made: every list, the funnel, and what the rules cost."""

from typing import Any

import numpy as np

from tonearm.config import Config, stage_rng
from tonearm.data.dataset import Block, Dataset
from tonearm.data.truth import truth
from tonearm.evaluation.funnel import FunnelMeter
from tonearm.evaluation.meters import ListMeter, cold_users, describe_items, focus_of, ks_within
from tonearm.evaluation.repeats import own_rules, parts_of, rule_names
from tonearm.evaluation.rule_costs import RuleCosts, counts
from tonearm.evaluation.summary import summarise
from tonearm.loading.load import Test
from tonearm.ranking.candidates import proposing
from tonearm.ranking.recommender import Made, Recommender
from tonearm.runs.lists import FINAL, UNSHAPED, key_of
from tonearm.types import AnyArray


class Measure:
    """Measures every list as it passes, block by block: accuracy and more, the funnel, and what the rules cost."""

    def __init__(
        self, train: Dataset, test: Test, recommender: Recommender, config: Config, part: bool = False
    ) -> None:
        """part: what these users have not heard may have been heard by others, as the counts of `train` say."""
        known = np.pad(train.listeners > 0, (0, test.log.n_items - train.n_items)) if part else None
        self.train, self.test, self.config, self.recommender = train, test, config, recommender
        self.truth = truth(train.log, test.log, config.filter_seen, known)
        self.names = [source.name for source in recommender.fitted]
        self.popular = train.popular_of(recommender.allowed)
        items, ks = describe_items(train.plays, train.catalogue), measured_ks(train, config)
        parts = {} if config.filter_seen else parts_of(self.truth, train.pairs)
        rules = () if config.filter_seen else rule_names(train.log.time is not None)
        shown = [key_of(name) for name in self.names]
        self.meters = {name: ListMeter(self.truth, items, ks, parts) for name in (*shown, *rules, FINAL)}
        self.funnel = FunnelMeter(self.truth, proposing(self.names, config.proposers), focus_of(ks))
        self.costs = None
        if recommender.shaper is not None:
            self.costs = RuleCosts(recommender, self.truth, items, ks, parts)
            self.meters[UNSHAPED] = self.costs.unshaped

    def add(self, block: Block, made: Made) -> None:
        """Take up the lists of a block."""
        ranked, k = made.ranked, self.recommender.k
        if self.costs is not None:
            self.costs.add(block, made)
        for name, lists in zip(self.names, ranked.own, strict=True):
            self.meters[key_of(name)].add(block.users, lists.head(k), block.pairs)
        self.meters[FINAL].add(block.users, made.lists, block.pairs)
        if not self.config.filter_seen:
            for name, shown in own_rules(block, self.popular, k, self.recommender.allowed).items():
                self.meters[name].add(block.users, shown, block.pairs)
        self.funnel.add(block.users, ranked.candidates.lists, ranked.candidates.ranks > 0, ranked.lists)

    def counts(self) -> dict[str, AnyArray]:
        """Everything that was counted so far, by name; to write into the arrays is to go on from there."""
        found = {f"{key} {name}": array for key, meter in self.meters.items() for name, array in counts(meter)}
        found |= {f"funnel {name}": array for name, array in self.funnel.sums().items()}
        found |= {} if self.costs is None else {f"costs {name}": a for name, a in self.costs.sums().items()}
        return found | {"funnel lost": self.funnel.lost}

    def metrics(self, catalogue: str | None) -> dict[str, Any]:
        """All figures; catalogue: what it is called where there is one."""
        return summarise(
            self.truth,
            self.meters,
            stage_rng(self.config.seed, "bootstrap"),
            funnel=self.funnel,
            shape=None if self.costs is None else self.costs.summary(self.meters[FINAL]),
            population={"test_events_of_unknown_items": self.test.unknown_events},
            cold=cold_users(self.test.cold, self.train.plays, self.popular, self.config.output.k),
            catalogue=catalogue,
            resamples=self.config.evaluation.resamples,
        )


def longest_list(train: Dataset, config: Config) -> int:
    """How many items a list can hold: no metric@k is of a k above it."""
    return min(config.output.k, len(train.popularity_order))


def measured_ks(train: Dataset, config: Config) -> tuple[int, ...]:
    """The cut-offs of `evaluation.ks` that lists are long enough for."""
    return ks_within(config.evaluation.ks, longest_list(train, config))
