"""What the service answers: lists that know the last plays, without doubles, as long as asked for."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.quick import Log, run_quick

from tonearm.data.lists import Lists
from tonearm.serving.answers import Answer
from tonearm.serving.events import Event, open_events
from tonearm.serving.online import Blend, fuse, near, summed
from tonearm.serving.publish import publish
from tonearm.serving.service import Service, Unknown


@pytest.fixture(scope="module")
def shaped(tiny_log: Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose run lets an artist stand once in a list, and blocks one item."""
    folder = tmp_path_factory.mktemp("shaped")
    blocked = int(tiny_log.train["item_id"].mode().sort()[0])
    rules = ("shape.per_artist=1", f"shape.block_items=[{blocked}]")
    run = run_quick(folder / "log", tiny_log.events, tiny_log.items, *rules)
    publish(run, folder / "store")
    return folder / "store"


@pytest.fixture
def service(store: Path) -> Iterator[Service]:
    """The service over `tiny_run`, with no events."""
    events = open_events(None, store)
    yield Service(store, events)
    events.close()


def play(service: Service, user: str, *items: object, at: float | None = None) -> None:
    """The user plays items, one a second, the last one now."""
    now = time.time() if at is None else at
    made = [Event(f"{user}/{item}/{now}/{i}", user, str(item), now - len(items) + i) for i, item in enumerate(items)]
    service.events.add(made)


def ids(answer: Answer) -> list[int | str]:
    return [entry.item_id for entry in answer.items]


@pytest.mark.parametrize("kind", ["blended", "offline", "online"])
def test_a_track_just_heard_leaves_at_once(service: Service, kind: str) -> None:
    user = service.version.users.texts[5]
    for _ in range(3):
        first = ids(service.recommend(user, 5, kind))[0]  # type: ignore[arg-type]
        play(service, user, first)
        assert first not in ids(service.recommend(user, 300, kind))  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["offline", "near", "folded", "fused"])
def test_exactly_k_without_doubles_while_the_catalogue_allows(service: Service, rule: str) -> None:
    service.blend = Blend(rule=rule)  # type: ignore[arg-type]
    for user in (service.version.users.texts[7], "stranger"):
        play(service, user, *ids(service.recommend(user, 3)))
        heard = {entry.item_id for entry in service.history(user, 1000).events}
        played = len(service.version.most_played()[0])
        for k in (1, 20, 45, 500):
            found = ids(service.recommend(user, k))
            assert len(found) == len(set(found)) == min(k, played - len(heard)), (user, k)
            assert not heard & set(found)


def test_an_unknown_user_gets_what_is_popular(service: Service) -> None:
    answer = service.recommend("stranger", 7)
    assert (answer.source, ids(answer)) == ("popular", ids_of(service.popular(7)))
    assert service.at_once("stranger", 7) == answer
    assert service.at_once("another", 7) == answer.model_copy(update={"user_id": "another"})


def ids_of(items: object) -> list[int | str]:
    return [entry.item_id for entry in items.items]  # type: ignore[attr-defined]


def test_an_event_changes_the_answer_to_what_is_near(service: Service) -> None:
    before = ids(service.recommend("stranger", 20))
    version = service.version

    def alike(item: int) -> set[int | str]:
        return {version.items.id(row) for row in version.alike(item)[0].tolist()}

    item = min(version.most_played(0, 100)[0].tolist(), key=lambda one: len(alike(one) & set(before)))
    play(service, "stranger", version.items.id(item))
    answer = service.recommend("stranger", 20)
    assert answer.source == "blended"
    assert len(alike(item) & set(ids(answer))) > len(alike(item) & set(before))


def test_an_answer_that_was_made_is_at_hand_until_the_user_plays_on(service: Service) -> None:
    user = service.version.users.texts[6]
    first, second = ids(service.recommend(user, 2))
    play(service, user, first)
    assert service.at_once(user, 5) is None
    made = service.recommend(user, 5)
    assert made.source == "blended"
    assert service.at_once(user, 5) == made
    play(service, user, second)
    assert service.at_once(user, 5) is None
    service.prepare(user, 5)
    assert service.at_once(user, 5) == service.recommend(user, 5)


def test_meanwhile_the_published_list_serves_less_what_was_played(service: Service, shaped: Path) -> None:
    user = service.version.users.texts[6]
    published = ids(service.recommend(user, service.version.k))
    play(service, user, published[1])
    answer = service.meanwhile(user, 5)
    assert answer is not None
    assert (answer.source, ids(answer)) == ("offline", [published[0], *published[2:6]])
    assert service.meanwhile(user, service.version.k) is None, "too short without the played one"
    assert service.meanwhile("stranger", 5) is None
    events = open_events(None, shaped)
    assert Service(shaped, events).meanwhile(user, 5) is None, "rules may say more of what is left"
    events.close()


def test_the_earliest_answers_go_first(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonearm.serving.service.KEPT", 2)
    users = [service.version.users.texts[row] for row in range(3)]
    for user in users:
        play(service, user, ids(service.recommend(user, 1))[0])
        service.prepare(user, 5)
    assert [service.at_once(user, 5) is not None for user in users] == [False, True, True]


def test_events_of_the_logs_own_time_are_not_news(service: Service) -> None:
    user = service.version.users.texts[5]
    first = ids(service.recommend(user, 1))[0]
    play(service, user, first, at=service.version.ended - 10)
    assert service.recommend(user, 5).source == "offline"
    assert service.history(user, 1).events[0].source == "event"


def test_the_rules_hold_in_every_answer(shaped: Path, tiny_log: Log) -> None:
    events = open_events(None, shaped)
    service = Service(shaped, events)
    artists = dict(tiny_log.items.select("item_id", "artists").iter_rows())
    blocked = int(tiny_log.train["item_id"].mode().sort()[0])
    known = service.version.users.texts[2]
    play(service, known, blocked, *ids(service.recommend(known, 2)))
    play(service, "stranger", *ids(service.recommend("stranger", 3)))
    for user in (known, service.version.users.texts[3], "stranger", "other"):
        for genre in (None, next(iter(service.version.genres))):
            found = ids(service.recommend(user, 12, "blended", genre))
            assert blocked not in found
            shown = [artist for item in found for artist in artists[item]]
            assert genre is not None or len(shown) == len(set(shown)), (user, genre)
    events.close()


def test_a_filter_keeps_to_its_genre(service: Service, tiny_log: Log) -> None:
    genres = dict(tiny_log.items.select("item_id", "genres").iter_rows())
    genre = max(
        service.version.genres, key=lambda one: len(service.version.most_played(service.version.genres[one])[0])
    )
    user = service.version.users.texts[5]
    found = ids(service.recommend(user, 10, "blended", genre))
    assert len(found) == 10
    assert all(genre in genres[item] for item in found)
    assert found != ids(service.recommend("stranger", 10, "blended", genre))
    with pytest.raises(Unknown, match="polka"):
        service.recommend(user, 10, "blended", "polka")


def test_history_is_the_latest_first_from_both(service: Service, tiny_log: Log) -> None:
    log = service.version.data.log
    user = service.version.users.texts[int((log.stop - log.start).argmax())]
    play(service, user, 1, 2)
    own = tiny_log.train.filter(pl.col("user_id") == int(user)).sort("started_at", "item_id", descending=True)
    found = service.history(user, 6).events
    assert [one.item_id for one in found[:2]] == ["2", "1"]
    assert [one.at for one in found[2:]] == [f"{at.isoformat()}+00:00" for at in own["started_at"].head(4)]
    assert [one.source for one in found] == ["event"] * 2 + ["log"] * 4


def test_whoever_asked_is_unknown_from_then_on(service: Service) -> None:
    user = service.version.users.texts[5]
    play(service, user, 1, 2)
    service.events.forget(user)
    assert ids(service.recommend(user, 9)) == ids(service.recommend("stranger", 9))
    assert service.history(user, 9).events == []
    assert service.explain(user, str(service.version.items.id(3))).details is None


def test_reasons(service: Service) -> None:
    user = service.version.users.texts[5]
    first = ids(service.recommend(user, 1))[0]
    why = service.explain(user, str(first))
    assert (why.rank, why.offline) == (1, 1)
    assert why.details is not None
    assert why.because == why.details["because"]
    play(service, user, first)
    assert service.explain(user, str(first)).because == "Just played, so it leaves the list."
    near_it = ids_of(service.similar(str(first), 1))[0]
    assert "It is similar to" in service.explain(user, str(near_it)).because
    with pytest.raises(Unknown, match="no item x"):
        service.explain(user, "x")


def test_a_new_version_is_taken_over_and_an_answer_keeps_its_own(service: Service, altered: object) -> None:
    assert not service.refresh()
    old = service.version
    made = publish(altered("next"), service.store)  # type: ignore[operator]
    assert service.refresh()
    assert service.version.id == made.id
    assert len(old.listed(0)[0]) == 20


def test_more_calls_give_the_same_answer(service: Service) -> None:
    from concurrent.futures import ThreadPoolExecutor

    users = [service.version.users.texts[i % 4] for i in range(32)]
    play(service, users[0], *ids(service.recommend(users[0], 2)))
    expected = {user: service.recommend(user, 15) for user in users}
    service._answers.clear()
    with ThreadPoolExecutor(8) as pool:
        for user, answer in zip(users, pool.map(lambda one: service.recommend(one, 15), users), strict=True):
            assert answer == expected[user]


rows = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=12), min_size=3, max_size=3)


def lists_of(items: list[list[int]]) -> Lists:
    bounds = np.cumsum([0, *map(len, items)]).astype(np.int64)
    return Lists(
        bounds, np.array([item for row in items for item in row], np.int32), np.ones(int(bounds[-1]), np.float32)
    )


@settings(max_examples=60, deadline=None)
@given(rows, rows, st.floats(0.25, 4))
def test_fusion_is_that_of_its_definition(a: list[list[int]], b: list[list[int]], weight: float) -> None:
    fused = fuse([(1.0, lists_of(a)), (weight, lists_of(b))])
    for row in range(3):
        score = dict.fromkeys({*a[row], *b[row]}, 0.0)
        for items, w in ((a[row], 1.0), (b[row], weight)):
            for rank, item in enumerate(items, 1):
                score[item] += w / (60 + rank)
        found = fused.item[fused.indptr[row] : fused.indptr[row + 1]].tolist()
        assert sorted(found) == sorted(score), "the tail of a list is lost, or an item doubled"
        assert [score[item] for item in found] == pytest.approx(sorted(score.values(), reverse=True), rel=1e-5)


def test_what_is_near_decays_with_the_plays() -> None:
    similar = lists_of([[1, 2], [0], [3], []])
    made = near(similar, lists_of([[0, 2], [], [3]]), 0.5)
    assert made.indptr.tolist() == [0, 3, 3, 3]
    assert made.item.tolist() == [1, 2, 3]
    assert made.score.tolist() == [1.0, 1.0, 0.5]


def test_sums_are_ordered_by_score_then_item() -> None:
    item = np.array([5, 9, 5, 2, 9], np.int32)
    row = np.array([1, 0, 1, 1, 1], np.int32)
    made = summed(3, row, item, np.array([1, 1, 1, 2, 3], np.float32))
    assert made.indptr.tolist() == [0, 1, 4, 4]
    assert made.item.tolist() == [9, 9, 2, 5]
