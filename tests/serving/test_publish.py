"""Versions of a store: published, refused, brought back, and never half there."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.quick import Log, run_quick, vouched_for
from tests.serving.conftest import ranked

from tonearm.errors import ConfigError, DataError, OutputError, Refused
from tonearm.runs import directory
from tonearm.runs.restore import restore
from tonearm.serving import publish as publishing
from tonearm.serving.gate import Gate
from tonearm.serving.ids import IdTable, fingerprint
from tonearm.serving.publish import current, current_id, publish, rollback, versions
from tonearm.sources.base import VectorModel

Altered = Callable[..., Path]
Lists = Callable[[pl.DataFrame], pl.DataFrame]


def _half_the_users(table: pl.DataFrame) -> pl.DataFrame:
    users = table["user_id"].unique().sort()
    return table.filter(pl.col("user_id").is_in(users.gather_every(2).implode()))


def _shuffled_ids(table: pl.DataFrame) -> pl.DataFrame:
    users = table["user_id"].unique().sort()
    other = pl.DataFrame({"user_id": users, "other": users.sample(fraction=1, shuffle=True, seed=3)})
    mixed = table.join(other, on="user_id").with_columns(user_id="other").drop("other")
    return mixed.sort("user_id", "rank", maintain_order=True)


def _popular_only(table: pl.DataFrame) -> pl.DataFrame:
    top = table.group_by("item_id").len().sort("len", "item_id", descending=[True, False]).head(20)["item_id"]
    user = table.group_by("user_id", maintain_order=True).first()
    return ranked(user.drop("item_id").with_columns(item_id=top.implode().first()).explode("item_id")).select(
        table.columns
    )


def _emptied(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("user_id") % 5 > 0)


@pytest.mark.parametrize(
    ("lists", "days", "what"),
    [
        (_half_the_users, 1, "min_users"),
        (_shuffled_ids, 1, "min_own"),
        (lambda table: table, 0, "newer"),
        (_popular_only, 1, "max_alike"),
        (_emptied, 1, "min_listed"),
    ],
    ids=["half the users gone", "shuffled ids", "yesterday's log", "popular only", "empty lists"],
)
def test_a_bad_run_is_refused_with_its_figures(
    store: Path, altered: Altered, lists: Lists, days: int, what: str
) -> None:
    served = current_id(store)
    with pytest.raises(Refused, match=f"REFUSED {what}"):
        publish(altered("bad", lists, days), store)
    assert current_id(store) == served
    assert len(versions(store)) == 1
    last = json.loads((store / "history.jsonl").read_text().splitlines()[-1])
    assert last["what"] == "refused"
    assert what in [check["name"] for check in last["checks"] if not check["passed"]]


@pytest.mark.parametrize("seed", range(20))
def test_a_good_run_passes(store: Path, altered: Altered, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def another_day(table: pl.DataFrame) -> pl.DataFrame:
        noise = pl.Series(rng.exponential(float(rng.uniform(1, 10)), len(table)))
        moved = table.with_columns(order=pl.col("rank") + noise).sort("user_id", "order").drop("order")
        kept = moved.filter(pl.Series(rng.random(len(moved)) > 0.05))
        return ranked(kept)

    made = publish(altered("good", another_day, int(rng.integers(1, 9))), store)
    assert not made.forced
    assert current_id(store) == made.id


@pytest.mark.parametrize(("of_all", "of_final", "passes"), [(0.3, 1.0, True), (1.0, 0.7, False), (3.0, 0.7, False)])
def test_a_worse_model_is_refused_and_a_harder_night_is_not(
    store: Path, altered: Altered, of_all: float, of_final: float, passes: bool
) -> None:
    """A good night was refused whose plays were harder to foresee, for the popular list too."""
    run = altered("next")
    metrics = directory.read_json(run / "metrics.json")
    focus = f"ndcg@{metrics['focus']}"
    for name, figures in metrics["lists"].items():
        figures[focus] *= of_all * (of_final if name == metrics["final"] else 1.0)
    directory.write_json(run / "metrics.json", metrics)
    vouched_for(run)
    if passes:
        assert publish(run, store).id == current_id(store)
    else:
        with pytest.raises(Refused, match="REFUSED min_metric"):
            publish(run, store)


def test_force_publishes_and_says_so(store: Path, altered: Altered) -> None:
    made = publish(altered("bad", _half_the_users), store, force=True)
    assert made.forced
    assert versions(store)["forced"].to_list() == [True, False]
    assert json.loads((store / "history.jsonl").read_text().splitlines()[-1])["what"] == "forced"


def test_the_gate_is_as_loose_as_its_options(store: Path, altered: Altered) -> None:
    loose = Gate(min_users=0.4, min_listed=0.4, min_overlap=0.0, min_own=0.0)
    assert not publish(altered("half", _half_the_users), store, loose).forced
    with pytest.raises(ConfigError, match="Did you mean 'min_users'"):
        Gate(min_user=0.5)  # type: ignore[call-arg]


def test_served_lists_are_those_of_the_run(store: Path, tiny_run: Path) -> None:
    version = current(store)
    assert version is not None
    lists = pl.read_parquet(tiny_run / "recommendations.parquet")
    similar = pl.read_parquet(tiny_run / "similar.parquet")
    for (user,), table in lists.group_by("user_id"):
        item, score = version.listed(version.users.place(str(user)))
        assert [version.items.id(row) for row in item.tolist()] == table.sort("rank")["item_id"].to_list()
        assert score.tolist() == table.sort("rank")["score"].to_list()
    for (one,), table in similar.group_by("item_id_1"):
        item, _ = version.alike(version.items.place(str(one)))
        assert [version.items.id(row) for row in item.tolist()] == table.sort("rank")["item_id_2"].to_list()
    top = pl.read_parquet(tiny_run / "top_popular.parquet")
    item, plays = version.most_played(0, len(top))
    assert [version.items.id(row) for row in item.tolist()] == top["item_id"].to_list()
    assert plays.tolist() == top["plays"].to_list()
    assert [version.name(row) for row in item.tolist()] == top["name"].to_list()
    genre, row = next(iter(version.genres.items()))
    of_genre = top.filter(pl.col("genres").list.contains(genre))["item_id"].to_list()
    found = [version.items.id(row) for row in version.most_played(row)[0].tolist()]
    assert found[: len(of_genre)] == of_genre


@pytest.mark.parametrize("rules", [(), ('shape.block_genres=["pop"]',)])
def test_searches_are_made_by_publish_and_mapped(rules: tuple[str, ...], tiny_log: Log, tmp_path: Path) -> None:
    """Each worker of a large store held a gigabyte of them for itself."""
    run = run_quick(tmp_path / "run", tiny_log.events, tiny_log.items, *rules, report=True)
    publish(run, tmp_path / "store")
    version, fresh = current(tmp_path / "store"), restore(run)
    assert version is not None
    pairs = [*zip(version.restored.recommender.sources, fresh.recommender.sources, strict=True)]
    searched = [(mapped, made) for mapped, made in pairs if isinstance(mapped, VectorModel)]
    assert [mapped.name for mapped, _ in searched] == ["als", "spectral"]
    for mapped, made in searched:
        assert "index" in vars(mapped), "nothing is made"
        assert isinstance(made, VectorModel)
        for name, array in vars(made.index).items():
            np.testing.assert_array_equal(getattr(mapped.index, name), array)
    block = fresh.data.block(0, 40, True)
    lists = [one.recommender.lists(block).lists for one in (version.restored, fresh)]
    assert lists[0].item.tolist() == lists[1].item.tolist()


def test_rollback_goes_back_and_forth(store: Path, altered: Altered) -> None:
    first = current_id(store)
    second = publish(altered("next"), store).id
    assert rollback(store) == first
    assert current_id(store) == first
    with pytest.raises(DataError, match="no version before"):
        rollback(store)
    assert rollback(store, second) == second
    with pytest.raises(DataError, match=f"has no version 2020.*{second}"):
        rollback(store, "2020")


def test_the_last_versions_stay_and_the_served_one_always(store: Path, altered: Altered) -> None:
    first = current_id(store)
    for day in (1, 2, 3):
        publish(altered(f"run{day}", days=day), store, keep=2)
    assert len(versions(store)) == 2
    assert first not in versions(store)["id"].to_list()
    assert len(list((store / "versions").iterdir())) == 2


def test_a_version_outlives_its_run(tiny_run: Path, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    publish(run, tmp_path / "store")
    shutil.rmtree(run)
    version = current(tmp_path / "store")
    assert version is not None
    assert version.restored.recommender.k == 20


def test_a_damaged_run_or_version_is_refused(store: Path, altered: Altered) -> None:
    run = altered("damaged")
    with (run / "similar.parquet").open("r+b") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"similar\.parquet: is not the file that the run wrote"):
        publish(run, store)
    served = store / "versions" / str(current_id(store))
    os.truncate(served / "lists.npz", 100)
    with pytest.raises(DataError, match=r"lists\.npz: is not the file that was published"):
        current(store)


@pytest.mark.parametrize("wrong", ["order", "rank", "stranger"])
def test_lists_out_of_order_are_refused(store: Path, altered: Altered, wrong: str) -> None:
    def spoil(table: pl.DataFrame) -> pl.DataFrame:
        if wrong == "order":
            return table.reverse()
        if wrong == "rank":
            return table.with_columns(rank=pl.col("rank") + 1)
        return table.with_columns(item_id=pl.lit(10**9, table["item_id"].dtype))

    with pytest.raises(DataError, match=r"recommendations\.parquet: its"):
        publish(altered("spoilt", spoil), store)


def test_nothing_is_there_after_a_crash(store: Path, altered: Altered, monkeypatch: pytest.MonkeyPatch) -> None:
    served = current_id(store)

    def crash(folder: Path) -> None:
        (folder / "lists.npz").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing, "write_version", crash)
    with pytest.raises(KeyboardInterrupt):
        publish(altered("next"), store)
    assert current_id(store) == served
    assert [path.name for path in (store / "versions").iterdir()] == [served]


def test_whoever_asked_is_in_no_later_version(store: Path, altered: Altered) -> None:
    version = current(store)
    assert version is not None
    user = version.users.texts[3]
    made = publish(altered("next"), store, forgotten={fingerprint(user)})
    after = current(store)
    assert after is not None
    assert after.id == made.id
    assert len(after.listed(after.users.place(user))[0]) == 0
    log = after.data.log
    assert log.start[3] == log.stop[3]
    assert log.n_events == version.data.log.n_events - (version.data.log.stop[3] - version.data.log.start[3])
    for path in sorted((after.folder / "run").rglob("*.parquet")):
        table = pl.read_parquet(path)
        if "user_id" in table.columns:
            assert int(user) not in table["user_id"].to_list(), path
            before = pl.read_parquet(version.folder / "run" / path.relative_to(after.folder / "run"))
            assert len(before) > len(table)
    assert not (after.folder / "run" / "report.html").exists()
    assert len(after.restored.recommender.fitted) > 2


def test_texts_of_the_forgotten_leave_no_trace(tmp_path: Path) -> None:
    from tonearm.serving.forget import _scrubbed

    ids = pl.Series("user_id", ["a", "b", "c", "d"])
    scrubbed = _scrubbed(ids, np.array([True, False, True, True]))
    assert not set("acd") & set(scrubbed.to_list())
    assert scrubbed.is_sorted()
    assert scrubbed.n_unique() == 4
    assert tmp_path.exists()


def test_no_store_is_told(tmp_path: Path) -> None:
    assert current(tmp_path) is None
    with pytest.raises(DataError, match="is not a store"):
        versions(tmp_path)
    with pytest.raises(ConfigError, match="Keep at least 1"):
        publish(tmp_path, tmp_path / "store", keep=0)
    (tmp_path / "file").write_text("")
    with pytest.raises((OutputError, DataError)):
        publish(tmp_path, tmp_path / "file")


@pytest.mark.parametrize("kind", ["numbers", "words"])
def test_every_id_is_found_and_no_other(kind: str) -> None:
    rng = np.random.default_rng(1)
    numbers = np.unique(rng.integers(-(10**12), 10**12, 5000))
    ids = pl.Series("id", numbers)
    if kind == "words":
        ids = ("ключ-" + ids.cast(pl.String)).sort()
    table = IdTable.load(IdTable.of(ids).save())
    assert [table.place(str(one)) for one in ids.to_list()] == list(range(len(ids)))
    assert [table.id(row) for row in range(100)] == ids.to_list()[:100]
    assert table.place("stranger") == -1
    assert table.place("") == -1
    assert np.diff(table.first).max() < 12, "a bucket holds many ids"


def test_a_table_of_no_ids_and_of_one() -> None:
    assert IdTable.of(pl.Series([], dtype=pl.String)).place("a") == -1
    one = IdTable.of(pl.Series(["a"]))
    assert (one.place("a"), one.place("b")) == (0, -1)


def test_published_files_are_vouched_for(store: Path) -> None:
    about = directory.read_json(store / "versions" / str(current_id(store)) / "version.json")
    names = {"users", "items", "lists", "similar", "popular", "index_als", "index_spectral"}
    assert set(about["files"]) == {f"{name}.npz" for name in names}
    assert all(len(said["sha256"]) == 64 for said in about["files"].values())
