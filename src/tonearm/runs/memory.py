"""How much memory a run takes at its peak, told before it starts, and the size of blocks that keeps it within a budget.

The bytes of each source and stage were read off runs from 5,520 to 208.6 M events; benchmarks/memory.py holds what is
predicted against what was measured.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tonearm.config import Config
from tonearm.data.dataset import Dataset
from tonearm.errors import ConfigError
from tonearm.loading.load import Loaded
from tonearm.ranking.training import WHOLE
from tonearm.sources.ease import EASE, LISTENER
from tonearm.sources.item_item import ItemItem

MB = 1 << 20

SHARE = 0.7
"""Of what the machine or its container has, the part that a run may take unless it is told otherwise."""

BASE = 480 * MB
"""Python, the packages, the kernels."""

MARGIN = 1.05
"""By how much more is reckoned with than is expected."""

BATCH = 350 * MB
"""What a batch of rows takes while it is read, at most."""

READ, PLACED = 80, 17
"""Bytes of an event in a batch, and while it is put in its place."""

EVENT, PAIR, ITEM = 8, 12, 150
"""Bytes of an event and of a pair in memory, and of an item with its name and labels."""

OTHERS = 30
"""Features of a candidate that are not of a source, at most."""

CANDIDATE = 140
"""Bytes of a user in a block for each item that is taken from each source."""

SKEW = 0.57
"""Of the pairs of items that random histories would hold, the part that real ones do."""

SMALLEST, USUAL = 64, 4096
"""Users of the smallest block that is tried, and of the largest where lists are written."""

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True)
class Plan:
    """What a run is expected to take.

    budget, predicted: bytes; stage: in which the peak is; block: users handled at a time
    """

    budget: int
    predicted: int
    stage: str
    block: int

    @property
    def words(self) -> str:
        """For the terminal."""
        return (
            f"Memory: {shown(self.predicted)} predicted ({self.stage}), {shown(self.budget)} allowed; blocks of "
            f"{self.block:,} users."
        )

    def as_dict(self) -> dict[str, Any]:
        """For the manifest, in MB."""
        return {
            "budget_mb": round(self.budget / MB, 1),
            "predicted_mb": round(self.predicted / MB, 1),
            "stage": self.stage,
            "block": self.block,
        }


def budget_of(text: str | None) -> int:
    """Bytes that a run may take: `8G`, `500M`, or, of None, the usual share of what there is.

    Raises:
        ConfigError: it is no such size.
    """
    if text is None:
        return int(SHARE * available())
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * UNITS[found[2].upper()]) if found else 0
    if size == 0:
        raise ConfigError(f"--memory {text}: is no size. Write it as 8G or 500M.")
    return size


def available() -> int:
    """Bytes of memory that the machine, or the container that this runs in, has."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no container, or one without a limit
            sizes.append(int(Path(limit).read_text(encoding="ascii")))
    return min(sizes)


def plan(loaded: Loaded, config: Config, budget: int) -> Plan:
    """The largest blocks, up to those of the options, with which a run stays within a budget.

    Raises:
        ConfigError: no blocks are small enough; the message says which budget would do.
    """
    block = config.block
    while True:
        peaks = predicted(loaded, config, block)
        stage = max(peaks, key=lambda name: peaks[name])
        if peaks[stage] <= budget:
            return Plan(budget, peaks[stage], stage, block)
        if block <= SMALLEST or peaks[stage] == predicted(loaded, config, SMALLEST)[stage]:
            least = max(predicted(loaded, config, SMALLEST).values())
            raise ConfigError(
                f"memory: {shown(budget)} are allowed, and this run takes {shown(least)} with the smallest blocks "
                f"({stage}). Pass --memory {-(-least // (100 * MB)) * 100}M where there is as much, look at some "
                "listeners by --sample, or leave out sources."
            )
        block = max(SMALLEST, min(block, USUAL) // 2)


def predicted(loaded: Loaded, config: Config, block: int) -> dict[str, int]:
    """Bytes at the peak of the stages that may take most."""
    train, test = loaded.train, loaded.test
    events = train.log.n_events + (0 if test is None else test.log.n_events + test.cold.n_events)
    held = EVENT * events + ITEM * train.n_items
    works, models = _fits(train, config)
    users = min(config.ranker.users, train.n_users)
    candidates = min(5 * config.search.depth, train.n_items)
    n_sources = len(models)
    width = 4 * (len(config.ranker.features) or 2 * n_sources + OTHERS)
    table = width * (min(WHOLE, users) * candidates + users * (config.ranker.negatives + 5))
    lists = CANDIDATE * n_sources * config.search.depth * min(block, USUAL, train.n_users)
    peaks = {
        "load": BASE + min(BATCH, READ * events) + PLACED * events,
        "fit": BASE + held + table + max(works),
        "lists": BASE + held + table + sum(models) + lists,
    }
    return {stage: int(MARGIN * size) for stage, size in peaks.items()}


def _fits(train: Dataset, config: Config) -> tuple[list[int], list[int]]:
    """Bytes while each source is fitted, those fitted before it included; and bytes of each while lists are made."""
    recipes = config.recipes()
    works: list[int] = [0]
    models: list[int] = []
    kept = PAIR * int(train.listeners.sum())
    for name, work, model, more in _costs(train, config):
        if name in recipes and recipes[name].needs(train) is None:
            works.append(kept + sum(models) + work)
            models.append(model + more)
    return works, models


def _costs(train: Dataset, config: Config) -> Iterator[tuple[str, int, int, int]]:
    """Of each source its name, bytes while it is fitted, bytes of its model, and of what making lists adds."""
    pairs, users, items = int(train.listeners.sum()), train.n_users, train.n_items
    listeners = np.sort(train.listeners)[::-1]
    known = int((listeners > 0).sum())
    lengths = (train.log.stop - train.log.start).astype(np.float64)
    squares = float(lengths @ lengths)
    als = 4 * config.als.factors * (users + items)
    yield "als", 25 * pairs + als + 2 * config.als.factors * items, als, 4 * config.als.factors * items
    yield "popular", 0, 8 * items, 0
    yield "content", 64 * items, 64 * items, 0
    entries = _item_item(config.item_item, known, pairs, squares)
    yield "item_item", 8 * pairs + 20 * entries, 8 * entries, 0
    yield from _ease(config.ease, listeners, known)
    factors = max(
        1, min(config.spectral.factors, min(users, known) // 16, int(config.spectral.entries) // max(1, items))
    )
    vectors = 8 * factors * items
    share = min(1.0, config.spectral.max_pairs / max(1, pairs))
    yield "spectral", int(12 * share * pairs + 12 * factors * (share * users + items)), vectors, vectors
    yield "user_knn", 16 * pairs, 16 * pairs, 0
    for name in ("recent", "trend", "again"):
        yield name, 0, 16 * items, 0


def _item_item(recipe: ItemItem, known: int, pairs: int, squares: float) -> int:
    """Similarities that are kept: those that histories hold, as far as options bound them."""
    cells = float(known) ** 2
    distinct = SKEW * cells * (1 - np.exp(-min(squares, recipe.fit_work) / max(cells, 1)))
    return int(min(distinct, recipe.entries, known * max(20, 0.35 * recipe.work / max(pairs, 1))))


def _ease(recipe: EASE, listeners: Any, known: int) -> Iterator[tuple[str, int, int, int]]:
    total, n = int(listeners.sum()), min(recipe.items, known)
    top = int(listeners[:n].sum())
    if LISTENER * recipe.neighbours * total <= recipe.fit_work and top < recipe.coverage * total:
        entries = recipe.neighbours * known
        yield "ease", 12 * total + 24 * entries, 8 * entries, 0
    else:
        kept = int(min(n, max(20, recipe.work / max(top, 1))))
        yield "ease", 40 * n * n, 8 * n * kept, 0


def shown(size: int) -> str:
    """Bytes in words."""
    return f"{size / (1 << 30):.1f} GB" if size >= 1 << 30 else f"{size / MB:,.0f} MB"
