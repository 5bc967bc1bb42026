"""What a log is measured by where no test is given, or several are wanted: its last label window, and earlier cuts."""

from dataclasses import replace

import numpy as np

from tonearm.config import Config, stage_rng
from tonearm.loading.load import Loaded, Test
from tonearm.split import InnerSplit, earlier_cuts, inner_split


def held_out(loaded: Loaded, config: Config) -> Loaded:
    """The same log with its last label window as the test, for a log that has none.

    Raises:
        NoWindow: all events are of one moment or, without time, no user has two items.
    """
    return _as_test(loaded, inner_split(loaded.train, config.split, stage_rng(config.seed, "split")))


def earlier_trials(trial: Loaded, n: int) -> list[Loaded]:
    """The same log cut n times earlier, each test as long as that of the trial.

    Raises:
        DataError: the log has no time, or is too short.
    """
    test = trial.test
    assert test is not None
    ends = [log.span[1] for log in (test.log, test.cold) if n > 0 and log.time is not None and log.n_events > 0]
    length = max(1, max(ends, default=trial.train.now) + 1 - trial.train.now)
    return [_as_test(trial, split) for split in earlier_cuts(trial.train, n, length)]


def _as_test(loaded: Loaded, split: InnerSplit) -> Loaded:
    """The same log learnt from until a cut, with what follows as the test."""
    history, labels = split.history.log, split.labels
    warm = history.stop > history.start
    cold = np.flatnonzero(~warm & (labels.stop > labels.start)).astype(np.int32)
    known = replace(labels, start=np.where(warm, labels.start, labels.stop))
    nothing = split.history.catalogue.items.ids.clear()
    test = Test(known, split.history.users.decode(cold), labels.users(cold), nothing, 0)
    return replace(loaded, train=split.history, test=test)
