"""The library's face: tables in, a model out, which makes lists by the caller's own ids."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from tonearm import explanation
from tonearm.asking.histories import Histories
from tonearm.asking.tables import Ids, allowed_of, check_k, first_of, frame_of, places_of, users_of, with_popular
from tonearm.config import Config
from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.data.times import to_moment
from tonearm.explanation import Explanation
from tonearm.kernels.machine.threads import KERNELS, one_ahead, threads
from tonearm.kernels.nearest.topk import ItemIndex, index_items, similar_top_k, unit_vectors
from tonearm.loading.files import local_path
from tonearm.loading.tables import Tabular
from tonearm.options import expect
from tonearm.pipeline import Inputs, learn, manifest_of, shaper_of, write_recommender
from tonearm.ranking.features import Scratch
from tonearm.ranking.recommender import Recommender
from tonearm.runs import directory, vouch
from tonearm.runs.restore import Restored, restore
from tonearm.shaping.options import Shape
from tonearm.sources.als import ALSModel
from tonearm.sources.similar import Similar
from tonearm.terminal.stages import Stages
from tonearm.terminal.words import counted
from tonearm.types import Bools, Float32s


@dataclass(frozen=True, repr=False)
class Model(Restored):
    """A fitted recommender with the histories that it learnt from; `fit` and `load` make one.

    Two threads may ask one model at the same time: they take turns, block by block.
    """

    def __repr__(self) -> str:
        data, names = self.data, ", ".join(source.name for source in self.recommender.fitted)
        until = "" if data.log.time is None else f" until {to_moment(data.now):%Y-%m-%d %H:%M}"
        sizes = f"{counted(data.n_users, 'listener')}, {counted(data.n_items, 'item')}"
        return f"<tonearm.Model of {sizes}, {counted(data.log.n_events, 'play')}{until}: {names}>"

    def recommend(
        self,
        users: Ids | None = None,
        *,
        k: int | None = None,
        history: Tabular | None = None,
        items: Ids | None = None,
        exclude: Ids | None = None,
        shape: Shape | None = None,
        explain: bool = False,
    ) -> pl.DataFrame:
        """Ranked lists: user_id, item_id, score and rank, best first.

        users: ids of listeners; by default those in `history`, else all that the model knows. One without any play gets
            the popular list, scored by plays
        k: items in a list, `output.k` by default
        history: plays that the model has not learnt from, as a table or a path: user_id, item_id and, as far as known,
            started_at and weight. Listeners whom the model does not know are folded in from these alone. Those whom it
            knows keep what it holds of them, and plays from its last moment on (`now`) are added; earlier ones are held
            already. Nothing is fitted again. Lists are made for the moment just after the last play told of, but what
            is known of the items stays as it was when the model was fitted. Plays of unknown items are left out with a
            warning
        items: show nothing but these; exclude: show none of these; ids that the model does not know say nothing
        shape: other rules than the model's own; what a list must look like
        explain: with a column `because`, one true sentence for each entry; takes some hundredths of a second for each

        Raises:
            DataError: the history cannot be used, or ids are of another kind than the model's.
            ConfigError: k or a rule will not do.
        """
        frames = self.frames(users, k=k, history=history, items=items, exclude=exclude, shape=shape, explain=explain)
        return pl.concat(list(frames))

    def frames(
        self,
        users: Ids | None = None,
        *,
        k: int | None = None,
        history: Tabular | None = None,
        items: Ids | None = None,
        exclude: Ids | None = None,
        shape: Shape | None = None,
        explain: bool = False,
    ) -> Iterator[pl.DataFrame]:
        """What `recommend` returns, some thousand users at a time, so that memory stays bounded; at least one table."""
        histories = self.histories(history)
        ids = users_of(histories, users)
        yield from self.frames_of(histories, ids, k=k, items=items, exclude=exclude, shape=shape, explain=explain)

    def histories(self, told: Tabular | None = None) -> Histories:
        """What listeners have played: what the model holds, and what it is told of."""
        if told is None:
            return Histories.held(self.data)
        return Histories.told(self.data, told, self.config.data, self.days)

    def frames_of(
        self,
        histories: Histories,
        ids: pl.Series,
        *,
        k: int | None = None,
        items: Ids | None = None,
        exclude: Ids | None = None,
        shape: Shape | None = None,
        explain: bool = False,
    ) -> Iterator[pl.DataFrame]:
        """`frames` for some listeners with these histories."""
        length = check_k(self.config.output.k if k is None else k)
        recommender = self._under(length, allowed_of(self.data, items, exclude), shape)
        popular = self._popular(recommender, length)
        scratch = Scratch()
        for some, block in one_ahead(histories.blocks(ids, self.config.block, self.config.filter_seen)):
            with KERNELS, threads(self.config.threads):
                lists = with_popular(recommender.lists(block, scratch).lists.head(length), block, popular)
                more = {"because": explanation.reasons(self, recommender, block, lists)} if explain else {}
            yield frame_of(some, lists, self.data, **more)
        if len(ids) == 0:
            yield frame_of(ids, Lists.empty(0), self.data)

    def similar(self, items: Ids, k: int = 10) -> pl.DataFrame:
        """The k items most similar to each of some: item_id_1, item_id_2, score and rank.

        What similar goes by is `output.similar_by` of the model's options, as in similar.parquet of a run. To an item
        that nobody had played they are those of the nearest vectors in the catalogue, and none where it has no vector.

        Raises:
            DataError: an item is unknown.
        """
        ids, index = places_of(items, self.data.catalogue.items, "items")
        with KERNELS, threads(self.config.threads):
            lists = self._similar.some(index, check_k(k))
        return frame_of(ids, lists, self.data).rename({"user_id": "item_id_1", "item_id": "item_id_2"})

    def similar_users(self, users: Ids, k: int = 10) -> pl.DataFrame:
        """The k listeners most alike to each of some, by cosine of ALS vectors: user_id_1, user_id_2, score and rank.

        Raises:
            DataError: a listener is unknown.
        """
        ids, index = places_of(users, self.data.users, "users")
        with KERNELS, threads(self.config.threads):
            unit, known = self._listeners
            lists = Lists(*similar_top_k(unit, check_k(k), index, known))
        columns = {"user_id_1": ids.gather(lists.row), "user_id_2": self.data.users.decode(lists.item)}
        return pl.DataFrame({**columns, "score": pl.Series(lists.score), "rank": pl.Series(lists.rank)})

    def explain(self, user: int | str, item: int | str) -> Explanation:
        """Why a listener gets an item, or why not: facts, the sources' and the ranker's shares, and one sentence.

        Raises:
            DataError: the listener or the item is unknown.
        """
        with KERNELS, threads(self.config.threads):
            return explanation.explain(user, item, self)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the model into a folder, which appears whole or not at all; `load` needs nothing else.

        Raises:
            OutputError: something is there already, or the place cannot be written to.
        """
        with directory.new_directory(local_path(str(path)), overwrite) as folder:
            write_recommender(folder, self.data, self.test, self.recommender, self.config)
            vouch.write_manifest(folder, self.manifest)

    def _under(self, k: int, allowed: Bools | None, shape: Shape | None) -> Recommender:
        """The recommender for lists of k, under other rules where they are given."""
        made = self.recommender
        if shape is not None:
            expect(shape, Shape, "shape", "Pass Shape(per_artist=2) or the like.")
            shaper = shape.fit(self.data)
            made = made.under(None if shaper is None else shaper.knowing(made.fitted))
        if allowed is not None:
            base = made.shaper or Shape().fit(self.data, masks={"allowed": allowed})
            assert base is not None
            made = made.under(replace(base, masks={**base.masks, "asked": allowed}))
        if k > made.k:
            made = replace(made, k=k, search=made.search._replace(depth=max(made.search.depth, k)))
        return made

    def _popular(self, recommender: Recommender, k: int) -> Lists:
        """What a listener without a history gets, under the same rules; one row."""
        first = first_of(self.data.popular_of(recommender.allowed), self.data, k)
        if recommender.shaper is None:
            return first
        nobody = self.data.log.rows(0, 0)
        log = replace(nobody, start=np.zeros(1, np.int64), stop=np.zeros(1, np.int64))
        block = Block.of(np.full(1, -1, np.int32), log, self.data.now, self.config.filter_seen)
        return recommender.shaper.shape(block, first, k).lists

    @cached_property
    def _als(self) -> ALSModel:
        return next(source for source in self.recommender.sources if isinstance(source, ALSModel))

    @cached_property
    def _similar(self) -> Similar:
        output = self.config.output
        by, support, per_artist = output.similar_by, output.similar_support, output.similar_per_artist
        return Similar.of(self.recommender.sources, self.data, by, support, per_artist)

    @cached_property
    def _listeners(self) -> tuple[Float32s, ItemIndex]:
        unit = unit_vectors(self._als.user_factors)
        return unit, index_items(unit, self._als.known_users)


def fit(
    events: Tabular,
    items: Tabular | None = None,
    config: Config | None = None,
    *,
    before: str | date | datetime | None = None,
    show: bool = False,
) -> Model:
    """Learn from a log of plays, and return a model that recommends.

    Sources are fitted, a ranker learns from the last days of the log what its listeners went on to play, and all
    sources are fitted again on everything, as `tonearm run` does: the lists are the same, to the last bit.

        model = tonearm.fit(events, items)
        model.recommend(users=["ann", "bob"], k=20)

    events: a table of pandas, Polars (eager or lazy), Arrow or DuckDB, or a path, address or list of paths: user_id,
        item_id and, as far as known, started_at (date, datetime, epoch or ISO text) and weight (plays of a row)
    items: the catalogue in any of these forms: item_id and, as far as known, name, genres, artists, albums
    config: all options; `tonearm.Config()` or `tonearm.load_config(overrides=["als.factors=64"])`
    before: learn only from what lies before this moment, so that what follows can measure the lists
    show: print stages and progress bars to standard error

    Raises:
        DataError: the tables cannot be used; the message says what, where, how many and what to do.
        ConfigError: an option will not do.
    """
    config = Config() if config is None else config
    expect(config, Config, "config", 'Pass Config() or load_config(overrides=["als.factors=128"]) or the like.')
    inputs, stages = Inputs(events=events, items=items, test_from=before), Stages(show)
    with KERNELS, threads(config.threads):
        with stages.stage("load"):
            loaded = inputs.load(config, stages.progress)
            shaper = shaper_of(inputs, loaded.train, config)
        recommender = learn(loaded.train, shaper, config, stages)
    manifest = manifest_of(inputs, loaded, recommender, config, stages)
    return Model(config, loaded.train, loaded.test, recommender, manifest)


def load(path: str | Path) -> Model:
    """The model that `save` wrote, or that of a run directory; it works without the log.

    Arrays are mapped into memory and read as they are used, so that a large model is there at once and is shared by
    processes. Nothing in it is pickled.

    Raises:
        DataError: the folder holds no model, or a file of it is missing or is another.
    """
    return Model(**vars(restore(local_path(str(path)))))
