"""The sentence on constructed histories: the strongest fact that is true, and never one that is not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tonearm.data.catalogue import Catalogue, Tags
from tonearm.data.dataset import Dataset
from tonearm.data.log import Log
from tonearm.data.times import DAY
from tonearm.data.vocabulary import Vocabulary
from tonearm.explanation.facts import Facts, Fellow, Shared, gather_facts
from tonearm.explanation.sentence import because

NOW = 100 * DAY
ARTISTS = ["Nirvana"] * 16 + ["Melvins"] * 2 + ["Abba"] * 6
GENRES = [["grunge"]] * 17 + [["metal", "grunge"]] + [["pop"]] * 6
NAMES: dict[int | str, str] = {i: f"track {i}" for i in range(24)}


def tags(rows: Sequence[list[str]]) -> Tags:
    flat = pl.Series([label for row in rows for label in row])
    labels = Vocabulary.of(flat)
    return Tags(np.cumsum([0, *map(len, rows)]).astype(np.int64), labels.encode(flat), labels)


def data_of(*histories: list[tuple[int, int]], artists: bool = True, timed: bool = True) -> Dataset:
    """Each user's (item, day before the cut); 24 items, 16 by Nirvana, two by the Melvins, six by Abba."""
    rows = [sorted(row, key=lambda event: -event[1]) for row in histories]
    stop = np.cumsum([len(row) for row in rows]).astype(np.int64)
    item = np.array([i for row in rows for i, _ in row], np.int32)
    time = np.array([NOW - days * DAY for row in rows for _, days in row], np.int32)
    log = Log(np.concatenate(([0], stop[:-1])).astype(np.int64), stop, item, time if timed else None, None, 24)
    known = tags([[name] for name in ARTISTS]) if artists else None
    catalogue = Catalogue(Vocabulary(pl.Series(range(24))), genres=tags(GENRES), artists=known)
    return Dataset(Vocabulary(pl.Series(range(len(rows)))), catalogue, log, NOW if timed else 0)


def facts_of(data: Dataset, item: int) -> Facts:
    return gather_facts(data, data.block(0, 1, True), item)


def say(data: Dataset, item: int, near: Sequence[int] = ()) -> str:
    return because(facts_of(data, item), NAMES.__getitem__, near)


FOURTEEN = [(i, 20 if i < 9 else 60) for i in range(14)]


@pytest.mark.parametrize(
    ("recent", "words"),
    [
        (14, ", all of them in the last 30 days."),
        (9, ", most of them in the last 30 days."),
        (8, ", most of them in the last 30 days."),
        (7, "."),  # half is not most
        (0, "."),
    ],
)
def test_tracks_of_the_same_artist(recent: int, words: str) -> None:
    history = [(i, 30 if i < recent else 31) for i in range(14)]
    assert say(data_of(history, [(14, 1)]), 14) == f"Because you played 14 tracks by Nirvana{words}"


def test_a_log_without_time_says_nothing_of_time() -> None:
    assert say(data_of(FOURTEEN, [(14, 1)], timed=False), 14) == "Because you played 14 tracks by Nirvana."


def test_repeats_are_not_tracks() -> None:
    history = [(0, 50), (0, 49), (0, 48), (1, 47)]
    facts = facts_of(data_of(history, [(14, 1)]), 14)
    assert facts.shared[0] == Shared("artist", "Nirvana", 2, 4.0, 0)
    assert say(data_of(history, [(14, 1)]), 14) == "Because you played 2 tracks by Nirvana."


def test_a_track_that_was_played_speaks_for_itself_and_not_for_its_artist() -> None:
    data = data_of([(3, 9), (3, 4), (18, 50)], [(3, 1)])
    facts = facts_of(data, 3)
    assert (facts.heard, facts.heard_last, facts.tracks, facts.shared) == (2.0, "2000-04-06", 1, ())
    assert facts.listeners == 1  # the other one, not oneself
    assert say(data, 3) == "Because you played it 2 times, last on 2000-04-06."
    weighted = because(facts, NAMES.__getitem__, [], whole_plays=False)
    assert weighted == "Because you played it, last on 2000-04-06."


def crowd(both: int, only: int, rest: int) -> list[list[tuple[int, int]]]:
    """Listeners of 20 and 2, of 20 alone, and of 23 alone."""
    return [*[[(20, 70), (2, 70)]] * both, *[[(20, 70)]] * only, *[[(23, 70)]] * rest]


def test_neighbours_are_named_with_their_listeners_in_common() -> None:
    data = data_of([(2, 80), (16, 80), (9, 80)], *crowd(3, 2, 10), [(16, 1), (20, 1)])
    facts = facts_of(data, 20)
    assert facts.listeners == 6
    assert [(fellow.item, fellow.both) for fellow in facts.fellows] == [(2, 3), (16, 1)]
    assert facts.fellows[0].expected == pytest.approx(6 * 3 / 16)
    said = "Because you played track 2, as did 3 of the 6 others who played this."
    assert say(data, 20, [9, 16, 2]) == said


def test_two_neighbours_in_the_order_of_the_sources() -> None:
    facts = Facts(0, None, 3, 3, (), 9, (Fellow(5, 4, 1.0), Fellow(7, 3, 1.0), Fellow(8, 2, 0.5)), 500, None)
    said = because(facts, NAMES.__getitem__, [7, 8, 5])
    assert said == "Because you played track 7 and track 8, as did 3 and 2 of the 9 others who played this."


def test_neighbours_by_chance_are_not_named() -> None:
    data = data_of([(2, 80), (18, 80)], *crowd(2, 0, 0), *[[(2, 70)]] * 6)
    facts = facts_of(data, 20)
    assert facts.fellows == (Fellow(2, 2, 2.0),)
    # one more listener of both than chance gives would have been worth a word
    assert say(data, 20, [2]) == "Because you played 1 track by Abba."
    more = data_of([(2, 80), (18, 80)], *crowd(2, 0, 1), *[[(2, 70)]] * 5)
    assert say(more, 20, [2]) == "Because you played track 2, as did 2 of the 2 others who played this."


def test_a_genre_needs_a_quarter_of_the_history() -> None:
    grunge, pop = [(0, 80), (1, 80), (2, 80)], [(i, 80) for i in range(18, 23)]
    data = data_of([*grunge, *pop], artists=False)
    assert say(data, 17) == "Because 3 of the 8 tracks you played are grunge, as this is."
    longer = Facts(0, None, 13, 13, (Shared("genre", "grunge", 3, 3, 0),), 0, (), None, None)
    assert say_of(longer) == "Because you played 3 tracks of grunge, which this is too."


def say_of(facts: Facts) -> str:
    return because(facts, NAMES.__getitem__, [])


def test_weaker_facts_in_their_order() -> None:
    one = Shared("artist", "Melvins", 1, 1, 1)
    genre = Shared("genre", "metal", 1, 1, 0)
    facts = Facts(0, None, 9, 9, (one, genre), 12, (Fellow(4, 1, 0.1),), 7, 3)
    assert say_of(facts) == "Because you played 1 track by Melvins in the last 30 days."
    facts = replace(facts, shared=(genre,))
    assert say_of(facts) == "Because it is number 3 among the most played tracks of the last 7 days."
    facts = replace(facts, place_now=None)
    assert say_of(facts) == "Because it is number 7 among the most played tracks."
    facts = replace(facts, place=101)
    assert say_of(facts) == "Because you played track 4, as did 1 of the 12 others who played this."
    facts = replace(facts, fellows=())
    assert say_of(facts) == "Because you played 1 track of metal, which this is too."
    facts = replace(facts, shared=())
    assert say_of(facts) == "Because 12 other listeners played it; your history and theirs share no track."


def test_places_count_ties_as_one_place() -> None:
    data = data_of([(18, 90)], [(0, 3), (1, 3), (1, 40)], [(0, 2), (5, 10), (5, 11), (5, 12)])
    assert [facts_of(data, item).place for item in (5, 0, 1, 18, 9)] == [1, 2, 2, 4, None]
    assert [facts_of(data, item).place_now for item in (5, 0, 1, 18, 9)] == [None, 1, 2, None, None]


def test_an_album_where_the_artist_is_unknown() -> None:
    album = Shared("album", "Bleach", 3, 5, 3)
    assert say_of(Facts(0, None, 9, 9, (album,), 1, (), 9, 9)) == (
        "Because you played 3 tracks of the album Bleach, all of them in the last 30 days."
    )
