"""Sources fitted part by part: what is summed over histories is summed over shards, all else is the recipe's own."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numba
import numpy as np

from tonearm.config import Config
from tonearm.data.lists import Lists
from tonearm.data.log import Pairs
from tonearm.errors import ConfigError, InternalError
from tonearm.kernels.als.csr import Csr, multiply, plan, transpose_csr
from tonearm.kernels.als.rows import solve_rows
from tonearm.kernels.item_item import cost_by_rank
from tonearm.kernels.nearest.topk import score_pairs
from tonearm.parts.counted import Counted
from tonearm.parts.shard import Shard
from tonearm.parts.spectral import fit_spectral
from tonearm.parts.work import Arrays, Parts, add_to, kept
from tonearm.sources.als import ALS, ALSModel, values
from tonearm.sources.base import Given, Recipe, Source
from tonearm.sources.ease import EASE, common_listeners
from tonearm.sources.history import cut_to, drawn_share, of_items, places, what_is_cut
from tonearm.sources.item_item import ItemItem, ItemItemModel, affordable, by_listeners
from tonearm.sources.left_out import LeftOut
from tonearm.sources.spectral import Spectral
from tonearm.types import Float32s, Float64s, Int32s, Int64s

MORE_STEPS = 4
"""Steps of conjugate gradients of a user, who begins anew in each pass, for one of an item, which goes on."""


def fit(
    parts: Parts,
    data: Counted,
    config: Config,
    recipes: Mapping[str, Recipe[Source]],
    earlier: Mapping[str, Source],
) -> list[Source]:
    """As `fit_sources`, from what the users of all shards did before `data.now`."""
    fitted: dict[str, Source] = {}
    for name, recipe in recipes.items():
        if recipe.needs(data) is not None:
            continue
        rng = np.random.default_rng([config.seed, zlib.crc32(name.encode())])
        if isinstance(recipe, ALS):
            fitted[name] = _als(parts, data, recipe, rng, earlier.get(name))
        elif isinstance(recipe, ItemItem):
            fitted[name] = _item_item(parts, data, recipe)
        elif isinstance(recipe, EASE):
            fitted[name] = _ease(parts, data, recipe)
        elif isinstance(recipe, Spectral):
            fitted[name] = fit_spectral(parts, data, recipe, rng)
        else:
            fitted[name] = recipe.learn(Given(data, rng, parts.progress, fitted))
    return list(fitted.values())


@dataclass(frozen=True)
class _Rows:
    """The played pairs of some users by the items they are of.

    items: (n,) int32, the items that they played; csr: users by place in these, with the value of each pair
    """

    items: Int32s
    csr: Csr

    @classmethod
    def of(cls, pairs: Pairs, recipe: ALS) -> "_Rows":
        value = values(pairs, recipe.confidence, recipe.recency)
        items, place = np.unique(pairs.item, return_inverse=True)
        value = np.ones(len(place), np.float32) if value is None else value
        return cls(items.astype(np.int32), Csr(pairs.indptr, place.astype(np.int32), value, len(items)))

    @classmethod
    def kept(cls, shard: Shard, drawn: tuple[int, float], recipe: ALS, tag: str) -> "_Rows":
        """Those of a shard until a moment and of a share of its users, as this machine keeps them."""

        def make() -> Arrays:
            rows = cls.of(Pairs.of(shard.learnt(*drawn)), recipe)
            return {"items": rows.items, "indptr": rows.csr.indptr, "index": rows.csr.index, "value": rows.value}

        got = kept(f"{tag}-{shard.place}", make)
        return cls(got["items"], Csr(got["indptr"], got["index"], got["value"], len(got["items"])))

    @property
    def value(self) -> Float32s:
        assert self.csr.value is not None
        return self.csr.value

    def solve(self, y: Float32s, gram: Float64s, recipe: ALS) -> tuple[Float32s, float]:
        """Vectors of the users, (n, d) float32, given those of all items, and their part of the objective."""
        d, width = y.shape[1], -(-y.shape[1] // 8) * 8
        size, turn = np.linalg.eigh(gram)
        floor = max(float(size.max(initial=0)), 1e-30) * 1e-9
        basis = turn / np.sqrt(np.maximum(size + recipe.regularization, floor))
        held, out = np.zeros((len(self.items), width), np.float32), np.zeros((self.csr.n_rows, width), np.float32)
        held[:, :d] = y[self.items] @ basis.astype(np.float32)
        spectrum, losses = np.zeros(width), np.zeros(self.csr.n_rows)
        spectrum[:d] = np.maximum(size, 0)
        task = numba.get_num_threads(), *plan(self.csr.indptr), self.csr.indptr, self.csr.index, self.value
        steps = recipe.cg_steps * MORE_STEPS
        solve_rows(*task, recipe.alpha, held, np.empty(0), recipe.regularization, spectrum, steps, out, losses)
        x = np.ascontiguousarray(out[:, :d] @ basis.T.astype(np.float32))
        return x, float(losses.sum())

    def scores(self, x: Float32s, y: Float32s) -> Float32s:
        """The product of the vectors of every pair."""
        return score_pairs(x, np.ascontiguousarray(y[self.items]), self.csr.indptr, self.csr.index)

    def by_item(self, weight: Float32s, x: Float32s, n_items: int) -> Float32s:
        """The users' vectors summed for every item, weighed by pair, (n_items, d) float32."""
        own = np.zeros((len(self.items), x.shape[1]), np.float32)
        multiply(transpose_csr(Csr(self.csr.indptr, self.csr.index, weight, len(self.items))), x, own)
        out = np.zeros((n_items, x.shape[1]), np.float32)
        out[self.items] = own
        return out


def _als(parts: Parts, data: Counted, recipe: ALS, rng: np.random.Generator, earlier: Source | None) -> ALSModel:
    """As on one machine: a long log begins with some of its users."""
    if recipe.frequency_exponent > 0:
        raise ConfigError('als.frequency_exponent is of engine = "local". Leave it at 0.')
    known, passes = data.listeners > 0, recipe.iterations
    y = np.zeros((data.n_items, recipe.factors), np.float32)
    share = drawn_share(data.n_users, int(data.listeners.sum()), recipe.max_pairs)
    if isinstance(earlier, ALSModel):
        y[:] = earlier.item_factors * known[:, None]
        passes = recipe.more_iterations
    else:
        y[known] = rng.standard_normal((int(known.sum()), recipe.factors), dtype=np.float32) * np.float32(0.01)
        if share < 1:
            first, scale = recipe.of_some(share)
            y = _alternate(parts, data, first, y, passes, share)[0] * scale
            passes = recipe.more_iterations
    y, losses = _alternate(parts, data, recipe, y, passes, 1.0)
    nobody, none = np.zeros((0, recipe.factors), np.float32), np.zeros(0, np.bool_)
    return ALSModel(
        nobody,
        y,
        none,
        known,
        np.array(losses),
        recipe.regularization,
        recipe.alpha,
        recipe.confidence,
        recipe.recency,
    )


def _alternate(
    parts: Parts, data: Counted, recipe: ALS, y: Float32s, passes: int, share: float
) -> tuple[Float32s, list[float]]:
    """Vectors of the items and the objectives after some passes over a share of the users.

    Users are solved shard by shard, items by conjugate gradients on sums over shards. Each step for the items takes one
    pass over the users, the last one numbers alone. Users keep nothing between passes but on the disk of the machine
    that solved them, so that a machine may go at any time.
    """
    known, d = data.listeners > 0, recipe.factors
    labels = _Rows.of(data.labels, recipe) if recipe.side_information else None
    losses, tag = list[float](), f"{parts.run}-{data.now}-{share:g}"

    def summed(kind: str, done: int, p: Float32s) -> Arrays:
        told = parts.share((y, gram, p))
        task = partial(_als_pass, told, recipe, (data.now, share), tag, done, kind)
        sums = parts.total(task, y.nbytes)
        told.destroy()
        if labels is not None:
            add_to(sums, _als_sums(labels, *labels.solve(y, gram, recipe), y, p, recipe, kind))
        return sums

    for done in range(passes):
        parts.progress("als", done, passes)
        gram = (y.T @ y).astype(np.float64)
        sums = summed("start", done, y)
        common = sums["gram"] + recipe.regularization * np.eye(d)
        inverse = np.linalg.pinv(common).astype(np.float32)
        left = sums["sums"] - y @ common.astype(np.float32)
        losses.append(float(sums["loss"][0]) + recipe.regularization * float(np.trace(gram)))
        step: Float32s = left @ inverse
        direction, size, new = step, _dots(left, step), y.copy()
        for last in [*[False] * (recipe.cg_steps - 1), True]:
            more = summed("last" if last else "step", done, direction)
            ahead = direction @ common.astype(np.float32)
            if last:
                curved = _dots(direction, ahead) + more["curved"]
            else:
                ahead += more["sums"]
                curved = _dots(direction, ahead)
            far = np.where(curved > 0, size / np.maximum(curved, 1e-30), 0).astype(np.float32)[:, None]
            new += far * direction
            if not last:
                left -= far * ahead
                step = left @ inverse
                before, size = size, _dots(left, step)
                turn = np.where(before > 0, size / np.maximum(before, 1e-30), 0).astype(np.float32)[:, None]
                direction = step + turn * direction
        y = np.ascontiguousarray(new * known[:, None])
    return y, losses


def _dots(a: Float32s, b: Float32s) -> Float64s:
    return np.asarray(np.einsum("if,if->i", a, b, dtype=np.float64), np.float64)


def _als_pass(told: Any, recipe: ALS, drawn: tuple[int, float], tag: str, done: int, kind: str, shard: Shard) -> Arrays:
    y, gram, p = told.value
    rows = _Rows.kept(shard, drawn, recipe, tag)

    def solved() -> Arrays:
        x, loss = rows.solve(y, gram, recipe)
        return {"x": x, "loss": np.array([loss])}

    got = kept(f"{tag}-{shard.place}-{done}", solved, f"{tag}-{shard.place}-{done - 1}")
    return _als_sums(rows, got["x"], float(got["loss"][0]), y, p, recipe, kind)


def _als_sums(rows: _Rows, x: Float32s, loss: float, y: Float32s, p: Float32s, recipe: ALS, kind: str) -> Arrays:
    """Where items stand (the residual but for what is common to all), what a step changes, or only how much."""
    confidence = np.float32(recipe.alpha) * rows.value
    if kind == "start":
        sums = rows.by_item(confidence - (confidence - 1) * rows.scores(x, y), x, len(y))
        x64 = x.astype(np.float64)
        return {"sums": sums, "gram": x64.T @ x64, "loss": np.array([loss])}
    along = rows.scores(x, p)
    if kind == "step":
        return {"sums": rows.by_item((confidence - 1) * along, x, len(y))}
    curved = np.bincount(
        rows.csr.index, (confidence - 1).astype(np.float64) * along.astype(np.float64) ** 2, len(rows.items)
    )
    out = np.zeros(len(y))
    out[rows.items] = curved
    return {"curved": out}


def _longest(times: Int64s, labels: Int64s, work: float, option: str) -> tuple[int, tuple[LeftOut, ...]]:
    """As `longest_history`, and what is cut.

    times: how many users have a history of each length; labels: lengths of other rows
    """
    every = times.astype(np.float64)
    every = np.pad(every, (0, max(0, int(labels.max(initial=0)) + 1 - len(every))))
    every += np.bincount(labels, minlength=len(every))
    length = np.arange(len(every), dtype=np.float64)
    below = np.cumsum(every * length**2)
    above = every.sum() - np.cumsum(every)
    fits = np.flatnonzero(below + above * length**2 <= work)
    if len(fits) == len(every):
        return len(every) - 1, ()
    longest = max(50, int(fits[-1]) if len(fits) else 0)
    own = np.arange(len(times), dtype=np.float64)
    if longest >= len(times) - 1:
        return longest, ()
    return longest, (what_is_cut(own, times.astype(np.float64), longest, float(below[-1]), work, option),)


def _pairs(shard: Shard, now: int) -> Pairs:
    return Pairs.of(shard.train.before(now))


def _item_item(parts: Parts, data: Counted, recipe: ItemItem) -> ItemItemModel:
    """As on one machine: the kernel sees, for a stretch of targets, all histories that hold one of these, in order."""
    parts.progress("item-item", 0, 1)
    targets = by_listeners(data)
    place, n = places(targets, data.n_items), len(targets)
    labels = data.labels if recipe.side_information else None
    sizes = np.empty(0, np.int64) if labels is None else np.diff(labels.indptr)
    longest, missing = _longest(data.sums["tracks"], sizes, recipe.fit_work, "item_item.fit_work")
    told = parts.share(place)
    heard = parts.total(partial(_heard, told, n, data.now, longest), 8 * n)["heard"]
    if labels is not None:
        heard = heard + np.bincount(place[cut_to(labels, longest).index], minlength=n)
    steps = max(16, 2 * parts.tasks)
    bounds = np.concatenate(([0], np.cumsum(heard)))
    cuts = np.searchsorted(bounds, bounds[-1] * np.arange(steps + 1) / steps)
    cuts[0], cuts[-1] = 0, n
    more = [] if labels is None else [*_pieces(labels, place, cuts, longest)]
    size, listened = recipe.size(n), parts.share(heard)
    task, join = partial(_histories, told, cuts, data.now, longest), partial(_nearest, recipe, listened, cuts, size)
    near = [Lists(**lists) for lists in parts.grouped(task, more, join)]
    if sum(len(part) for part in near) != n:
        raise InternalError(
            f"item-item: the cluster gave lists of {sum(map(len, near)):,} of {n:,} tracks. Nothing was written. This "
            "is a defect of Tonearm: please report it with the command and the size of the log."
        )
    costs = (cost_by_rank(part.indptr, targets[part.item], data.listeners, size) for part in near)
    cost = sum(costs, np.zeros(size, np.int64))
    told.destroy()
    listened.destroy()
    return recipe.model(near, targets, min(size, affordable(cost, recipe.work)), data, missing)


def _heard(told: Any, n: int, now: int, longest: int, shard: Shard) -> Arrays:
    return {"heard": np.bincount(told.value[cut_to(_pairs(shard, now), longest).index], minlength=n)}


def _histories(told: Any, cuts: Int64s, now: int, longest: int, shard: Shard) -> Iterator[tuple[int, Arrays]]:
    yield from _pieces(_pairs(shard, now), told.value, cuts, longest)


def _pieces(pairs: Pairs, place: Int32s, cuts: Int64s, longest: int) -> Iterator[tuple[int, Arrays]]:
    """For each stretch of targets the whole histories that hold one of them."""
    rows = cut_to(pairs, longest)
    index, lengths = place[rows.index], np.diff(rows.indptr)
    row = np.repeat(np.arange(rows.n_rows), lengths)
    stretch = np.searchsorted(cuts, index, side="right") - 1
    for step in range(len(cuts) - 1):
        wanted = np.zeros(rows.n_rows, np.bool_)
        wanted[row[stretch == step]] = True
        if wanted.any():
            yield step, {"lengths": lengths[wanted], "index": index[wanted[row]]}


def _nearest(recipe: ItemItem, heard: Any, cuts: Int64s, size: int, step: int, pieces: list[Arrays]) -> Arrays:
    """The nearest of each target of a stretch."""
    lengths, index = (np.concatenate([piece[name] for piece in pieces]) for name in ("lengths", "index"))
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    by_user = Csr(indptr, index.astype(np.int32), None, len(heard.value))
    lo, hi = int(cuts[step]), int(cuts[step + 1])
    found = recipe.nearest(by_user, transpose_csr(by_user), heard.value, lo, hi, size)
    return {"indptr": found.indptr, "item": found.item, "score": found.score}


def _ease(parts: Parts, data: Counted, recipe: EASE) -> ItemItemModel:
    """The closed form of the most-heard items, whose common listeners are counted shard by shard."""
    parts.progress("EASE", 0, 1)
    items = np.sort(by_listeners(data)[: recipe.items])
    labels = of_items(data.labels, items) if recipe.side_information else None
    sizes = np.empty(0, np.int64) if labels is None else np.diff(labels.indptr)
    told = parts.share(items)
    times = parts.total(partial(_lengths_of, told, data.now))["lengths"]
    longest, missing = _longest(times, sizes, recipe.fit_work, "ease.fit_work")
    counts = parts.total(partial(_common, told, data.now, longest), 4 * len(items) ** 2)["common"]
    told.destroy()
    if labels is not None:
        counts = counts + common_listeners(cut_to(labels, longest))
    return recipe.of_counts(cast(Float32s, counts), items, data, missing)


def _lengths_of(told: Any, now: int, shard: Shard) -> Arrays:
    return {"lengths": np.bincount(np.diff(of_items(_pairs(shard, now), told.value).indptr))}


def _common(told: Any, now: int, longest: int, shard: Shard) -> Arrays:
    return {"common": common_listeners(cut_to(of_items(_pairs(shard, now), told.value), longest))}
