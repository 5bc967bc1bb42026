"""What runs take at their peak, against what is predicted before they start, from the manifests of finished runs.

python benchmarks/memory.py NAME=RUN NAME=RUN ... [--save memory]

The prediction is made anew from what each run holds of its log, or else from the log itself, and from its options.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import figures
from tonearm.config import config_from, read_toml
from tonearm.pipeline import Inputs
from tonearm.runs import memory
from tonearm.runs.data import Kept
from tonearm.runs.vouch import Files
from tonearm.terminal.progress import no_progress


def row(name: str, folder: Path) -> list[Any]:
    """A run: its size, the predicted and the measured peak, and how they compare."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    tree = read_toml(folder / "config.toml")
    if tree["filter_seen"]:  # which leaves `again` out, whatever else there was
        tree["sources"] = [name for name in tree["sources"] if name != "again"]
    config, kept = config_from(tree, str(folder)), Kept(Files(folder, None), manifest)
    loaded: Any = SimpleNamespace(train=kept.train, test=kept.test) if (folder / "data").is_dir() else None
    if loaded is None:
        loaded = Inputs(**manifest["inputs"], test_from=manifest["test_from"]).load(config, no_progress)
    peaks = memory.predicted(loaded, config, config.block)
    stage = max(peaks, key=lambda name: peaks[name])
    measured = max(one["peak_mb"] for one in manifest["stages"])
    predicted = peaks[stage] / memory.MB
    train = loaded.train
    sizes = [train.log.n_events, train.n_users, train.n_items]
    return [name, *sizes, config.block, stage, predicted, measured, predicted / measured]


def main() -> None:
    """Print the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    options = parser.parse_args()
    heads = [("run", ""), ("events", ",.0f"), ("users", ",.0f"), ("items", ",.0f"), ("block", ",.0f"), ("peak in", "")]
    heads += [("predicted, MB", ",.0f"), ("measured, MB", ",.0f"), ("predicted / measured", ".2f")]
    figures.tell(
        heads, [row(name, Path(run)) for name, run in (given.split("=", 1) for given in options.runs)], options.save
    )


if __name__ == "__main__":
    main()
