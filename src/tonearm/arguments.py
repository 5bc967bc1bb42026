"""What commands take by the same words: paths, ids, where a log is, options."""

from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, Token

if TYPE_CHECKING:
    from tonearm.config import Config
    from tonearm.pipeline import Inputs

UserId = Annotated[str, Parameter(allow_leading_hyphen=True, help="The user's id.")]
ItemId = Annotated[str, Parameter(allow_leading_hyphen=True, help="The item's id.")]
"""An id may begin with a dash."""


def _path(_type: object, tokens: Sequence[Token]) -> Path:
    from tonearm.loading.files import local_path

    return local_path(tokens[0].value)


Place = Annotated[Path, Parameter(converter=_path)]
"""A path, in which ~ is the home folder, also where the shell leaves it, as in --out=~/run."""

RunFolder = Annotated[Place, Parameter(help="The run directory.")]
Store = Annotated[Place, Parameter(help="The folder that runs are published to.")]


@Parameter(name="*")
@dataclass(frozen=True)
class ConfigOptions:
    """The options of a run."""

    config: Place | None = None
    """A TOML file of options."""

    preset: str = "default"
    """Named settings to start from: default, notebook or yambda."""

    settings: Annotated[
        tuple[str, ...], Parameter(name="--set", negative="", consume_multiple=False, show_default=False)
    ] = ()
    """One option, such as als.factors=128; may be repeated and wins over the file."""

    def load(self, columns: str | None = None, more: Sequence[str] = ()) -> "Config":
        """The configuration that they come to; `columns` as a log's --columns, `more` as further --set."""
        from tonearm.config import load_config
        from tonearm.loading.columns import parse_columns

        named = [f"data.columns.{ours}={dumps(theirs)}" for ours, theirs in parse_columns(columns or "").items()]
        return load_config(self.config, (*named, *self.settings, *more), self.preset)


@Parameter(name="*")
@dataclass(frozen=True)
class LogOptions:
    """Where a log and its catalogue are."""

    events: str | None = None
    """The log: a file, a folder, a glob or an address, with user_id, item_id, started_at; docs/use/inputs.md has the
    forms."""

    items: str | None = None
    """The catalogue: item_id and, as far as known, name, genres, artists, albums."""

    test_from: str | None = None
    """Train is everything before this date or time, test is the rest."""

    train: str | None = None
    """Instead of events and test_from: a ready-made set to learn from."""

    test: str | None = None
    """The set to measure by that belongs to train."""

    columns: str | None = None
    """What the tables call their columns, as in user=UserID,item=sku,time=ts,weight=n; and those of the catalogue."""

    def inputs(self) -> "Inputs":
        """Where they are, without what their columns are called."""
        from tonearm.pipeline import Inputs as Files

        return Files(self.events, self.items, self.test_from, self.train, self.test)
