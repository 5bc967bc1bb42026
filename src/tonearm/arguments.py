"""What commands take by the same word: paths, ids, settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token

GivenId = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""An id may begin with a dash."""


def _path(_type: object, tokens: Sequence[Token]) -> Path:
    from tonearm.loading.files import local_path

    return local_path(tokens[0].value)


Place = Annotated[Path, Parameter(converter=_path)]
"""A path, in which ~ is the home folder, also where the shell leaves it, as in --out=~/run."""

Settings = Annotated[tuple[str, ...], Parameter(name="--set", negative="", consume_multiple=False, show_default=False)]
