"""A run as it is published: its files linked, and nothing in them of users who asked to be forgotten."""

import os
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from tonearm.data.log import Log
from tonearm.data.vocabulary import Vocabulary
from tonearm.loading.load import Test
from tonearm.runs import directory, vouch
from tonearm.runs.data import ITEMS, TEST, TRAIN, write_data
from tonearm.runs.read import Run
from tonearm.serving.ids import fingerprint
from tonearm.types import Bools

PEOPLE = ("report.html", "profile.json", TRAIN, TEST, ITEMS)
"""Files that name users, or hold or count what they played, and are no table of theirs."""


def copy_without(run: Run, out: Path, forgotten: Collection[str]) -> None:
    """Link a run's files, or copy them across file systems; what says something of forgotten users is made anew.

    Their ids go as well where ids are text. A whole number stays in the table of ids, with nothing beside it.

    forgotten: their fingerprints
    """
    ids = run.kept.train.users.ids
    gone = np.array([fingerprint(str(user)) in forgotten for user in ids.to_list()] if forgotten else [], np.bool_)
    files = run.manifest["files"]
    if not gone.any():
        for name in [*files, directory.MANIFEST]:
            _link(run.folder / name, out / name)
        return
    of_them = pl.col("user_id").is_in(ids.filter(pl.Series(gone)).implode())
    for name in files:
        path, place = run.folder / name, out / name
        if name.endswith(".parquet") and "user_id" in pl.read_parquet_schema(path):
            place.parent.mkdir(parents=True, exist_ok=True)
            pl.scan_parquet(path, glob=False).filter(~of_them).sink_parquet(place)
        elif name not in PEOPLE:
            _link(path, place)
    train, test = run.kept.train, run.kept.test
    against = None if train.against is None else _without(train.against, gone)
    train = replace(train, users=Vocabulary(_scrubbed(ids, gone)), log=_without(train.log, gone), against=against)
    write_data(out, train, None if test is None else _test_without(test, gone, forgotten), run.kept.item_features)
    profile = run.profile
    profile["examples"]["users"] = []
    directory.write_json(out / "profile.json", profile)
    vouch.write_sealed(out / directory.MANIFEST, run.manifest | {"files": vouch.digests(out)})


def _without(log: Log, gone: Bools) -> Log:
    return replace(log, stop=np.where(gone, log.start, log.stop))


def _test_without(test: Test, gone: Bools, forgotten: Collection[str]) -> Test:
    cold = np.array([fingerprint(str(user)) not in forgotten for user in test.cold_users.to_list()], np.bool_)
    rows = np.flatnonzero(cold).astype(np.int32)
    return replace(
        test,
        log=_without(test.log, gone),
        cold_users=test.cold_users.filter(pl.Series(cold)),
        cold=test.cold.users(rows),
    )


def _scrubbed(ids: pl.Series, gone: Bools) -> pl.Series:
    """Texts that say nothing and keep the order, in the places of ids that are gone."""
    if ids.dtype.is_integer():
        return ids
    kept, words, before = ids.to_list(), [], ""
    for word, away in zip(kept, gone.tolist(), strict=True):
        before = f"{before}\x01" if away else word
        words.append(before)
    return pl.Series(ids.name, words)


def _link(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, place)
    except OSError:  # another file system, or one without links
        shutil.copy2(path, place)
