"""What holds of shaped lists under any rules, and the kernels against slow twins."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.twins import SlowTake, slow_diversify, slow_take

from tonearm.data.catalogue import Tags
from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.data.log import Log, Pairs
from tonearm.data.vocabulary import Vocabulary
from tonearm.kernels.shape import FRESH, RARE, diversify
from tonearm.shaping.shaper import Shaper
from tonearm.types import Int32s, Int64s


def csr(rows: list[list[int]]) -> tuple[Int64s, Int32s]:
    return np.cumsum([0, *map(len, rows)]).astype(np.int64), np.array([i for r in rows for i in r], np.int32)


def tags(rows: list[list[int]], n: int) -> Tags:
    return Tags(*csr(rows), Vocabulary(pl.Series([str(i) for i in range(n)], dtype=pl.String)))


@dataclass(frozen=True)
class Case:
    """A small world: rules by item, candidates best first, and what each user has heard."""

    shaper: Shaper
    artists: list[list[int]]
    albums: list[list[int]]
    candidates: list[list[int]]
    heard: list[list[int]]
    k: int

    @property
    def block(self) -> Block:
        indptr, item = csr(self.heard)
        log = Log(indptr[:-1], indptr[1:], item, None, None, self.shaper.n_items)
        return Block(np.arange(len(self.heard), dtype=np.int32), log, Pairs.of(log), 0, True)

    @property
    def ranked(self) -> Lists:
        indptr, item = csr(self.candidates)
        score = np.concatenate([-(np.arange(len(row), dtype=np.float32) ** 2) for row in [*self.candidates, []]])
        return Lists(indptr, item, score)

    def shaped(self) -> tuple[list[list[int]], list[list[int]], list[int]]:
        """Items and places of each list, −1 for what it was filled with, and how many stand above a limit."""
        found = self.shaper.shape(self.block, self.ranked, self.k)
        bounds, start = found.lists.indptr, self.ranked.indptr
        rows = [slice(bounds[u], bounds[u + 1]) for u in range(len(self.heard))]
        places = [[int(p - start[u]) if p >= 0 else -1 for p in found.place[rows[u]]] for u in range(len(rows))]
        missing = np.isnan(found.lists.score)
        assert (missing == (found.place < 0)).all()
        np.testing.assert_array_equal(found.lists.score[~missing], self.ranked.score[found.place[~missing]])
        return [found.lists.item[row].tolist() for row in rows], places, found.relaxed.tolist()


@st.composite
def cases(draw: st.DrawFn, dial: bool = False, shares: bool = True) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, b = int(rng.integers(1, 30)), int(rng.integers(1, 5))
    n_artists, n_albums = int(rng.integers(1, 8)), int(rng.integers(1, 8))
    artists = [sorted(rng.choice(n_artists, rng.integers(0, min(3, n_artists + 1)), replace=False)) for _ in range(n)]
    albums = [sorted(rng.choice(n_albums, rng.integers(0, min(3, n_albums + 1)), replace=False)) for _ in range(n)]
    genres = [sorted(rng.choice(4, rng.integers(0, 3), replace=False)) for _ in range(n)]
    popular = rng.permutation(n)[: rng.integers(1, n + 1)].astype(np.int32)
    heard = [sorted(rng.choice(popular, rng.integers(0, min(5, len(popular)) + 1), replace=False)) for _ in range(b)]
    candidates = [[int(i) for i in rng.permutation(popular) if i not in own] for own in heard]
    candidates = [row[: rng.integers(0, len(row) + 1)] for row in candidates]
    fresh = draw(st.sampled_from([0.0, 0.2, 0.5])) if shares else 0.0
    explore = draw(st.sampled_from([0.0, 0.25, 0.5])) if shares else 0.0
    shaper = Shaper(
        n_items=n,
        masks={"blocked": rng.random(n) < 0.8} if draw(st.booleans()) else {},
        version=rng.integers(-1, 6, n).astype(np.int32) if draw(st.booleans()) else np.empty(0, np.int32),
        unheard=draw(st.booleans()),
        artists=tags(artists, n_artists) if draw(st.booleans()) else None,
        albums=tags(albums, n_albums) if draw(st.booleans()) else None,
        per_artist=draw(st.integers(1, 3)),
        per_album=draw(st.integers(1, 3)),
        dial=draw(st.sampled_from([0.25, 0.5, 1.0])) if dial else 0.0,
        genres=tags(genres, 4),
        unit=np.empty((1, 0), np.float32),
        kinds=rng.random((n, 2)) < 0.3,
        shares=np.array([fresh, explore]),
        popular=popular,
        notes=(),
    )
    return Case(shaper, artists, albums, candidates, heard, draw(st.integers(1, 12)))


@settings(max_examples=400, deadline=None)
@given(case=cases())
def test_lists_are_those_of_the_slow_twin(case: Case) -> None:
    lists, _, relaxed = case.shaped()
    for user, found in enumerate(lists):
        assert (found, relaxed[user]) == slow_take(case, user)


@settings(max_examples=100, deadline=None)
@given(case=cases(dial=True, shares=False))
def test_lists_do_not_depend_on_the_users_before_them(case: Case) -> None:
    lists, _, relaxed = case.shaped()
    many = replace(case, candidates=case.candidates * 20, heard=case.heard * 20)
    again, _, relaxed_too = many.shaped()
    assert again == lists * 20
    assert relaxed_too == relaxed * 20


@settings(max_examples=200, deadline=None)
@given(case=cases(dial=True))
def test_hard_rules_hold_whatever_else_is_asked(case: Case) -> None:
    rules = case.shaper
    for user, found in enumerate(case.shaped()[0]):
        assert len(set(found)) == len(found)
        assert not set(found) & set(case.heard[user])
        for mask in rules.masks.values():
            assert mask[found].all()
        if len(rules.version):
            groups = [g for g in rules.version[found].tolist() if g >= 0]
            assert len(set(groups)) == len(groups)
            if rules.unheard:
                assert not set(groups) & {g for g in rules.version[case.heard[user]].tolist() if g >= 0}


@settings(max_examples=200, deadline=None)
@given(case=cases(dial=True))
def test_limits_hold_but_for_entries_that_nothing_else_could_take_the_place_of(case: Case) -> None:
    rules = case.shaper
    lists, _, relaxed = case.shaped()
    for user, found in enumerate(lists):
        inside = found[: len(found) - relaxed[user]]
        for on, labels, limit in (
            (rules.artists, case.artists, rules.per_artist),
            (rules.albums, case.albums, rules.per_album),
        ):
            if on is not None:
                counts = np.bincount([label for item in inside for label in labels[item]], minlength=1)
                assert counts.max() <= limit
        if relaxed[user]:
            twin = SlowTake(case, user)
            twin.list = inside
            assert twin.first(case.candidates[user] + rules.popular.tolist()) is None


@settings(max_examples=200, deadline=None)
@given(case=cases(dial=True))
def test_lists_are_full_while_anything_is_left(case: Case) -> None:
    for user, found in enumerate(case.shaped()[0]):
        assert len(found) <= case.k
        if len(found) < case.k:
            twin = SlowTake(case, user)
            twin.list = found
            assert not [i for i in case.candidates[user] + case.shaper.popular.tolist() if twin.allowed(i)]


@settings(max_examples=200, deadline=None)
@given(case=cases(shares=False))
def test_without_dial_and_shares_the_ranked_order_is_kept(case: Case) -> None:
    lists, places, relaxed = case.shaped()
    order = case.shaper.popular.tolist()
    for found, place, above in zip(lists, places, relaxed, strict=True):
        inside = place[: len(place) - above]
        own = [p for p in inside if p >= 0]
        assert own == sorted(own)
        assert inside == own + [-1] * (len(inside) - len(own))  # the list first, then what it is filled with
        filled = [order.index(item) for item in found[len(own) : len(inside)]]
        assert filled == sorted(filled)


@settings(max_examples=200, deadline=None)
@given(case=cases())
def test_each_share_is_met_while_there_are_such_items(case: Case) -> None:
    rules = case.shaper
    lists, _, relaxed = case.shaped()
    for user, found in enumerate(lists):
        for kind in (FRESH, RARE):
            have = int(rules.kinds[found, kind].sum())
            if len(found) < case.k or relaxed[user] or have >= np.floor(rules.shares[kind] * case.k + 1e-9):
                continue
            twin = SlowTake(case, user)
            twin.list = found
            of_kind = [i for i in case.candidates[user] + rules.popular.tolist() if rules.kinds[i, kind]]
            assert twin.first(of_kind) is None


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_a_list_that_breaks_no_rule_is_left_as_it_is(case: Case) -> None:
    plain = replace(case, shaper=case.shaper.alone("none"))
    assert plain.shaper.rules == ()
    lists, places, _ = plain.shaped()
    for own, found, place in zip(case.candidates, lists, places, strict=True):
        n = min(len(own), case.k)  # a shorter list is filled up after them
        assert found[:n] == own[:n]
        assert place[:n] == list(range(n))


@pytest.mark.parametrize("by", ["genres", "factors"])
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), k=st.integers(1, 8), dial=st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_the_order_by_marginal_relevance_is_the_slow_one(by: str, seed: int, k: int, dial: float) -> None:
    rng = np.random.default_rng(seed)
    n = 12
    vectors = (rng.random((n, 4)) < 0.4).astype(np.float32)
    unit = rng.normal(size=(n, 3)).astype(np.float32)
    unit /= np.sqrt((unit**2).sum(axis=1, keepdims=True))
    if by == "genres":
        length = np.sqrt(vectors.sum(axis=1))
        some = vectors @ vectors.T / np.maximum(np.outer(length, length), 1)
        cosine = np.where(np.outer(length == 0, length == 0), 1, some).astype(np.float32)
    else:
        cosine = unit @ unit.T
    # scores whose differences do not tie with one another
    rows = [rng.permutation(n)[: rng.integers(0, n + 1)].tolist() for _ in range(3)]
    scores = [sorted(rng.random(len(row)), reverse=True) for row in rows]
    indptr, item = csr(rows)
    flat = np.array([s for row in scores for s in row], np.float32)
    indptr_of, tag = csr([np.flatnonzero(v).tolist() for v in vectors])
    used = unit if by == "factors" else np.empty((1, 0), np.float32)
    order = diversify(indptr, item, flat, k, dial, indptr_of, tag, used)
    for r, row in enumerate(rows):
        own = order[indptr[r] : indptr[r + 1]] - indptr[r]
        values = flat[indptr[r] : indptr[r + 1]].astype(float).tolist()
        assert own.tolist() == slow_diversify(values, cosine[np.ix_(row, row)], k, dial)
