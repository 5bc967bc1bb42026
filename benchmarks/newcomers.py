"""How good lists are for listeners whom a model knows by `history` alone.

python benchmarks/newcomers.py --data ../shared/data [--sets hetrec retail small] [--save newcomers]

For each set: the share of the run's own lists (first 20, and whole) that its listeners get again when they come under
new ids with the history that the run learnt from; and ndcg@20 of what a fifth of the listeners played after the cut,
by a model that learnt from the other four fifths and is told of their history, beside the popular list and beside the
model that learnt from them too. Differences are of the same listeners, with paired bootstrap intervals.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import tonearm
from figures import parser, tell
from quality_sets import inputs_of
from tonearm import Inputs
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.truth import Truth, truth
from tonearm.evaluation.bootstrap import interval, resample
from tonearm.evaluation.meters import ListMeter, describe_items
from tonearm.model import Model
from tonearm.terminal.progress import no_progress
from tonearm.types import Float32s

K = 20
OWN = 400
"""Listeners at most whose own lists are asked for again."""

USER, ITEM, TIME = "user_id", "item_id", "started_at"


def under_new_ids(plays: pl.DataFrame, taken: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same plays of listeners nobody has seen, with ids that are not taken, and which new id stands for whom."""
    users = plays[USER].unique().sort()
    first = taken.cast(pl.Int64).max() if taken.dtype.is_integer() else 0
    assert isinstance(first, int)
    new = (pl.Series("new", range(len(users)), dtype=pl.Int64) + first + 1).cast(users.dtype)
    names = pl.DataFrame({USER: users, "new": new})
    return plays.join(names, on=USER).drop(USER).rename({"new": USER}).select(plays.columns), names


def overlap(model: Model, plays: pl.DataFrame, k: int) -> float:
    """Mean share of a listener's own first k that the same history gives again under a new id."""
    history, names = under_new_ids(plays, model.data.users.ids)
    own = model.recommend(names[USER], k=k).select(USER, ITEM)
    again = model.recommend(history=history, k=k).rename({USER: "new"}).join(names, on="new").select(USER, ITEM)
    both = own.join(again, on=[USER, ITEM]).group_by(USER).len("both")
    shares = own.group_by(USER).len("all").join(both, on=USER, how="left").fill_null(0)
    return float(shares.select((pl.col("both") / pl.col("all")).mean()).item())


def ndcg(frame: pl.DataFrame, answers: Truth, train: Dataset) -> Float32s:
    """ndcg@20 of each evaluated listener's list, 0 without one."""
    frame = frame.filter(pl.Series(np.isin(train.users.encode(frame[USER]), answers.users))).sort(USER, "rank")
    row = np.searchsorted(answers.users, train.users.encode(frame[USER]))
    indptr = np.concatenate(([0], np.bincount(row, minlength=len(answers)).cumsum())).astype(np.int64)
    item = train.catalogue.items.encode(frame[ITEM])
    lists = Lists(indptr, item, -frame["rank"].to_numpy().astype(np.float32))
    meter = ListMeter(answers, describe_items(train.plays, train.catalogue), (K,))
    meter.add(answers.users, lists, train.block_of(answers.users, True).pairs)
    return np.asarray(meter.values[:, meter.columns.index(f"ndcg@{K}")], np.float32)


def popular(train: Dataset, answers: Truth) -> pl.DataFrame:
    """The first 20 of the popular list that each listener has not heard."""
    block, source = train.block_of(answers.users, True), tonearm.Popularity().fit(train, np.random.default_rng(0))
    lists = source.recommend(block, K)
    ids = train.users.decode(answers.users[lists.row])
    return pl.DataFrame({USER: ids, ITEM: train.catalogue.items.decode(lists.item), "rank": lists.rank})


def measured(name: str, given: Inputs) -> Sequence[Any]:
    """The row of one set."""
    config, began = tonearm.Config(), time.perf_counter()
    loaded = given.load(config, no_progress)
    train, test = loaded.train, loaded.test
    assert test is not None
    events = pl.read_parquet(str(given.events))
    cut = pl.lit(given.test_from).str.to_datetime() if isinstance(given.test_from, str) else pl.lit(given.test_from)
    past = events.filter(pl.col(TIME) < cut)
    whole = tonearm.fit(given.events or "", given.items, config, before=given.test_from)
    rng = np.random.default_rng(0)
    some = train.users.decode(
        np.sort(rng.choice(train.n_users, min(OWN, train.n_users), replace=False)).astype(np.int32)
    )
    mine = past.filter(pl.col(USER).is_in(some.implode()))
    shares = [overlap(whole, mine, k) for k in (K, config.output.k)]
    every = truth(train.log, test.log, True)
    held = np.sort(rng.choice(every.users, len(every) // 5, replace=False))
    out = train.users.decode(held)
    fewer = tonearm.fit(events.filter(~pl.col(USER).is_in(out.implode())), given.items, config, before=given.test_from)
    only = truth(train.log, test.log.users(np.arange(train.n_users, dtype=np.int32)), True)
    keep = np.isin(only.users, held)
    rows = [slice(only.indptr[i], only.indptr[i + 1]) for i in np.flatnonzero(keep)]
    item = np.concatenate([only.item[row] for row in rows])
    indptr = np.concatenate(([0], np.cumsum([row.stop - row.start for row in rows]))).astype(np.int64)
    answers = Truth(only.users[keep], indptr, item, only.history[keep], True, only.population)
    folded = ndcg(fewer.recommend(history=past.filter(pl.col(USER).is_in(out.implode())), k=K), answers, train)
    trained, simple = ndcg(whole.recommend(out, k=K), answers, train), ndcg(popular(train, answers), answers, train)
    drawn = resample([value[:, None] for value in (folded, trained, simple)], np.random.default_rng(0), 1000)
    over = [_difference(folded - other, drawn[0] - drawn[n]) for n, other in ((2, simple), (1, trained))]
    means = [float(value.mean()) for value in (simple, folded, trained)]
    print(f"{name}: {time.perf_counter() - began:.0f} s")
    return [name, *shares, len(answers), *means, means[1] / means[2], *over]


def _difference(values: Float32s, drawn: Any) -> dict[str, float]:
    low, high = interval(drawn)
    return {"value": float(values.mean()), "low": float(low[0]), "high": float(high[0])}


def main() -> None:
    """Measure every set that is asked for."""
    line = parser(__doc__)
    line.add_argument("--data", type=Path, required=True)
    line.add_argument("--sets", nargs="+", default=["hetrec", "retail", "small"])
    asked = line.parse_args()
    heads = [("set", ""), ("run's own first 20", ".1%"), ("run's own list", ".1%"), ("listeners left out", ",.0f")]
    heads += [(f"ndcg@20: {what}", ".4f") for what in ("popular", "by history alone", "learnt from")]
    heads += [("share of that", ".1%"), ("over popular", ""), ("over learnt from", "")]
    with tempfile.TemporaryDirectory() as folder:
        known = inputs_of(asked.sets, asked.data, Path(folder))
        tell(heads, [measured(name, given) for name, given in known.items()], asked.save)


if __name__ == "__main__":
    main()
