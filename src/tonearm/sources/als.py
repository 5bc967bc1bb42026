"""Personal lists from implicit-feedback ALS: users and items as vectors, a score as their product."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Pairs
from tonearm.kernels.als.csr import Csr, transpose_csr
from tonearm.kernels.als.fit import fit_als, fold_in
from tonearm.kernels.als.optimum import fit_optimum
from tonearm.kernels.nearest.approximate import similar_approximate
from tonearm.kernels.nearest.similar import similar_to_all
from tonearm.kernels.nearest.topk import ItemIndex, index_items, score_pairs, similar_top_k, top_k, unit_vectors
from tonearm.options import options
from tonearm.sources.base import ForLastBlock, Given, Recipe, VectorModel
from tonearm.sources.history import drawn, drawn_share, recency_weights
from tonearm.sources.ranges import RECENCY, Range, Space
from tonearm.terminal.progress import Progress, no_progress
from tonearm.types import AnyArray, Bools, Float32s, Float64s, Int32s

Confidence = Literal["plays", "log", "one"]


@options
class ALS(Recipe["ALSModel"]):
    """Minimise Σ_ui c_ui (p_ui − x_u·y_i)² + λ (Σ_u |x_u|² + Σ_i |y_i|²); p = 1 where u played i, else 0 with c = 1.

    Names and meaning are those of the library implicit. Where every c is 1 the minimum itself is found, without
    alternating.

    factors: length of the vectors
    regularization: λ
    alpha: confidence of a played pair is alpha times its value
    iterations: passes over users and items, at most
    more_iterations: passes where an earlier model's items are gone on from
    confidence: the value of a played pair: its plays, log2(1 + plays), or 1
    recency: the value of a pair with r later ones in its history is divided by 1 + r / recency; 0 leaves it as it is
    cg_steps: steps of conjugate gradients for each row and pass
    frequency_exponent: above 0, λ grows with (events of the row + size of the other side) to this power
    side_information: whether genres, artists and albums count as listeners of the items that carry them
    max_pairs: of a log with more (user, item) pairs, `iterations` are over those of so many users, drawn evenly, and
        then `more_iterations` over all
    """

    name, title, always = "als", "ALS", True
    ranges: ClassVar[Space] = {
        "factors": Range(16, 256, log=True),
        "regularization": Range(0.1, 300.0, log=True),
        "alpha": Range(0.5, 100.0, log=True),
        "iterations": Range(5, 20),
        "frequency_exponent": Range(0.0, 1.0),
        "recency": RECENCY,
    }

    factors: Annotated[int, Field(ge=1, le=4096)] = 128
    regularization: Annotated[float, Field(ge=0, le=1e9)] = 80.0
    alpha: Annotated[float, Field(gt=0, le=1e9)] = 20.0
    iterations: Annotated[int, Field(ge=1)] = 10
    more_iterations: Annotated[int, Field(ge=1)] = 3
    confidence: Confidence = "log"
    recency: Annotated[float, Field(ge=0)] = 20.0
    cg_steps: Annotated[int, Field(ge=1)] = 2
    frequency_exponent: Annotated[float, Field(ge=0, le=2)] = 0.0
    side_information: bool = True
    max_pairs: Annotated[int, Field(ge=1)] = 10_000_000

    def learn(self, given: Given) -> "ALSModel":
        """Learn the vectors.

        With an earlier model of `als` the fit goes on from its items; its users are not needed, as they are solved
        first. A long log begins with some of its users.
        """
        data, rng, progress, _ = given
        earlier = given.base(self.name, ALSModel)
        start: AnyArray | None = None if earlier is None else earlier.item_factors
        share = drawn_share(data.n_users, int(data.listeners.sum()), self.max_pairs)
        if start is None and share < 1:
            first, scale = self.of_some(share)
            found = first._alternate(data, drawn(data.n_users, share), None, self.iterations, rng, progress)
            start = found.item_factors * scale
        passes = self.iterations if start is None else self.more_iterations
        return self._alternate(data, None, start, passes, rng, progress)

    def of_some(self, share: float) -> tuple["ALS", np.float32]:
        """The recipe for a share of the users, and what its items are multiplied by to be those that all would lead to.

        A penalty of λ for users and λ · share for items, as sums over all users are 1 / share times as large.
        """
        return replace(self, regularization=self.regularization * share**0.5), np.float32(share**-0.25)

    def _alternate(
        self,
        data: Dataset,
        users: Bools | None,
        start: AnyArray | None,
        passes: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> "ALSModel":
        """Some passes over some users, (n_users,), or all, from items to start from or at random."""
        pairs = data.rows(self.side_information, users)
        n_users = data.n_users if users is None else np.count_nonzero(users)
        by_user = Csr(pairs.indptr, pairs.item, values(pairs, self.confidence, self.recency), data.n_items)
        by_item = transpose_csr(by_user)

        def told(done: int, total: int, _loss: float) -> None:
            progress("als", done, total)

        if by_user.value is None and self.alpha == 1 and self.frequency_exponent == 0:
            found = fit_optimum(
                by_user,
                by_item,
                factors=self.factors,
                regularization=self.regularization,
                iterations=passes,
                rng=rng,
                start=start,
                progress=told,
            )
        else:
            found = fit_als(
                by_user,
                by_item,
                factors=self.factors,
                regularization=self.regularization,
                alpha=self.alpha,
                iterations=passes,
                rng=rng,
                cg_steps=self.cg_steps,
                frequency_exponent=self.frequency_exponent,
                init=(None, start),
                users_last=users is None,
                progress=told,
            )
        return ALSModel(
            found.user[:n_users],
            found.item,
            np.diff(pairs.indptr[: n_users + 1]) > 0,
            np.diff(by_item.indptr) > 0,
            np.array(found.losses),
            self.regularization,
            self.alpha,
            self.confidence,
            self.recency,
        )


def values(pairs: Pairs, confidence: Confidence, recency: float) -> Float32s | None:
    """The value of each played pair; None, which is solved faster, where all of them are 1."""
    value = None
    if confidence != "one" and not bool((pairs.plays == 1).all()):
        value = np.log2(1 + pairs.plays) if confidence == "log" else pairs.plays
    if recency > 0 and pairs.last is not None:
        weights = recency_weights(pairs, recency)
        value = weights if value is None else np.multiply(value, weights, out=weights)
    return value


@dataclass(frozen=True)
class ALSModel(VectorModel):
    """Vectors of users and items.

    user_factors: (n_users, d) float32, or no row where users are folded in; item_factors: (n_items, d) float32
    known_users: (n_users,), known_items: (n_items,) bool, those with an event in the fitted data
    losses: (iterations,) float64, the objective after each iteration
    """

    user_factors: Float32s
    item_factors: Float32s
    known_users: Bools
    known_items: Bools
    losses: Float64s
    regularization: float
    alpha: float
    confidence: Confidence
    recency: float
    name: str = "als"

    def recommend(self, block: Block, k: int) -> Lists:
        """The k items with the largest product; an empty row for a user without events."""
        vectors, known = self.vectors(block)
        seen_indptr, seen = block.seen
        if known.all():
            return Lists(*top_k(vectors, self.index, k, seen_indptr, seen))
        lengths = np.diff(seen_indptr)
        kept = np.concatenate(([0], np.cumsum(lengths[known]))).astype(np.int64)
        found = top_k(vectors[known], self.index, k, kept, seen[np.repeat(known, lengths)])
        lengths = np.zeros(len(block), np.int64)
        lengths[known] = np.diff(found[0])
        return Lists(np.concatenate(([0], np.cumsum(lengths))).astype(np.int64), found[1], found[2])

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """The product of the vectors; NaN for a user or an item without events."""
        vectors, known = self.vectors(block)
        scores = score_pairs(vectors, self.item_factors, candidates.indptr, candidates.item)
        scores[~(known[candidates.row] & self.known_items[candidates.item])] = np.nan
        return scores

    def beginning(self) -> "ALSModel":
        """The items alone with half of the digits, and in half of the memory."""
        items: AnyArray = self.item_factors.astype(np.float16)
        return replace(self, user_factors=self.user_factors[:0].copy(), item_factors=items)

    def vectors(self, block: Block) -> tuple[Float32s, Bools]:
        """Vectors (b, d) of a block's users, and which of them have any event (b,).

        One whose history is not that of the fitted data, or whose vector the model does not hold, is folded in: solved
        from the history alone, with the plain λ.
        """
        return self._last.of(block, self._vectors)

    def _vectors(self, block: Block) -> tuple[Float32s, Bools]:
        new = block.folded | (block.users >= len(self.user_factors))
        if len(self.user_factors):
            fitted = np.where(new, 0, block.users)
            vectors, known = self.user_factors[fitted], self.known_users[fitted]
        else:
            width = self.item_factors.shape[1]
            vectors, known = np.zeros((len(block), width), np.float32), np.zeros(len(block), np.bool_)
        if new.any():
            # an item that nobody played before has no vector to learn from
            entry = np.repeat(new, np.diff(block.pairs.indptr)) & self.known_items[block.pairs.item]
            row = np.repeat(np.arange(len(block)), np.diff(block.pairs.indptr))[entry]
            indptr = np.searchsorted(row, np.arange(len(block) + 1)).astype(np.int64)
            value = values(block.pairs, self.confidence, self.recency)
            folded = fold_in(
                indptr,
                block.pairs.item[entry],
                value[entry] if value is not None else np.empty(0, np.float32),
                self.alpha,
                self.item_factors,
                self._common,
            )
            vectors[new], known[new] = folded[new], np.diff(indptr)[new] > 0
        return vectors, known

    def similar(self, items: Int32s, k: int, trust: Float32s | None = None) -> Lists:
        """The k items of highest cosine to each of some items, among those that lists hold, never the item itself.

        trust: as in `SimilarItems`
        """
        if trust is None:
            return Lists(*similar_top_k(self.unit, k, items, self._unit_index))
        vectors = self._scaled(trust)
        return Lists(*similar_top_k(vectors, k, items, index_items(vectors, self.listed)))

    def similar_to_all(self, k: int, progress: Progress = no_progress, trust: Float32s | None = None) -> Lists:
        """`similar` for every item with an event in half the time; a row for each item, empty for the others."""
        found = similar_to_all(
            self._scaled(trust), k, self.listed, lambda done, total: progress("similar items", done, total)
        )
        return self._and_unlisted(Lists(*found), k, trust)

    def similar_approximate(
        self, k: int, rng: np.random.Generator, progress: Progress = no_progress, trust: Float32s | None = None
    ) -> tuple[Lists, float]:
        """`similar_to_all` for very many items: nearly the same lists, and the share of the exact ones found."""
        found, recall = similar_approximate(
            self._scaled(trust),
            k,
            self.listed,
            rng,
            progress=lambda done, total: progress("similar items", done, total),
        )
        return self._and_unlisted(Lists(*found), k, trust), recall

    def _scaled(self, trust: Float32s | None) -> Float32s:
        return self.unit if trust is None else self.unit * trust[:, None]

    def _and_unlisted(self, found: Lists, k: int, trust: Float32s | None) -> Lists:
        """Rows of listed items, and rows for the other items with an event."""
        others = np.flatnonzero(self.known_items & ~self.listed).astype(np.int32)
        if len(others) == 0:
            return found
        more = self.similar(others, k, trust)
        row = np.concatenate((found.row, others[more.row]))
        order = np.argsort(row, kind="stable")
        indptr = np.searchsorted(row[order], np.arange(len(found) + 1)).astype(np.int64)
        item, score = np.concatenate((found.item, more.item)), np.concatenate((found.score, more.score))
        return Lists(indptr, item[order], score[order])

    def contributions(self, block: Block, item: int) -> Float64s | None:
        """c_uj y_iᵀ (YᵀY + Σ_j (c_uj − 1) y_j y_jᵀ + λI)⁻¹ y_j of each history item j, (n_pairs,) float64.

        They sum to the score of the user solved anew from the history. The vector from fitting is a few steps of
        conjugate gradients from there, so its score may differ a little.

        Source: Hu, Koren, Volinsky 2008, section 5
        """
        out, known = np.zeros(len(block.pairs.item)), self.known_items[block.pairs.item]
        value = values(block.pairs, self.confidence, self.recency)
        y = self.item_factors[block.pairs.item[known]].astype(np.float64)
        c = self.alpha * (np.ones(len(y)) if value is None else value[known].astype(np.float64))
        # least squares, as without regularization the matrix may be singular
        mine, *_ = np.linalg.lstsq(self._common + (y.T * (c - 1)) @ y, self.item_factors[item].astype(np.float64))
        out[known] = c * (y @ mine)
        return out

    def save(self) -> dict[str, AnyArray]:
        """The library implicit reads it too, `factors` and `dtype` being for it."""
        about = {"factors": self.item_factors.shape[1], "dtype": self.item_factors.dtype.name}
        return {name: np.array(value) for name, value in about.items()} | super().save()

    @cached_property
    def _last(self) -> ForLastBlock[tuple[Float32s, Bools]]:
        return ForLastBlock()

    @cached_property
    def index(self) -> ItemIndex:
        return index_items(self.item_factors, self.listed)

    @cached_property
    def unit(self) -> Float32s:
        """The item vectors at length one, (n_items, d)."""
        return unit_vectors(self.item_factors)

    @cached_property
    def _unit_index(self) -> ItemIndex:
        return index_items(self.unit, self.listed)

    @cached_property
    def listed(self) -> Bools:
        """The items that lists may hold, (n_items,)."""
        return self.known_items if self.allowed is None else self.known_items & self.allowed

    @cached_property
    def _common(self) -> Float64s:
        """YᵀY + λI, (d, d)."""
        y = self.item_factors.astype(np.float64)
        return np.asarray(y.T @ y + self.regularization * np.eye(y.shape[1]))
