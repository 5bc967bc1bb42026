"""The synthetic log: its promises (exact totals, same bytes, planted taste) and its kernels against slow twins."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.kernels.twins import SlowRandom, slow_listen

from tonearm import synth
from tonearm.errors import ConfigError, DataError, OutputError
from tonearm.kernels import synth as kernels
from tonearm.synth import prepare
from tonearm.synth.catalogue import genre_shares, period_of_day
from tonearm.synth.preset import N_DAYS, TEST_DAY

TINY = synth.PRESETS["tiny"]
TEST_FROM = pl.date(2022, 12, 16)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "tiny"
    synth.generate("tiny", out, seed=3)
    return out


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_tables_have_the_contracted_columns(tiny: Path) -> None:
    assert dict(pl.read_parquet_schema(tiny / "events.parquet")) == {
        "user_id": pl.Int32,
        "item_id": pl.Int32,
        "started_at": pl.Datetime("ms"),
    }
    names = pl.List(pl.String)
    assert dict(pl.read_parquet_schema(tiny / "items.parquet")) == {
        "item_id": pl.Int32,
        "name": pl.String,
        "genres": names,
        "artists": names,
        "albums": names,
    }


def test_totals_are_those_of_the_preset(tiny: Path) -> None:
    events, items = pl.read_parquet(tiny / "events.parquet"), pl.read_parquet(tiny / "items.parquet")
    late, early = events.filter(pl.col("started_at") >= TEST_FROM), events.filter(pl.col("started_at") < TEST_FROM)
    assert (events.height, items.height) == (6_000, 300)
    assert events["user_id"].n_unique() == 200
    assert late.height == 480
    assert late["user_id"].n_unique() == 110
    assert late.join(early, on="user_id", how="anti")["user_id"].n_unique() == 8
    assert events["user_id"].value_counts()["count"].max() == 140
    assert events["started_at"].dt.year().unique().to_list() == [2022]
    assert items["artists"].explode().n_unique() == 45
    assert items["albums"].explode().n_unique() == 90
    assert items["genres"].explode(empty_as_null=False).n_unique() == 12


def test_rows_are_in_order_and_items_known(tiny: Path) -> None:
    events, items = pl.read_parquet(tiny / "events.parquet"), pl.read_parquet(tiny / "items.parquet")
    assert events.equals(events.sort("user_id", "started_at", maintain_order=True))
    assert items["item_id"].is_sorted()
    assert items["item_id"].is_unique().all()
    assert events["item_id"].is_in(items["item_id"].implode()).all()
    repeated = 1.0 - events.select("user_id", "item_id").n_unique() / events.height
    assert 0.1 < repeated < 0.3


def test_the_log_has_what_real_ones_have(tiny: Path) -> None:
    events, items = pl.read_parquet(tiny / "events.parquet"), pl.read_parquet(tiny / "items.parquet")
    assert items["genres"].explode(empty_as_null=False).is_in(["podcasts"]).any()
    text = " ".join(items["name"].to_list() + items["artists"].explode().to_list())
    assert any("а" <= letter <= "я" for letter in text)
    assert any("\u0621" <= letter <= "\u064a" for letter in text)
    first_heard = events.group_by("item_id").agg(pl.col("started_at").min()).sort("item_id")
    days = first_heard["started_at"].dt.ordinal_day().to_numpy()
    assert np.median(days[-20:]) > np.median(days[:150]) + 60  # later ids are later releases
    monthly = events.group_by(pl.col("started_at").dt.month()).len().sort("started_at")["len"].to_list()
    assert monthly[10] > 2 * monthly[0]


def test_the_same_seed_gives_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    synth.generate(TINY, tmp_path / "again", seed=3)
    synth.generate(TINY, tmp_path / "other", seed=4)
    assert _digests(tiny) == _digests(tmp_path / "again")
    assert not set(_digests(tiny).values()) & set(_digests(tmp_path / "other").values())


def test_prepare_reads_the_raw_files_back_to_the_same_tables(tiny: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    synth.generate("tiny", raw, seed=3, raw=True)
    interactions = pl.read_parquet(raw / "interactions.parquet")
    assert interactions.columns == ["user_id", "track_id", "track_seq", "started_at", "__index_level_0__"]
    assert interactions["track_seq"].dtype == pl.Int16
    first = interactions.filter(pl.col("user_id") == interactions["user_id"][0])
    assert first["track_seq"].to_list() == list(range(1, first.height + 1))
    prepare.yandex(
        raw / "tracks.parquet", raw / "catalog_names.parquet", raw / "interactions.parquet", tmp_path / "out"
    )
    for name in ("events.parquet", "items.parquet"):
        assert pl.read_parquet(tmp_path / "out" / name).equals(pl.read_parquet(tiny / name)), name


def test_without_repeats_and_clock_each_pair_comes_once_with_a_day(tmp_path: Path) -> None:
    synth.generate(replace(TINY, repeats=0.0, clock=False, id_gap=1), tmp_path / "out")
    events = pl.read_parquet(tmp_path / "out" / "events.parquet")
    assert events["started_at"].dtype == pl.Date
    assert events.select("user_id", "item_id").is_unique().all()
    assert events["user_id"].unique().sort().to_list() == list(range(200))


def test_listeners_of_one_scene_share_tracks(tmp_path: Path) -> None:
    """What a listener hears next is heard by those who share their tracks more often than by others."""
    synth.generate(replace(TINY, users=400, events=12_000), tmp_path / "out", seed=1)
    events = pl.read_parquet(tmp_path / "out" / "events.parquet")
    users, user = np.unique(events["user_id"].to_numpy(), return_inverse=True)
    items, item = np.unique(events["item_id"].to_numpy(), return_inverse=True)
    late = events.select(pl.col("started_at") >= TEST_FROM)["started_at"].to_numpy()
    heard, truth = np.zeros((2, users.size, items.size))
    heard[user[~late], item[~late]] = 1.0
    truth[user[late], item[late]] = 1.0
    truth *= heard == 0
    plays = heard.sum(axis=0)
    together = heard.T @ heard / np.sqrt(np.outer(plays + 5, plays + 5))
    np.fill_diagonal(together, 0.0)
    hits = {}
    for name, score in (("popular", np.tile(plays, (users.size, 1))), ("together", heard @ together)):
        top = np.argsort(-np.where(heard > 0, -1.0, score), axis=1, kind="stable")[:, :10]
        hits[name] = np.take_along_axis(truth, top, axis=1).sum()
    assert hits["together"] > 1.2 * hits["popular"]


def test_target_that_exists_is_refused(tiny: Path) -> None:
    before = _digests(tiny)
    with pytest.raises(OutputError, match=r"tiny: exists already\. Choose another"):
        synth.generate("tiny", tiny)
    assert _digests(tiny) == before


def test_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synth, "items_table", full)
    with pytest.raises(OutputError, match="No space left"):
        synth.generate("tiny", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_bad_presets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no preset 'huge'\. Choose one of tiny, small, medium, yandex"):
        synth.generate("huge", tmp_path / "out")
    with pytest.raises(ConfigError, match="albums is 301, 1 to 300 are possible"):
        replace(TINY, albums=301)
    with pytest.raises(ConfigError, match=r"mean of 150\.0 plays a user"):
        replace(TINY, events=30_000)


def test_describe_puts_the_twin_beside_the_reference(tiny: Path, tmp_path: Path) -> None:
    table = synth.describe(tiny)
    twin = dict(zip(table["figure"], table["twin"], strict=True))
    assert table.columns == ["figure", "reference", "twin"]
    assert twin["tracks"] == 300
    assert twin["listens"] == 6_000
    assert twin["users on or after 2022-12-16"] == 110
    assert twin["of them cold"] == 8
    assert twin["listens before 2022-12-16"] == 5_520
    assert twin["catalogue names"] is None
    events = pl.read_parquet(tiny / "events.parquet")
    assert twin["listens that repeat a (user, track) pair"] == 6_000 - events.select("user_id", "item_id").n_unique()
    with pytest.raises(DataError, match=r"neither events\.parquet nor interactions\.parquet"):
        synth.describe(tmp_path)


def test_the_yandex_preset_has_the_published_totals() -> None:
    yandex = synth.PRESETS["yandex"]
    assert yandex.events - yandex.test_events == 208_600_000
    assert yandex.items + yandex.albums + yandex.artists + yandex.genres == 1_812_471


def test_genre_shares_start_as_published_and_fall() -> None:
    shares = genre_shares(137)
    np.testing.assert_allclose(shares[:5], [0.103, 0.080, 0.074, 0.071, 0.045])
    assert shares.sum() == pytest.approx(1.0)
    assert (np.diff(shares) < 0).all()


def test_the_last_period_starts_with_the_test() -> None:
    period = period_of_day()
    assert period.shape == (N_DAYS,)
    assert np.flatnonzero(period == 23)[0] == TEST_DAY
    assert period[[0, 14, 15, 31]].tolist() == [0, 0, 1, 2]


def test_the_listening_kernel_equals_its_readable_twin() -> None:
    rng = np.random.default_rng(5)
    scene_start, artist_start = np.array([0, 13, 50]), np.array([0, 4, 13, 14, 33, 50])
    release = np.where(rng.random(50) < 0.3, rng.integers(1, N_DAYS, 50), -9)
    sums = np.zeros((25, 51))
    sums[:, 1:] = np.cumsum(rng.pareto(1.0, (25, 50)) * (rng.random((25, 50)) < 0.9), axis=1)
    days = np.concatenate([[0.0], np.cumsum(rng.random(N_DAYS))])
    users, plays, test_plays = np.array([7, 8, 1_000_000_007]), np.array([30, 1, 24]), np.array([6, 1, 0])
    first_day, last_day = np.array([0, 9, 200]), np.array([348, 9, 260])
    shares = (0.2, 0.3, 0.1)
    offsets = np.concatenate([[0], np.cumsum(plays)])
    items, seconds = np.zeros((2, 55), np.int32)
    world = kernels.World(
        TEST_DAY,
        days,
        period_of_day(),
        sums,
        scene_start,
        artist_start,
        np.repeat([0, 1], [13, 37]).astype(np.int32),
        np.repeat(np.arange(5), np.diff(artist_start)).astype(np.int32),
        release.astype(np.int32),
        np.array(shares),
    )
    counts, tests = plays.astype(np.int32), test_plays.astype(np.int32)
    first, last = first_day.astype(np.int32), last_day.astype(np.int32)
    kernels.listen(11, users, counts, tests, first, last, world, offsets, items, seconds)
    for b, user in enumerate(users.tolist()):
        draw = SlowRandom((11 * 0xD1342543DE82EF95 + user) % 2**64)
        draw()
        draw.state = int(draw() * 2**53) ^ (user << 20)
        span = (int(first_day[b]), int(last_day[b]))
        slow = slow_listen(
            draw, int(plays[b]), int(test_plays[b]), span, days, sums, scene_start, artist_start, release, shares
        )
        part = slice(offsets[b], offsets[b + 1])
        assert list(zip(items[part].tolist(), seconds[part].tolist(), strict=True)) == slow


def test_pick_draws_in_proportion_and_never_a_weightless_index() -> None:
    cumulative = np.array([0.0, 1.0, 1.0, 4.0, 4.0])
    drawn = [kernels.pick(cumulative, 0, 4, u) for u in (0.0, 0.2499, 0.25, 0.9999)]
    assert drawn == [0, 0, 2, 2]
    assert [kernels.pick(cumulative, 3, 4, u) for u in (0.0, 0.9)] == [3, 3]
