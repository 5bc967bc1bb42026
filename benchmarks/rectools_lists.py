"""RecTools' two-stage lists; runs in the environment that tools/peer.sh rectools makes, and imports nothing of Tonearm.

python rectools_lists.py FOLDER, which holds train.parquet (user_id, item_id, weight, datetime), users.parquet and
options.json, and receives lists.parquet (user_id, item_id, rank)
"""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from catboost import CatBoostClassifier, CatBoostRanker
from implicit import nearest_neighbours
from implicit.cpu.als import AlternatingLeastSquares
from rectools.dataset import Dataset
from rectools.model_selection import RandomSplitter, TimeRangeSplitter
from rectools.models import EASEModel, ImplicitALSWrapperModel, ImplicitItemKNNWrapperModel, PopularModel
from rectools.models.ranking import (
    CandidateGenerator,
    CandidateRankingModel,
    CatBoostReranker,
    PerUserNegativeSampler,
)

CANDIDATES = 100
NEGATIVES = 100
TREES = 500


def generators(peers: dict[str, dict[str, Any]]) -> list[CandidateGenerator]:
    """The tuned peers and popular items, each with ranks and scores as features."""
    models = [PopularModel()]
    for name, params in peers.items():
        if name == "implicit ALS":
            models.append(ImplicitALSWrapperModel(AlternatingLeastSquares(**params, iterations=15, random_state=0)))
        elif name == "item-kNN":
            kind = getattr(nearest_neighbours, f"{params['weights']}Recommender")
            models.append(ImplicitItemKNNWrapperModel(kind(K=params["neighbours"])))
        else:
            models.append(EASEModel(**params, recommend_use_gpu_ranking=False))
    return [CandidateGenerator(model, CANDIDATES, keep_ranks=True, keep_scores=True) for model in models]


def main(folder: Path) -> None:
    """Fit on the folder's train and recommend to its users."""
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    dataset = Dataset.construct(pd.read_parquet(folder / "train.parquet"))
    users = pd.read_parquet(folder / "users.parquet")["user_id"].to_numpy()
    if options["hours"] is None:
        splitter = RandomSplitter(options["share"], n_splits=1, random_state=0)
    else:
        splitter = TimeRangeSplitter(f"{options['hours']}H", n_splits=1)
    if options["reranker"] == "ranker":
        trees = CatBoostRanker(loss_function="YetiRank", iterations=TREES, random_state=0, verbose=False)
    else:
        trees = CatBoostClassifier(iterations=TREES, random_state=0, verbose=False)
    model = CandidateRankingModel(
        generators(options["peers"]),
        splitter,
        CatBoostReranker(trees),
        sampler=PerUserNegativeSampler(NEGATIVES, random_state=0),
    )
    model.fit(dataset)
    lists = model.recommend(users=users, dataset=dataset, k=options["k"], filter_viewed=True)
    lists[["user_id", "item_id", "rank"]].to_parquet(folder / "lists.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
