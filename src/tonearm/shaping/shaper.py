"""Lists that obey the rules."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tonearm.data.catalogue import Tags
from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.kernels.nearest.topk import unit_vectors
from tonearm.kernels.shape import Rules, diversify, take
from tonearm.sources.base import SimilarItems, Source
from tonearm.types import Bools, Float32s, Float64s, Int32s, Int64s

HARD = ("blocked", "allowed", "available", "only")
"""Rules on which items may be shown at all: whatever makes lists searches among those that they let pass."""

RULES = (*HARD, "versions", "per_artist", "per_album", "diversity", "fresh", "explore")
"""Every rule by the name that metrics and reports give it, in the order they are told."""


@dataclass(frozen=True)
class Shaped:
    """Lists under the rules.

    lists: NaN is the score of what no candidate list held
    place: (n_entries,) int64 of each entry in the ranked lists, −1 where it is in none
    relaxed: (b,) int64 entries of each list, the last ones, that stand above a limit
    """

    lists: Lists
    place: Int64s
    relaxed: Int64s


@dataclass(frozen=True)
class Shaper:
    """The rules by item, ready for any block of users.

    masks: rule -> (n_items,) bool, what it lets pass
    version: (n_items,) int32 as `Shape` groups them, or empty; unheard: further versions of heard items are left out
    artists, albums, per_artist, per_album: the limits, None where one is not set
    dial, genres, unit: how much entries shall differ, by these genres or these vectors
    kinds: (n_items, 2) bool, fresh and little played items; shares: (2,) float64 of the list
    popular: (n_played,) int32, what lists are filled with
    notes: what could not be done, in words
    """

    n_items: int
    masks: dict[str, Bools]
    version: Int32s
    unheard: bool
    artists: Tags | None
    albums: Tags | None
    per_artist: int
    per_album: int
    dial: float
    genres: Tags | None
    unit: Float32s
    kinds: Bools
    shares: Float64s
    popular: Int32s
    notes: tuple[str, ...]

    @cached_property
    def rules(self) -> tuple[str, ...]:
        """The rules that are set, of `RULES`."""
        on = {
            **dict.fromkeys(self.masks, True),
            "versions": len(self.version) > 0,
            "per_artist": self.artists is not None,
            "per_album": self.albums is not None,
            "diversity": self.dial > 0,
            "fresh": self.shares[0] > 0,
            "explore": self.shares[1] > 0,
        }
        return tuple(rule for rule in RULES if on.get(rule))

    @cached_property
    def allowed(self) -> Bools | None:
        """(n_items,) bool, what all hard rules let pass; None where there is none."""
        return np.logical_and.reduce(list(self.masks.values())) if self.masks else None

    def broken(self, item: int) -> list[str]:
        """The hard rules that an item does not pass."""
        return [name for name, mask in self.masks.items() if not mask[item]]

    def alone(self, rule: str) -> "Shaper":
        """The same with one rule only."""
        return replace(
            self,
            masks={name: mask for name, mask in self.masks.items() if name == rule},
            version=self.version if rule == "versions" else self.version[:0],
            artists=self.artists if rule == "per_artist" else None,
            albums=self.albums if rule == "per_album" else None,
            dial=self.dial if rule == "diversity" else 0.0,
            shares=self.shares * np.array([rule == "fresh", rule == "explore"]),
        )

    def knowing(self, sources: Sequence[Source]) -> "Shaper":
        """The same with the vectors that the dial goes by where it does not go by genres."""
        if self.dial == 0 or self.genres is not None:
            return self
        als = next(source for source in sources if isinstance(source, SimilarItems))
        return replace(self, unit=unit_vectors(als.item_factors))

    def shape(self, block: Block, ranked: Lists, k: int) -> Shaped:
        """The k first entries of each ranked list that the rules let pass, or k others where it has too few.

        ranked: all candidates of each user of the block, best first, nothing that `block.seen` holds
        """
        nobody = np.zeros(len(block) + 1, np.int64), np.empty(0, np.int32)
        heard = (block.pairs.indptr, block.pairs.item) if self.unheard and len(self.version) else nobody
        # spreads the users over the pool of little played items, so that they do not all get the same ones
        turn = block.users.astype(np.int64) * 2654435761 % 2**32
        order, own = ranked, np.arange(len(ranked.item))
        if self.dial > 0:
            longest = int(np.diff(ranked.indptr).max(initial=0))
            no = np.empty(0, np.int32)
            rules = self._rules._replace(popular=no, shares=np.zeros(2), relax=False)
            indptr, item, own, _ = take(ranked.indptr, ranked.item, longest, rules, *nobody, *heard, turn)
            genres = (self.genres.indptr, self.genres.index) if self.genres is not None else nobody
            moved = diversify(indptr, item, ranked.score[own], k, self.dial, *genres, self.unit)
            own = own[moved]
            order = Lists(indptr, item[moved], ranked.score[own])
        indptr, item, place, relaxed = take(order.indptr, order.item, k, self._rules, *block.seen, *heard, turn)
        inside = place >= 0
        score = np.full(len(item), np.nan, np.float32)
        score[inside] = order.score[place[inside]]
        place[inside] = own[place[inside]]
        return Shaped(Lists(indptr, item, score), place, relaxed)

    @cached_property
    def _rules(self) -> Rules:
        allowed = np.ones(self.n_items, np.bool_) if self.allowed is None else self.allowed
        popular = self.popular[allowed[self.popular]]
        pools = [popular[self.kinds[popular, kind]] for kind in range(2)]
        nothing = np.zeros(1, np.int64), np.empty(0, np.int32)
        artist = nothing if self.artists is None else (self.artists.indptr, self.artists.index)
        album = nothing if self.albums is None else (self.albums.indptr, self.albums.index)
        return Rules(
            allowed,
            self.version if len(self.version) else np.full(self.n_items, -1, np.int32),
            *artist,
            0 if self.artists is None else self.per_artist,
            *album,
            0 if self.albums is None else self.per_album,
            self.kinds,
            self.shares,
            popular,
            np.cumsum([0, *map(len, pools)]).astype(np.int64),
            np.concatenate(pools),
            True,
        )
