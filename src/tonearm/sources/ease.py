"""EASE: the linear item-item model of least squares, in closed form, or by neighbourhoods in a wide catalogue."""

import os
from collections.abc import Callable
from typing import Annotated, ClassVar

import numpy as np
import scipy.linalg
from numba import get_num_threads
from pydantic import Field

from tonearm.data.dataset import Dataset
from tonearm.errors import ConfigError
from tonearm.kernels import item_item as kernels
from tonearm.kernels.als.csr import Csr, transpose_csr
from tonearm.kernels.best.lists import best_of_rows
from tonearm.kernels.machine.threads import blas_threads
from tonearm.options import options
from tonearm.sources.base import Given, Recipe
from tonearm.sources.history import cut_off, of_items, sampled
from tonearm.sources.item_item import ItemItem, ItemItemModel, affordable, by_listeners
from tonearm.sources.left_out import LeftOut
from tonearm.sources.ranges import RECENCY, Choice, Range, Space
from tonearm.types import AnyArray, Float32s, Int32s

LISTENER = 8
"""A listener of a neighbour takes as long to count as so many pairs of items within histories."""


@options
class EASE(Recipe["ItemItemModel"]):
    """min ‖X − X·B‖² + λ‖B‖², diag B = 0, over the most-heard items (Steck 2019, eq. 8).

    B = I − P / diag P,  P = (XᵀX + λI)⁻¹

    Where the most-heard items hold too little of the log, every item instead has weights from its nearest ones alone:
    the same least squares, column by column, on those (Ning and Karypis 2011, section 4.2, without the lasso).

    regularization: λ
    items: most-heard items that the closed form is about; time grows with the cube, memory with the square
    coverage: share of the (user, item) pairs that those must hold, or else neighbourhoods are taken, unless the log is
        too long to count them; 0 never takes them
    neighbours: nearest items that an item has weights from, by `item_item`
    neighbour_regularization: λ there
    recency: a history entry with r later ones counts 1 / (1 + r / recency); 0 counts all alike
    side_information: whether genres, artists and albums count as listeners of the items that carry them
    fit_work: pairs of items within histories that may be counted; the longest histories are cut to stay below, and
        neighbourhoods bounded by as much
    work: multiplications that scoring all users may take; weights of smallest size are dropped, or with neighbourhoods
        the least heard items left out, to stay below
    """

    name, title = "ease", "EASE"
    ranges: ClassVar[Space] = {
        "regularization": Range(10.0, 5000.0, log=True),
        "coverage": Choice((0.0, 0.75)),
        "recency": RECENCY,
    }

    regularization: Annotated[float, Field(gt=0)] = 500.0
    items: Annotated[int, Field(ge=2)] = 5000
    coverage: Annotated[float, Field(ge=0, le=1)] = 0.75
    neighbours: Annotated[int, Field(ge=1, le=63)] = 63
    neighbour_regularization: Annotated[float, Field(gt=0)] = 50.0
    recency: Annotated[float, Field(ge=0)] = 20.0
    side_information: bool = True
    fit_work: Annotated[float, Field(gt=0)] = 2e10
    work: Annotated[float, Field(gt=0)] = 2e10

    def learn(self, given: Given) -> "ItemItemModel":
        """Invert the items' Gram matrix, or the users' where they are fewer; or solve for item after item.

        The weights of `item_item` say which items are near; without it one is fitted where it is needed.
        """
        data, progress = given.data, given.progress
        progress("EASE", 0, 1)
        order = by_listeners(data)
        items = np.sort(order[: self.items])
        total = int(data.listeners.sum())
        missing: tuple[LeftOut, ...] = ()
        countable = LISTENER * self.neighbours * total <= self.fit_work
        if countable and data.listeners[items].sum() < self.coverage * total:
            narrow = ItemItem(side_information=self.side_information, entries=self.neighbours * len(order))
            nearest = given.base("item_item", ItemItemModel) or narrow.fit(data, given.rng)
            by_target, targets = self._of_neighbours(nearest, data)
        else:
            rows = of_items(data.rows(self.side_information), items)
            missing = cut_off(rows, data.n_users, self.fit_work, "ease.fit_work")
            with blas_threads(os.cpu_count() or 1):  # by the machine, as the last bits go by it
                weights = self.weights(sampled(rows, self.fit_work))
            by_target, targets = self._by_target(weights, items, data), items
        progress("EASE", 1, 1)
        return self._model(by_target, targets, order, data, missing)

    def of_counts(
        self, counts: Float32s, items: Int32s, data: Dataset, missing: tuple[LeftOut, ...]
    ) -> "ItemItemModel":
        """The model of some items, ascending, by how many listeners each two of them have in common, (n, n)."""

        def inverse(dtype: type[np.float32 | np.float64]) -> tuple[AnyArray | None, float]:
            return _inverse_of(counts.astype(dtype), None, self.regularization, dtype)

        with blas_threads(os.cpu_count() or 1):
            by_target = self._by_target(self._solved(inverse), items, data)
        return self._model(by_target, items, by_listeners(data), data, missing)

    def _model(
        self, by_target: Csr, targets: Int32s, order: Int32s, data: Dataset, missing: tuple[LeftOut, ...]
    ) -> "ItemItemModel":
        if len(targets) < len(order):
            missing = (self._less_heard(targets, order, data), *missing)
        return ItemItemModel.of("ease", by_target, targets, self.recency, missing)

    def _less_heard(self, targets: Int32s, order: Int32s, data: Dataset) -> LeftOut:
        pairs = 1 - float(data.listeners[targets].sum() / data.listeners.sum())
        bound = "ease.items" if len(targets) == min(self.items, len(order)) else "ease.fit_work and ease.work"
        return LeftOut(
            f"source ease is about the {len(targets):,} most heard of {len(order):,} items, without the other items",
            1 - len(targets) / len(order),
            f"its work grows with them ({bound})",
            f"those others, with {pairs:.1%} of all user-item pairs, are in none of its lists and have no score of it",
            f"ease.items={len(order)} (time grows with its cube, memory with its square)"
            if bound == "ease.items"
            else bound,
        )

    def _of_neighbours(self, nearest: ItemItemModel, data: Dataset) -> tuple[Csr, Int32s]:
        """The weights of each target by source, and the targets, most heard first."""
        near = transpose_csr(Csr(nearest.indptr, nearest.place, nearest.weight, len(nearest.targets)))
        assert near.value is not None
        indptr, item, _, _ = best_of_rows(near.indptr, near.index, near.value, self.neighbours)
        cost = np.concatenate(([0], np.cumsum(data.listeners[item])))[indptr[1:]]
        n = int(np.searchsorted(cost, min(self.fit_work, self.work), side="right"))
        indptr, item, targets = indptr[: n + 1], item[: indptr[n]], nearest.targets[:n]
        rows = data.rows(self.side_information)
        least = float(data.listeners.max(initial=0)) * (self.neighbours + 1) * np.finfo(np.float64).eps
        if self.neighbour_regularization < least:
            raise _too_small("neighbour_regularization", self.neighbour_regularization, least)
        by_item = transpose_csr(Csr(rows.indptr, rows.item, None, data.n_items))
        value = kernels.regress_on_neighbours(
            get_num_threads(),
            indptr,
            item,
            targets,
            by_item.indptr,
            by_item.index,
            rows.n_users,
            self.neighbour_regularization,
        )
        return Csr(indptr, item, value, data.n_items), targets

    def weights(self, by_user: Csr) -> Float32s:
        """B, (n, n) float32, of a 0/1 matrix of users and n items.

        Raises:
            ConfigError: λ is so small that the matrix cannot be inverted, some items having the same listeners.
        """
        return self._solved(lambda dtype: _inverse(by_user, self.regularization, dtype))

    def _solved(self, inverse: Callable[[type[np.float32 | np.float64]], tuple[AnyArray | None, float]]) -> Float32s:
        for dtype in (np.float32, np.float64):  # the second has the digits for a λ that the first loses
            p, least = inverse(dtype)
            if p is not None:
                weights: Float32s = np.divide(-p, np.diag(p), dtype=dtype).astype(np.float32, copy=False)
                weights[np.diag_indices(len(p))] = 0
                return weights
        raise _too_small("regularization", self.regularization, least)

    def _by_target(self, weights: Float32s, items: Int32s, data: Dataset) -> Csr:
        """The weights of each target by source; where that is too many to score all users, those of largest size."""
        n = len(items)
        order = np.broadcast_to(np.arange(n), (n, n))
        if int(data.listeners[items].sum()) * n > self.work:
            order = np.argsort(-np.abs(weights.T), axis=1, kind="stable")
            every = np.arange(n + 1, dtype=np.int64) * n
            order = order[
                :, : affordable(kernels.cost_by_rank(every, items[order].ravel(), data.listeners, n), self.work)
            ]
        indptr = np.arange(n + 1, dtype=np.int64) * order.shape[1]
        value = np.take_along_axis(weights.T, order, axis=1).ravel()
        return Csr(indptr, items[order].ravel(), value, data.n_items)


def _inverse(by_user: Csr, much: float, dtype: type[np.float32 | np.float64]) -> tuple[AnyArray | None, float]:
    """(XᵀX + λI)⁻¹ but for a factor, (n, n), and the least λ for which that type has the digits; None below."""
    n_users, n = int((np.diff(by_user.indptr) > 0).sum()), by_user.n_columns
    if n_users < n:
        # Woodbury: P = (I − Xᵀ (XXᵀ + λI)⁻¹ X) / λ, an inverse of the users' size
        dense = np.zeros((by_user.n_rows, n), dtype)
        dense[np.repeat(np.arange(by_user.n_rows), np.diff(by_user.indptr)), by_user.index] = 1
        dense = dense[np.diff(by_user.indptr) > 0]
        return _inverse_of(dense @ dense.T, dense, much, dtype)
    return _inverse_of(common_listeners(by_user).astype(dtype, copy=False), None, much, dtype)


def common_listeners(by_user: Csr) -> Float32s:
    """How many users have both of two items, (n, n) float32."""
    by_item = transpose_csr(by_user)
    return kernels.cooccurrence(by_user.indptr, by_user.index, by_item.indptr, by_item.index)


def _inverse_of(
    gram: AnyArray, dense: AnyArray | None, much: float, dtype: type[np.float32 | np.float64]
) -> tuple[AnyArray | None, float]:
    """`_inverse` by XXᵀ, with X, or by XᵀX alone; overwrites it."""
    greatest = float(gram.sum(axis=1, dtype=np.float64).max(initial=0))  # no eigenvalue is greater
    least = 16 * greatest * float(np.finfo(dtype).eps)
    if much < least:
        return None, least
    gram[np.diag_indices(len(gram))] += much
    try:
        if dense is not None:
            p = dense.T @ scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram, lower=True), dense)
            np.negative(p, out=p)
            p[np.diag_indices(len(p))] += 1
        else:
            lapack, kind = scipy.linalg.lapack, "s" if dtype is np.float32 else "d"
            factor, failed = getattr(lapack, f"{kind}potrf")(gram, lower=True, overwrite_a=True)
            p, failed_too = getattr(lapack, f"{kind}potri")(factor, lower=True, overwrite_c=True)
            if failed or failed_too:
                return None, least
            p = np.tril(p) + np.tril(p, -1).T
    except np.linalg.LinAlgError:
        return None, least
    return (p if np.diag(p).min(initial=1) > 0 else None), least


def _too_small(option: str, value: float, least: float) -> ConfigError:
    return ConfigError(
        f"ease.{option} = {value:g} is too small: with items that the same listeners have, the equations have no one "
        f"solution that can be found in 64 bits. Set it to {2 * least:.0e} or more, the default being "
        f"{getattr(EASE, option):g}."
    )
