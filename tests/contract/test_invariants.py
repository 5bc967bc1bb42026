"""A final list that breaks what every list must hold is never written."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.quick import CUT, Log, run_inputs

import tonearm
from tonearm.data.dataset import Block
from tonearm.data.lists import Lists
from tonearm.errors import InternalError
from tonearm.ranking.recommender import Made, Recommender


def wrong_lists(kind: str, block: Block, lists: Lists) -> Lists:
    """The lists with one thing wrong in them."""
    item, score = lists.item.copy(), lists.score.copy()
    if kind == "no track twice":
        item[1] = item[0]
    elif kind == "no track that is filtered out":
        indptr, seen = block.seen
        item[0] = seen[indptr[lists.row[0]]]
    elif kind == "tracks of the catalogue":
        item[0] = 1_000_000
    else:
        score[0] = np.inf
    return Lists(lists.indptr, item, score)


@pytest.mark.parametrize(
    "kind", ["no track twice", "no track that is filtered out", "tracks of the catalogue", "finite scores"]
)
def test_what_does_not_hold_is_refused_and_nothing_is_written(
    kind: str, tiny_log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Recommender.lists

    def broken(self: Recommender, block: Block, *args: object) -> Made:
        found = made(self, block, *args)  # type: ignore[arg-type]
        return replace(found, lists=wrong_lists(kind, block, found.lists))

    monkeypatch.setattr(Recommender, "lists", broken)
    inputs = tonearm.Inputs(events=tiny_log.events, items=tiny_log.items, test_from=CUT)
    with pytest.raises(InternalError, match=f"'{kind}' does not hold of .* Nothing was written"):
        run_inputs(inputs, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_says_what_was_looked_at(tiny_run: Path) -> None:
    checked = json.loads((tiny_run / "manifest.json").read_text())["checked"]
    assert checked["entries"] == pq.read_metadata(tiny_run / "recommendations.parquet").num_rows > 0
    assert "no track twice" in checked["holds"]
