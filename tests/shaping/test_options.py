"""What the options of [shape] mean for each item."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tonearm.config import load_config
from tonearm.data.dataset import Dataset
from tonearm.data.lists import Lists
from tonearm.errors import ConfigError, DataError
from tonearm.loading.load import load_all
from tonearm.shaping.options import SPOKEN, Shape
from tonearm.shaping.shaper import Shaper
from tonearm.shaping.titles import plain_titles
from tonearm.synth.words import SPOKEN as SYNTH_SPOKEN

ITEMS = {
    3: ("Song", ["pop"], ["A"], ["one"]),
    5: ("Song (2011 Remaster)", ["pop", "rock"], ["A"], ["two"]),
    7: ("Song - Live at Home", ["Rock"], ["B", "A"], ["three"]),
    9: ("Chapter 1", ["podcasts"], ["C"], ["four"]),
    11: ("Chapter 1", ["podcasts"], ["C"], ["five"]),
    13: ("Other", [], [], []),
    15: (None, ["jazz"], ["A"], ["one"]),
}


@pytest.fixture
def items(tmp_path: Path) -> str:
    rows = [(i, *facts) for i, facts in ITEMS.items()]
    columns = ["item_id", "name", "genres", "artists", "albums"]
    table = pl.DataFrame(rows, schema=columns, orient="row").with_columns(
        available_from=pl.Series([None, date(2021, 2, 1), date(2021, 1, 1), None, None, None, None]),
        available_until=pl.Series([datetime(2021, 1, 10), None, datetime(2021, 2, 1), *[None] * 4]),
    )
    table.write_parquet(tmp_path / "items.parquet")
    return str(tmp_path / "items.parquet")


@pytest.fixture
def data(items: str, tmp_path: Path) -> Dataset:
    """Item 3 is played three times, 5 to 13 once each from January 2nd on, 15 never; the last day is January 20th."""
    rows = [(1, 3, 1), (2, 3, 2), (3, 3, 3), (1, 5, 2), (1, 7, 4), (2, 9, 6), (3, 11, 10), (2, 13, 20)]
    events = pl.DataFrame(
        [(u, i, datetime(2021, 1, day)) for u, i, day in rows],
        schema=["user_id", "item_id", "started_at"],
        orient="row",
    )
    events.write_parquet(tmp_path / "events.parquet")
    return load_all(str(tmp_path / "events.parquet"), items).train


def fitted(data: Dataset, items: str | None = None, **options: object) -> Shaper:
    shaper = Shape(**options).fit(data, items)  # type: ignore[arg-type]
    assert shaper is not None
    return shaper


def passed(shaper: Shaper, rule: str) -> list[int]:
    """Ids of the items that a rule lets pass."""
    return [item for item, passes in zip(ITEMS, shaper.masks[rule], strict=True) if passes]


def test_without_a_rule_there_is_no_shaper(data: Dataset) -> None:
    assert Shape().fit(data) is None


def test_blocked_items_genres_and_artists(data: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "blocked.txt"
    file.write_text("15\n\n 99 \nx\n", encoding="utf-8")
    shaper = fitted(
        data,
        block_items=(3, "nobody", 15),
        block_genres=("ROCK", "polka"),
        block_artists=("c",),
        block_file=str(file),
    )
    assert shaper.rules == ("blocked",)
    assert passed(shaper, "blocked") == [13]
    assert shaper.notes == (
        "shape.block_items: 1 of 3 ids are unknown (first: nobody)",
        "shape.block_file: 2 of 3 ids are unknown (first: 99)",
        "shape.block_genres: 1 of 2 names are unknown (first: polka)",
        "shape: 1 of the 6 tracks with a play may be recommended",
    )
    with pytest.raises(ConfigError, match=r"shape: 0 of the 6 tracks .* under its rules \(blocked, only\)\. Loosen"):
        fitted(data, block_genres=("rock", "pop"), block_items=(13,), only="music")
    assert passed(fitted(data, block_genres=("rock",)), "blocked") == [3, 9, 11, 13, 15]
    assert passed(fitted(data, block_artists=("A",)), "blocked") == [9, 11, 13]
    pl.DataFrame({"track_id": [7, 11]}).write_parquet(tmp_path / "ids.parquet")
    assert passed(fitted(data, block_file=str(tmp_path / "ids.parquet")), "blocked") == [3, 5, 9, 13, 15]


def test_point_13_nothing_but_allowed_items(data: Dataset, tmp_path: Path) -> None:
    """A list of what may be shown, by ids or by a file, as there is one of what may not."""
    file = tmp_path / "allowed.txt"
    file.write_text("7\n99\n15\n", encoding="utf-8")
    shaper = fitted(data, allow_items=("3",), allow_file=str(file), block_items=(7,))
    assert shaper.rules == ("blocked", "allowed")
    assert passed(shaper, "allowed") == [3, 7, 15]
    assert shaper.allowed is not None
    assert [item for item, may in zip(ITEMS, shaper.allowed, strict=True) if may] == [3, 15]
    assert shaper.notes == (
        "shape.allow_file: 1 of 3 ids are unknown (first: 99)",
        "shape: 1 of the 6 tracks with a play may be recommended",
    )
    assert shaper.broken(int(data.catalogue.items.encode(pl.Series([7]))[0])) == ["blocked"]
    with pytest.raises(DataError, match=r"none\.txt: .* Check shape\.allow_file"):
        Shape(allow_file=str(tmp_path / "none.txt")).fit(data)


def test_a_file_that_is_not_there_is_an_error(data: Dataset, tmp_path: Path) -> None:
    for name in ("none.txt", "none.parquet"):
        with pytest.raises(DataError, match=name):
            Shape(block_file=str(tmp_path / name)).fit(data)
    with pytest.raises(DataError, match=r"none\.parquet"):
        Shape(availability=str(tmp_path / "none.parquet")).fit(data)


def test_items_are_available_from_a_moment_until_before_another(data: Dataset, items: str) -> None:
    every = [3, 5, 7, 9, 11, 13, 15]
    # the log of days ends with January 20th, so that the cut is the 21st
    assert passed(fitted(data, items, availability="items"), "available") == [7, 9, 11, 13, 15]
    for at, left_out in (("2021-01-09T23:59:59", [5]), ("2021-01-10", [3, 5]), ("2021-02-01", [3, 7])):
        shaper = fitted(data, items, availability="items", available_at=at)
        assert passed(shaper, "available") == [item for item in every if item not in left_out]


def test_availability_from_a_file_of_its_own(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "windows.parquet"
    # two windows of one item, of which one will do; an unknown item
    rows = {
        "item_id": ["3", "3", "5", "77"],
        "available_until": [date(2020, 1, 1), date(2022, 1, 1), date(2020, 1, 1), None],
    }
    pl.DataFrame(rows).write_parquet(path)
    shaper = fitted(data, availability=str(path))
    assert passed(shaper, "available") == [3, 7, 9, 11, 13, 15]
    assert shaper.notes[0] == "shape.availability: 1 of 4 ids are unknown (first: 77)"
    pl.DataFrame({"item_id": [3]}).write_parquet(path)
    with pytest.raises(DataError, match="neither available_from nor available_until"):
        Shape(availability=str(path)).fit(data)
    pl.DataFrame({"item_id": [3], "available_from": ["soon"]}).write_parquet(path)
    with pytest.raises(DataError, match="available_from that is not a date such as"):
        Shape(availability=str(path)).fit(data)
    with pytest.raises(ConfigError, match="needs a catalogue"):
        Shape(availability="items").fit(data, None)


def test_spoken_and_music(data: Dataset) -> None:
    assert passed(fitted(data, only="music"), "only") == [3, 5, 7, 13, 15]
    assert passed(fitted(data, only="spoken"), "only") == [9, 11]
    assert passed(fitted(data, only="spoken", spoken_genres=("pop",)), "only") == [3, 5]
    with pytest.raises(ConfigError, match=r"no item has one of the 1 shape\.spoken_genres"):
        Shape(only="music", spoken_genres=("opera",)).fit(data)
    assert set(SPOKEN) >= SYNTH_SPOKEN


def test_versions_share_a_title_and_the_first_artist_and_are_music(data: Dataset) -> None:
    shaper = fitted(data, versions="one")
    assert shaper.version.tolist() == [0, 0, -1, -1, -1, -1, -1]
    assert not shaper.unheard
    assert fitted(data, versions="unheard").unheard
    # without the word, the remaster is a track of its own
    assert (fitted(data, versions="one", version_words=("live",)).version == -1).all()


@pytest.mark.parametrize(
    ("title", "plain"),
    [
        ("Song [Deluxe Edition]", "song"),
        ("SONG (feat. B) - Radio Edit", "song"),
        ("Song ft. B", "song"),
        ("Снег (Концертная запись)", "снег"),
        ("Live and Let Die", "live and let die"),
        ("Song (Part 2)", "song part 2"),
        ("(Live)", "(live)"),
        ("Re-Live", "re live"),
    ],
)
def test_plain_titles(title: str, plain: str) -> None:
    assert plain_titles(pl.Series([title, None])).to_list() == [plain, None]


def test_fresh_and_little_played_items(data: Dataset) -> None:
    shaper = fitted(data, fresh_share=0.2, fresh_days=15, explore_share=0.3, explore_plays=1)
    assert shaper.rules == ("fresh", "explore")
    kinds = {item: row.tolist() for item, row in zip(ITEMS, shaper.kinds, strict=True)}
    # from January 6th on, as the cut is the 21st; an item without plays is neither
    assert [item for item, (fresh, _) in kinds.items() if fresh] == [9, 11, 13]
    assert [item for item, (_, rare) in kinds.items() if rare] == [5, 7, 9, 11, 13]
    with pytest.raises(ConfigError, match="add up to more than the list"):
        load_config(overrides=["shape.fresh_share=0.7", "shape.explore_share=0.4"])


def test_what_the_data_lack_is_said_or_refused(data: Dataset, tmp_path: Path) -> None:
    pl.DataFrame({"user_id": [1, 1, 2], "item_id": [3, 5, 3]}).write_parquet(tmp_path / "bare.parquet")
    bare = load_all(str(tmp_path / "bare.parquet"), None).train
    shaper = fitted(bare, per_artist=1, per_album=1, versions="one", fresh_share=0.1, diversity=0.5)
    assert shaper.rules == ("diversity",)
    assert [note.split(":")[0] for note in shaper.notes] == [
        "shape.per_artist changes nothing",
        "shape.per_album changes nothing",
        'shape.versions = "one" changes nothing',
        "shape.fresh_share changes nothing",
        "shape.diversity goes by ALS factors",
    ]
    for options in ({"only": "music"}, {"block_genres": ("pop",)}, {"block_artists": ("A",)}, {"availability": "x"}):
        with pytest.raises(ConfigError):
            fitted(bare, **options)
    assert data.log.time is not None


def test_from_python(data: Dataset) -> None:
    """Items 3, 5 (a version of 3), 7, 9 and 11 for a user who heard nothing of them; 13 is by nobody."""
    shaper = fitted(data, versions="one", per_artist=1)
    block = data.block(2, 3, False)  # user 3
    order = data.catalogue.items.encode(pl.Series([5, 3, 9, 7, 11]))
    ranked = Lists(np.array([0, 5]), order, np.array([5, 4, 3, 2, 1], np.float32))
    shaped = shaper.shape(block, ranked, 4)
    assert data.catalogue.items.decode(shaped.lists.item).to_list() == [5, 9, 13, 7]
    assert shaped.place.tolist() == [0, 2, -1, 3]
    assert shaped.relaxed.tolist() == [1]
    assert np.isnan(shaped.lists.score).tolist() == [False, False, True, False]
