"""What every candidate source is: a recipe of options, and the model that it makes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar, overload, runtime_checkable

import numpy as np

from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.kernels.nearest.topk import ItemIndex
from tonearm.sources.left_out import LeftOut
from tonearm.sources.ranges import Space
from tonearm.terminal.progress import Progress, no_progress
from tonearm.types import AnyArray, Bools, Float32s, Float64s, Int32s

if TYPE_CHECKING:
    from tonearm.loading.tables import Tabular
    from tonearm.sources.alone import Alone, Matrix

S = TypeVar("S")
F = TypeVar("F")


class Source(Protocol):
    """A fitted source: lists of its own, and a score for any candidate."""

    @property
    def name(self) -> str:
        """The source's name, as in `<name>_score`."""
        ...

    def recommend(self, block: Block, k: int) -> Lists:
        """At most k items for each user of a block, best first, ties by ascending item index.

        Only items with an event in the fitted data; what the user has heard is left out where `block.filter_seen`.
        A user of whom the source knows nothing gets an empty row. Every other such item of positive score has its
        place in an endless list.
        """
        ...

    def score(self, block: Block, candidates: Lists) -> Float32s:
        """The source's score of each candidate, (n_candidates,) float32; NaN where it has none.

        candidates: a row of items for each user of the block; their own scores are ignored. For an item that
        `recommend` returns, the score is the one it returned.
        """
        ...

    def among(self, allowed: Bools) -> Self:
        """The same source whose lists hold these items alone, as far as they go; scores and what is saved are its own.

        allowed: (n_items,) bool
        """
        ...

    def contributions(self, block: Block, item: int) -> Float64s | None:
        """What each entry of the one history in the block adds to its user's score of an item, (n_pairs,) float64.

        They sum to the score, or near it where the source says so; None where history plays no part in the score.
        """
        ...

    def save(self) -> dict[str, AnyArray]:
        """Everything the model is made of, as arrays for an npz file."""
        ...

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The model that `save` took apart."""
        ...


@dataclass(frozen=True, kw_only=True)
class ArrayModel:
    """A fitted source that is arrays, numbers and names: fields without a default are what is saved.

    allowed: (n_items,) bool, which items lists hold; None for all
    """

    allowed: Bools | None = None

    def among(self, allowed: Bools) -> Self:
        """As `Source.among`."""
        return replace(self, allowed=allowed)

    def save(self) -> dict[str, AnyArray]:
        """As `Source.save`."""
        return {f.name: np.asarray(getattr(self, f.name)) for f in fields(self) if f.default is MISSING}

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """As `Source.load`."""
        saved = {f.name: arrays[f.name] for f in fields(cls) if f.default is MISSING}
        return cls(**{name: array if array.ndim else array.item() for name, array in saved.items()})


@dataclass(frozen=True, kw_only=True)
class VectorModel(ArrayModel):
    """A fitted source that searches vectors of items."""

    @property
    @abstractmethod
    def index(self) -> ItemIndex:
        """The vectors made ready for the search, which takes as much memory as they do; made once."""

    def searching(self, index: ItemIndex) -> None:
        """Take an index that was made before, of these vectors among the same items."""
        vars(self)["index"] = index


class ForLastBlock(Generic[F]):
    """What was found for a block is kept until the next one, as lists and scores both need it."""

    def __init__(self) -> None:
        self._last: tuple[Block, F] | None = None

    def of(self, block: Block, find: Callable[[Block], F]) -> F:
        """What `find` tells of the block, asked once."""
        last = self._last
        if last is None or last[0] is not block:
            last = self._last = block, find(block)
        return last[1]


@runtime_checkable
class Resumable(Protocol):
    """A source that another fit of its recipe may go on from."""

    def beginning(self) -> Source:
        """What that needs of it and no more: neither lists nor scores."""
        ...


@runtime_checkable
class Joint(Protocol):
    """A source that searches and scores in one pass, together with others of its kind."""

    def search_with(self, others: Sequence[Self], block: Block, k: int, wanted: Lists) -> tuple[list[Lists], Float32s]:
        """The lists of this source and of each other, and what all of them say of the lists' and the wanted items.

        wanted: items to score besides those of the lists, distinct in a row; their own scores are ignored
        Returns the lists of each source, and every source's score, (n, n_sources), of the distinct items of all of
        these and the wanted ones, ascending in each row; 0 for a wanted item that a source's lists cannot hold.
        """
        ...


@runtime_checkable
class SimilarItems(Protocol):
    """A source with vectors of items, the most alike of which it can tell.

    trust: (n_items,) float32, 0 to 1, what the cosine to each item is multiplied by; scores are then the cosine times
        those of both items. None leaves the cosine as it is
    """

    @property
    def item_factors(self) -> Float32s:
        """The vectors, (n_items, d) float32."""
        ...

    @property
    def unit(self) -> Float32s:
        """The vectors at length one, (n_items, d) float32."""
        ...

    @property
    def known_items(self) -> Bools:
        """The items with an event in the fitted data, (n_items,) bool."""
        ...

    @property
    def listed(self) -> Bools:
        """The items that lists may hold, (n_items,) bool."""
        ...

    def similar(self, items: Int32s, k: int, trust: Float32s | None = None) -> Lists:
        """The k items most alike to each of some, never itself."""
        ...

    def similar_to_all(self, k: int, progress: Progress = no_progress, trust: Float32s | None = None) -> Lists:
        """The same for each known item; a row for each item, empty for the others."""
        ...

    def similar_approximate(
        self, k: int, rng: np.random.Generator, progress: Progress = no_progress, trust: Float32s | None = None
    ) -> tuple[Lists, float]:
        """Nearly the same for very many items, and the share of the exact entries that is found."""
        ...


class Near(NamedTuple):
    """Items near one, best first.

    about: what their scores are
    """

    about: str
    items: AnyArray
    scores: AnyArray


@runtime_checkable
class Neighbouring(Protocol):
    """A model whose saved arrays tell which items are near one, without the model being made of them."""

    @classmethod
    def neighbours(cls, arrays: Mapping[str, AnyArray], item: int, k: int) -> Near:
        """The k nearest to an item; none where the model says nothing of it. `arrays` may still be on the disk."""
        ...


ADDED = "what one play of this track adds to the score of"
"""What the scores of neighbours are where a model sums over a history."""


def unplayed_of(sources: Sequence[Source]) -> "Unplayed | None":
    """The source that lists items which nobody has played: that of the catalogue's vectors, else that of its genres."""
    able = {source.name: source for source in sources if isinstance(source, Unplayed)}
    return able.get("vectors", next(iter(able.values()), None))


class UnplayedLists(Protocol):
    """Lists of items that nobody has played."""

    def recommend_fresh(self, block: Block, k: int) -> Lists:
        """At most k of them for each user of a block, best first."""
        ...


@runtime_checkable
class Unplayed(Protocol):
    """A source that can tell something of items that nobody has played."""

    def of_unplayed(self, data: Dataset, allowed: Bools | None = None) -> UnplayedLists | None:
        """Lists of them; None where there is nothing to list."""
        ...


@runtime_checkable
class Learning(Protocol):
    """A source that learns step by step."""

    @property
    def losses(self) -> Float64s:
        """What it minimises, after each step."""
        ...


@runtime_checkable
class Partial(Protocol):
    """A source whose fit may leave something out."""

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What that was."""
        ...


M = TypeVar("M", bound=Source, covariant=True)

NOTHING: Mapping[str, Source] = MappingProxyType({})
"""No source fitted before."""


class Lack(NamedTuple):
    """Why data cannot carry a source, without a full stop, and what brings it back, as in `LeftOut`."""

    why: str
    option: str


class Given(NamedTuple):
    """What a source learns from.

    rng: its own, which no other source draws from
    fitted: sources fitted before it on the same data, by name, and what earlier models left as their `beginning`
    """

    data: Dataset
    rng: np.random.Generator
    progress: Progress
    fitted: Mapping[str, Source]

    def base(self, name: str, kind: type[S]) -> S | None:
        """A source fitted before, where there is one of that kind."""
        found = self.fitted.get(name)
        return found if isinstance(found, kind) else None


class Recipe(ABC, Generic[M]):
    """A source as it is entered in the registry: frozen options, whose defaults live here and nowhere else.

    name: as in `<name>_score`; title: as people call it
    always: whether it is in every run; repeats: whether it takes part only where heard items may come back
    optional: whether nothing is said where the data lack what it needs, as hardly any data have it
    ranges: what `tonearm tune` may change
    """

    name: ClassVar[str]
    title: ClassVar[str]
    always: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    optional: ClassVar[bool] = False
    ranges: ClassVar[Space] = {}

    @property
    def bases(self) -> dict[str, str]:
        """Sources without which this one cannot be, by the options that name them."""
        return {}

    def needs(self, data: Dataset) -> Lack | None:
        """What the data lack for this source; None where they can carry it."""
        del data
        return None

    @abstractmethod
    def learn(self, given: Given) -> M:
        """The model that the options make of a data set."""

    @overload
    def fit(
        self,
        log: Dataset,
        rng: np.random.Generator,
        progress: Progress = ...,
        fitted: Mapping[str, Source] = ...,
    ) -> M: ...

    @overload
    def fit(
        self, log: "Tabular | Matrix", *, items: "Tabular | None" = ..., seed: int = ..., filter_seen: bool = ...
    ) -> "Alone[M]": ...

    def fit(
        self,
        log: "Tabular | Matrix | Dataset",
        rng: np.random.Generator | None = None,
        progress: Progress = no_progress,
        fitted: Mapping[str, Source] = NOTHING,
        *,
        items: "Tabular | None" = None,
        seed: int = 0,
        filter_seen: bool = True,
    ) -> "M | Alone[M]":
        """Learn from a log of plays alone, without ranker and other sources; `recommend` of the result makes lists.

            tonearm.ALS(factors=64).fit(events).recommend(["ann", "bob"], k=20)

        log: a table of pandas, Polars, Arrow or DuckDB, a path, or a sparse matrix of users by items (how often each
            was played); of a `Dataset` with its `rng` the bare model is made, which works on blocks of users by index
        items: the catalogue, for sources that need genres and for those that learn from labels
        filter_seen: leave what a user has played out of their lists

        Raises:
            DataError: the log cannot be used, or lacks what the source needs.
        """
        if isinstance(log, Dataset) and rng is not None:
            return self.learn(Given(log, rng, progress, fitted))
        from tonearm.sources.alone import fit_alone

        return fit_alone(self, log, items, seed, filter_seen)
