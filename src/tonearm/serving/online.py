"""Lists that know what was played a minute ago.

They are joined from the offline list, from what is similar to the last tracks, and from the recommender's list of the
whole history, and finished under the rules of shaping. Everything works on a block of users, so that `tonearm replay`
measures what the service answers.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field

from tonearm.config import parse_setting
from tonearm.data.dataset import Block, Dataset
from tonearm.data.lists import Lists
from tonearm.data.log import Log
from tonearm.options import options
from tonearm.serving.version import Version
from tonearm.types import AnyArray, Bools, Float32s, Int32s, Int64s

Rule = Literal["offline", "near", "folded", "fused"]

SMOOTH = 60.0
"""Added to every rank in reciprocal rank fusion. Source: Cormack, Clarke, Büttcher 2009, section 2."""

TAIL = 1e-5
"""Weight of a list that only goes on where another one ends."""

DEEP = 200
"""Popular items that stand for the list of a user who has none."""

Weight = Annotated[float, Field(ge=0)]


@options
class Blend:
    """How an answer is made for a user who played something since the lists were made.

    rule: "folded" is the recommender's list of the whole history, and after it what only the offline list holds; "near"
        joins the offline list with what is similar to the last tracks; "fused" joins all three; "offline" leaves the
        list as it is but for what was played
    offline, near, folded: weight of each list where lists are joined, by reciprocal rank
    last: how many of the last tracks count for "near"
    decay: weight of a track beside the one played after it
    """

    rule: Rule = "folded"
    offline: Weight = 1.0
    near: Weight = 0.5
    folded: Weight = 1.0
    last: Annotated[int, Field(ge=1)] = 5
    decay: Annotated[float, Field(gt=0, le=1)] = 0.8


def blends(settings: Sequence[str]) -> dict[str, Blend]:
    """Blends by the words that set them, such as rule=near,near=0.5; every rule as it stands where there are none.

    Raises:
        ConfigError: an option is not known, or out of range.
    """
    made: dict[str, Blend] = {}
    for setting in settings or [f"rule={rule}" for rule in get_args(Rule) if rule != "offline"]:
        given: dict[str, Any] = {}
        for one in setting.split(","):
            given |= parse_setting(one, "--blend", "option=value, such as rule=near,near=0.5")
        made[setting.removeprefix("rule=")] = Blend(**given)
    return made


def answer(
    version: Version,
    block: Block,
    offline: Lists,
    last: Lists,
    k: int,
    blend: Blend,
    genre: int = 0,
    folded: Lists | None = None,
) -> Lists:
    """The list of each user of a block, exactly k entries while the catalogue allows, no track twice.

    block: users with all that they played, what is new included
    offline: their lists as they were published; last: the tracks played since, newest first
    genre: 0, or the genre that the list is to be of, as in `Version.genres`
    folded: the recommender's lists of the block, where they are made already
    """
    parts = [(blend.offline if blend.rule != "folded" else blend.offline * TAIL, offline)]
    if blend.rule in ("near", "fused"):
        parts.append((blend.near, near(version.similar, last.head(blend.last), blend.decay)))
    if blend.rule in ("folded", "fused") or genre:
        made = version.recommender(genre).lists(block).lists if folded is None else folded
        parts.append((blend.folded, made))
    return finish(version, block, parts[0][1] if len(parts) == 1 else fuse(parts), k, genre)


def near(similar: Lists, last: Lists, decay: float) -> Lists:
    """What is similar to each user's last tracks, by the sum of similarities, those of earlier tracks decayed."""
    n = np.diff(similar.indptr)[last.item]
    place = _spans(similar.indptr[last.item], n)
    weight = (decay ** (last.rank - 1)).astype(np.float32)
    score = np.repeat(weight, n) * similar.score[place]
    return summed(len(last), np.repeat(last.row, n), similar.item[place], score)


def fuse(parts: Sequence[tuple[float, Lists]]) -> Lists:
    """Lists joined by weighted reciprocal rank: an entry's score is the sum of weight / (60 + rank) over the lists.

    Source: Cormack, Clarke, Büttcher 2009, section 2
    """
    row, item = (np.concatenate([getattr(lists, name) for _, lists in parts]) for name in ("row", "item"))
    score = np.concatenate([weight / (SMOOTH + lists.rank) for weight, lists in parts]).astype(np.float32)
    return summed(len(parts[0][1]), row, item, score)


def summed(n: int, row: Int32s, item: Int32s, score: Float32s) -> Lists:
    """Lists of n rows from entries in any order; those of one item in a row are added up. Best first."""
    key, place = np.unique(row.astype(np.int64) << 32 | item, return_inverse=True)
    total = np.bincount(place, score, len(key)).astype(np.float32)
    order = np.lexsort((key, -total, key >> 32))
    indptr = np.concatenate(([0], np.bincount(key >> 32, minlength=n).cumsum())).astype(np.int64)
    return Lists(indptr, (key & 0xFFFFFFFF).astype(np.int32)[order], total[order])


def finish(version: Version, block: Block, ranked: Lists, k: int, genre: int = 0) -> Lists:
    """The first k of each ranked list that may be shown, filled with popular items; a filled entry has score NaN."""
    keep = ~_in_rows(ranked, *block.seen)
    if genre:
        keep &= of_genre(version, ranked.item, genre)
    lengths = np.bincount(ranked.row[keep], minlength=len(block))
    indptr = np.concatenate(([0], lengths.cumsum())).astype(np.int64)
    left = Lists(indptr, ranked.item[keep], ranked.score[keep])
    shaper = version.recommender(genre).shaper
    return _filled(version, block, left, k, genre) if shaper is None else shaper.shape(block, left, k).lists


def _filled(version: Version, block: Block, ranked: Lists, k: int, genre: int) -> Lists:
    """The first k, and where there are fewer, the popular items that are neither among them nor to be left out."""
    indptr, seen = block.seen
    items, scores = [], []
    for row in range(len(block)):
        span = slice(int(ranked.indptr[row]), min(int(ranked.indptr[row + 1]), int(ranked.indptr[row]) + k))
        item, score = ranked.item[span], ranked.score[span]
        if len(item) < k:
            out = np.concatenate((item, seen[indptr[row] : indptr[row + 1]]))
            popular = version.most_played(genre, k + len(out))[0]
            more = popular[~np.isin(popular, out)][: k - len(item)]
            item = np.concatenate((item, more))
            score = np.concatenate((score, np.full(len(more), np.nan, np.float32)))
        items.append(item)
        scores.append(score)
    ends = np.cumsum([0, *map(len, items)]).astype(np.int64)
    return Lists(ends, np.concatenate(items).astype(np.int32), np.concatenate(scores).astype(np.float32))


def _in_rows(lists: Lists, indptr: Int64s, item: Int32s) -> Bools:
    """Whether each entry is among the items of its row."""
    row = np.repeat(np.arange(len(indptr) - 1, dtype=np.int64), np.diff(indptr))
    return np.isin(lists.row.astype(np.int64) << 32 | lists.item, row << 32 | item)


def of_genre(version: Version, item: Int32s, genre: int) -> Bools:
    """Whether items are of a genre, as `Version.genres` counts them."""
    genres = version.data.catalogue.genres
    assert genres is not None
    return np.array(
        [genre - 1 in genres.index[genres.indptr[i] : genres.indptr[i + 1]] for i in item.tolist()], np.bool_
    )


def with_plays(data: Dataset, users: Int32s, plays: Sequence[Int32s], filter_seen: bool) -> Block:
    """Users with the events of a log and what they played since, all folded in who played something.

    Plays since count as made when the log ended, one a second.

    users: (b,) rows of the log; −1 for one whom it does not know; plays: items of each user, oldest first
    """
    log, news = data.log, np.concatenate([*plays, np.empty(0, np.int32)]).astype(np.int32)
    more = np.array([len(items) for items in plays], np.int64)
    known = np.maximum(users, 0)
    old = np.where(users >= 0, log.stop[known] - log.start[known], 0) if log.n_users else np.zeros(len(users), np.int64)
    stop = (old + more).cumsum()
    start = stop - old - more
    at_old, at_new = _spans(start, old), _spans(start + old, more)
    within = _spans(np.zeros(len(users), np.int64), more)
    place = _spans(log.start[known] if log.n_users else start, old)

    def joined(column: AnyArray, new: AnyArray) -> AnyArray:
        out = np.empty(int((old + more).sum()), column.dtype)
        out[at_old], out[at_new] = column[place], new
        return out

    item = joined(log.item, news)
    time = None if log.time is None else joined(log.time, data.now + within)
    weight = None if log.weight is None else joined(log.weight, np.ones(len(news)))
    own, now = Log(start, stop, item, time, weight, log.n_items), data.now + int(more.max(initial=0))
    against = data.against
    if against is not None:
        start, stop = (np.append(ends, 0)[users] for ends in (against.start, against.stop))
        against = replace(against, start=start, stop=stop)
    return Block.of(users, own, now, filter_seen, more > 0, against)


def _spans(first: Int64s, length: Int64s) -> Int64s:
    """The places first, first + 1, … of each of some spans, end to end."""
    begins = np.repeat(first - (length.cumsum() - length), length)
    return (begins + np.arange(len(begins))).astype(np.int64)
