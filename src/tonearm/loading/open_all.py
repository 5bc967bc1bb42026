"""Open the log and the catalogue of one data set, so that the ids of one are those of the other."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from tonearm.errors import DataError
from tonearm.loading.count import DataOptions
from tonearm.loading.events import Events, open_events
from tonearm.loading.inputs import Source, find_column
from tonearm.loading.items import CatalogueFound, Items, open_items
from tonearm.loading.vectors import ItemVectors, open_vectors

T = TypeVar("T")


def open_all(
    logs: Mapping[str, Source], items: Source | None, options: DataOptions, problems: list[str]
) -> tuple[dict[str, Events | None], tuple[Items, CatalogueFound] | None]:
    """The logs and the catalogue; None in place of what cannot be opened, after noting why in `problems`."""
    columns = options.columns
    opened = {name: attempt(problems, partial(open_events, source, columns)) for name, source in logs.items()}
    opened = _alike(opened, "user_id", False)
    opened = _alike(opened, "item_id", False)
    leading = next(iter(opened.values()))
    like = leading.item_type if leading is not None else None
    drop = options.on_null == "drop"
    read = (
        attempt(problems, partial(open_items, items, like, drop, columns, leading is not None and leading.input.text))
        if items is not None
        else None
    )
    if read is not None and not read[0].ids.dtype.is_integer():
        opened = _alike(opened, "item_id", True)
    return opened, read


def vectors_of(
    items: Source | None, read: tuple[Items, CatalogueFound] | None, options: DataOptions
) -> ItemVectors | None:
    """The vectors of items, from the catalogue or from a file of their own; None where there are none.

    Raises:
        DataError: both have some, or they cannot be read.
    """
    in_catalogue = read is not None and find_column(read[0].input, "vector") is not None
    if in_catalogue and options.vectors is not None:
        raise DataError(
            f"{options.vectors}: the catalogue has vectors too. Leave out data.vectors, or its column vector."
        )
    if in_catalogue and items is not None:
        return open_vectors(items, options.columns)
    return None if options.vectors is None else open_vectors(options.vectors, options.columns)


def _alike(logs: dict[str, Events | None], name: str, strings: bool) -> dict[str, Events | None]:
    """Logs of text whose ids look like integers, with these ids as strings where another table's are.

    strings: the catalogue's are
    """
    if not (strings or any(log is not None and not log.whole(name) for log in logs.values())):
        return logs
    return {
        key: log.as_text(name) if log is not None and log.input.text and log.whole(name) else log
        for key, log in logs.items()
    }


def attempt(problems: list[str], step: Callable[[], T]) -> T | None:
    """The result of a step, or None after noting what went wrong."""
    try:
        return step()
    except DataError as error:
        problems += str(error).split("\n")
        return None
