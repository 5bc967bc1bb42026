"""Metrics by published rules, worked out by hand."""

from collections.abc import Callable
from math import log2
from pathlib import Path

import polars as pl
import pytest
from tests.e2e.command import tonearm

from tonearm.errors import ConfigError, DataError
from tonearm.evaluation.published import yambda

Save = Callable[..., str]


@pytest.fixture
def files(save: Save) -> tuple[str, str, str]:
    """Lists of two users; 1 goes on to hear item 5 twice and an unknown one, 2 hears three items; 9 is not in train."""
    train = pl.DataFrame({"user_id": [1, 1, 2, 3], "item_id": [5, 6, 7, 8]})
    truth = pl.DataFrame(
        {"user_id": [1, 1, 1, 2, 2, 2, 9], "item_id": [5, 5, 77, 6, 8, 7, 5]}, schema_overrides={"user_id": pl.Int32}
    )
    lists = pl.DataFrame({"user_id": [1, 1, 1, 2, 2, 3], "item_id": [6, 5, 7, 8, 5, 5], "rank": [1, 2, 3, 1, 2, 1]})
    return save(lists, "lists.parquet"), save(truth, "truth.parquet"), save(train, "train.parquet")


def test_yambda(files: tuple[str, str, str]) -> None:
    found = yambda(*files, [2, 3])
    assert (found["rules"], found["users"]) == ("yambda", 2)
    second, third = 1 / log2(3), 1 / log2(4)
    # user 1 hits at rank 2, user 2 at rank 1; each has three events, so that the ideal holds min(k, 3) of them
    assert found["metrics"] == pytest.approx(
        {
            "ndcg@2": (second + 1) / (2 * (1 + second)),
            "recall@2": (1 / 3 + 1 / 3) / 2,
            "precision@2": (1 / 2 + 1 / 2) / 2,
            "coverage@2": 3 / 4,
            "ndcg@3": (second + 1) / (2 * (1 + second + third)),
            "recall@3": (1 / 3 + 1 / 3) / 2,
            "precision@3": (1 / 3 + 1 / 3) / 2,
            "coverage@3": 4 / 4,
        }
    )


def test_one_list_for_everybody(files: tuple[str, str, str], save: Save) -> None:
    popular = save(pl.DataFrame({"item_id": [5, 8], "rank": [1, 2]}), "popular.parquet")
    found = yambda(popular, *files[1:], [2])["metrics"]
    assert found["ndcg@2"] == pytest.approx((1 + 1 / log2(3)) / (2 * (1 + 1 / log2(3))))


def test_what_cannot_be_measured(files: tuple[str, str, str], save: Save) -> None:
    with pytest.raises(ConfigError, match=r"k = 10 is above 3, the length of the longest list"):
        yambda(*files, [10])
    strangers = save(pl.DataFrame({"user_id": [70], "item_id": [5]}), "strangers.parquet")
    with pytest.raises(DataError, match=r"strangers\.parquet: train knows none of its users"):
        yambda(files[0], strangers, files[2], [2])


def test_the_command(files: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists, truth, train = files
    args = ["evaluate", "--lists", lists, "--truth", truth, "--rules", "yambda", "--k", "2"]
    done = tonearm(capsys, *args, "--train", train, "--out", tmp_path / "found.json")
    assert done.code == 0, done.err
    assert "ndcg@2         0.5000" in done.out
    assert '"rules": "yambda"' in (tmp_path / "found.json").read_text()
    assert "--rules yambda needs --train" in tonearm(capsys, *args).err
