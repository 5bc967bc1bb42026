"""More public data sets, from clones of the repositories that hold them, and synthetic logs, as ready-made splits.

python benchmarks/quality_more.py CLONES OUT [--synth medium]           then: python benchmarks/quality.py OUT RUNS

CLONES holds work trees of these GitHub repositories, each in a folder of the repository's name: RUCAIBox/CIKM2020-S3Rec
(reviews of Amazon and Yelp and listens of Last.fm, five or more a user and an item, with categories; Zhou et al. 2020),
js05212/citeulike-a (libraries of papers, with tags; Wang, Chen and Li 2013), gusye1234/LightGCN-PyTorch (Last.fm by its
own split, and the test parts of Amazon-book and Yelp2018, cut anew; He et al. 2020); and ml-100k, MovieLens 100K as
GroupLens packs it. What is not there is left out, and said so.

Without a split of its own a set loses a fifth of its pairs, drawn with a fixed seed, to test; MovieLens also has a
variant that is cut by time, as is `synth-medium`, the log of `tonearm synth --preset medium`.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from tonearm import synth
from tonearm.synth.preset import TEST_DAY

SHARE, SEED = 0.2, 7
PAIR = ("user_id", "item_id")
CUT = pl.datetime(1998, 4, 1)
"""MovieLens 100K ends three weeks later."""
SYNTH_CUT = pl.datetime(2022, 1, 1) + pl.duration(days=TEST_DAY)

S3REC = {
    "beauty": "Beauty",
    "sports": "Sports_and_Outdoors",
    "toys": "Toys_and_Games",
    "yelp": "Yelp",
    "lastfm": "LastFM",
}


def listed(lines: Iterable[str]) -> pl.DataFrame:
    """Pairs of lines that begin with a user and go on with its items."""
    rows = [[int(word) for word in line.split()] for line in lines]
    return pl.DataFrame([(row[0], item) for row in rows for item in row[1:]], schema=PAIR, orient="row")


def drawn(pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Distinct pairs, four fifths to learn from and a fifth to measure by."""
    pairs = pairs.unique().sort(PAIR)
    test = np.random.default_rng(SEED).random(len(pairs)) < SHARE
    return pairs.filter(~test), pairs.filter(test)


def cut(events: pl.DataFrame, moment: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What is before a moment and what is not."""
    return events.filter(pl.col("started_at") < moment), events.filter(pl.col("started_at") >= moment)


def write(folder: Path, split: tuple[pl.DataFrame, pl.DataFrame], genres: Mapping[int, list[str]] | None) -> None:
    """A set as `tonearm run --train --test --items` takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(("train", "test"), split, strict=True):
        part.write_parquet(folder / f"{name}.parquet")
    if genres is not None:
        items = pl.concat([part["item_id"] for part in split]).unique().sort()
        of_items = pl.Series([genres.get(item, []) for item in items], dtype=pl.List(pl.String))
        pl.DataFrame({"item_id": items, "genres": of_items}).write_parquet(folder / "items.parquet")


def s3rec(clones: Path, out: Path, name: str) -> None:
    """Users with their items in order, and categories of items."""
    folder = clones / "CIKM2020-S3Rec" / "data"
    pairs = listed((folder / f"{S3REC[name]}.txt").read_text(encoding="utf-8").splitlines())
    labels = json.loads((folder / f"{S3REC[name]}_item2attributes.json").read_text(encoding="utf-8"))
    write(out / name, drawn(pairs), {int(item): [str(one) for one in own] for item, own in labels.items()})


def citeulike(clones: Path, out: Path) -> None:
    """A user a line, the first word the number of papers; tags of papers likewise."""

    def rows(name: str) -> list[list[str]]:
        lines = (clones / "citeulike-a" / name).read_text(encoding="utf-8").splitlines()
        return [line.split()[1:] for line in lines]

    pairs = listed(" ".join([str(user), *own]) for user, own in enumerate(rows("users.dat")))
    write(out / "citeulike", drawn(pairs), dict(enumerate(rows("item-tag.dat"))))


def lightgcn(clones: Path, out: Path) -> None:
    """Last.fm as it is split there: user, item and a count that the split's users leave out."""

    def part(name: str) -> pl.DataFrame:
        rows = np.loadtxt(clones / "LightGCN-PyTorch" / "data" / "lastfm" / name, delimiter="\t")
        return pl.DataFrame(rows[:, :2].astype(np.int64), schema=PAIR)

    write(out / "lastfm2k", (part("data1.txt"), part("test1.txt")), None)


def lightgcn_test(clones: Path, out: Path, name: str) -> None:
    """The test part of a split, cut anew."""
    path = clones / "LightGCN-PyTorch" / "data" / name / "test.txt"
    write(out / f"{name}-test", drawn(listed(path.read_text(encoding="utf-8").splitlines())), None)


def movielens(clones: Path, out: Path, dated: bool) -> None:
    """Every rating counts as a play, whatever its stars."""
    folder = clones / "ml-100k"
    rows = np.loadtxt(folder / "u.data", dtype=np.int64)
    genres = [line.split("|")[0] for line in (folder / "u.genre").read_text().split()]
    films = [line.split("|") for line in (folder / "u.item").read_text(encoding="latin-1").splitlines()]
    of_films = {int(film[0]): [genres[i] for i, one in enumerate(film[5:]) if one == "1"] for film in films}
    events = pl.DataFrame(rows[:, [0, 1, 3]], schema=(*PAIR, "started_at"))
    events = events.with_columns(pl.from_epoch("started_at"))
    if dated:
        write(out / "ml100k-dated", cut(events, CUT), of_films)
    else:
        write(out / "ml100k", drawn(events.select(PAIR)), of_films)


def synthetic(out: Path, preset: str) -> None:
    """A synthetic log with its catalogue, cut where its presets have the test day."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        synth.generate(preset, log)
        write(out / f"synth-{preset}", cut(pl.read_parquet(log / "events.parquet"), SYNTH_CUT), None)
        shutil.copy(log / "items.parquet", out / f"synth-{preset}" / "items.parquet")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clones", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--synth", nargs="*", default=[], choices=synth.PRESETS, help="synthetic logs by preset")
    options = parser.parse_args()
    clones, out = options.clones, options.out
    sets: dict[str, Callable[[], None]] = {name: partial(s3rec, clones, out, name) for name in S3REC}
    sets["citeulike"] = partial(citeulike, clones, out)
    sets["lastfm2k"] = partial(lightgcn, clones, out)
    sets |= {f"{name}-test": partial(lightgcn_test, clones, out, name) for name in ("amazon-book", "yelp2018")}
    sets["ml100k"] = partial(movielens, clones, out, dated=False)
    sets["ml100k-dated"] = partial(movielens, clones, out, dated=True)
    sets |= {f"synth-{preset}": partial(synthetic, out, preset) for preset in options.synth}
    for name, make in sets.items():
        try:
            make()
        except FileNotFoundError as error:
            print(f"{name} is left out: there is no {error.filename}", file=sys.stderr)
        else:
            print(out / name)


if __name__ == "__main__":
    main()
