"""Where a log is, and how it is loaded: events cut by time, or ready-made sets, and a catalogue."""

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from tonearm.config import Config
from tonearm.data.times import parse_moment, to_moment
from tonearm.errors import ConfigError
from tonearm.loading.files import local_path
from tonearm.loading.inputs import Source
from tonearm.loading.load import Loaded, load_all, load_events, load_ready_made
from tonearm.loading.tables import Tabular, address_of, as_source
from tonearm.options import options
from tonearm.terminal.progress import Progress

if TYPE_CHECKING:
    Given = Tabular | None
else:
    Given = Any  # what it may be is looked at when it is read


@options
class Inputs:
    """Where the log is: events cut at `test_from`, or ready-made train and test; items where there is a catalogue."""

    events: Given = None
    items: Given = None
    test_from: str | date | datetime | None = None
    train: Given = None
    test: Given = None

    def source(self, name: str) -> Source | None:
        """One of the tables by option; None where it is not given."""
        given = getattr(self, name)
        return None if given is None else as_source(given, name)

    def addresses(self) -> dict[str, str]:
        """The files by option, local ones as absolute paths, so that they are found again from anywhere."""
        given = {name: self.source(name) for name in ("events", "items", "train", "test")}
        return {name: _address(source) for name, source in given.items() if source is not None}

    def load(self, config: Config, progress: Progress, today: datetime | None = None) -> Loaded:
        """Read and check the files.

        today: events later than this are in the future; by default as `load_events`

        Raises:
            ConfigError: neither events, nor train and test are given.
            DataError: the files cannot be used.
        """
        events, items, train, test = (self.source(name) for name in ("events", "items", "train", "test"))
        if train is not None and test is not None and events is None and self.test_from is None:
            return load_ready_made(train, test, items, config.data, today, progress)
        if events is not None and train is None and test is None:
            if self.test_from is None:
                return load_all(events, items, config.data, today, progress)
            return load_events(events, items, parse_moment(self.test_from), config.data, today, progress)
        raise ConfigError("name either --events, with --test-from where there is a test, or --train and --test.")

    def load_whole(self, config: Config, progress: Progress, today: int) -> Loaded:
        """Read all of the log, test and all, as what is learnt from.

        today: seconds, as the log was seen before

        Raises:
            ConfigError: train and test are two sets.
            DataError: the files cannot be used.
        """
        events = self.source("events")
        if events is None:
            raise ConfigError("a refit is of one log, and train and test are two. Name --events and --test-from.")
        return load_all(events, self.source("items"), config.data, to_moment(today), progress)


def _address(source: Source) -> str:
    if isinstance(source, str) and "://" not in source:
        return str(local_path(source).absolute())
    return address_of(source)
