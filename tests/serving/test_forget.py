"""Whoever asked to be forgotten is nowhere: not in events, exports, answers or a later version."""

import json
from pathlib import Path

import polars as pl
import pytest
from tests.e2e.command import tonearm
from tests.quick import Log, run_quick

from tonearm.serving.events import Event, open_events
from tonearm.serving.publish import current, publish
from tonearm.serving.service import Service


def traces(folder: Path, word: str) -> list[str]:
    """Files below a folder that hold a word, tables looked into."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
            texts = [name for name, kind in table.schema.items() if kind == pl.String]
            hit = any((table[name] == word).any() for name in texts)
        else:
            hit = word.encode() in path.read_bytes()
        if hit:
            found.append(str(path.relative_to(folder)))
    return found


def test_nothing_is_left_of_them(tiny_log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = tiny_log.events.with_columns(("listener-" + pl.col("user_id").cast(pl.String) + "-x").alias("user_id"))
    run = run_quick(tmp_path / "log", named, tiny_log.items, report=True)
    store = tmp_path / "store"
    publish(run, store)
    version = current(store)
    assert version is not None
    heavy = int((version.data.log.stop - version.data.log.start).argmax())
    user = version.users.texts[heavy]
    assert user.startswith("listener-")
    assert traces(version.folder, user), "it was there before"
    events = open_events(None, store)
    service = Service(store, events)
    listed = [entry.item_id for entry in service.recommend(user, 10).items]
    events.add([Event(f"e{i}", user, str(listed[i]), 4e9 + i) for i in range(3)])
    events.add([Event("other", "listener-none", str(listed[0]), 4e9)])
    assert events.forget(user) == 3
    events.close()
    told = tonearm(capsys, "publish", run, "--store", store, "--gate", "newer=false", "--keep", 1)
    assert told.code == 0, told.err
    assert traces(store, user) == []
    assert tonearm(capsys, "export", "--store", store, "--out", tmp_path / "new.parquet").code == 0
    assert pl.read_parquet(tmp_path / "new.parquet")["user_id"].to_list() == ["listener-none"]
    events = open_events(None, store)
    service = Service(store, events)
    answer = service.recommend(user, 10)
    assert [entry.item_id for entry in answer.items] == [e.item_id for e in service.recommend("stranger", 10).items]
    assert service.history(user, 10).events == []
    assert json.loads((store / "history.jsonl").read_text().splitlines()[-1])["what"] == "published"
    assert len(service.recommend(service.version.users.texts[heavy - 1], 10).items) == 10
    events.close()
