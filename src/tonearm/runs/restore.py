"""A finished run as it was when it made its lists: the log it read, its sources, its ranker."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tonearm import pipeline
from tonearm.config import Config, load_config
from tonearm.data.dataset import Block, Dataset
from tonearm.errors import DataError
from tonearm.loading.inputs import Fingerprint
from tonearm.loading.load import Loaded
from tonearm.progress import Progress, no_progress
from tonearm.ranking.features import Features
from tonearm.ranking.ranker import RankerModel
from tonearm.ranking.recommender import Made, Recommender
from tonearm.runs.read import Run
from tonearm.runs.write import load_models
from tonearm.sources.base import Source


@dataclass(frozen=True)
class Restored:
    """All that a run's lists are made of."""

    run: Run
    config: Config
    loaded: Loaded
    recommender: Recommender

    @property
    def data(self) -> Dataset:
        """What the run learnt from."""
        return self.loaded.train

    def block(self, user: int) -> Block:
        """One user, by index."""
        return self.data.block(user, user + 1, self.config.filter_seen)

    @property
    def sources(self) -> list[Source]:
        """In the order of their columns, searching among what may be shown."""
        return self.recommender.sources

    @property
    def ranker(self) -> RankerModel:
        """What orders the candidates."""
        return self.recommender.ranker

    @property
    def features(self) -> Features:
        """What the ranker looks at."""
        return self.recommender.features

    def lists(self, block: Block) -> Made:
        """The lists of a block, to the last bit those of the run's files."""
        return self.recommender.lists(block)


def restore(
    folder: Path | str, events: str | None = None, items: str | None = None, progress: Progress = no_progress
) -> Restored:
    """Load a run's log and models again; lists made from them are those of the run.

    events, items: the log (train, where the split was ready-made) and the catalogue, where they are no longer at the
        place that the run read them from

    Raises:
        DataError: the folder is not a run; its inputs cannot be read, or are not those that the run read; a model is
            missing or is not the one that the run wrote.
    """
    run = Run.open(Path(folder))
    sources, ranker, masks = load_models(run.folder, run.manifest)
    config = load_config(run.folder / "config.toml")
    loaded = _inputs(run.manifest, events, items).load(config, progress, run.today)
    _check_same(run, loaded)
    shaper = config.shape.fit(loaded.train, masks=masks)
    recommender = Recommender.of(loaded.train, sources, ranker, shaper, config.search, config.output.k, config.threads)
    if recommender.features.names != ranker.names:
        raise DataError(f"{run.folder}: this version makes other features than the ranker has seen. Make the run anew.")
    return Restored(run, config, loaded, recommender)


def _inputs(manifest: dict[str, Any], events: str | None, items: str | None) -> pipeline.Inputs:
    inputs = pipeline.Inputs(**manifest["inputs"], test_from=manifest["test_from"])
    if events is not None:
        inputs = replace(inputs, **{"train" if inputs.train is not None else "events": events})
    return inputs if items is None else replace(inputs, items=items)


def _check_same(run: Run, loaded: Loaded) -> None:
    """By fingerprint, whatever the place; a remote file is told by its rows."""
    said = [Fingerprint(**print_) for print_ in run.manifest["fingerprints"]]
    for then, now in zip(said, loaded.fingerprints, strict=False):
        known = then.sha256 is not None and now.sha256 is not None
        if then.rows != now.rows or (known and then.sha256 != now.sha256):
            raise DataError(
                f"{now.path}: is not what the run read: it has {now.rows:,} rows, sha256 {_short(now)}, and the run "
                f"read {then.rows:,} rows, sha256 {_short(then)}. Name the place of that file, or make the run anew."
            )
    train = loaded.train
    for what, then_n, now_n in (
        ("files", len(said), len(loaded.fingerprints)),
        ("users", run.manifest["users"], train.n_users),
        ("items", run.manifest["items"], train.n_items),
    ):
        if then_n != now_n:
            raise DataError(
                f"{run.folder}: its inputs give {now_n:,} {what} now, and gave {then_n:,} when the run was made. "
                "Make the run anew."
            )


def _short(print_: Fingerprint) -> str:
    return "unknown" if print_.sha256 is None else f"{print_.sha256[:12]}…"
