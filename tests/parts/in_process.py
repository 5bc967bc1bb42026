"""Parts of the users in this process: what a cluster does, without one, and in another order of sums."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tonearm.loading.load import Loaded, Test
from tonearm.parts.shard import Shard
from tonearm.parts.work import Arrays, InFile, add_to, pack, unpack, working_in
from tonearm.terminal.progress import Progress, no_progress
from tonearm.types import AnyArray


@dataclass
class InProcess:
    """Shards in a list; whatever would travel is pickled, so that what cannot travel fails here as well."""

    shards: list[Shard]
    folder: Path
    run: str = "here"
    progress: Progress = no_progress
    tasks: int = 2

    def _do(self, task: Any) -> Any:
        task = pickle.loads(pickle.dumps(task))
        with working_in(self.folder):
            for shard in self.shards:
                yield shard, task(Shard.of(shard.place, unpack(pack(shard.arrays()))))

    def total(self, task: Callable[[Shard], Arrays], size: int = 0) -> Arrays:
        """As `Parts.total`."""
        del size
        sums: Arrays = {}
        for _, made in self._do(task):
            add_to(sums, {name: np.atleast_1d(array) for name, array in made.items()})
        return sums

    def gather(self, task: Callable[[Shard], Arrays]) -> list[tuple[int, Arrays]]:
        """As `Parts.gather`."""
        return [(shard.place, made) for shard, made in self._do(task)]

    def grouped(
        self,
        task: Callable[[Shard], Iterator[tuple[int, Arrays]]],
        more: Sequence[tuple[int, Arrays]],
        join: Callable[[int, list[Arrays]], Arrays],
    ) -> list[Arrays]:
        """As `Parts.grouped`."""
        groups: dict[int, list[Arrays]] = {}
        for _, made in self._do(task):
            for place, arrays in made:
                groups.setdefault(place, []).append(arrays)
        for place, arrays in more:
            groups.setdefault(place, []).append(arrays)
        return [join(place, groups[place]) for place in sorted(groups)]

    def share(self, value: AnyArray | tuple[AnyArray, ...]) -> InFile:
        """As `Parts.share`."""
        return InFile.of(self.folder, value)


def in_shards(loaded: Loaded, n: int) -> list[Shard]:
    """A log cut into n parts of its users, the cold ones all in the last."""
    train, test = loaded.train, loaded.measured_by
    cuts = np.linspace(0, train.n_users, n + 1).astype(int).tolist()
    return [_shard(place, train, test, *ends) for place, ends in enumerate(pairwise(cuts))]


def _shard(place: int, train: Any, test: Test, lo: int, hi: int) -> Shard:
    last = hi == train.n_users
    cold = test.cold if last else test.cold.rows(0, 0)
    ids = test.cold_users if last else test.cold_users.clear()
    return Shard(place, train.users.ids[lo:hi], train.log.rows(lo, hi), test.log.rows(lo, hi), ids, cold, 0)
