"""The table that the ranker learns from: labels, drawn negatives, folds by user."""

from dataclasses import replace
from itertools import pairwise
from typing import cast

import numpy as np
import pytest
from tests.quick import table_of

from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.data.log import Log, Pairs
from tonearm.data.truth import Truth
from tonearm.ranking.candidates import Candidates
from tonearm.ranking.features import Features, Scratch
from tonearm.ranking.training import TrainingTable, join_tables, label_blocks, label_candidates, sample_negatives
from tonearm.types import Float32s

NAMES = ("a_score", "a_z", "b_z", "secret")


def small(n_users: int, seed: int) -> TrainingTable:
    """Six to nine candidates a user, one or two of them played."""
    rng = np.random.default_rng(seed)
    indptr = np.cumsum([0, *rng.integers(6, 10, n_users)]).astype(np.int64)
    features = rng.standard_normal((indptr[-1], 4)).astype(np.float32)
    label = np.zeros(indptr[-1], np.float32)
    for lo, hi in pairwise(indptr):
        label[lo + rng.permutation(hi - lo)[: rng.integers(1, 3)]] = 1
    return table_of(NAMES, features, label, indptr)


def test_labels_are_the_candidates_that_were_played() -> None:
    indptr, item = np.array([0, 3, 3, 5]), np.array([1, 4, 7, 0, 4], np.int32)
    truth_indptr, truth = np.array([0, 2, 3, 5]), np.array([4, 9, 1, 0, 7], np.int32)
    assert label_candidates(indptr, item, truth_indptr, truth).tolist() == [0, 1, 0, 1, 0]
    assert label_candidates(indptr, item, np.zeros(4, np.int64), truth[:0]).tolist() == [0] * 5
    nothing = np.zeros(4, np.int64)
    assert label_candidates(nothing, item[:0], truth_indptr, truth).tolist() == []


@pytest.mark.parametrize("negatives", [1, 3, 100])
def test_every_positive_is_kept_and_some_negatives(negatives: int) -> None:
    rng = np.random.default_rng(negatives)
    indptr = np.cumsum([0, 8, 0, 5, 12, 1, 1])
    label = (rng.random(27) < 0.3).astype(np.float32)
    label[8:13] = 0  # nothing played: no row is kept
    label[25:] = [1, 0]
    most = np.array([negatives, negatives, negatives, 2 * negatives, negatives, negatives])
    kept_indptr, kept = sample_negatives(indptr, label, most, rng)
    assert (np.diff(kept) > 0).all()
    for row, (lo, hi) in enumerate(pairwise(indptr)):
        own = kept[kept_indptr[row] : kept_indptr[row + 1]]
        assert ((own >= lo) & (own < hi)).all()
        assert label[own].sum() == label[lo:hi].sum()
        others = min(most[row], (label[lo:hi] == 0).sum()) if label[lo:hi].any() else 0
        assert (label[own] == 0).sum() == others
    assert kept_indptr[-1] == len(kept)


def test_negatives_are_drawn_evenly_and_alike_for_any_block() -> None:
    indptr, label, two = np.array([0, 5]), np.array([0, 1, 0, 0, 0], np.float32), np.array([2])
    rng = np.random.default_rng(0)
    times = np.zeros(5)
    for _ in range(400):
        times[sample_negatives(indptr, label, two, rng)[1]] += 1
    assert times[1] == 400
    np.testing.assert_allclose(times[[0, 2, 3, 4]], 200, atol=50)
    # two users at once, or one after the other
    twice = sample_negatives(np.array([0, 5, 10]), np.tile(label, 2), np.array([2, 2]), np.random.default_rng(1))[1]
    rng = np.random.default_rng(1)
    parts = [sample_negatives(indptr, label, two, rng)[1] + lo for lo in (0, 5)]
    np.testing.assert_array_equal(twice, np.concatenate(parts))


def test_whole_users_keep_all_candidates_and_others_some() -> None:
    table = replace(small(6, 1), whole=np.array([True, False, True, False, False, True]))
    table.label[table.indptr[2] : table.indptr[4]] = 0
    thin = table.thinned(2, np.random.default_rng(0))
    lengths, played = np.diff(table.indptr), np.add.reduceat(table.label, table.indptr[:-1])
    assert np.diff(thin.indptr).tolist() == [lengths[0], played[1] + 2, 0, 0, played[4] + 2, lengths[5]]
    assert thin.whole.tolist() == table.whole.tolist()
    assert thin.found.tolist() == [True, True, False, False, True, True]
    assert not np.shares_memory(thin.features, table.features)
    drawn = thin.drawn(1, np.random.default_rng(0))
    assert np.diff(drawn.indptr).tolist() == [played[0] + 1, played[1] + 1, 0, 0, played[4] + 1, played[5] + 1]
    # none of them is whole any more, but for those of whom nothing could be found
    assert drawn.whole.tolist() == [False, False, True, False, False, False]


def test_parts_hold_users_together_and_spread_those_to_learn_from() -> None:
    table = small(40, 1)
    user = (np.arange(40) % 25).astype(np.int32)
    label = np.where(table.of_rows(user < 7), table.label, 0).astype(np.float32)
    table = replace(table, user=user, label=label, whole=user >= 20)
    part = table.parts(5, np.random.default_rng(0), one=False)
    for u in range(25):
        assert len(set(part[user == u])) == 1
    of_user = np.array([part[user == u][0] for u in range(25)])
    assert np.bincount(of_user, minlength=5).tolist() == [5] * 5
    assert sorted(np.bincount(of_user[:7], minlength=5)) == [1, 1, 1, 2, 2]
    # the one part that is held out is of users whose candidates are all there
    first = table.parts(5, np.random.default_rng(0), one=True)
    assert set(user[first == 0].tolist()) == {20, 21, 22, 23, 24}


def rows_of(table: TrainingTable) -> list[list[list[float]]]:
    whole = np.column_stack([table.features, table.label])
    return [whole[lo:hi].tolist() for lo, hi in pairwise(table.indptr)]


def rows_as_log(rows: list[list[int]]) -> Log:
    stop = np.cumsum([len(row) for row in rows]).astype(np.int64)
    start = np.concatenate(([0], stop[:-1])).astype(np.int64)
    return Log(start, stop, np.array([i for row in rows for i in row], np.int32), None, None, 10)


class ItemAsFeature:
    """Features of which the only one is the candidate's item."""

    names = ("item",)

    def compute(self, block: Block, candidates: Candidates, scratch: Scratch) -> Float32s:
        assert len(candidates.lists) == len(block)
        assert isinstance(scratch, Scratch)
        return candidates.lists.item[:, None].astype(np.float32)


def test_blocks_are_labelled_by_what_their_own_users_played() -> None:
    """Two blocks of two users each; what they skipped is drawn before other negatives."""
    users, whole = np.array([2, 5, 6, 9], np.int32), np.array([True, False, False, False])
    offered = rows_as_log([[0, 1, 2, 3], [0, 1, 2], [1, 2, 3, 4], [0, 4, 5]])
    wanted, skipped = rows_as_log([[1, 3], [9], [2], [5, 7, 8]]), rows_as_log([[0], [0, 1], [3, 9], [4]])
    answers = Truth(users, np.append(0, wanted.stop), wanted.item, np.ones(4, np.int64), True, {})
    found = []
    for lo, hi in ((0, 2), (2, 4)):
        rows = Pairs.of(offered.rows(lo, hi))
        lists = Lists(rows.indptr, rows.item, np.zeros(len(rows.item), np.float32))
        none = np.empty((len(rows.item), 0))
        candidates = Candidates(lists, none.astype(np.int16), none.astype(np.float32))
        found.append((Block.of(users[lo:hi], offered.rows(lo, hi), 0, True), candidates))
    features = cast(Features, ItemAsFeature())
    table = label_blocks(features, found, answers, whole, 1, np.random.default_rng(0), skipped)
    assert rows_of(table) == [[[0, 0], [1, 1], [2, 0], [3, 1]], [], [[2, 1], [3, 0]], [[4, 0], [5, 1]]]
    assert (table.user.tolist(), table.wanted.tolist(), table.whole.tolist()) == ([2, 5, 6, 9], [2, 1, 1, 3], [*whole])
    assert table.refused is not None
    assert table.refused.tolist() == [True, False, False, False, False, True, True, False]


def test_joined_tables_are_one_after_the_other() -> None:
    one, other = small(3, 1), small(2, 2)
    nothing = TrainingTable.empty(NAMES)
    joined = join_tables([nothing, one, nothing, other])
    assert rows_of(joined) == rows_of(one) + rows_of(other)
    assert (joined.names, joined.z.tolist()) == (NAMES, [1, 2])
