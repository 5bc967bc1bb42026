"""Content lists against a brute-force product, in turn in one process: the same profiles, the same cosines.

python benchmarks/content.py EVENTS ITEMS TEST_FROM [--users 2000] [--rounds 3] [--save content]

Brute force multiplies every user's genre profile with every item's genre vector by the linear algebra library, 500
users at a time, and takes the 100 best unseen ones by a partial sort. Scores are compared place by place.
"""

import statistics
import time

import numpy as np
from scipy.sparse import csr_array

import figures
from tonearm import Config, Inputs
from tonearm.data.dataset import Block
from tonearm.sources.content import Content, ContentModel
from tonearm.terminal.progress import no_progress
from tonearm.types import Float32s

K = 100


def brute_force(model: ContentModel, block: Block) -> Float32s:
    """The K highest cosines of each user among unheard items, (b, K)."""
    genres, played = model.genres, np.sort(model.order)
    ones = np.ones(len(genres.index), np.float32)
    vectors = csr_array((ones, genres.index, genres.indptr), shape=(len(genres.indptr) - 1, len(genres.labels)))[played]
    items = vectors.toarray() / np.sqrt(np.maximum(vectors.sum(axis=1), 1))[:, None].astype(np.float32)
    profiles, pairs = model.profiles(block), block.pairs
    out = np.empty((len(block), K), np.float32)
    for lo in range(0, len(block), 500):
        hi = min(lo + 500, len(block))
        scores = profiles[lo:hi] @ items.T
        for row in range(lo, hi):
            scores[row - lo, np.searchsorted(played, pairs.item[pairs.row(row)])] = -1
        part = np.argpartition(-scores, K, axis=1)[:, :K]
        out[lo:hi] = -np.sort(-np.take_along_axis(scores, part, axis=1), axis=1)
    return out


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("events")
    parser.add_argument("items")
    parser.add_argument("test_from")
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    train = Inputs(options.events, options.items, options.test_from).load(Config(), no_progress).train
    model = Content().fit(train, np.random.default_rng(0))
    block = train.block(0, min(options.users, train.n_users), True)
    own, other = [], []
    ours = model.recommend(block, K)
    for _ in range(options.rounds):
        start = time.perf_counter()
        ours = model.recommend(block, K)
        own.append(time.perf_counter() - start)
        start = time.perf_counter()
        theirs = brute_force(model, block)
        other.append(time.perf_counter() - start)
    assert (np.diff(ours.indptr) == K).all(), "a list came up short"
    same = np.isclose(ours.score.reshape(len(block), K), theirs, atol=1e-5).mean()
    mine, peer = (len(block) / statistics.median(times) for times in (own, other))
    log = f"{len(block):,} users, {len(model.order):,} items, {len(model.set_indptr) - 1:,} genre sets"
    heads = [
        ("log", ""),
        ("ours, users/s", ",.0f"),
        ("brute force", ",.0f"),
        ("ratio", ",.0f"),
        ("scores the same", ".2%"),
    ]
    figures.tell(heads, [[log, mine, peer, mine / peer, float(same)]], options.save)


if __name__ == "__main__":
    main()
