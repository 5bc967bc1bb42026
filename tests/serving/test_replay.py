"""Replay: the truth of every step by a slow twin, no look ahead, and figures that say what was measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.e2e.command import tonearm

from tonearm.errors import ConfigError, DataError
from tonearm.runs import directory, vouch
from tonearm.serving import replay as replaying
from tonearm.serving.online import Blend, answer, blends, with_plays
from tonearm.serving.publish import current
from tonearm.serving.replay import AHEAD, replay
from tonearm.serving.service import one_list
from tonearm.serving.version import Version


@pytest.fixture
def version(store: Path) -> Version:
    found = current(store)
    assert found is not None
    return found


def test_figures_are_those_of_their_definition(
    tiny_run: Path, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "STEPS", (1, 4))
    near = Blend(rule="near")
    result = replay(tiny_run, {"near": near}, k=5)["populations"]["warm"]
    test, data = version.restored.test, version.data
    assert test is not None
    per_user: dict[str, list[Any]] = {"offline": [], "near": []}
    for user in range(data.n_users):
        own = [i for i in test.log.item[test.log.start[user] : test.log.stop[user]].tolist() if i < len(data.plays)]
        own = [item for item in own if data.plays[item] > 0]
        before = set(data.log.item[data.log.start[user] : data.log.stop[user]].tolist())
        of_user: dict[str, list[Any]] = {"offline": [], "near": []}
        for step in (1, 4):
            truth = set(own[step : step + AHEAD]) - before - set(own[:step])
            if len(own) <= step or not truth:
                continue
            plays = np.array(own[:step], np.int32)
            block = with_plays(data, np.array([user], np.int32), [plays], True)
            for name, blend in (("offline", Blend(rule="offline")), ("near", near)):
                offline = one_list(*version.listed(user))
                shown = answer(version, block, offline, one_list(plays[::-1], None), 5, blend).item.tolist()
                gains = [1 / np.log2(rank + 2) for rank, item in enumerate(shown) if item in truth]
                ideal = sum(1 / np.log2(rank + 2) for rank in range(min(5, len(truth))))
                of_user[name].append((float(bool(gains)), sum(gains) / ideal))
        for name, values in of_user.items():
            if values:
                per_user[name].append(np.mean(values, axis=0))
    assert result["users"] == len(per_user["near"]) > 20
    for name, values in per_user.items():
        hit_rate, ndcg = np.mean(values, axis=0)
        assert result["blends"][name]["hit_rate"] == pytest.approx(hit_rate, abs=1e-6)
        assert result["blends"][name]["ndcg"] == pytest.approx(ndcg, abs=1e-6)
    gain = result["blends"]["near"]["above_offline"]["ndcg"]
    assert gain["low"] <= gain["value"] <= gain["high"]


def test_a_block_of_users_is_answered_as_each_alone(version: Version) -> None:
    data = version.data
    users = np.array([3, -1, 8, -1], np.int32)
    popular = version.most_played(0, 9)[0]
    plays = [popular[:2], popular[3:6], popular[:0], popular[:0]]
    whole = with_plays(data, users, plays, True)
    assert whole.folded.tolist() == [True, True, False, True]
    assert whole.now == data.now + 3
    lists = version.recommender().lists(whole).lists
    for i, (user, items) in enumerate(zip(users.tolist(), plays, strict=True)):
        own = with_plays(data, np.array([user], np.int32), [items], True)
        old = data.log.item[data.log.start[user] : data.log.stop[user]].tolist() if user >= 0 else []
        assert own.log.item.tolist() == old + items.tolist()
        assert own.log.time is not None
        assert (np.diff(own.log.time) >= 0).all()
        alone = version.recommender().lists(own).lists.item.tolist()
        assert len(items) == 3 or alone == lists.item[lists.indptr[i] : lists.indptr[i + 1]].tolist()


def test_a_user_who_played_nothing_new_keeps_the_published_list(version: Version) -> None:
    block = with_plays(version.data, np.array([6], np.int32), [np.empty(0, np.int32)], True)
    assert version.recommender().lists(block).lists.item.tolist() == version.listed(6)[0].tolist()


def test_the_command_writes_its_figures(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "replay.json"
    said = tonearm(capsys, "replay", tiny_run, "--blend", "rule=near,near=0.25", "--users", 30, "--out", out)
    assert "above offline by" in said.out
    found = directory.read_json(out)
    assert found["populations"]["warm"]["users"] <= 30
    assert set(found["populations"]["cold"]["steps"]) == {"3", "5", "10", "20"}
    assert "near,near=0.25" in found["populations"]["warm"]["blends"]


def test_what_cannot_be_replayed_is_told(tiny_run: Path, tmp_path: Path) -> None:
    import shutil

    with pytest.raises(ConfigError, match="Did you mean 'near'"):
        blends(["rule=near,nearr=1"])
    assert set(blends([])) == {"near", "folded", "fused"}
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    manifest = directory.read_json(run / "manifest.json")
    manifest["files"].pop("data/test.npz")
    vouch.write_sealed(run / "manifest.json", manifest)
    with pytest.raises(DataError, match="no test to replay"):
        replay(run, {})
