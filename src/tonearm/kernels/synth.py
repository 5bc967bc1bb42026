"""Kernels that make listeners listen: a seeded walk through one year for every listener of a block."""

import math
from typing import NamedTuple

import numpy as np

from tonearm.kernels.machine.jit import jit
from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.types import AnyArray, Float64s, Int32s, Int64s

_SESSION = 0.5  # chance that a listen stays with the favourite of the one before it
_DRIFTING = 0.4  # share of favourites whose weight differs between January and December
_FAVOURITE_ARTISTS = 3  # in each favourite scene
_REACH = 6  # tries by taste, then as many among the popular items, before any free item is taken


class World(NamedTuple):
    """What all listeners listen in.

    test_day: the first day of the test; days: (n_days + 1,) cumulative volume
    period_of_day: (n_days,); cumulative: (n_periods + 1, n_items + 1), running sums of item weights in each period, the
        last row for the whole year
    scene_start, artist_start: offsets into the items, which are sorted by scene, then artist
    scene_of, artist_of, release: (n_items,), release in days
    shares: (3,) mean chances of a mainstream listen, of a favourite artist within a scene, of a repeat
    """

    test_day: int
    days: Float64s
    period_of_day: Int64s
    cumulative: Float64s
    scene_start: Int64s
    artist_start: Int64s
    scene_of: Int32s
    artist_of: Int32s
    release: Int32s
    shares: Float64s


@jit
def next_random(state: AnyArray) -> float:
    """Advance a one-cell uint64 state and return a float in [0, 1). Source: Steele et al. 2014, SplitMix64."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@jit
def pick(cumulative: Float64s, low: int, high: int, u: float) -> int:
    """Draw an index of [low, high) with chances cumulative[i + 1] - cumulative[i], from u in [0, 1).

    Zero-weight indices are never drawn; where the whole range weighs nothing, the draw is uniform.
    """
    first = cumulative[low]
    mass = cumulative[high] - first
    if mass <= 0.0:
        return low + int(u * (high - low))
    target = first + u * mass
    left, right = low, high
    while right - left > 1:
        middle = (left + right) // 2
        if cumulative[middle] <= target:
            left = middle
        else:
            right = middle
    return left


@jit
def _add(table: Int32s, item: int) -> bool:
    """Put an item into an open-addressing set (-1 marks a free slot); False if it was there already."""
    mask = table.size - 1
    slot = (item * 2654435761) & mask
    while table[slot] >= 0:
        if table[slot] == item:
            return False
        slot = (slot + 1) & mask
    table[slot] = item
    return True


@jit
def _listen_one(
    state: AnyArray,
    plays: int,
    test_plays: int,
    first_day: int,
    last_day: int,
    world: World,
    items_out: Int32s,
    seconds_out: Int32s,
) -> None:
    # on which days
    n_items = world.release.size
    n_days = world.period_of_day.size
    n_periods = world.cumulative.shape[0] - 1
    on_day = np.zeros(n_days, np.int64)
    for play in range(plays):
        if play < test_plays:
            day = pick(world.days, world.test_day, n_days, next_random(state))
        else:
            day = pick(world.days, first_day, last_day + 1, next_random(state))
        on_day[day] += 1

    # Tastes. A heavy listener has more favourites, or would run out of tracks to hear.
    n_favourites = min(40, 2 + int(math.log2(1.0 + plays / 8.0)) + plays // 500)
    scene = np.empty(n_favourites, np.int64)
    artist = np.empty((n_favourites, _FAVOURITE_ARTISTS), np.int64)
    early = np.empty(n_favourites)
    late = np.empty(n_favourites)
    weight = np.empty(n_favourites + 1)
    for f in range(n_favourites):
        item = pick(world.cumulative[n_periods], 0, n_items, next_random(state))
        scene[f] = world.scene_of[item]
        artist[f, 0] = world.artist_of[item]
        low, high = world.scene_start[scene[f]], world.scene_start[scene[f] + 1]
        for a in range(1, _FAVOURITE_ARTISTS):
            artist[f, a] = world.artist_of[pick(world.cumulative[n_periods], low, high, next_random(state))]
        early[f] = -math.log(1.0 - next_random(state))
        late[f] = early[f]
        if next_random(state) < _DRIFTING:
            late[f] = -math.log(1.0 - next_random(state))
    mainstream = 2.0 * world.shares[0] * next_random(state)
    loyalty = 2.0 * world.shares[1] * next_random(state)
    repeats = 2.0 * world.shares[2] * next_random(state)

    # day by day, tracks by the tastes of the season, each once unless repeated
    size = 4
    while size < 2 * plays:
        size *= 2
    heard = np.full(size, -1, np.int32)
    done = 0
    favourite = 0
    for day in range(n_days):
        if on_day[day] == 0:
            continue
        by_period = world.cumulative[world.period_of_day[day]]
        season = day / n_days
        weight[0] = 0.0
        for f in range(n_favourites):
            weight[f + 1] = weight[f] + (1.0 - season) * early[f] + season * late[f]
        for nth in range(on_day[day]):
            seconds_out[done] = day * 86400 + int(86400.0 * (nth + next_random(state)) / on_day[day])
            if done > 0 and next_random(state) < repeats:
                back = next_random(state)
                items_out[done] = items_out[int(done * (1.0 - back * back))]
                done += 1
                continue
            if nth == 0 or next_random(state) > _SESSION:
                favourite = pick(weight, 0, n_favourites, next_random(state))
            item = -1
            for attempt in range(2 * _REACH):
                low, high = 0, n_items
                if attempt < _REACH and next_random(state) >= mainstream:
                    low, high = world.scene_start[scene[favourite]], world.scene_start[scene[favourite] + 1]
                    if next_random(state) < loyalty:
                        u = next_random(state)
                        one = artist[favourite, int(u * u * _FAVOURITE_ARTISTS)]
                        low, high = world.artist_start[one], world.artist_start[one + 1]
                item = pick(by_period, low, high, next_random(state))
                if world.release[item] <= day and _add(heard, item):
                    break
                item = -1
            if item < 0:
                item = int(next_random(state) * n_items)
                while world.release[item] > day or not _add(heard, item):
                    item = (item + 1) % n_items
            items_out[done] = item
            done += 1


@jit_parallel
def listen(
    seed: int,
    users: Int64s,
    plays: Int32s,
    test_plays: Int32s,
    first_day: Int32s,
    last_day: Int32s,
    world: World,
    offsets: Int64s,
    items_out: Int32s,
    seconds_out: Int32s,
) -> None:
    """Fill in the listens of a block of users, each in order of time, each from a random stream of its own.

    A listener has favourite scenes (groups of artists) drawn by popularity, artists within them, weights that
    drift over the year, and a leaning towards what everybody hears. Because favourites are drawn in proportion
    to popularity, the expected listens of an item follow its weight. No item is drawn before its release, and
    none twice but as a repeat.

    users, plays, test_plays, first_day, last_day: (b,); plays counts all listens, test_plays those from the test's
        first day on, the others fall in first_day..last_day
    offsets: (b + 1,) into items_out and seconds_out, which count from the first day
    """
    for b in prange(users.size):
        state = np.empty(1, np.uint64)
        state[0] = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(users[b])
        next_random(state)
        # Streams of neighbouring users would be shifted copies of one another without this second scramble.
        state[0] = np.uint64(next_random(state) * 9007199254740992.0) ^ (np.uint64(users[b]) << np.uint64(20))
        low, high = offsets[b], offsets[b + 1]
        _listen_one(
            state,
            plays[b],
            test_plays[b],
            first_day[b],
            last_day[b],
            world,
            items_out[low:high],
            seconds_out[low:high],
        )
