"""Why a listener gets a track, or why not: facts of the log, the sources' and the ranker's shares, and one sentence."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.data.times import to_moment
from tonearm.errors import DataError
from tonearm.explanation.facts import Facts, gather_facts
from tonearm.explanation.parts import Ranking, SourcePart, near, ranking, source_parts
from tonearm.explanation.sentence import because
from tonearm.ranking.candidates import place_in, proposing
from tonearm.ranking.recommender import Recommender
from tonearm.runs.read import Id, as_id, title, unknown
from tonearm.runs.restore import Restored, restore
from tonearm.sources.base import unplayed_of
from tonearm.terminal.words import counted

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Explanation:
    """Everything that put a track into a listener's final list, or kept it out.

    until: the cut; nothing at or after it is known here; None in a log without time
    names: words for the track and for those of the history, by id
    rank, k: its place in the final list (the popular list for a cold user), and the length of the list
    because: why it is in the list; why_not: why it is not; one of the two is None
    facts: None for a cold user, and for a track that train does not know
    sources: empty in the same cases
    ranking: None where it is no candidate
    """

    user: Id
    item: Id
    until: str | None
    names: dict[Id, str]
    rank: int | None
    k: int
    because: str | None
    why_not: str | None
    facts: Facts | None = None
    sources: tuple[SourcePart, ...] = ()
    ranking: Ranking | None = None


def explain(user: Id, item: Id, run: Path | str | Restored) -> Explanation:
    """Why a listener of a finished run gets a track, or why not.

    user, item: ids, or what a person types for them
    run: the run's folder, whose histories and models are loaded; or what `restore` made of it, to explain many

    Raises:
        DataError: neither train nor test know the user, or the item; or as `restore`.
    """
    restored = run if isinstance(run, Restored) else restore(run)
    data = restored.data
    u, i = data.users.place(user), data.catalogue.items.place(item)
    who = _cold(restored, user) if u is None else data.users.ids[u]
    what = _new(restored, item) if i is None else data.catalogue.items.ids[i]
    shaper = restored.recommender.shaper
    played = i is not None and bool(data.plays[i] > 0)
    broken = shaper.broken(i) if i is not None and shaper is not None else []
    k = restored.config.output.k
    until = to_moment(data.now).isoformat() if data.log.time is not None else None
    names = {what: str(what)} if i is None else _names(restored, [i])
    if u is None:
        popular = data.popular_of(None if shaper is None else shaper.allowed)
        k, places = min(restored.config.output.top_popular, len(popular)), np.flatnonzero(popular == i)
        place = int(places[0]) + 1 if len(places) else None
        given, why_not = _words_for_cold(place, k, played, broken)
        return Explanation(who, what, until, names, None if given is None else place, k, given, why_not)
    if i is None or not played:
        words = "It is not in the catalogue, and nobody played it before the cut."
        if i is not None:
            words = "Nobody played it before the cut, and no source proposes what nobody has played."
            fresh = _fresh_rank(restored, restored.block(u), i)
            words += (
                "" if fresh is None else f" Of the tracks without plays it is number {fresh} for them, by its genres."
            )
            words += f" {_barred(broken)}" if broken else ""
        return Explanation(who, what, until, names, None, k, None, words)
    block = restored.block(u)
    names |= _names(restored, block.pairs.item.tolist())
    ranked = restored.recommender.ranked(block)
    facts = gather_facts(data, block, i)
    sources = source_parts(data, restored.recommender, block, ranked.own, i)
    placed = ranking(restored.recommender.ranker, ranked, i)
    rank = place_in(restored.lists(block).lists, i)
    given, why_not = None, None
    if rank is not None:
        given = because(facts, names.__getitem__, near(sources), data.log.weight is None)
    else:
        why_not = _barred(broken) if broken else _why_not(restored, facts, sources, placed)
    return Explanation(who, what, until, names, rank, k, given, why_not, facts, sources, placed)


def reasons(restored: Restored, recommender: Recommender, block: Block, lists: Lists) -> pl.Series:
    """One sentence for each entry of the lists of a block, why its user gets it."""
    data, said = restored.data, []
    for row in range(len(block)):
        items, one = lists.item[lists.indptr[row] : lists.indptr[row + 1]], block.row(row)
        if len(one.pairs.item) == 0:
            said += ["You are new, so you get the popular list."] * len(items)
            continue
        own = recommender.ranked(one).own
        names = _names(restored, one.pairs.item.tolist())
        for item in items.tolist():
            facts, parts = gather_facts(data, one, item), source_parts(data, recommender, one, own, item)
            said.append(because(facts, names.__getitem__, near(parts), data.log.weight is None))
    return pl.Series(said, dtype=pl.String)


def _names(restored: Restored, items: list[int]) -> dict[Id, str]:
    catalogue = restored.data.catalogue
    index = pl.Series(items, dtype=pl.Int32).to_numpy()
    ids = catalogue.items.decode(index).to_list()
    about = catalogue.describe(index).select("name", "artists").to_dicts()
    return {item: title(item, facts) for item, facts in zip(ids, about, strict=True)}


def _fresh_rank(restored: Restored, block: Block, item: int) -> int | None:
    """The place of an item that nobody played in a listener's list of such; None where it is not there."""
    shaper, k = restored.recommender.shaper, restored.config.output.fresh
    source = unplayed_of(restored.recommender.fitted)
    allowed = None if shaper is None else shaper.allowed
    lists = None if source is None else source.of_unplayed(restored.data, allowed)
    return None if lists is None or k == 0 else place_in(lists.recommend_fresh(block, k), item)


def _cold(restored: Restored, user: Id) -> Id:
    """The id of a user whom only test knows."""
    test = restored.test
    typed = None if test is None else as_id(user, test.cold_users.dtype)
    if test is not None and typed is not None and typed in test.cold_users:
        return typed
    raise DataError(unknown("user", user, restored.data.users))


def _new(restored: Restored, item: Id) -> Id:
    """The id of an item that only test knows."""
    test = restored.test
    typed = None if test is None else as_id(item, test.new_items.dtype)
    if test is not None and typed is not None and typed in test.new_items:
        return typed
    raise DataError(unknown("item", item, restored.data.catalogue.items))


def _barred(broken: list[str]) -> str:
    """The hard rules that an item does not pass."""
    return f"The rules of shaping let no list hold it ({', '.join(broken)})."


def _words_for_cold(place: int | None, k: int, played: bool, broken: list[str]) -> tuple[str | None, str | None]:
    start = "You are new, with nothing played before the cut, so you get the popular list"
    if place is None:
        return None, f"{start}. {_barred(broken)}" if played else f"{start}; nobody had played this track."
    if place <= k:
        return f"{start}; this is number {place:,} in it.", None
    return None, f"{start}, which ends at {k:,}; this track would be number {place:,}."


def _why_not(restored: Restored, facts: Facts, sources: tuple[SourcePart, ...], placed: Ranking | None) -> str:
    config = restored.config
    if facts.heard > 0 and config.filter_seen:
        last = f", last on {facts.heard_last}" if facts.heard_last is not None else ""
        return f"Already heard ({counted(facts.heard, 'play')}{last}), and filter_seen leaves out what was heard."
    if placed is None:
        names = proposing([part.name for part in sources], config.proposers)
        ranks = [f"{part.name} {part.rank:,}" for part in sources if part.rank is not None and part.name in names]
        never = [part.name for part in sources if part.rank is None and part.name in names]
        words = f"No source proposes it among its first {max(config.candidates, config.output.k):,}. "
        words += f"Its ranks, were the lists longer: {', '.join(ranks)}." if ranks else "No list of any length has it."
        return words + (f" No list of any length in {', '.join(never)}." if ranks and never else "")
    if placed.place > config.output.k:
        return (
            f"The ranker puts it at place {placed.place:,} of {counted(placed.of, 'candidate')}, and the list ends at "
            f"{config.output.k:,}."
        )
    return f"The ranker puts it at place {placed.place:,}, and shaping the list afterwards left it out."
