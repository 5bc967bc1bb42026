"""Lists and the ranker's training table, made part by part by the functions that make them of a whole log."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from shutil import rmtree
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa

from tonearm.config import Config, stage_rng, to_toml
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.times import to_moment
from tonearm.data.truth import Truth, truth
from tonearm.data.vocabulary import Vocabulary
from tonearm.evaluation.measure import Measure
from tonearm.loading.load import Test
from tonearm.parts.counted import Counted
from tonearm.parts.measured import states
from tonearm.parts.shard import Shard
from tonearm.parts.work import Arrays, Parts, brought
from tonearm.ranking.features import Features, Scratch
from tonearm.ranking.ranker import RankerModel
from tonearm.ranking.recommender import Recommender
from tonearm.ranking.training import TrainingTable, join_tables
from tonearm.runs import directory, vouch, write
from tonearm.runs.data import write_data
from tonearm.runs.lists import FILES, FINAL
from tonearm.runs.restore import Restored, restore
from tonearm.sources.base import Source
from tonearm.types import Bools, Int64s


def write_models(folder: Path, data: Counted, recommender: Recommender, config: Config) -> None:
    """A run without users, which every machine restores: models, what is known of items, options."""
    folder.mkdir(parents=True)
    masks = {} if recommender.shaper is None else recommender.shaper.masks
    write.write_models(folder, data, recommender.fitted, recommender.ranker, masks)
    write_data(folder, data, None, recommender.features.item)
    (folder / "config.toml").write_text(to_toml(replace(config, threads=1)), encoding="utf-8")
    about = {
        "cutoff": to_moment(data.now).isoformat(),
        "found": {"logs": {"train": {}}},
        "sources": {source.name: {} for source in recommender.fitted},
        "ranker": recommender.ranker.validation,
        "files": vouch.digests(folder),
    }
    vouch.write_sealed(folder / directory.MANIFEST, about)


@lru_cache(1)
def restored(folder: Path) -> Restored:
    """What was brought to a folder, its arrays mapped."""
    return restore(folder)


def part_of(whole: Dataset, shard: Shard) -> Dataset:
    """The users of a shard as a data set, what is known of items being that of all."""
    return _knowing(whole, Vocabulary(shard.users), shard.train.before(whole.now))


def nobody(whole: Counted) -> Dataset:
    """The data set without users."""
    return _knowing(whole, whole.users, whole.log)


def _knowing(whole: Dataset, users: Vocabulary, log: Log) -> Dataset:
    data = Dataset(users, whole.catalogue, log, whole.now)
    data.__dict__.update({name: getattr(whole, name) for name in ("_counts", "plays", "plays_now")})
    return data


def test_of(data: Dataset, shard: Shard) -> Test:
    """What a shard is measured by."""
    return Test(shard.test, shard.cold_users, shard.cold, data.catalogue.items.ids.clear(), 0)


def answers_of(data: Dataset, labels: Log, config: Config) -> Truth:
    """The truth of a shard's users."""
    known = np.pad(data.listeners > 0, (0, labels.n_items - data.n_items))
    return truth(data.log, labels, config.filter_seen, known)


def training_table(
    parts: Parts, data: Counted, until: int, sources: Sequence[Source], config: Config, folder: Path, whole: int
) -> tuple[TrainingTable, int]:
    """As `Ranker.training_table`, and how many users have a label: those that are drawn are bounded, so they come here.

    until: the end of the label window, seconds; folder: where models lie meanwhile, which every machine reaches
    """
    names = [source.name for source in sources]
    features = Features.fit(data, names, config.filter_seen, config.ranker.features)
    judge = RankerModel.of_sources(features.names, "it is not there yet")
    write_models(folder, data, Recommender(sources, features, judge, None, config.search, config.output.k), config)
    counted = parts.gather(partial(_labelled, folder, until))
    counts = [int(found["n"][0]) for _, found in counted]
    n, ends = sum(counts), np.cumsum(counts)
    rng = stage_rng(config.seed, "training table")
    rows = np.arange(min(n, config.ranker.users))
    if n > config.ranker.users:
        rows = np.sort(rng.choice(n, config.ranker.users, replace=False))
    kept = np.zeros(len(rows), np.bool_)
    kept[rng.choice(len(rows), min(whole, len(rows)), replace=False)] = True
    of = np.searchsorted(ends, rows, side="right")
    first = np.cumsum([0, *counts])
    chosen = {counted[s][0]: (rows[of == s] - first[s], kept[of == s]) for s in np.unique(of).tolist()}
    made = parts.gather(partial(_candidates, folder, until, chosen))
    rmtree(folder)
    nothing = TrainingTable.empty(features.names)
    tables = [replace(nothing, **cast(dict[str, Any], found)) for _, found in made if found]
    return join_tables([nothing, *tables]), n


def _answers(folder: Path, until: int, shard: Shard) -> tuple[Restored, Dataset, Truth]:
    run = restored(brought(folder))
    data = part_of(run.data, shard)
    return run, data, answers_of(data, shard.train.since(data.now).before(until), run.config)


def _labelled(folder: Path, until: int, shard: Shard) -> Arrays:
    return {"n": np.array([len(_answers(folder, until, shard)[2])])}


def _candidates(folder: Path, until: int, chosen: Mapping[int, tuple[Int64s, Bools]], shard: Shard) -> Arrays:
    """The rows of the drawn users of a shard."""
    if shard.place not in chosen:
        return {}
    rows, whole = chosen[shard.place]
    run, data, answers = _answers(folder, until, shard)
    config, rng = run.config, np.random.default_rng([run.config.seed, shard.place])
    some, item = answers.of_rows(rows), run.features.item
    table = config.ranker.table_of(data, some, whole, run.sources, config.search, rng, item=item)
    arrays = {key: getattr(table, key) for key in ("features", "label", "indptr", "user", "wanted", "whole")}
    arrays["user"] = table.user.astype(np.int64) + (np.int64(shard.place) << 32)  # distinct over all shards
    return arrays


class _Rows(write.ListWriter):
    """Rows of a file of lists, held until they are taken."""

    def __init__(self, path: Path, data: Dataset) -> None:
        super().__init__(path, data)
        self.tables: list[pl.DataFrame] = []

    def append(self, arrow: pa.Table, ends: bool = True) -> None:
        """Take up a table."""
        del ends
        table = pl.from_arrow(arrow)
        assert isinstance(table, pl.DataFrame)
        self.tables.append(table)


@dataclass(frozen=True)
class ListTask:
    """Makes and measures the lists of a shard.

    folder: of the models, which every machine reaches
    units: sums over users that each shard keeps for the bootstrap at most; edges: of the stretches of the profile
    """

    folder: Path
    units: int
    edges: Int64s

    @staticmethod
    def holds(file: str, column: str) -> bool:
        """Whether a file of lists has a column."""
        return file == FILES[FINAL] or column in ("user_id", "item_id", "score", "rank")

    @staticmethod
    def columns(data: Dataset, recommender: Recommender, config: Config) -> pa.Schema:
        """All columns of any file of lists, in the order of the final one."""
        ids = {"user_id": data.users.ids, "item_id": data.catalogue.items.ids}
        kinds = {
            name: pa.large_string() if s.dtype == pl.String else s.clear().to_arrow().type for name, s in ids.items()
        }
        names = [*write.SCORES, "tracks_played_by_user"]
        if config.output.features == "all":
            scores = [f"{source.name}_score" for source in recommender.fitted]
            names += [*(name for name in scores if name in write.SCORES), *recommender.features.names]
        more = {name: pa.int32() if name == "tracks_played_by_user" else pa.float32() for name in dict.fromkeys(names)}
        return pa.schema({**kinds, "score": pa.float32(), "rank": pa.int32(), **more})

    def __call__(self, shard: Shard) -> Iterator[tuple[str, pl.DataFrame] | Arrays]:
        """Rows of files, by name; at last what the meters have counted."""
        run = restored(brought(self.folder))
        data, config, recommender = part_of(run.data, shard), run.config, run.recommender
        test = test_of(data, shard)
        measure, scratch = Measure(data, test, recommender, config, part=True), Scratch()
        files = write.ListFiles(Path(), data, recommender, config, _Rows)
        for lo in range(0, data.n_users, config.block):
            block = data.block(lo, min(lo + config.block, data.n_users), config.filter_seen)
            made = recommender.lists(block, scratch)
            measure.add(block, made)
            files.write(block, made)
            for key, rows in files.files.items():
                assert isinstance(rows, _Rows)
                for table in rows.tables:
                    yield FILES[key], table
                rows.tables.clear()
        yield states(measure, data, test, self.units, config.seed, shard.place, self.edges)
