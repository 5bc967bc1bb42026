"""LensKit's implicit ALS; runs in the environment that tools/peer.sh lenskit makes, and imports nothing of Tonearm.

python lenskit_als.py FOLDER, which holds pairs as user.npy, item.npy and rating.npy, factors to start from as
user_start.npy and item_start.npy, and options.json, and receives user_factors.npy, item_factors.npy and answer.json,
the seconds of each iteration
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from lenskit.als import ImplicitMFScorer
from lenskit.data import from_interactions_df
from lenskit.parallel import initialize
from lenskit.training import TrainingOptions


def main(folder: Path) -> None:
    """Iterate from the folder's start; an iteration before that warms up and is not counted."""
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    threads = options["threads"]
    initialize(threads=threads, backend_threads=threads)
    pairs = pd.DataFrame({f"{key}_id": np.load(folder / f"{key}.npy") for key in ("user", "item")})
    pairs["rating"] = np.load(folder / "rating.npy")
    start = {f"{key}_embeddings": np.load(folder / f"{key}_start.npy") for key in ("user", "item")}
    everybody, everything = (np.arange(len(factors)) for factors in start.values())
    data = from_interactions_df(pairs, users=everybody, items=everything)
    assert (data.users.ids() == everybody).all()
    assert (data.items.ids() == everything).all()
    model = ImplicitMFScorer(
        embedding_size=start["user_embeddings"].shape[1],
        regularization=options["regularization"],
        weight=options["weight"],
        use_ratings=options["use_ratings"],
    )
    trainer = model.create_trainer(data, TrainingOptions(rng=0))
    trainer.train_epoch()
    trainer.load_parameters(start)
    seconds = []
    for _ in range(options["iterations"]):
        before = time.perf_counter()
        trainer.train_epoch()
        seconds.append(time.perf_counter() - before)
    for key, factors in trainer.get_parameters().items():
        np.save(folder / f"{key.removesuffix('_embeddings')}_factors.npy", factors)
    (folder / "answer.json").write_text(json.dumps(seconds), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
