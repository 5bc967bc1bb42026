"""Candidates: what several sources find, united, and scored by every one of them."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
import polars as pl
import pytest

from tonearm.data.catalogue import Catalogue
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.ranking.candidates import gather
from tonearm.sources import fit_sources
from tonearm.sources.again import Again
from tonearm.sources.base import Recipe, Source
from tonearm.sources.item_item import ItemItem
from tonearm.sources.popularity import Popularity
from tonearm.types import AnyArray, Bools, Float32s


class Fixed:
    """A source with lists written down; an item scores a hundred times its own number, and none above 6 is known."""

    def __init__(self, name: str, rows: Mapping[int, list[int]]) -> None:
        self.name, self.rows = name, rows

    def recommend(self, block: Block, k: int) -> Lists:
        rows = [self.rows[int(user)][:k] for user in block.users]
        item = np.array([i for row in rows for i in row], np.int32)
        return Lists(np.cumsum([0, *map(len, rows)]).astype(np.int64), item, item.astype(np.float32))

    def score(self, block: Block, candidates: Lists) -> Float32s:
        assert len(block) == len(candidates)
        return np.where(candidates.item > 6, np.nan, candidates.item * 100).astype(np.float32)

    def among(self, allowed: Bools) -> "Fixed":
        return Fixed(self.name, {user: [item for item in row if allowed[item]] for user, row in self.rows.items()})

    def contributions(self, block: Block, item: int) -> None:
        del block, item

    def save(self) -> dict[str, AnyArray]:
        return {"name": np.array(self.name)}

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray]) -> Self:
        return cls(str(arrays["name"]), {})


HISTORIES = [[0, 1], [2], [], [1, 2, 2]]


def some_data() -> Dataset:
    stop = np.cumsum([len(h) for h in HISTORIES]).astype(np.int64)
    item = np.array([i for h in HISTORIES for i in h], dtype=np.int32)
    log = Log(np.concatenate(([0], stop[:-1])).astype(np.int64), stop, item, None, None, 9)
    return Dataset(Vocabulary(pl.Series(range(4))), Catalogue(Vocabulary(pl.Series(range(9)))), log, 0)


def test_lists_are_united_and_scored_by_every_source() -> None:
    one = Fixed("one", {0: [5, 8, 3], 1: [], 2: [], 3: [4]})
    other = Fixed("other", {0: [3, 7], 1: [2, 1], 2: [], 3: [4, 0, 1]})
    candidates, own = gather(some_data().block(0, 4, False), [one, other], 2)
    assert candidates.lists.indptr.tolist() == [0, 4, 6, 6, 8]
    assert candidates.lists.item.tolist() == [3, 5, 7, 8, 1, 2, 0, 4]
    assert candidates.ranks.tolist() == [[0, 1], [1, 0], [0, 2], [2, 0], [0, 2], [0, 1], [0, 2], [1, 1]]
    nan = float("nan")
    of_any = np.array([300, 500, nan, nan, 100, 200, 0, 400])
    np.testing.assert_array_equal(candidates.scores, np.stack([of_any, of_any], axis=1))
    assert len(candidates) == 8
    assert [lists.item.tolist() for lists in own] == [[5, 8, 4], [3, 7, 2, 1, 4, 0]]


def test_a_source_alone_gives_its_own_lists() -> None:
    data = some_data()
    source: Source = Popularity().fit(data, np.random.default_rng(0))
    candidates, (own,) = gather(data.block(0, 4, True), [source], 9)
    assert candidates.lists.indptr.tolist() == own.indptr.tolist()
    for row in range(4):
        span = slice(own.indptr[row], own.indptr[row + 1])
        by_rank = candidates.lists.item[span][np.argsort(candidates.ranks[span, 0])]
        assert by_rank.tolist() == own.item[span].tolist()
        assert not set(by_rank.tolist()) & set(HISTORIES[row])


def test_the_rows_of_a_user_do_not_depend_on_the_block() -> None:
    data = some_data()
    sources = fit_sources(data, {"popular": Popularity(), "item_item": ItemItem(shrink=0)}, seed=0)
    whole, _ = gather(data.block(0, 4, True), sources, 3)
    for user in range(4):
        alone, _ = gather(data.block(user, user + 1, True), sources, 3)
        span = slice(whole.lists.indptr[user], whole.lists.indptr[user + 1])
        assert alone.lists.item.tolist() == whole.lists.item[span].tolist()
        assert alone.ranks.tolist() == whole.ranks[span].tolist()
        np.testing.assert_array_equal(alone.scores, whole.scores[span])
    nobody, _ = gather(data.block(0, 0, True), sources, 3)
    assert (len(nobody), nobody.scores.shape) == (0, (0, 2))


def test_only_proposers_propose_and_every_source_scores() -> None:
    """Point 18: the notebook's candidates are those of ALS and content, and popular tracks have a list beside them."""
    data = some_data()
    recipes: dict[str, Recipe[Source]] = {"popular": Popularity(), "item_item": ItemItem(shrink=0), "again": Again()}
    sources = fit_sources(data, recipes, seed=0)
    block = data.block(0, 4, False)
    every, lists = gather(block, sources, 3)
    few, same = gather(block, sources, 3, ["again"])
    assert [one.item.tolist() for one in same] == [one.item.tolist() for one in lists]
    assert few.lists.item.tolist() == [0, 1, 2, 1, 2] != every.lists.item.tolist()
    assert few.lists.indptr.tolist() == [0, 2, 3, 3, 5]
    assert (few.ranks.shape, few.scores.shape) == ((5, 1), (5, 3))
    for row in range(4):
        mine, theirs = (slice(*one.lists.indptr[row : row + 2]) for one in (few, every))
        at = np.searchsorted(every.lists.item[theirs], few.lists.item[mine])
        np.testing.assert_array_equal(few.scores[mine], every.scores[theirs][at])


class Together(Fixed):
    """The same, which searches with others of its kind: it notes whom with."""

    searched: ClassVar[list[list[str]]] = []

    def search_with(
        self, others: Sequence["Together"], block: Block, k: int, wanted: Lists
    ) -> tuple[list[Lists], Float32s]:
        every = [self, *others]
        self.searched.append([one.name for one in every])
        lists = [one.recommend(block, k) for one in every]
        bounds = [(one, slice(*one.indptr[row : row + 2])) for row in range(len(block)) for one in (*lists, wanted)]
        parts = [one.item[span].tolist() for one, span in bounds]
        n = len(lists) + 1
        rows = [sorted({item for part in parts[n * row : n * (row + 1)] for item in part}) for row in range(len(block))]
        item = np.array([i for row in rows for i in row], np.int32)
        united = Lists(np.cumsum([0, *map(len, rows)]).astype(np.int64), item, item.astype(np.float32))
        return lists, np.stack([one.score(block, united) for one in every], axis=1)


class Apart(Together):
    """Another kind of it."""


def test_sources_of_one_kind_search_together_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Together, "searched", [])
    first, second = {0: [5, 8, 3], 1: [], 2: [], 3: [4]}, {0: [3, 7], 1: [2, 1], 2: [], 3: [4, 0]}
    rows = [first, second, {0: [1], 1: [6], 2: [2], 3: []}]
    names = ("a", "b", "c", "d")
    kinds: list[type[Fixed]] = [Together, Fixed, Together, Apart]
    mixed = [kind(name, rows[n % 3]) for n, (kind, name) in enumerate(zip(kinds, names, strict=True))]
    plain = [Fixed(name, rows[n % 3]) for n, name in enumerate(names)]
    block = some_data().block(0, 4, False)
    found, own = gather(block, mixed, 2)
    expected, each = gather(block, plain, 2)
    assert Together.searched == [["a", "c"]]
    assert found.lists.item.tolist() == expected.lists.item.tolist()
    assert found.ranks.tolist() == expected.ranks.tolist()
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert [one.item.tolist() for one in own] == [one.item.tolist() for one in each]
    gather(block, mixed, 2, ["b"])
    assert len(Together.searched) == 1
