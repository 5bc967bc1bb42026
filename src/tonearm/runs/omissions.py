"""Everything that a run did not use, from the rows of the log to the similar items."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tonearm.config import Config
from tonearm.loading.load import Loaded
from tonearm.loading.summary import Found
from tonearm.ranking.ranker import RankerModel
from tonearm.sources import left_out as sources_off
from tonearm.sources.base import Partial, Source
from tonearm.sources.left_out import LeftOut, as_rows

RULES = {
    "on_null": ("they lack a value that is needed", "users and items with other rows are known by those alone"),
    "on_future": ("they are later than the moment of the run", "what they say is not learnt"),
    "on_orphan": ("the catalogue lacks their item", "those items are in no list, and histories lack them"),
    "sample": ("only some listeners are looked at", "all figures are of these, and what others play is not learnt"),
    "on_duplicate": ("they repeat another row", "repeats that were real count once"),
}

BACK = {"on_null": "rows with all their values", "sample": "data.sample=1, and no data.users_file"}
"""What brings rows back where it is no option to keep them."""


def omissions(
    loaded: Loaded, config: Config, sources: Sequence[Source], ranker: RankerModel, similar: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What was left out, a row each, ready for JSON.

    similar: as `write_similar` returns it
    """
    parts = [*_rows(loaded.found), *sources_off(loaded.train, config.recipes()).values()]
    parts += [part for source in sources if isinstance(source, Partial) for part in source.left_out]
    labelled = ranker.validation.get("labelled_users", [])
    drawn, of = sum(min(n, config.ranker.users) for n in labelled), sum(labelled)
    if drawn < of:
        parts.append(
            LeftOut(
                f"the ranker learnt from {drawn:,} users, without the others of {of:,} who have a label",
                1 - drawn / of,
                f"at most ranker.users = {config.ranker.users:,} of a label window are drawn",
                "more users would tell small differences better",
                f"ranker.users={max(labelled)}",
            )
        )
    if similar["recall"] < 1:
        parts.append(
            LeftOut(
                f"similar.parquet is approximate, without some of the exact entries of {similar['items']:,} items",
                1 - similar["recall"],
                f"these are more than output.similar_exact = {config.output.similar_exact:,}",
                "of the nearest items a few give way to the next; the share is measured on a sample",
                f"output.similar_exact={similar['items']}",
            )
        )
    return as_rows(parts)


def _rows(found: Found) -> Iterator[LeftOut]:
    for log in found.logs.values():
        for rule, n in log.dropped.items():
            why, cost = RULES[rule]
            back = BACK.get(rule, f'data.{rule}="keep"')
            yield LeftOut(f"{n:,} of {log.rows:,} rows of {log.path} are dropped", n / log.rows, why, cost, back)
