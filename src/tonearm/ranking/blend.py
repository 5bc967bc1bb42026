"""The blend, a weighted sum of the sources' standardised scores and the simpler of the two rankers; and its measure."""

import itertools

import numpy as np
from scipy.optimize import minimize

from tonearm.kernels.best.lists import best_of_rows
from tonearm.ranking.training import TrainingTable
from tonearm.types import Bools, Float32s, Float64s, Int64s

K = 20
"""Rankers are compared by ndcg at this cut-off."""

DEPTH = 50
"""The blend's weights are compared by ndcg at this one: most training tables hold few candidates of each user."""


def blended(z: Float32s, weights: Float32s) -> Float32s:
    """Σ_s w_s z_s of every row, (n,) float32; what is unknown counts as 0.

    Column by column: the last bit of a matrix product depends on how many rows there are, and so on the block.
    """
    total = np.zeros(len(z), np.float32)
    for column, weight in zip(z.T, weights, strict=True):
        total += weight * np.nan_to_num(column)
    return total


def alike(n: int) -> Float32s:
    """The weights of sources of which nothing is known."""
    return np.full(n, 1 / max(n, 1), np.float32)


def ndcgs(indptr: Int64s, score: Float32s, label: Float32s, wanted: Int64s, k: int = K) -> Float64s:
    """Binary ndcg@k of each row, the ideal of all that is wanted there, (n_rows,) float64; ties by place.

    wanted: (n_rows,) int64, at least 1 and the row's positives, more where some are no candidates
    """
    place = np.arange(len(score), dtype=np.int32)
    top, _, _, at = best_of_rows(indptr, place, score.astype(np.float32), k)
    rank = np.arange(len(at)) - np.repeat(top[:-1], np.diff(top))
    gain = label[at] / np.log2(rank + 2)
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(top))
    dcg = np.bincount(row, weights=gain, minlength=len(indptr) - 1)
    ideal = np.concatenate(([0.0], np.cumsum(1 / np.log2(np.arange(k) + 2))))
    return np.asarray(dcg / ideal[np.minimum(wanted, k)])


def fit_blend(table: TrainingTable, groups: Bools, by_order: bool) -> Float32s:
    """Weights of the standardised source scores, none negative, that make the played candidates likeliest.

    groups: (n_groups,) bool, those to learn from, each with a played candidate
    by_order: go on from there to weights that put the played candidates first, by ndcg, which is what counts but takes
        thousands of users to tell
    """
    if len(table.z) == 0:
        return np.empty(0, np.float32)
    rows = np.flatnonzero(table.of_rows(groups))
    indptr = np.concatenate(([0], np.cumsum(np.diff(table.indptr)[groups]))).astype(np.int64)
    z, label = table.features[np.ix_(rows, table.z)], table.label[rows]
    weights = _likeliest(indptr, z.astype(np.float64), label.astype(np.float64))
    if by_order:
        weights = _best_ordered(indptr, z, label, table.wanted[groups], weights)
    return weights.astype(np.float32) if weights.max() > 1e-6 else alike(len(weights))


def _likeliest(indptr: Int64s, z: Float64s, label: Float64s) -> Float64s:
    """Minimises −Σ_u mean over u's positives of log softmax(z · w), with a small penalty on the weights."""
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    positives = np.add.reduceat(label, indptr[:-1])
    share = label / positives[row]

    def loss(w: Float64s) -> tuple[float, Float64s]:
        s = z @ w
        peak = np.maximum.reduceat(s, indptr[:-1])
        e = np.exp(s - peak[row])
        total = np.add.reduceat(e, indptr[:-1])
        log_total = np.log(total) + peak
        value = float(log_total.sum() - share @ s) / len(positives) + 1e-3 * float(w @ w)
        gradient = (e / total[row] - share) @ z / len(positives) + 2e-3 * w
        return value, gradient

    n = z.shape[1]
    found = minimize(loss, np.full(n, 0.5), jac=True, method="L-BFGS-B", bounds=[(0, None)] * n)
    return np.asarray(found.x)


def _best_ordered(indptr: Int64s, z: Float32s, label: Float32s, wanted: Int64s, start: Float64s) -> Float64s:
    """Weights that sum to 1, by coordinate ascent on ndcg (Metzler and Croft 2007); here no source alone is better."""

    def worth(w: Float64s) -> float:
        return float(ndcgs(indptr, blended(z, w.astype(np.float32)), label, wanted, k=DEPTH).mean())

    starts = [start / start.sum()] if start.any() else []
    best: Float64s = max([*starts, *np.eye(len(start))], key=worth)
    most = worth(best)
    for step in (0.2, 0.1, 0.05):
        better = True
        while better:
            better = False
            for source, change in itertools.product(range(len(best)), (step, -step)):
                w = best.copy()
                w[source] = max(0.0, w[source] + change)
                if w.any() and (found := worth(w / w.sum())) > most + 1e-6:
                    best, most, better = w / w.sum(), found, True
    return best
