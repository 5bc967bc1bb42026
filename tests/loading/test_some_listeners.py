"""A quick first look at a huge log: a share of its listeners, or those of a file, and what that leaves out."""

from pathlib import Path

import pytest
from tests.quick import Log, tiny_log

from tonearm.config import load_config
from tonearm.errors import DataError
from tonearm.loading.count import DataOptions
from tonearm.loading.load import load_all
from tonearm.runs.omissions import _rows

__all__ = ["tiny_log"]


def test_some_listeners_alone_may_be_looked_at(tiny_log: Log, tmp_path: Path) -> None:
    """By a share of them, always the same ones, or by a file; and the run says what it left out."""
    path = str(tmp_path / "events.parquet")
    tiny_log.events.write_parquet(path)
    every = tiny_log.events["user_id"].unique()
    half, again = (load_all(path, None, DataOptions(sample=0.5)) for _ in range(2))
    assert half.train.users.ids.to_list() == again.train.users.ids.to_list()
    assert 0.35 < half.train.n_users / len(every) < 0.65
    found = half.found.logs["events"]
    assert half.train.log.n_events == found.kept == found.rows - sum(found.dropped.values())
    wanted = every.sort()[:7]
    (tmp_path / "some.txt").write_text("\n".join(map(str, wanted)), encoding="utf-8")
    wanted.to_frame().write_csv(tmp_path / "some.csv")
    for name in ("some.txt", "some.csv"):
        named = load_all(path, None, DataOptions(users_file=str(tmp_path / name)))
        assert named.train.users.ids.to_list() == wanted.to_list()
    config = load_config(overrides=["data.sample=0.5"])
    (row,) = (part for part in _rows(half.found) if "data.sample" in part.option)
    assert row.share == found.dropped["sample"] / found.rows
    assert "only some listeners are looked at" in row.sentence
    assert config.data.sample == 0.5
    (tmp_path / "none.txt").write_text("nobody", encoding="utf-8")
    with pytest.raises(DataError, match=r"none of 6,000 rows is left by the rules of \[data\]"):
        load_all(path, None, DataOptions(users_file=str(tmp_path / "none.txt")))
