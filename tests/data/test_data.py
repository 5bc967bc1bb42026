"""The log and its cuts, pairs, tags and the data of a run."""

import numpy as np
import polars as pl
import pytest

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log, Pairs
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import DataError


def log(weight: bool = False) -> Log:
    """User 0: items 2, 0, 2 at 5, 6, 9; user 1: nothing; user 2: item 1 at 6."""
    return Log(
        start=np.array([0, 3, 3], dtype=np.int64),
        stop=np.array([3, 3, 4], dtype=np.int64),
        item=np.array([2, 0, 2, 1], dtype=np.int32),
        time=np.array([5, 6, 9, 6], dtype=np.int32),
        weight=np.array([1.0, 2.0, 0.5, 4.0], dtype=np.float32) if weight else None,
        n_items=5,
    )


class TestLog:
    def test_before_and_since_share_the_arrays(self) -> None:
        whole = log()
        before, since = whole.before(6), whole.since(6)
        assert before.item is whole.item
        assert (before.stop - before.start).tolist() == [1, 0, 0]
        assert (since.stop - since.start).tolist() == [2, 0, 1]
        assert before.span == (5, 5)
        assert since.span == (6, 9)

    def test_counts(self) -> None:
        plays, users = log().item_counts()
        assert plays.tolist() == [1, 1, 2, 0, 0]
        assert users.tolist() == [1, 1, 1, 0, 0]

    def test_rows_and_users(self) -> None:
        assert log().rows(1, 3).start.tolist() == [3, 3]
        some = log().users(np.array([2, 0], dtype=np.int32))
        assert some.start.tolist() == [3, 0]
        assert some.n_events == 4

    def test_without_time(self) -> None:
        timeless = Log(log().start, log().stop, log().item, None, None, 5)
        with pytest.raises(DataError, match="no started_at"):
            timeless.before(3)
        with pytest.raises(DataError, match="no first and last day"):
            _ = timeless.span

    def test_empty_has_no_span(self) -> None:
        with pytest.raises(DataError, match="no first and last day"):
            _ = log().before(0).span


class TestPairs:
    def test_repeats_are_summed(self) -> None:
        pairs = Pairs.of(log())
        assert pairs.indptr.tolist() == [0, 2, 2, 3]
        assert pairs.item.tolist() == [0, 2, 1]
        assert pairs.plays.tolist() == [1, 2, 1]
        assert pairs.last is not None
        assert pairs.last.tolist() == [6, 9, 6]
        assert pairs.row(2) == slice(2, 3)

    def test_weights(self) -> None:
        assert Pairs.of(log(weight=True)).plays.tolist() == [2, 1.5, 4]


TAGS = Tags(
    indptr=np.array([0, 2, 2, 3, 3, 3], dtype=np.int64),
    index=np.array([1, 0, 1], dtype=np.int32),
    labels=Vocabulary(pl.Series(["pop", "rock"])),
)


class TestCatalogue:
    def test_tags(self) -> None:
        assert TAGS.of(0) == ["rock", "pop"]
        assert TAGS.column.to_list() == [["rock", "pop"], [], ["rock"], [], []]
        assert TAGS.take(np.array([2, 1, 0, 2], dtype=np.int32)).to_list() == [["rock"], [], ["rock", "pop"], ["rock"]]
        assert TAGS.take(np.empty(0, np.int32)).to_list() == []

    def test_describe(self) -> None:
        items = Vocabulary(pl.Series(range(5)))
        table = Catalogue(items, genres=TAGS).describe(np.array([2, 1], dtype=np.int32))
        assert table.to_dicts() == [
            {"name": None, "genres": ["rock"], "artists": [], "albums": []},
            {"name": None, "genres": [], "artists": [], "albums": []},
        ]

    def test_label_rows(self) -> None:
        catalogue = Catalogue(Vocabulary(pl.Series(range(5))), genres=TAGS, artists=TAGS)
        sizes, items = catalogue.label_rows(np.ones(5, np.bool_))
        assert sizes.tolist() == [2, 2]  # pop has a single item
        assert items.tolist() == [0, 2, 0, 2]
        assert [part.tolist() for part in catalogue.label_rows(np.arange(5) > 0)] == [[], []]

    def test_wide_labels_say_too_little(self, monkeypatch: pytest.MonkeyPatch) -> None:
        catalogue = Catalogue(Vocabulary(pl.Series(range(5))), albums=TAGS)
        assert len(catalogue.label_rows(np.ones(5, np.bool_))[1]) == 2
        monkeypatch.setattr("tonearm.data.catalogue.WIDEST", 1)
        assert [part.tolist() for part in catalogue.label_rows(np.ones(5, np.bool_))] == [[], []]


class TestDataset:
    DATA = Dataset(Vocabulary(pl.Series([7, 8, 9])), Catalogue(Vocabulary(pl.Series(range(5)))), log(), 10)

    @pytest.mark.parametrize("weight", [True, False])
    def test_labels_are_rows_after_the_users(self, weight: bool) -> None:
        catalogue = Catalogue(self.DATA.catalogue.items, genres=TAGS)
        labelled = Dataset(self.DATA.users, catalogue, log(weight=weight), 10)
        rows, plain = labelled.labelled_pairs, Pairs.of(log(weight=weight))
        assert rows.indptr.tolist() == [0, 2, 2, 3, 5]
        assert rows.item.tolist() == [0, 2, 1, 0, 2]
        assert rows.plays[3:].tolist() == [1, 1]
        assert rows.last is not None
        assert rows.last[3] == rows.last[4]
        assert labelled.rows(side_information=True) is rows
        for pairs in (labelled.pairs, labelled.rows(side_information=False)):
            for name in ("indptr", "item", "plays", "last"):
                np.testing.assert_array_equal(getattr(pairs, name), getattr(plain, name))

    def test_popularity_order(self) -> None:
        assert self.DATA.popularity_order.tolist() == [2, 0, 1]

    def test_blocks(self) -> None:
        block = self.DATA.block(1, 3, filter_seen=True)
        assert block.users.tolist() == [1, 2]
        assert block.pairs.item.tolist() == [1]
        assert [a.tolist() for a in block.seen] == [[0, 0, 1], [1]]
        unfiltered = self.DATA.block_of(np.array([2], dtype=np.int32), filter_seen=False)
        assert [a.tolist() for a in unfiltered.seen] == [[0, 0], []]
