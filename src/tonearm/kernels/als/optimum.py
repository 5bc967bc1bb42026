"""The optimum of implicit ALS when every confidence is 1, without alternating.

With c = 1 everywhere the objective is ‖C − X Yᵀ‖² + λ (‖X‖² + ‖Y‖²) for the 0/1 matrix C, and its minimum over rank d
is X = U √t, Y = W √t, t_k = max(s_k − λ, 0), from the d largest singular triples of C (Srebro and Shraibman 2005 for
the norm, Mazumder, Hastie and Tibshirani 2010, theorem 2, for the threshold).
"""

from collections.abc import Callable

import numpy as np

from tonearm.kernels.als.csr import Csr
from tonearm.kernels.als.fit import Factors
from tonearm.kernels.als.svd import singular_triples
from tonearm.types import Float16s, Float32s, Float64s


def fit_optimum(
    by_user: Csr,
    by_item: Csr,
    *,
    factors: int,
    regularization: float,
    iterations: int,
    rng: np.random.Generator,
    tolerance: float = 1e-5,
    start: Float16s | Float32s | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Factors:
    """Factors that minimise the objective of `fit_als` at alpha 1 over entries that all count 1.

    iterations: the most passes over the matrix; fewer when one lowers the objective by less than `tolerance` of it
    start: (n_items, factors), item factors to begin with; what they leave open is drawn at random
    """
    assert by_user.value is None
    assert by_item.value is None
    losses: list[float] = []

    def enough(done: int, values: Float64s) -> bool:
        excess = np.maximum(values - regularization, 0.0)
        losses.append(float(len(by_user.index) - excess @ excess))
        if done and progress is not None:
            progress(done, iterations, losses[-1])
        return done > 0 and losses[-2] - losses[-1] <= tolerance * losses[-1]

    found = singular_triples(by_user, by_item, factors, iterations, rng, start, enough)
    root = np.sqrt(np.maximum(found.value - regularization, 0.0))
    # the triples' left vectors have the length of their values
    shrunk = np.divide(root, found.value, out=np.zeros_like(root), where=root > 0)
    losses[-1] = float(len(by_user.index) - (root**4).sum())  # of the vectors turned to the best basis
    return Factors(found.left * shrunk.astype(np.float32), found.right * root.astype(np.float32), losses[1:])
