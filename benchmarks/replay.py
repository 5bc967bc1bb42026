"""Lists that know the last plays beside lists that were published, play by play over the test of finished runs.

python benchmarks/replay.py NAME=RUN ... [--users 2000] [--save replay]

Hit rate and ndcg of the next ten plays at 10, for listeners whom a run knew and, from their third play on, for others.
Gains are over the published list, or the popular one, paired over listeners.
"""

from pathlib import Path
from typing import Any

import figures
from tonearm.serving.online import blends
from tonearm.serving.replay import replay

HEADS = [("run", ""), ("listeners", ""), ("n", ",.0f"), ("rule", ""), ("hit_rate@10", ".4f"), ("ndcg@10", ".4f")]


def rows(name: str, run: Path, users: int) -> list[list[Any]]:
    """One row for each rule and kind of listener."""
    found: list[list[Any]] = []
    for listeners, part in replay(run, blends([]), users=users)["populations"].items():
        for rule, figure in part["blends"].items():
            gain = figure.get("above_offline", {}).get("ndcg")
            found.append([name, listeners, part["users"], rule, figure["hit_rate"], figure["ndcg"], gain])
    return found


def main() -> None:
    """Replay each run, and print or keep the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--users", type=int, default=2000)
    given = parser.parse_args()
    pairs = [one.partition("=") for one in given.runs]
    table = [row for name, _, run in pairs for row in rows(name, Path(run), given.users)]
    figures.tell([*HEADS, ("ndcg@10 above offline", "")], table, given.save)


if __name__ == "__main__":
    main()
