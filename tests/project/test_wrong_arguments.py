"""What is passed wrong from Python is an error that says what to pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tonearm.config import Config, load_config
from tonearm.errors import ConfigError
from tonearm.pipeline import Inputs, run

WRONG: Any = {"seed": 1}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: Inputs(**{"event": "x"}), r"^Inputs: there is no option 'event'\. Did you mean 'events'\?"),
        (
            lambda out: run(Inputs(), out, WRONG),
            r"^config is of type dict, not Config\. Pass Config\(\) or load_config",
        ),
        (lambda out: run(WRONG, out, Config()), r"^inputs is of type dict, not Inputs\. Pass Inputs\(events="),
    ],
    ids=["a field that is not there", "config as a dict", "inputs as a dict"],
)
def test_point_11_arguments_of_a_run(make: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    """They ended in a TypeError and in AttributeErrors."""
    with pytest.raises(ConfigError, match=message):
        make(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_point_11_again_where_nothing_heard_may_be_shown() -> None:
    """It was left out in silence."""
    with pytest.raises(ConfigError, match=r"^--set: sources has 'again', .* Set filter_seen = false, or leave"):
        load_config(overrides=['sources=["als", "again"]'])
    assert "again" in load_config(overrides=['sources=["als", "again"]', "filter_seen=false"]).recipes()
    assert "again" not in Config().recipes()
    fewer = (*Config().sources[: Config().sources.index("again")], "again")  # the default before sources were added
    assert "again" not in Config(sources=fewer).recipes()
