"""Lists of a finished run for some, for new or for all listeners, with what they played since, without a refit."""

import warnings
from pathlib import Path

import polars as pl

from tonearm.asking.tables import cast_file_ids, users_of
from tonearm.data.vocabulary import Vocabulary
from tonearm.errors import ConfigError, OutputError
from tonearm.kernels.machine.threads import one_ahead
from tonearm.loading.tables import ids_in_file
from tonearm.model import load
from tonearm.runs import directory
from tonearm.terminal.printing import say
from tonearm.terminal.stages import Stages
from tonearm.terminal.words import counted


def recommend(
    run: Path,
    out: Path,
    *,
    users: Path | None = None,
    history: str | None = None,
    events: str | None = None,
    k: int | None = None,
    overwrite: bool = False,
    show: bool = False,
) -> int:
    """Write lists into a parquet file, which appears whole or not at all: user_id, item_id, score and rank.

    Memory stays bounded: lists are made and written some thousand listeners at a time.

    run: a run directory or a saved model
    users: a table with user_id or a text file with one id a line, whose lists are made; by default those of everybody
        in `history`, or without it of everybody whom run and `events` know
    history, events: plays that the run has not learnt from; with `history` only its listeners get lists
    k: items in a list, by default those of the run
    Returns how many listeners have a list.

    Raises:
        ConfigError: both users and history are given.
        DataError: the run or a table cannot be used.
        OutputError: there is something at `out`, or it cannot be written.
    """
    if users is not None and history is not None:
        raise ConfigError("--users and --history both say who gets lists. Name one, and newer plays by --events.")
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists already. Pass --overwrite to replace it, or choose another --out.")
    stages, n = Stages(show), 0
    with stages.stage("load"):
        model = load(run)
    with warnings.catch_warnings(record=True) as said, directory.new_file(out) as place:
        warnings.simplefilter("always")
        with stages.stage("histories"):
            told = [path for path in (history, events) if path is not None]
            histories = model.histories(told or None)
            everyone = model.data.users.ids
            ids = None if users is None else _listed(users, everyone)
            if ids is None and history is None and events is not None:
                ids = pl.concat([everyone, histories.users.ids.rename(everyone.name)])
            if history is not None and events is not None:
                ids = model.histories(history).users.ids
            asked = users_of(histories, ids)
        with stages.stage("lists"), directory.TableWriter(place) as writer:
            for frame in one_ahead(model.frames_of(histories, asked, k=k)):
                writer.write(frame)
                n += frame["user_id"].n_unique()
                stages.progress("lists", n, len(asked))
    for words in dict.fromkeys(str(one.message) for one in said):
        say(words, error=True)
    if n < len(asked):
        say(f"{counted(len(asked) - n, 'listener', 'has')} no list, as they have heard all that could be shown.")
    return n


def _listed(users: Path, everyone: pl.Series) -> pl.Series:
    return cast_file_ids(ids_in_file(str(users), "user_id"), Vocabulary(everyone), str(users))
