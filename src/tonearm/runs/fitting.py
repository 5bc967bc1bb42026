"""Whether the arrays of a run fit together: kernels trust them, and would read beyond those that do not."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.errors import DataError
from tonearm.sources.base import Source
from tonearm.types import AnyArray, Bools, Int64s


class Fit(NamedTuple):
    """What an array of a source must be.

    kind: of its type, as NumPy has it; rows: how many it has, of users, items, or another array
    below: its values are whole numbers from 0 on below this; None where they may be any
    over: it says where each row begins and ends in another array; None where it is no such thing
    """

    kind: str
    rows: str
    below: str | None = None
    over: str | None = None


ARRAYS: Mapping[str, Fit] = {
    "user_factors": Fit("f", "users"),
    "item_factors": Fit("f", "items"),
    "known_users": Fit("b", "users"),
    "known_items": Fit("b", "items"),
    "order": Fit("i", "order", below="items"),
    "value": Fit("f", "items"),
    "source": Fit("f", "items"),
    "target": Fit("f", "items"),
    "played": Fit("b", "items"),
    "rarity": Fit("f", "items"),
    "targets": Fit("i", "targets", below="items"),
    "scale": Fit("f", "targets"),
    "place": Fit("i", "weight", below="targets"),
    "weight": Fit("f", "place"),
    "index": Fit("i", "index", below="labels"),
    "alike_user": Fit("i", "alike_value", below="users"),
    "alike_value": Fit("f", "alike_user"),
    "alike_indptr": Fit("i", "items", over="alike_user"),
    "heard_place": Fit("i", "heard_value", below="targets"),
    "heard_value": Fit("f", "heard_place"),
    "heard_indptr": Fit("i", "users", over="heard_place"),
}
"""The arrays that sources save, by name; `indptr` is over `place` or `index`, whichever is there."""

ALIKE = (("user_factors", "item_factors"), ("source", "target"))
"""Arrays of vectors that are multiplied with one another."""


def check_log(where: str, log: Log, n_users: int) -> None:
    """Raises DataError where the events of a log are not those of its users and items."""
    lengths = {len(array) for array in (log.item, log.time, log.weight) if array is not None}
    fits = len(log.start) == n_users and len(lengths) == 1 and log.item.ndim == 1
    bounds = np.append(log.start, log.stop[-1:] if n_users else 0)
    if not fits or not _bounds(bounds, len(log.item)) or not _below(log.item, log.n_items):
        raise _unfit(where)


def check_sources(where: str, data: Dataset, sources: Sequence[Source], masks: Mapping[str, Bools]) -> None:
    """Raises DataError where the arrays of a source do not fit together, or are of other users and items."""
    counts = (data.events, data.listeners, data.plays, data.plays_now)
    if any(count.shape != (data.n_items,) for count in counts):
        raise _unfit(f"{where}: what was counted of its items")
    for tags in (data.catalogue.genres, data.catalogue.artists, data.catalogue.albums):
        if tags is not None and not (
            len(tags.indptr) == data.n_items + 1
            and _bounds(tags.indptr, len(tags.index))
            and _below(tags.index, len(tags.labels))
        ):
            raise _unfit(f"{where}: the catalogue")
    for source in sources:
        arrays = source.save()
        folded = len(arrays.get("user_factors", counts[0])) == 0  # users are folded in, so that none is held
        sizes = {"users": 0 if folded else data.n_users, "items": data.n_items}
        sizes |= {name: len(array) for name, array in arrays.items() if array.ndim}
        if not all(_fits(name, array, sizes) for name, array in arrays.items()) or any(
            one in arrays and arrays[one].shape[1:] != arrays[other].shape[1:] for one, other in ALIKE
        ):
            raise _unfit(f"{where}: the model of {source.name}")
    if any(mask.shape != (data.n_items,) or mask.dtype != np.bool_ for mask in masks.values()):
        raise _unfit(f"{where}: what the rules of shape let pass")


def _fits(name: str, array: AnyArray, sizes: Mapping[str, int]) -> bool:
    if name == "indptr":
        over = "place" if "place" in sizes else "index"
        fit: Fit | None = Fit("i", "items", over=over)
    else:
        fit = ARRAYS.get(name)
    if fit is None:
        return True
    wide = 2 if name in {one for pair in ALIKE for one in pair} else 1
    if array.dtype.kind != fit.kind or array.ndim != wide:
        return False
    if fit.over is not None:
        return len(array) == sizes[fit.rows] + 1 and _bounds(array, sizes[fit.over])
    return len(array) == sizes[fit.rows] and (fit.below is None or _below(array, sizes[fit.below]))


def _bounds(indptr: Int64s, n: int) -> bool:
    """Whether it rises from 0 to n."""
    return len(indptr) > 0 and indptr[0] == 0 and indptr[-1] == n and bool((np.diff(indptr) >= 0).all())


def _below(index: AnyArray, n: int) -> bool:
    return len(index) == 0 or (index.dtype.kind == "i" and index.min() >= 0 and index.max() < n)


def _unfit(where: str) -> DataError:
    return DataError(f"{where} does not fit the log of the run. Make the run anew.")
