"""A leak drill: leaks planted one after the other, each of which a test that is there anyway has to catch.

A leak is a small change of the running code, as a mistake would be. The test that should catch it is called with the
leak in place, and has to fail. docs/understand/trust.md has the table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.e2e import test_leaks
from tests.project import test_split
from tests.quick import QUICK, Log, run_quick
from tests.reference import test_metrics_by_definition as definition

from tonearm import inputs, pipeline, split
from tonearm.data import truth as truths
from tonearm.data.dataset import Block, Dataset
from tonearm.data.log import Log as Events
from tonearm.data.log import Pairs
from tonearm.data.times import DAY
from tonearm.evaluation import measure
from tonearm.evaluation.meters import AccuracyMeter
from tonearm.loading.load import Loaded, load_events
from tonearm.ranking.candidates import Candidates
from tonearm.ranking.features import Features, Scratch
from tonearm.ranking.ranker import RankerModel
from tonearm.ranking.recommender import Recommender
from tonearm.sources import Source, fit_sources
from tonearm.sources.popularity import Popularity, PopularityModel
from tonearm.types import Float32s, Int32s, Int64s

ROOT = Path(__file__).parents[2]
LIGHT = (*QUICK, 'sources=["popular","als","content","item_item"]', "split.windows=1", "evaluation.resamples=10")


class Peek:
    """What leaks reach for: the test, which whoever loads a log has in hand."""

    def __init__(self, patch: pytest.MonkeyPatch, change: Callable[[Loaded], Loaded] = lambda loaded: loaded) -> None:
        self.loaded: Loaded | None = None

        def load(*given: Any) -> Loaded:
            self.loaded = change(load_events(*given))
            return self.loaded

        patch.setattr(inputs, "load_events", load)

    @property
    def train(self) -> Dataset:
        assert self.loaded is not None
        return self.loaded.train

    @property
    def test(self) -> Events:
        """Test events of the users of train."""
        assert self.loaded is not None
        assert self.loaded.test is not None
        return self.loaded.test.log

    @property
    def counts(self) -> Int64s:
        """Test events of each item of train."""
        return self.test.item_counts()[0][: self.train.n_items]


def history_with_test(patch: pytest.MonkeyPatch) -> None:
    def change(loaded: Loaded) -> Loaded:
        train, test = loaded.train, loaded.test
        assert test is not None
        return replace(loaded, train=replace(train, log=together(train.log, test.log)))

    Peek(patch, change)


def together(train: Events, test: Events) -> Events:
    """Two logs of the same users as one, without items that the first does not know."""
    place = [log.places() for log in (train, test)]
    user = np.concatenate([np.repeat(np.arange(log.n_users), log.stop - log.start) for log in (train, test)])
    item = np.concatenate([train.item[place[0]], test.item[place[1]]])
    assert train.time is not None
    assert test.time is not None
    time = np.concatenate([train.time[place[0]], test.time[place[1]]])
    order = np.lexsort((time, user))
    order = order[item[order] < train.n_items]
    stop = np.bincount(user[order], minlength=train.n_users).cumsum()
    return Events(np.append(0, stop[:-1]), stop, item[order], time[order], None, train.n_items)


def cut_a_day_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inputs, "parse_moment", lambda given: given + timedelta(days=1))


def label_window_in_the_history(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Events, "before", lambda log, cutoff: replace(log, stop=log._cut(cutoff + DAY)))


def random_window(patch: pytest.MonkeyPatch) -> None:
    def drawn(train: Dataset, options: Any, rng: np.random.Generator) -> Any:
        return split._held_out(train, *split._draw(train.log, options.label_share, rng))

    patch.setattr("tests.project.test_split.inner_split", drawn)


def target_as_feature(patch: pytest.MonkeyPatch) -> None:
    """Whether the user plays the candidate later: a history shares its arrays with what comes after it."""
    original = Features.compute

    def compute(self: Features, block: Block, candidates: Candidates, scratch: Scratch | None = None) -> Float32s:
        found, lists, log = original(self, block, candidates, scratch), candidates.lists, block.log
        ends = np.append(np.unique(log.start), len(log.item))
        for row in range(len(block)):
            later = log.item[log.stop[row] : ends[np.searchsorted(ends, log.start[row], side="right")]]
            own = slice(int(lists.indptr[row]), int(lists.indptr[row + 1]))
            found[own, 0] = np.isin(lists.item[own], later)
        return found

    patch.setattr(Features, "compute", compute)


def items_counted_in_test(patch: pytest.MonkeyPatch) -> None:
    peek, original = Peek(patch), Features.fit

    def fit(*given: Any) -> Features:
        made = original(*given)
        return replace(made, item=made.item + np.log1p(peek.counts, dtype=np.float32)[:, None])

    patch.setattr(Features, "fit", fit)


def labels_of_test(patch: pytest.MonkeyPatch) -> None:
    peek = Peek(patch)

    def leaking(history: Events, labels: Events, filter_seen: bool) -> truths.Truth:
        del labels
        return truths.truth(history, peek.test, filter_seen)

    patch.setattr(pipeline, "truth", leaking)


def popularity_of_everything(patch: pytest.MonkeyPatch) -> None:
    peek = Peek(patch)

    def learn(self: Popularity, given: Any) -> PopularityModel:
        del self
        plays = given.data.plays + peek.counts
        order = np.argsort(-plays, kind="stable")
        return PopularityModel("popular", order[plays[order] > 0].astype(np.int32), plays.astype(np.float32))

    patch.setattr(Popularity, "learn", learn)


def ranker_chosen_on_test(patch: pytest.MonkeyPatch) -> None:
    peek, original = Peek(patch), Recommender.of

    def of(data: Dataset, fitted: Any, ranker: RankerModel, *more: Any) -> Recommender:
        answers = truths.truth(data.log, peek.test)
        block, first = data.block_of(answers.users, True), original(data, fitted, ranker, *more)
        candidates = first.ranked(block).candidates

        def blended(weights: Float32s) -> Recommender:
            return replace(first, ranker=replace(ranker, blend=weights, mix=0.0))

        def hits(weights: Float32s) -> float:
            meter = AccuracyMeter(answers, (20,))
            meter.count(answers.users, blended(weights).rank(block, candidates, k=20).lists)
            return meter.means()["ndcg@20"] or 0

        tried = np.random.default_rng(0).dirichlet(np.ones(len(ranker.blend)), 100).astype(np.float32)
        return blended(max(tried, key=hits))

    patch.setattr(Recommender, "of", of)


def seen_with_test(patch: pytest.MonkeyPatch) -> None:
    peek = Peek(patch)

    def seen(block: Block) -> tuple[Int64s, Int32s]:
        played = peek.test if len(block) == peek.test.n_users else peek.test.users(block.users)
        pairs = Pairs.of(together(block.log, played))
        return pairs.indptr, pairs.item

    patch.setattr(Block, "seen", property(seen))


def meters_of_another_truth(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(measure, "truth", lambda train, test, seen, known: truths.truth(train, test, not seen, known))


def sources_of_all_of_train(patch: pytest.MonkeyPatch) -> None:
    whole: list[Dataset] = []

    def remembered(train: Dataset, *more: Any) -> Iterator[Any]:
        whole.append(train)
        return split.inner_splits(train, *more)

    def fit(data: Dataset, *more: Any) -> list[Source]:
        return fit_sources(whole[0] if whole else data, *more)

    patch.setattr(pipeline, "inner_splits", remembered)
    patch.setattr(pipeline, "fit_sources", fit)


@dataclass(frozen=True)
class Drill:
    """What checks are called with."""

    log: Log
    folder: Path


def lists_change_with_test(drill: Drill) -> None:
    (drill.folder / "first").mkdir()
    run = run_quick(drill.folder / "first" / "whole", drill.log.events, drill.log.items, test_leaks.ALL)
    test_leaks.test_test_events_change_no_list_model_or_feature(test_leaks.shuffled, drill.log, run, drill.folder)


def history_changes_with_labels(drill: Drill) -> None:
    test_leaks.test_the_label_window_changes_nothing_of_the_history_stage(True, drill.log, drill.folder)


def days_are_parted(drill: Drill) -> None:
    del drill
    test_split.TestByTime().test_the_last_days_are_labels()


def training_is_of_the_history(drill: Drill) -> None:
    with pytest.MonkeyPatch.context() as patch:
        test_leaks.test_the_ranker_learns_from_the_history_and_by_the_label_window_alone(drill.log, drill.folder, patch)


def figures_are_as_defined(drill: Drill) -> None:
    folder = definition.make(drill.log, drill.folder)
    definition.test_points_3_and_4_run_and_evaluate_agree_with_the_definitions((folder, True))


Check = Callable[[Drill], None]
NAMES: dict[Check, str] = {
    lists_change_with_test: "test_test_events_change_no_list_model_or_feature",
    history_changes_with_labels: "test_the_label_window_changes_nothing_of_the_history_stage",
    days_are_parted: "test_the_last_days_are_labels",
    training_is_of_the_history: "test_the_ranker_learns_from_the_history_and_by_the_label_window_alone",
    figures_are_as_defined: "test_points_3_and_4_run_and_evaluate_agree_with_the_definitions",
}
"""Each check and the test that it calls."""

LEAKS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Check]] = {
    "test rows in the history": (history_with_test, lists_change_with_test),
    "the cut a day late": (cut_a_day_late, lists_change_with_test),
    "item statistics over the test": (items_counted_in_test, lists_change_with_test),
    "the ranker's labels from the test": (labels_of_test, lists_change_with_test),
    "popularity of the whole log": (popularity_of_everything, lists_change_with_test),
    "the ranker chosen on the test": (ranker_chosen_on_test, lists_change_with_test),
    "test plays among the seen ones": (seen_with_test, lists_change_with_test),
    "the target as a feature": (target_as_feature, history_changes_with_labels),
    "a day of labels in the history": (label_window_in_the_history, days_are_parted),
    "a random label window": (random_window, days_are_parted),
    "sources of the first stage fitted on all of train": (sources_of_all_of_train, training_is_of_the_history),
    "meters of another truth": (meters_of_another_truth, figures_are_as_defined),
}


@pytest.fixture
def drill(tiny_log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drill:
    """Few sources and few iterations: a leak needs no more to show."""
    monkeypatch.setattr("tests.quick.QUICK", LIGHT)
    return Drill(tiny_log, tmp_path)


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_caught(name: str, drill: Drill) -> None:
    plant, check = LEAKS[name]
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        with pytest.raises(AssertionError):
            check(drill)


@pytest.mark.parametrize("check", NAMES, ids=NAMES.get)
def test_nothing_is_caught_where_there_is_no_leak(check: Check, drill: Drill) -> None:
    check(drill)


def test_the_page_has_every_leak_and_what_catches_it() -> None:
    page = (ROOT / "docs" / "understand" / "trust.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in page.splitlines() if "|" in line]
    told = {row[0]: row[-1] for row in rows}
    assert {name: told.get(name) for name in LEAKS} == {name: NAMES[check] for name, (_, check) in LEAKS.items()}
