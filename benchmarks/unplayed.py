"""How well first plays of new tracks are foretold, by what the catalogue says of tracks that nobody has played.

python benchmarks/unplayed.py DATA [--sets hetrec retail] [--save unplayed]

DATA is the folder of the real sets; small and medium are made by `tonearm synth`. All before the test: train is cut
into a history and a label window, and again before that, up to three times. Tracks of the catalogue without a play in
the history are ranked for each listener; what of them the listener played in the window is the truth. Listeners with
any are measured, once for each window.

random          these tracks in one random order for everybody
popular artist  those of the artist with most plays first, the same for everybody
genre           `fresh_recommendations.parquet` as it is: cosine of genres, popular artists first among equals
artist, album   the same by artists and by albums
vectors         cosine of vectors: of words in names where a set has names of products or films, else of all labels, in
                64 dimensions by singular value decomposition, as no set has sound
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import svds

from figures import parser, tell
from quality_sets import MADE, inputs_of
from tonearm import Config, Inputs
from tonearm.config import stage_rng
from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Pairs
from tonearm.evaluation.bootstrap import interval, resample
from tonearm.sources.content import ContentModel, unplayed_order
from tonearm.sources.vectors import VectorsModel
from tonearm.split import InnerSplit, inner_splits
from tonearm.terminal.progress import no_progress
from tonearm.types import Float32s, Int32s

K, BLOCK, WIDTH = 10, 4096, 64
WORDS = ("retail", "ml")
RULES = ("random", "popular artist", "genre", "artist", "album", "vectors")


def vectors_of(catalogue: Catalogue, words: bool) -> Float32s | None:
    """(n_items, WIDTH): what the words of names, or else all labels, come to; None where there are too few."""
    rows: list[list[str]] = [[] for _ in range(len(catalogue))]
    if words and catalogue.name is not None:
        rows = [(name or "").lower().split() for name in catalogue.name.to_list()]
    else:
        for tags in (catalogue.genres, catalogue.artists, catalogue.albums):
            if tags is not None:
                item, label = tags.entries(np.arange(len(catalogue), dtype=np.int32))
                for at, one in zip(item.tolist(), label.tolist(), strict=True):
                    rows[at].append(f"{id(tags)} {one}")
    known = {word: n for n, word in enumerate(dict.fromkeys(word for row in rows for word in row))}
    index = [known[word] for row in rows for word in row]
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows])))
    matrix = csr_matrix((np.ones(len(index)), index, indptr), (len(rows), max(len(known), 1)))
    if min(matrix.shape) <= WIDTH:
        return None
    weight = np.log(len(rows) / np.maximum(np.bincount(index, minlength=len(known)), 1))
    left, size, _ = svds(matrix @ diags(weight), WIDTH, v0=np.ones(min(matrix.shape)))
    return (left * size).astype(np.float32)


def rules(history: Dataset, rng: np.random.Generator, vectors: Float32s | None) -> dict[str, Any]:
    """What lists unplayed tracks for a block, by rule."""
    catalogue, order = history.catalogue, history.popularity_order
    fresh = unplayed_order(history)
    made: dict[str, Any] = {"random": rng.permutation(fresh)}
    if shared(catalogue.artists):
        made["popular artist"] = fresh
    for rule, tags in (("genre", catalogue.genres), ("artist", catalogue.artists), ("album", catalogue.albums)):
        if tags is not None and shared(tags):
            made[rule] = ContentModel(tags, order).of_unplayed(history)
    if vectors is not None:
        with_vectors = replace(history, catalogue=replace(catalogue, vectors=vectors))
        made["vectors"] = VectorsModel.of(with_vectors, "vectors", 0).of_unplayed(with_vectors)
    return {rule: one for rule, one in made.items() if one is not None}


def shared(tags: Tags | None) -> bool:
    """Whether any label is of two items."""
    return tags is not None and len(tags.index) > len(tags.labels)


def lists_of(rule: Any, block: Block) -> Lists:
    """The first K tracks of each of a block's users."""
    if isinstance(rule, np.ndarray):
        first: Int32s = rule[:K].astype(np.int32)
        n = len(block)
        return Lists(
            np.arange(n + 1, dtype=np.int64) * len(first), np.tile(first, n), np.ones(n * len(first), np.float32)
        )
    found: Lists = rule.recommend_fresh(block, K)
    return found


def measured(split: InnerSplit, made: dict[str, Any]) -> Iterator[tuple[str, Float32s]]:
    """ndcg@K of every listener who played a track that was new, by rule."""
    new = split.history.plays == 0
    labels = Pairs.of(split.labels)
    row = np.repeat(np.arange(labels.n_users), np.diff(labels.indptr))
    heard = split.history.log.stop > split.history.log.start
    inside = np.minimum(labels.item, len(new) - 1)
    kept = (labels.item < len(new)) & new[inside] & heard[row]
    users = np.unique(row[kept]).astype(np.int32)
    wanted: dict[int, set[int]] = {int(user): set() for user in users}
    for user, item in zip(row[kept].tolist(), labels.item[kept].tolist(), strict=True):
        wanted[user].add(item)
    gains = 1 / np.log2(np.arange(2, K + 2))
    for name, rule in made.items():
        values = np.zeros(len(users), np.float32)
        for lo in range(0, len(users), BLOCK):
            some = users[lo : lo + BLOCK]
            lists = lists_of(rule, split.history.block_of(some, True))
            for n, user in enumerate(some.tolist()):
                own = lists.item[lists.indptr[n] : lists.indptr[n + 1]].tolist()
                gain = sum(gains[rank] for rank, item in enumerate(own) if item in wanted[user])
                values[lo + n] = gain / gains[: len(wanted[user])].sum()
        yield name, values


def rows_of(name: str, given: Inputs) -> list[list[Any]]:
    """The rows of one set."""
    config = Config()
    train = given.load(config, no_progress).train
    rng, vectors = stage_rng(config.seed, "split"), vectors_of(train.catalogue, name in WORDS)
    found: dict[str, list[Float32s]] = {}
    entered = windows = 0
    for split in inner_splits(train, config.split, rng):
        fresh = split.history.plays == 0
        entered += int((fresh & (train.plays > 0)).sum())
        windows += 1
        for rule, values in measured(split, rules(split.history, np.random.default_rng(windows), vectors)):
            found.setdefault(rule, []).append(values)
    by = {rule: np.concatenate(parts) for rule, parts in found.items()}
    rows: list[list[Any]] = []
    for rule in (rule for rule in RULES if rule in by):
        row = [name, rule, windows, len(by[rule]), float(by[rule].mean()), float((by[rule] > 0).mean()), None]
        if rule != "random":
            drawn = resample([by[rule][:, None], by["random"][:, None]], np.random.default_rng(0), 1000)
            low, high = interval(drawn[0] - drawn[1])
            mean = float(by[rule].mean() - by["random"].mean())
            row[-1] = {"value": mean, "low": float(low[0]), "high": float(high[0])}
        rows.append(row)
    return rows


def main() -> None:
    """Measure every set that is asked for."""
    line = parser(__doc__)
    line.add_argument("data", type=Path)
    line.add_argument("--sets", nargs="+", default=["hetrec", "ml", "retail", *MADE])
    asked = line.parse_args()
    heads = [("set", ""), ("by", ""), ("windows", ",.0f"), ("listeners", ",.0f"), ("ndcg@10", ".4f")]
    heads += [("with a hit", ".1%"), ("over random", "")]
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        known = inputs_of(asked.sets, asked.data, Path(folder))
        for name, given in known.items():
            rows += rows_of(name, given)
            print(name, flush=True)
        tell(heads, rows, asked.save)


if __name__ == "__main__":
    main()
