"""How good similar items are: by ALS vectors, by common listeners, and by both, which is the default.

python benchmarks/similar.py DATA [--sets hetrec retail] [--save similar] [--neighbours similar-artists]

DATA is the folder of the real sets; small and medium are made by `tonearm synth`. Two measurements of every way:

held out  a fifth of the listeners is not learnt from. Their plays before the cut say which items go together; the way
          was chosen by this
later     everybody's plays before the cut are learnt from, and those after it say which items go together

Items go together when one listener plays them within a session: less than half an hour between plays, a day where times
are days or made up, and all that a listener has where there is no time. For every play of a track the co-listening is
the share of its ten neighbours that are played in the same session, of as many as could be; a listener counts as the
mean of their plays, and all listeners alike. Little known are neighbours with three listeners or fewer, over tracks by
their listeners. Genre and artist are the shares of neighbours with one in common, of tracks that have any.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from figures import parser, tell
from quality_sets import MADE, inputs, inputs_of
from tonearm import Config, Inputs
from tonearm.data.catalogue import Tags
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.times import DAY
from tonearm.evaluation.bootstrap import interval, resample
from tonearm.sources import fit_sources
from tonearm.sources.base import Source
from tonearm.sources.similar import By, Similar
from tonearm.terminal.progress import no_progress
from tonearm.types import Float64s, Int32s, Int64s

K, FEW, GAP, SHOWN = 10, 3, 1800, 12

WAYS = ("ALS cosine", "ALS cosine, support", "item-item, support", "blend")
"""Plain cosine was the default; the others weigh a neighbour by n / (n + output.similar_support) of its listeners."""


@dataclass(frozen=True)
class Together:
    """Distinct items of sessions with two or more, session by session, items ascending.

    user, session, item: (n,); size: (n,) items of the session
    """

    user: Int64s
    session: Int64s
    item: Int32s
    size: Int64s

    @classmethod
    def of(cls, log: Log, days: bool, known: Any) -> "Together":
        """The sessions of a log, over the items that are known, (n_items,) bool."""
        place, lengths = log.places(), log.stop - log.start
        user, item = np.repeat(np.arange(log.n_users), lengths), log.item[place]
        new = np.diff(user, prepend=-1) != 0
        if log.time is not None:
            time = log.time[place].astype(np.int64)
            new |= np.diff(time // DAY, prepend=0) != 0 if days else np.diff(time, prepend=0) > GAP
        own, n = np.cumsum(new) - 1, np.int64(max(log.n_items, len(known)))
        kept = known[np.minimum(item, len(known) - 1)] & (item < len(known))
        key = np.unique(own[kept] * n + item[kept])
        session = key // n
        size = np.bincount(session)[session]
        some = size > 1
        return cls(user[new][session[some]], session[some], (key % n)[some].astype(np.int32), size[some])

    def found(self, near: Int32s) -> tuple[Float64s, Int64s]:
        """The co-listening of each listener who has any session, and who they are.

        near: (n_items, K) neighbours, −1 where there are fewer
        """
        n = np.int64(len(near))
        keys, hits = self.session * n + self.item, np.zeros(len(self.item))
        for column in near.T:
            other = column[self.item]
            wanted = self.session * n + other
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            hits += (other >= 0) & (keys[at] == wanted)
        count = np.bincount(self.user)
        who = np.flatnonzero(count)
        return np.bincount(self.user, hits / np.minimum(K, self.size - 1))[who] / count[who], who


def dense(lists: Lists, items: Int32s, n: int) -> Int32s:
    """The first K of each of some items as a row for every item, −1 where there is none."""
    out = np.full((n, K), -1, np.int32)
    first = lists.head(K)
    out[items[first.row], first.rank - 1] = first.item
    return out


def ways(sources: Sequence[Source], data: Dataset, config: Config) -> Iterator[tuple[str, Int32s]]:
    """The neighbours of every item by each way."""
    output, known = config.output, np.flatnonzero(data.listeners).astype(np.int32)

    def similar(by: By) -> Similar:
        return Similar.of(sources, data, by, output.similar_support, 0)

    blend = similar("blend")
    yield WAYS[0], dense(similar("als").some(known, K), known, data.n_items)
    yield WAYS[1], dense(replace(blend, item_item=None).some(known, K), known, data.n_items)
    yield WAYS[2], dense(blend.by_listeners(known, K), known, data.n_items)
    yield WAYS[3], dense(blend.some(known, K), known, data.n_items)


def shared(near: Int32s, tags: Tags | None) -> float | None:
    """The share of neighbours with a label in common, of items with any."""
    if tags is None:
        return None
    item, place = np.nonzero(near >= 0)
    other, width = near[item, place], np.int64(len(tags.labels))
    entry, label = tags.entries(other)
    owner, own = tags.entries(np.arange(len(near), dtype=np.int32))
    common = np.isin(item[entry] * width + label, owner * width + own)
    has = np.diff(tags.indptr) > 0
    counted = has[item] & has[other]
    return float((np.bincount(entry[common], minlength=len(item)) > 0)[counted].mean()) if counted.any() else None


def little_known(near: Int32s, listeners: Int64s) -> float:
    """The share of neighbours with few listeners, over items by their listeners."""
    few = ((near >= 0) & (listeners[near] <= FEW)).sum(axis=1) / np.maximum((near >= 0).sum(axis=1), 1)
    return float((few * listeners).sum() / listeners.sum())


def measured(name: str, given: Inputs) -> list[list[Any]]:
    """The rows of one set."""
    config = Config()
    loaded = given.load(config, no_progress)
    assert loaded.test is not None
    data, log = loaded.train, loaded.train.log
    days = name in MADE or any(one.get("days") for one in loaded.found.as_dict()["logs"].values())
    held = np.random.default_rng(0).random(data.n_users) < 0.2
    without = replace(data, log=replace(log, stop=np.where(held, log.start, log.stop)).packed())
    theirs = replace(log, stop=np.where(held, log.stop, log.start))
    recipes = {name: recipe for name, recipe in config.recipes().items() if name in ("als", "item_item")}
    rows: dict[str, list[Any]] = {way: [name, way] for way in WAYS}
    for fitted, plays in ((without, theirs), (data, loaded.test.log)):
        together = Together.of(plays, days, fitted.listeners > 0)
        before = None
        for way, near in ways(fit_sources(fitted, recipes, config.seed), fitted, config):
            values, _ = together.found(near)
            before = values if before is None else before
            rows[way] += [float(values.mean()), None if way == WAYS[0] else difference(values, before)]
            if fitted is data:
                tags = (data.catalogue.genres, data.catalogue.artists)
                rows[way] += [little_known(near, data.listeners), *(shared(near, one) for one in tags), len(values)]
    return list(rows.values())


def difference(values: Float64s, other: Float64s) -> dict[str, float]:
    """The mean difference over the same listeners, with a paired bootstrap interval."""
    drawn = resample([v[:, None].astype(np.float32) for v in (values, other)], np.random.default_rng(0), 1000)
    low, high = interval(drawn[0] - drawn[1])
    return {"value": float((values - other).mean()), "low": float(low[0]), "high": float(high[0])}


def neighbours(given: Inputs) -> list[list[str]]:
    """The most played items of train, and their neighbours before and now."""
    config = Config()
    data = given.load(config, no_progress).train
    recipes = {name: recipe for name, recipe in config.recipes().items() if name in ("als", "item_item")}
    near = dict(ways(fit_sources(data, recipes, config.seed), data, config))
    name, known = data.catalogue.name, data.listeners
    assert name is not None

    def told(row: Int32s) -> str:
        return ", ".join(f"{name[int(i)]} ({known[i]})" for i in row[row >= 0][:6])

    return [
        [f"{name[int(i)]} ({known[i]})", told(near[WAYS[0]][i]), told(near[WAYS[3]][i])]
        for i in np.argsort(-known, kind="stable")[:SHOWN]
    ]


def main() -> None:
    """Measure every set that is asked for."""
    line = parser(__doc__)
    line.add_argument("data", type=Path)
    line.add_argument("--sets", nargs="+", default=["hetrec", "ml", "retail", "gowalla", *MADE])
    line.add_argument("--neighbours", metavar="NAME", help="keep those of hetrec's most played artists")
    asked = line.parse_args()
    heads = [("set", ""), ("similar by", ""), ("held out", ".4f"), ("held out, over ALS cosine", ""), ("later", ".4f")]
    heads += [("later, over ALS cosine", ""), ("little known", ".1%"), ("genre", ".1%"), ("artist", ".1%")]
    heads += [("listeners, later", ",.0f")]
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        known = inputs_of(asked.sets, asked.data, Path(folder))
        for name, given in known.items():
            rows += measured(name, given)
            print(name, flush=True)
        tell(heads, rows, asked.save)
        if asked.neighbours:
            columns = [("artist (listeners)", ""), ("by ALS cosine", ""), ("by the blend", "")]
            tell(columns, neighbours(inputs(asked.data)["hetrec"]), asked.neighbours)


if __name__ == "__main__":
    main()
