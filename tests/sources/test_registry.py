"""The registry: what a source is entered with, and that nothing else has to know it."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from tonearm.config import Config
from tonearm.data.catalogue import Catalogue
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.options import options
from tonearm.sources import MODELS, RECIPES, Recipe, fit_sources, left_out
from tonearm.sources.base import Given
from tonearm.sources.popularity import Popularity, PopularityModel
from tonearm.types import Float32s


@options
class LeastPlayed(Recipe[PopularityModel]):
    """Items by plays, fewest first."""

    name, title = "least", "Least played"

    def learn(self, given: Given) -> PopularityModel:
        """Turn the popular list around."""
        assert given.base("popular", str) is None
        popular = given.base("popular", PopularityModel)
        assert popular is not None
        value: Float32s = -popular.value
        return PopularityModel(self.name, popular.order[::-1].copy(), value)


@pytest.fixture
def log() -> Dataset:
    start, stop = np.array([0, 2, 5], np.int64), np.array([2, 5, 6], np.int64)
    events = Log(start, stop, np.array([0, 1, 0, 1, 2, 0], np.int32), None, None, 3)
    return Dataset(Vocabulary(pl.Series([1, 2, 3])), Catalogue(Vocabulary(pl.Series([7, 8, 9]))), events, 0)


def test_every_source_has_a_section_a_title_and_a_model() -> None:
    every = Config(filter_seen=False).recipes()
    assert list(every) == list(RECIPES) == list(MODELS)
    assert {name: type(recipe) for name, recipe in every.items()} == RECIPES
    assert len({recipe.title for recipe in RECIPES.values()}) == len(RECIPES)
    assert list(Config().recipes()) == [name for name in RECIPES if name != "again"]


def test_only_options_that_there_are_may_be_tuned() -> None:
    for recipe in RECIPES.values():
        assert recipe.ranges.keys() <= {field.name for field in dataclasses.fields(recipe())}  # type: ignore[arg-type]


def test_a_source_builds_on_those_before_it(log: Dataset) -> None:
    popular, least = fit_sources(log, {"popular": Popularity(), "least": LeastPlayed()}, seed=0)
    block = log.block(2, 3, True)
    listed = [log.catalogue.items.decode(source.recommend(block, 9).item).to_list() for source in (popular, least)]
    assert listed == [[8, 9], [9, 8]]


def test_a_source_is_left_out_for_the_reason_that_it_gives(log: Dataset) -> None:
    found = left_out(log, Config().recipes())
    assert {name: part.why for name, part in found.items()} == {
        "content": "the catalogue has no genres",
        "recent": "the log has no started_at",
        "trend": "the log has no started_at",
    }
