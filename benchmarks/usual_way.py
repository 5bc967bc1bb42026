"""The same job as most notebooks do it: pandas, implicit and CatBoost in one script, as far as it gets.

python benchmarks/usual_way.py EVENTS ITEMS TEST_FROM OUT [--memory 22]

Each stage prints its seconds and the process's peak memory; the process may take no more address space than --memory
GiB, so that a stage that needs more ends in a MemoryError that is reported, and not in the machine's death.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from catboost import CatBoostRanker, Pool
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

K = 100


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time what happens inside and print it, also when memory runs out."""
    began, ending = time.perf_counter(), ""
    try:
        yield
    except MemoryError:
        ending = "  out of memory"
        raise SystemExit(1) from None
    finally:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{name:<40}{time.perf_counter() - began:>9.1f} s {peak:>9,.0f} MB{ending}", flush=True)


def personal(log: pd.DataFrame, n_users: int, n_items: int, users: np.ndarray) -> pd.DataFrame:
    """ALS and its lists."""
    with stage("count plays"):
        plays = log.groupby(["user", "item"]).size().reset_index(name="plays")
        matrix = csr_matrix(
            (np.log2(1 + plays["plays"]).astype(np.float32), (plays["user"], plays["item"])), shape=(n_users, n_items)
        )
    with stage("ALS"):
        model = AlternatingLeastSquares(128, 30.0, 20.0, iterations=10, random_state=0)
        model.fit(matrix, show_progress=False)
    with stage("ALS lists"):
        items, scores = model.recommend(users, matrix[users], N=K, filter_already_liked_items=True)
    with stage("lists as a table"):
        return pd.DataFrame(
            {
                "user": np.repeat(users, K),
                "item": items.ravel(),
                "als_score": scores.ravel(),
                "als_rank": np.tile(np.arange(1, K + 1), len(users)),
            }
        )


def with_features(candidates: pd.DataFrame, log: pd.DataFrame) -> pd.DataFrame:
    """Popularity of the item and size of the history, joined on."""
    item = log.groupby("item").agg(item_plays=("user", "size"), item_users=("user", "nunique")).reset_index()
    user = log.groupby("user").agg(user_plays=("item", "size"), user_tracks=("item", "nunique")).reset_index()
    return candidates.merge(item, on="item", how="left").merge(user, on="user", how="left")


def main() -> None:
    """Run the stages in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("events")
    parser.add_argument("items")
    parser.add_argument("test_from")
    parser.add_argument("out", type=Path)
    parser.add_argument("--memory", type=float, default=22)
    options = parser.parse_args()
    limit = int(options.memory * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    options.out.mkdir(parents=True, exist_ok=True)
    with stage("read"):
        table = pq.read_table(options.events)
        place = table.schema.get_field_index("started_at")
        moment = table.column(place).cast(pa.timestamp("s"))  # else dates become 222 million Python objects
        log = table.set_column(place, "started_at", moment).to_pandas()
        del table, moment
    with stage("split and encode"):
        log["user"], users = pd.factorize(log["user_id"])
        log["item"], items = pd.factorize(log["item_id"])
        log = log.drop(columns=["user_id", "item_id"])
        train = log[log["started_at"] < pd.Timestamp(options.test_from)]
        cutoff = train["started_at"].quantile(0.9)
        del log
    with stage("history and label window"):
        history, labels = train[train["started_at"] < cutoff], train[train["started_at"] >= cutoff]
    some = np.random.default_rng(0).choice(np.intersect1d(history["user"], labels["user"]), 20_000, replace=False)
    first = personal(history, len(users), len(items), np.sort(some))
    with stage("training table"):
        table = with_features(first, history)
        positive = labels[["user", "item"]].drop_duplicates().assign(label=1)
        table = table.merge(positive, on=["user", "item"], how="left").fillna({"label": 0}).sort_values("user")
    features = [name for name in table.columns if name not in ("user", "item", "label")]
    with stage("CatBoost"):
        ranker = CatBoostRanker(iterations=500, loss_function="YetiRank", verbose=False)
        ranker.fit(Pool(table[features], table["label"], group_id=table["user"]))
    del history, labels, table
    final = personal(train, len(users), len(items), np.unique(train["user"]))
    with stage("features of the candidates"):
        final = with_features(final, train)
    with stage("scores"):
        final["score"] = ranker.predict(final[features])
    with stage("write"):
        final.sort_values(["user", "score"], ascending=[True, False]).to_parquet(
            options.out / "recommendations.parquet"
        )


if __name__ == "__main__":
    main()
