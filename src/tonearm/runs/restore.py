"""A finished run as it was when it made its lists: histories, sources, ranker."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tonearm.config import Config, load_config
from tonearm.data.dataset import Block, Dataset
from tonearm.errors import DataError, TonearmError
from tonearm.loading.load import Test
from tonearm.ranking.features import Features
from tonearm.ranking.ranker import RankerModel
from tonearm.ranking.recommender import Made, Recommender
from tonearm.runs.fitting import check_log, check_sources
from tonearm.runs.read import Run
from tonearm.runs.vouch import ANEW
from tonearm.runs.write import load_models
from tonearm.sources.base import Source


@dataclass(frozen=True)
class Restored:
    """All that lists are made of.

    data: what was learnt from; test: what came after it, where that is known
    manifest: what the run's `manifest.json` says; folder: the run, None where nothing was written
    """

    config: Config
    data: Dataset
    test: Test | None
    recommender: Recommender
    manifest: dict[str, Any]
    folder: Path | None = None

    def block(self, user: int) -> Block:
        """One user, by index."""
        return self.data.block(user, user + 1, self.config.filter_seen)

    @property
    def days(self) -> bool:
        """Whether the times of the log are days."""
        return bool(next(iter(self.manifest["found"]["logs"].values())).get("days", False))

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


def restore(folder: Path | str, mend: str = ANEW) -> Restored:
    """Load what a run holds of its log, and its models: lists made from them are those of the run.

    The log itself is not needed. Arrays are mapped into memory and read as they are used.

    mend: what to do where a file is not the one that the run wrote

    Raises:
        DataError: the folder is not a run, or one of an earlier version that held no histories; a file is missing or is
            not the one that the run wrote.
    """
    run = Run.open(Path(folder), mend)
    try:
        return _restored(run)
    except DataError:
        raise
    except TonearmError as error:
        where = "" if str(error).startswith(str(run.folder)) else f"{run.folder}: "
        raise DataError(f"{where}{error}") from error
    except Exception as error:  # what its files hold may be of any type and shape
        raise DataError(
            f"{run.folder}: cannot be loaded ({type(error).__name__}: {error}). Make the run anew."
        ) from error


def _restored(run: Run) -> Restored:
    sources, ranker, masks = load_models(run.files, run.manifest)
    config, data = load_config(run.files.need("config.toml")), run.kept.train
    check_log(f"{run.folder}: its history", data.log, data.n_users)
    check_sources(str(run.folder), data, sources, masks)
    shaper = config.shape.fit(data, masks=masks)
    search, k, threads = config.search, config.output.k, config.threads
    recommender = Recommender.of(data, sources, ranker, shaper, search, k, threads, run.kept.item_features)
    if recommender.features.names != ranker.names:
        raise DataError(f"{run.folder}: this version makes other features than the ranker has seen. Make the run anew.")
    restored = Restored(config, data, run.kept.test, recommender, run.manifest, run.folder)
    assert restored.days in (True, False)
    return restored
