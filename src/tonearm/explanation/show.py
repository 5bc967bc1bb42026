"""One user or one item of a finished run in the terminal: history and lists side by side, neighbours."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tonearm.data.times import to_moment
from tonearm.errors import ConfigError, DataError
from tonearm.runs.lists import FILES, FINAL, POPULAR_FILE, SIMILAR_BY, SIMILAR_FILE, within
from tonearm.runs.read import Id, Run, as_id, title
from tonearm.terminal.printing import visible
from tonearm.terminal.words import counted

Facts = Mapping[Id, Mapping[str, Any]]

HISTORY = 20


def show_user(run: Path, user: str, k: int = 10) -> RenderableType:
    """A user's latest items next to the first k of each list, with what they went on to choose marked.

    user: an id as typed, read as the type of the run's ids

    Raises:
        ConfigError: k is below 1.
        DataError: the folder is not a run, or no list has such a user.
    """
    _check(k)
    opened = Run.open(run)
    found = opened.listener(user, k)
    if found is None:
        raise DataError(opened.unknown("user", "user_id", FILES[FINAL], user))
    lists, train, test = found.lists, found.train, found.test
    heard, chosen = train["item_id"].to_list(), test["item_id"].to_list()
    listed = [item for rows in lists.values() for item in rows["item_id"].to_list()]
    facts, no_names = opened.describe([*heard[:HISTORY], *chosen[:HISTORY], *listed])
    parts: list[RenderableType] = [Text(f"User {user}", style="bold")]
    cold = Text("No history: a cold user, who gets the popular list.")
    parts.append(_history(train, facts) if len(train) else cold)
    parts += [_side_by_side(lists, facts, set(chosen), k), _chosen(chosen, set(heard), facts)]
    parts += [Text(no_names, style="yellow")] if no_names else []
    return Group(*parts)


def show_item(run: Path, item: str, k: int = 10) -> RenderableType:
    """An item, its place in the popular list, and the k items most similar to it.

    Raises:
        ConfigError: k is below 1.
        DataError: the folder is not a run, or train has no such item.
    """
    _check(k)
    opened = Run.open(run)
    similar = opened.similar_to(item, k)
    if similar is None or len(similar) == 0:
        raise DataError(opened.unknown("item", "item_id_1", SIMILAR_FILE, item))
    typed = as_id(item, similar["item_id"].dtype)
    assert typed is not None
    facts, no_names = opened.describe([typed, *similar["item_id"].to_list()])
    popular = opened.rows(POPULAR_FILE, "item_id", item, 10**9)
    if popular is not None and len(popular):
        row = popular.row(0, named=True)
        place = f"{counted(row['plays'], 'event')} of {counted(row['users'], 'user')}, "
        place += f"place {row['rank']:,} in the popular list."
    else:
        length = 0 if popular is None else len(opened.popular())
        place = f"Not among the {counted(length, 'item')} of the popular list."
    table = Table()
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("item", justify="right", no_wrap=True)
    table.add_column("name")
    table.add_column("genres", no_wrap=True, max_width=32)
    table.add_column("score", justify="right", no_wrap=True)
    for row in similar.iter_rows(named=True):
        table.add_row(str(row["rank"]), *_cells(row["item_id"], facts), f"{row['score']:.3f}")
    caption = Text(f"The {len(similar)} most similar, {SIMILAR_BY[opened.similar_by]}")
    parts: list[RenderableType] = [Text.assemble(("Item ", "bold"), _line(typed, facts)), Text(place), caption, table]
    parts += [Text(words, style="yellow") for words in (no_names,) if words]
    return Group(*parts)


def next_steps(run: Path) -> list[str]:
    """Commands to go on with, for a listener and a track that the run has."""
    steps, folder = [f"tonearm explore {shlex.quote(str(run))}"], shlex.quote(str(run))
    opened = Run.open(run)
    users = [row["user_id"] for row in opened.profile["examples"]["users"]]
    file = FILES[FINAL]
    for user in [*users, *opened.ids_near("user_id", file, "")][:1]:
        first = opened.rows(file, "user_id", user, 1)
        who = shlex.quote(str(user))
        steps.append(f"tonearm show user {who} --run {folder}")
        if first is not None and len(first):
            steps.append(f"tonearm explain {who} {shlex.quote(str(first['item_id'][0]))} --run {folder}")
    return [f"{'Next:' if place == 0 else '':<6}{step}" for place, step in enumerate(steps)]


def _check(k: int) -> None:
    if k < 1:
        raise ConfigError(f"--k is {k}; it must be a whole number from 1 up.")


def _history(train: pl.DataFrame, facts: Facts) -> RenderableType:
    timed = "last" in train.columns
    order = "latest" if timed else "most played"
    table = Table()
    table.add_column("item", justify="right", no_wrap=True)
    table.add_column("name")
    table.add_column("genres", no_wrap=True, max_width=32)
    table.add_column("plays", justify="right", no_wrap=True)
    if timed:
        table.add_column("last", no_wrap=True)
    for row in train.head(HISTORY).iter_rows(named=True):
        when = [to_moment(row["last"]).date().isoformat()] if timed else []
        table.add_row(*_cells(row["item_id"], facts), f"{row['plays']:g}", *when)
    if len(train) > HISTORY:
        table.caption = f"and {len(train) - HISTORY:,} more"
    return Group(Text(f"History: {counted(len(train), 'item')}, the {order} first"), table)


def _side_by_side(lists: Mapping[str, pl.DataFrame], facts: Facts, chosen: set[Id], k: int) -> RenderableType:
    table = Table("")
    columns = []
    for name, rows in lists.items():
        ids = rows["item_id"].to_list()
        hits = f"\n{sum(item in chosen for item in ids)} of {len(ids)} hit" if chosen else ""
        table.add_column(
            Text.assemble(within(name), " list" * (name == FINAL), (hits, "green")), overflow="fold", ratio=1
        )
        columns.append(ids)
    for place in range(max(len(ids) for ids in columns)):
        cells = [_entry(ids[place], facts, chosen) if place < len(ids) else Text() for ids in columns]
        table.add_row(str(place + 1), *cells)
    return Group(Text(f"The first {k} of each list"), table)


def _entry(item: Id, facts: Facts, chosen: set[Id]) -> Text:
    return (
        Text.assemble(("✓ ", "bold green"), (_name(item, facts), "green"))
        if item in chosen
        else Text(_name(item, facts))
    )


def _chosen(ids: Sequence[Id], heard: set[Id], facts: Facts) -> Text:
    """What the user went on to choose, in one paragraph."""
    if not ids:
        return Text("Nothing in test.")
    shown = [_name(item, facts) + (" (heard before)" if item in heard else "") for item in ids[:HISTORY]]
    more = f", and {len(ids) - HISTORY:,} more" if len(ids) > HISTORY else ""
    return Text.assemble((f"Went on to choose {counted(len(ids), 'item')}: ", "bold"), "; ".join(shown), more)


def _name(item: Id, facts: Facts) -> str:
    return visible(title(item, facts.get(item, {})))


def _line(item: Id, facts: Facts) -> str:
    name, genres = _name(item, facts), facts.get(item, {}).get("genres") or []
    known = "" if name == str(item) else f": {name}"
    return f"{item}{known}" + (f" ({', '.join(genres)})" if genres else "")


def _cells(item: Id, facts: Facts) -> list[str]:
    """Id, name with artists, and the first genres."""
    name, genres = _name(item, facts), facts.get(item, {}).get("genres") or []
    return [str(item), "" if name == str(item) else name, ", ".join(genres[:3])]
