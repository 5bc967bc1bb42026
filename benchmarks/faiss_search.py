"""Searches by faiss; runs in the environment that tools/peer.sh faiss makes, and imports nothing of Tonearm.

python faiss_search.py FOLDER, which holds items.npy, queries.npy, chosen.npy (the queries whose results are wanted)
and options.json, and receives found_LISTS_PROBES.npy and answer.json, rows of (lists, probes, seconds to build the
index, seconds to search it); 0 lists stand for the exact search
"""

import json
import statistics
import sys
import time
from pathlib import Path

import faiss
import numpy as np


def main(folder: Path) -> None:
    """Search every kind of index that the options ask for; median seconds over rounds."""
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    faiss.omp_set_num_threads(options["threads"])
    items, queries, chosen = (np.load(folder / f"{name}.npy") for name in ("items", "queries", "chosen"))
    faiss.knn(queries[:100], items, options["k"], metric=faiss.METRIC_INNER_PRODUCT)
    answer = []
    for lists, all_probes in options["searches"]:
        building = []
        for _ in range(options["rounds"]):
            start = time.perf_counter()
            index = faiss.IndexFlatIP(items.shape[1])
            if lists:
                index = faiss.IndexIVFFlat(index, items.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
                index.train(items)
            index.add(items)
            building.append(time.perf_counter() - start)
        for probes in all_probes:
            if lists:
                index.nprobe = probes
            searching = []
            for _ in range(options["rounds"]):
                start = time.perf_counter()
                _, found = index.search(queries, options["k"])
                searching.append(time.perf_counter() - start)
            np.save(folder / f"found_{lists}_{probes}.npy", found[chosen])
            answer.append((lists, probes, statistics.median(building), statistics.median(searching)))
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
