"""Memory over ten thousand pages: the service and the explorer of a run, asked again and again.

python benchmarks/pages.py RUN [--save pages]

Every answer is looked at in one process: resident memory after a first thousand, and after ten thousand more.
"""

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import polars as pl
from starlette.testclient import TestClient

import figures
from tonearm.explore.site import token
from tonearm.serving.app import app
from tonearm.serving.events import open_events
from tonearm.serving.publish import publish
from tonearm.serving.service import Service

FIRST, MORE = 1_000, 10_000


def resident() -> float:
    """Resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096 / 2**20


def addresses(run: Path, kind: str) -> Iterator[str]:
    """Addresses of one kind, drawn from the listeners and tracks of a run without end."""
    drawn = random.Random(1)
    lists = pl.read_parquet(run / "recommendations.parquet", columns=["user_id", "item_id"])
    users, items = lists["user_id"].unique().to_list(), lists["item_id"].unique().to_list()
    while True:
        user, item = drawn.choice(users), drawn.choice(items)
        yield {
            "explorer: listeners": f"/explore/listener/{token(user)}",
            "explorer: tracks": f"/explore/track/{token(item)}",
            "explorer: search": f"/explore/search?q={quote(str(item)[:3])}",
            "explorer: why": f"/explore/why/{token(user)}/{token(item)}",
            "service: lists": f"/recommendations/{quote(str(user), safe='')}?k={drawn.randint(1, 100)}",
            "service: new users": f"/recommendations/new-{drawn.random()}",
            "service: refused": f"/recommendations/{drawn.random()}?k=many",
        }[kind]


EXPLORER = ("explorer: listeners", "explorer: tracks", "explorer: search", "explorer: why")
KINDS = (*EXPLORER, "service: lists", "service: new users", "service: refused")


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("run", type=Path)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        publish(given.run, store)
        with TestClient(app(Service(store, open_events(None, store)))) as one:
            for kind in KINDS:
                asked = addresses(given.run, kind)
                for _ in range(FIRST):
                    one.get(next(asked))
                before, began = resident(), time.perf_counter()
                failed = sum(one.get(next(asked)).status_code >= 500 for _ in range(MORE))
                rows.append([kind, MORE, failed, before, resident(), (time.perf_counter() - began) / MORE * 1e3])
                print(rows[-1], flush=True)
    heads = [("pages", ""), ("asked for", ",.0f"), ("errors", "d"), ("MB before", ",.0f"), ("MB after", ",.0f")]
    figures.tell([*heads, ("ms each", ".1f")], rows, given.save)


if __name__ == "__main__":
    main()
