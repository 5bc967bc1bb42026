"""What comes after a cut changes nothing before it; the order of rows and the names of ids mean nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.e2e.same import assert_same, assert_same_but_ids
from tests.quick import CUT, Log, quick_config, run_quick

from tonearm.config import stage_rng
from tonearm.data.dataset import Dataset
from tonearm.data.log import Pairs
from tonearm.data.times import to_moment
from tonearm.data.truth import Truth, truth
from tonearm.loading.load import load_events
from tonearm.pipeline import learn_to_rank
from tonearm.ranking.candidates import gather
from tonearm.ranking.features import Features
from tonearm.ranking.ranker import Ranker
from tonearm.ranking.training import TrainingTable
from tonearm.sources import Source, fit_sources
from tonearm.split import InnerSplit, inner_split
from tonearm.terminal.stages import Stages

ALL = 'output.features="all"'
LABELS = "split.label_days=40"


def fewer(test: pl.DataFrame) -> pl.DataFrame:
    return test.gather_every(3)


def shuffled(test: pl.DataFrame) -> pl.DataFrame:
    return test.with_columns(pl.col("item_id").shuffle(seed=4), pl.col("user_id").shuffle(seed=5))


def invented(test: pl.DataFrame) -> pl.DataFrame:
    """The best-selling listener hears everything, a new one appears, and so does an item that nobody knows."""
    items = pl.concat([test["item_id"].unique().sort(), pl.Series([10**8], dtype=test["item_id"].dtype)])
    users = [test["user_id"].mode().sort()[0], 10**7]
    more = pl.DataFrame({"user_id": users}).join(pl.DataFrame({"item_id": items}), how="cross")
    return pl.concat([test, more.with_columns(pl.lit(CUT).alias("started_at")).cast(test.schema)])


@pytest.mark.parametrize("change", [fewer, shuffled, invented])
def test_test_events_change_no_list_model_or_feature(
    change: Callable[[pl.DataFrame], pl.DataFrame], tiny_log: Log, tiny_run: Path, tmp_path: Path
) -> None:
    test = change(tiny_log.test)
    assert not test.equals(tiny_log.test)
    run = run_quick(tmp_path / "changed", pl.concat([tiny_log.train, test]), tiny_log.items, ALL)
    assert_same(tiny_run, run)
    assert (tiny_run / "metrics.json").read_bytes() != (run / "metrics.json").read_bytes()


@pytest.fixture(scope="module")
def repeat_run(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_run`, with heard tracks left in."""
    folder = tmp_path_factory.mktemp("repeat") / "whole"
    return run_quick(folder, tiny_log.events, tiny_log.items, ALL, "filter_seen=false")


@pytest.mark.parametrize("change", [fewer, invented])
def test_test_events_change_nothing_where_heard_tracks_come_back(
    change: Callable[[pl.DataFrame], pl.DataFrame], tiny_log: Log, repeat_run: Path, tmp_path: Path
) -> None:
    run = run_quick(
        tmp_path / "changed",
        pl.concat([tiny_log.train, change(tiny_log.test)]),
        tiny_log.items,
        ALL,
        "filter_seen=false",
    )
    assert_same(repeat_run, run)
    assert (repeat_run / "metrics.json").read_bytes() != (run / "metrics.json").read_bytes()


def test_train_events_do_change_the_run(tiny_log: Log, tiny_run: Path, tmp_path: Path) -> None:
    events = pl.concat([tiny_log.train.gather_every(2), tiny_log.test])
    run = run_quick(tmp_path / "fewer", events, tiny_log.items, ALL)
    with pytest.raises(AssertionError):
        assert_same(tiny_run, run)


def arrays_of(sources: Sequence[Source]) -> dict[str, str]:
    """The sha256 of all that sources have learnt."""
    return {
        f"{s.name}/{name}": sha256(array.tobytes()).hexdigest() for s in sources for name, array in s.save().items()
    }


def history_stage(folder: Path, log: Log, events: pl.DataFrame, filter_seen: bool) -> tuple[InnerSplit, dict[str, str]]:
    """All that is learnt before the label window: the arrays of the sources' models, their candidates and features."""
    folder.mkdir()
    events.write_parquet(folder / "events.parquet")
    log.items.write_parquet(folder / "items.parquet")
    config = quick_config(LABELS, f"filter_seen={str(filter_seen).lower()}")
    train = load_events(str(folder / "events.parquet"), str(folder / "items.parquet"), CUT, config.data).train
    split = inner_split(train, config.split, stage_rng(config.seed, "split"))
    sources = fit_sources(split.history, config.recipes(), config.seed)
    found = arrays_of(sources)
    block = split.history.block(0, train.n_users, filter_seen)
    candidates, _ = gather(block, sources, config.search.depth)
    features = Features.fit(split.history, [source.name for source in sources], filter_seen)
    for name, array in (("candidates", candidates.lists.item), ("features", features.compute(block, candidates))):
        found[name] = sha256(array.tobytes()).hexdigest()
    return split, found


@pytest.mark.parametrize("filter_seen", [True, False])
def test_the_label_window_changes_nothing_of_the_history_stage(
    filter_seen: bool, tiny_log: Log, tmp_path: Path
) -> None:
    split, before = history_stage(tmp_path / "before", tiny_log, tiny_log.events, filter_seen)
    assert any(name.startswith("again/") for name in before) != filter_seen
    assert split.cutoff is not None
    late = pl.col("started_at") >= to_moment(split.cutoff)
    history, window = tiny_log.train.filter(~late), tiny_log.train.filter(late)
    assert len(window) > 300
    known = pl.col("user_id").is_in(history["user_id"].unique().implode())
    # whoever came in the label window still comes then, or the users' indices would be others
    changes = {
        "shuffled": window.with_columns(pl.col("item_id").shuffle(seed=2)),
        "deleted": pl.concat([window.filter(known).gather_every(4), window.filter(~known)]),
        "invented": pl.concat([window, window.with_columns(pl.lit(tiny_log.items["item_id"][3]).alias("item_id"))]),
    }
    for name, changed in changes.items():
        other, after = history_stage(
            tmp_path / name, tiny_log, pl.concat([history, changed, tiny_log.test]), filter_seen
        )
        assert other.cutoff == split.cutoff
        assert [key for key in before if before[key] != after[key]] == [], name
        assert Pairs.of(other.labels).item.tobytes() != Pairs.of(split.labels).item.tobytes(), name


def test_history_does_change_the_history_stage(tiny_log: Log, tmp_path: Path) -> None:
    _, before = history_stage(tmp_path / "before", tiny_log, tiny_log.events, True)
    _, after = history_stage(tmp_path / "after", tiny_log, tiny_log.events.gather_every(2), True)
    assert before != after


def test_the_ranker_learns_from_the_history_and_by_the_label_window_alone(
    tiny_log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the pipeline hands to the training table is what the inner split gives, and nothing of a later time."""
    tiny_log.events.write_parquet(tmp_path / "events.parquet")
    config = quick_config(LABELS)
    train = load_events(str(tmp_path / "events.parquet"), None, CUT, config.data).train
    handed: list[tuple[Dataset, Truth, Sequence[Source]]] = []
    original = Ranker.training_table

    def recorded(
        self: Ranker, history: Dataset, answers: Truth, sources: Sequence[Source], *more: Any
    ) -> TrainingTable:
        handed.append((history, answers, sources))
        return original(self, history, answers, sources, *more)

    monkeypatch.setattr(Ranker, "training_table", recorded)
    learn_to_rank(train, config, Stages(False))
    split = inner_split(train, config.split, stage_rng(config.seed, "split"))
    history, answers, sources = handed[0]
    assert history.now == split.cutoff
    assert history.log.span[1] < split.history.now
    assert arrays_of(sources) == arrays_of(fit_sources(split.history, config.recipes(), config.seed))
    wanted = truth(split.history.log, split.labels)
    assert len(wanted) > 20
    assert (answers.users.tobytes(), answers.item.tobytes()) == (wanted.users.tobytes(), wanted.item.tobytes())


def test_the_order_of_rows_changes_nothing(tiny_log: Log, tiny_run: Path, tmp_path: Path) -> None:
    mixed = replace(
        tiny_log,
        events=tiny_log.events.sample(fraction=1, shuffle=True, seed=9),
        items=tiny_log.items.sample(fraction=1, shuffle=True, seed=8),
    )
    assert not mixed.events.equals(tiny_log.events)
    run = run_quick(tmp_path / "mixed", mixed.events, mixed.items, ALL)
    assert_same(tiny_run, run)
    assert (tiny_run / "metrics.json").read_bytes() == (run / "metrics.json").read_bytes()


def test_other_ids_in_the_same_order_change_only_the_ids(tiny_log: Log, tiny_run: Path, tmp_path: Path) -> None:
    def user(ids: pl.Expr) -> pl.Expr:
        return ids.cast(pl.Int64) * 7 - 300

    def item(ids: pl.Expr) -> pl.Expr:
        return pl.format("t{}", ids.cast(pl.String).str.zfill(12))

    new = [user(pl.col("user_id")).alias("user_id"), item(pl.col("item_id")).alias("item_id")]
    run = run_quick(tmp_path / "renamed", tiny_log.events.with_columns(new), tiny_log.items.with_columns(new[1]), ALL)
    assert pl.read_parquet(run / "similar.parquet")["item_id_2"].dtype == pl.String
    assert_same_but_ids(tiny_run, run, user, item)
    assert (tiny_run / "metrics.json").read_bytes() == (run / "metrics.json").read_bytes()
