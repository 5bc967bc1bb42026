"""How good settings are on the label windows within train: one figure for every user, and never a test event.

Users are drawn into two halves. The search half says which setting is best; the confirmation half, which had no say in
that, whether it is better than where the search began.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tonearm.config import Config, stage_rng
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.data.truth import Truth, truth
from tonearm.evaluation.meters import AccuracyMeter, focus_of
from tonearm.ranking.recommender import Recommender
from tonearm.ranking.training import join_tables
from tonearm.sources import Source, fit_sources
from tonearm.split import InnerSplit, inner_splits
from tonearm.terminal.progress import Progress
from tonearm.types import Bools, Float32s, Int64s

USERS = 10_000
"""Users of a label window that settings are measured on, drawn at random where there are more."""


@dataclass(frozen=True)
class Window:
    """A label window and the users that settings are measured on.

    truth: of those users
    search: (n_users of the log,) bool, the half that chooses; fold: the same, the half that one of two rankers learns
        from
    """

    split: InnerSplit
    truth: Truth
    search: Bools
    fold: Bools


def label_windows(train: Dataset, config: Config) -> list[Window]:
    """The label windows that a run would use, with halves that are the same in all of them."""
    rng = stage_rng(config.seed, "tune")
    search, fold = rng.random(train.n_users) < 0.5, rng.random(train.n_users) < 0.5
    windows: list[Window] = []
    for split in inner_splits(train, config.split, stage_rng(config.seed, "split")):
        whole = truth(split.history.log, split.labels, config.filter_seen)
        windows.append(Window(split, _some_of(whole, USERS, rng), search, fold))
        if sum(len(window.truth) for window in windows) >= config.ranker.many:
            break
    return windows


def searched(windows: Sequence[Window]) -> Bools:
    """Which rows of `of_source` are of the search half."""
    return np.concatenate([window.search[window.truth.users] for window in windows])


def of_source(
    name: str, config: Config, windows: Sequence[Window], bases: dict[tuple[str, int], Source]
) -> Iterator[Float32s]:
    """ndcg@focus of each user's list by one source: of a quarter of the first window, then of each window in turn.

    bases: models that others build on, kept from one trial to the next
    Yields all rows so far, (n,) float32, rows not yet measured being NaN; the last has every row of every window.
    """
    focus = focus_of(config.evaluation.ks)
    done = [np.full(len(window.truth), np.nan, np.float32) for window in windows]
    for place, window in enumerate(windows):
        source = _fitted(name, config, window.split.history, bases, place)

        def listed(block: Block, source: Source = source) -> Lists:
            return source.recommend(block, focus)

        order = stage_rng(config.seed, f"tune {place}").permutation(len(window.truth))
        for part in (order[: len(order) // 4], order[len(order) // 4 :]) if place == 0 else (order,):
            rows = np.sort(part)
            done[place][rows] = _ndcg(window, rows, config, listed)
            yield np.concatenate(done)


def of_ranker(
    config: Config, windows: Sequence[Window], sources: Sequence[Sequence[Source]], progress: Progress
) -> Iterator[Float32s]:
    """ndcg@focus of the final list of each user of the first window, by a ranker that learnt from other users alone.

    sources: fitted on each window's history
    Yields after each half of the users, as `of_source`.
    """
    last, focus = windows[0], focus_of(config.evaluation.ks)
    values = np.full(len(last.truth), np.nan, np.float32)
    for side in (True, False):
        tables = []
        for window, fitted in zip(windows, sources, strict=True):
            labels = window.split.labels
            kept = replace(labels, start=np.where(window.fold == side, labels.start, labels.stop))
            history = window.split.history
            answers = truth(history.log, kept, config.filter_seen)
            rng = stage_rng(config.seed, "training table")
            tables.append(config.ranker.training_table(history, answers, fitted, config.search, rng, progress))
        rng = stage_rng(config.seed, "ranker")
        later = last.split.history.log.time is not None
        model = config.ranker.fit(join_tables(tables), rng, config.threads, progress, later)

        recommender = Recommender.of(last.split.history, sources[0], model, None, config.search, focus, config.threads)

        def listed(block: Block, recommender: Recommender = recommender) -> Lists:
            return recommender.lists(block).lists

        rows = np.flatnonzero(last.fold[last.truth.users] != side)
        values[rows] = _ndcg(last, rows, config, listed)
        yield values.copy()


def _ndcg(window: Window, rows: Int64s, config: Config, make: Callable[[Block], Lists]) -> Float32s:
    """ndcg@focus of the lists that `make` gives to the users of some rows of a window's truth, (n_rows,) float32."""
    focus = focus_of(config.evaluation.ks)
    meter = AccuracyMeter(window.truth, (focus,))
    for lo in range(0, len(rows), config.block):
        users = window.truth.users[rows[lo : lo + config.block]]
        meter.count(users, make(window.split.history.block_of(users, config.filter_seen)))
    values: Float32s = meter.values[rows, meter.columns.index(f"ndcg@{focus}")]
    return values


def _fitted(name: str, config: Config, history: Dataset, bases: dict[tuple[str, int], Source], place: int) -> Source:
    recipes = config.recipes()
    needed = [*recipes[name].bases.values()]
    for base in needed:
        if (base, place) not in bases:
            bases[base, place] = fit_sources(history, {base: recipes[base]}, config.seed)[0]
    earlier = {base: bases[base, place] for base in needed}
    return fit_sources(history, {name: recipes[name]}, config.seed, earlier=earlier)[0]


def _some_of(whole: Truth, n: int, rng: np.random.Generator) -> Truth:
    """At most n users of a truth, drawn at random."""
    if len(whole) <= n:
        return whole
    return whole.of_rows(np.sort(rng.choice(len(whole), n, replace=False)))
