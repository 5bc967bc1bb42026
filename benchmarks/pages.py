"""Memory over ten thousand pages: the service and the explorer of a run, asked again and again.

python benchmarks/pages.py RUN [--save pages]

Listeners, tracks, searches, lists, lists of new users and requests that are refused, in turn, in one process.
"""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
from starlette.testclient import TestClient

import figures
from tonearm.explore.site import token
from tonearm.serving.app import app
from tonearm.serving.events import open_events
from tonearm.serving.publish import publish
from tonearm.serving.service import Service


def resident() -> float:
    """Resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096 / 2**20


def addresses(run: Path) -> Iterator[str]:
    """Addresses of every kind in turn, of listeners and tracks drawn from a run, without end."""
    drawn = random.Random(1)
    lists = pl.read_parquet(run / "recommendations.parquet", columns=["user_id", "item_id"])
    users, items = lists["user_id"].unique().to_list(), lists["item_id"].unique().to_list()
    while True:
        user, item = drawn.choice(users), drawn.choice(items)
        yield f"/explore/listener/{token(user)}"
        yield f"/explore/track/{token(item)}"
        yield f"/explore/search?q={quote(str(item)[:3])}"
        yield f"/recommendations/{quote(str(user), safe='')}?k={drawn.randint(1, 100)}"
        yield f"/recommendations/new-{drawn.random()}"
        yield f"/recommendations/{drawn.random()}?k=many"


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("run", type=Path)
    given = parser.parse_args()
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        publish(given.run, store)
        asked = addresses(given.run)
        with TestClient(app(Service(store, open_events(None, store)))) as one:
            for n in (1_000, 3_000, 5_000, 7_000, 9_000, 11_000):
                errors = 0
                for _ in range(n - (int(rows[-1][0]) if rows else 0)):
                    errors += one.get(next(asked)).status_code >= 500
                rows.append([n, errors, resident()])
                print(rows[-1], flush=True)
    heads = [("pages so far", ",.0f"), ("errors", "d"), ("memory, MB", ",.0f")]
    figures.tell(heads, rows, given.save)


if __name__ == "__main__":
    main()
