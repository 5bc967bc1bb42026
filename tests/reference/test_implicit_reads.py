"""The file of the ALS model is one that implicit loads, and solves new histories with as this project does."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from tonearm.data.catalogue import Catalogue
from tonearm.data.dataset import Block, Dataset
from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.runs import directory
from tonearm.sources.als import ALS, ALSModel, Confidence

als = pytest.importorskip("implicit.cpu.als")

N_ITEMS = 31


def some_data(n_users: int, seed: int) -> Dataset:
    """Users of 1 to 20 plays, repeats among them, the lower items more often; the last item is never played."""
    rng = np.random.default_rng(seed)
    rows = [(30 * rng.beta(1, 2, rng.integers(1, 21))).astype(np.int32) for _ in range(n_users)]
    stop = np.cumsum([len(row) for row in rows]).astype(np.int64)
    start = np.concatenate(([0], stop[:-1])).astype(np.int64)
    log = Log(start, stop, np.concatenate(rows), None, None, N_ITEMS)
    ids = Vocabulary(pl.Series(range(N_ITEMS)))
    return Dataset(Vocabulary(pl.Series(range(n_users))), Catalogue(ids), log, 0)


@pytest.mark.filterwarnings("ignore:OpenBLAS is configured:RuntimeWarning")
@pytest.mark.parametrize(("alpha", "confidence"), [(1.0, "one"), (20.0, "plays"), (3.0, "log")])
def test_point_17_implicit_loads_the_model_and_folds_users_in_alike(
    tmp_path: Path, alpha: float, confidence: Confidence
) -> None:
    recipe = ALS(factors=7, regularization=0.3, alpha=alpha, confidence=confidence, recency=0, side_information=False)
    ours = recipe.fit(some_data(60, 1), np.random.default_rng(0))
    directory.save_arrays(tmp_path / "models" / "als_model.npz", ours.save())
    peer = als.AlternatingLeastSquares.load(str(tmp_path / "models" / "als_model.npz"))
    assert (peer.factors, peer.regularization, peer.alpha, peer.dtype) == (7, 0.3, alpha, np.dtype(np.float32))
    np.testing.assert_array_equal(peer.user_factors, ours.user_factors)

    data = some_data(9, 2)
    pairs = data.pairs
    counted = pairs.plays.astype(np.float32)
    value = {"one": np.ones_like(counted), "plays": counted, "log": np.log2(1 + counted)}[confidence]
    plays = sparse.csr_matrix((value, pairs.item, pairs.indptr), (9, N_ITEMS))
    theirs = peer.recalculate_user(np.arange(9), plays)
    block = data.block(0, 9, True)
    new = Block(np.full(9, -1, np.int32), block.log, block.pairs, 0, True)
    vectors, known = ours.vectors(new)
    assert known.all()
    assert np.abs(vectors).max() > 0.1
    np.testing.assert_allclose(theirs, vectors, rtol=1e-3, atol=1e-4)

    items, scores = peer.recommend(np.arange(9), plays, N=5, recalculate_user=True)
    lists = ours.recommend(new, 5)
    np.testing.assert_allclose(scores.ravel(), lists.score, rtol=1e-3, atol=1e-4)
    assert (items.ravel() == lists.item).mean() > 0.9
    again = ALSModel.load(directory.load_arrays(tmp_path / "models" / "als_model.npz"))
    np.testing.assert_array_equal(again.vectors(new)[0], vectors)
