"""Content lists of a catalogue of many tags are made of some users at a time, whose profiles take bounded memory."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.kernels import content as kernels
from tonearm.sources import content
from tonearm.sources.content import Content
from tonearm.types import Float32s

N_USERS, N_ITEMS, N_TAGS = 70, 90, 300


def some_data() -> Dataset:
    """Users of 0 to 11 plays; items of 0 to 4 tags."""
    rng = np.random.default_rng(3)
    rows = [(N_ITEMS * rng.beta(1, 2, n)).astype(np.int32) for n in rng.integers(0, 12, N_USERS)]
    stop = np.cumsum([len(row) for row in rows]).astype(np.int64)
    start = np.concatenate(([0], stop[:-1])).astype(np.int64)
    log = Log(start, stop, np.concatenate(rows), None, None, N_ITEMS)
    tags = [rng.choice(40, n, replace=False).astype(np.int32) for n in rng.integers(0, 5, N_ITEMS)]
    indptr = np.concatenate(([0], np.cumsum([len(t) for t in tags]))).astype(np.int64)
    labels = Vocabulary(pl.Series([f"tag {i:03}" for i in range(N_TAGS)]))
    genres = Tags(indptr, np.concatenate(tags), labels)
    items = Vocabulary(pl.Series(range(N_ITEMS)))
    return Dataset(Vocabulary(pl.Series(range(N_USERS))), Catalogue(items, genres=genres), log, 0)


@pytest.mark.parametrize("filter_seen", [True, False])
def test_point_15_2_profiles_in_parts_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch, filter_seen: bool) -> None:
    """Profiles of all users at once took 3.8 GB with 4,200 listeners and 200,000 tags."""
    data = some_data()
    model = Content().fit(data, np.random.default_rng(0))
    block = data.block(0, N_USERS, filter_seen)
    every = np.tile(np.arange(N_ITEMS, dtype=np.int32), N_USERS)
    bounds = np.arange(N_USERS + 1, dtype=np.int64) * N_ITEMS
    candidates = Lists(bounds, every, np.zeros(len(every), np.float32))
    sizes: list[int] = []
    profiles = kernels.profiles

    def measured(*arguments: Any) -> Float32s:
        made: Float32s = profiles(*arguments)
        sizes.append(made.nbytes)
        return made

    monkeypatch.setattr(kernels, "profiles", measured)
    whole, scores = model.recommend(block, 9), model.score(block, candidates)
    assert sizes == [N_USERS * N_TAGS * 4] * 2
    sizes.clear()
    budget = 33 * N_TAGS * 4  # two groups of sixteen, and some
    monkeypatch.setattr(content, "BUDGET", budget)
    parts, again = model.recommend(block, 9), model.score(block, candidates)
    assert sizes == [size * N_TAGS * 4 for size in (32, 32, 6)] * 2
    assert max(sizes) <= budget
    for one, other in zip((*vars(whole).values(), scores), (*vars(parts).values(), again), strict=True):
        assert one.tobytes() == other.tobytes()
    assert (scores > 0).any()
    assert len(model.recommend(data.block(0, 0, filter_seen), 9)) == 0
