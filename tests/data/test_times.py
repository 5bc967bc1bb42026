"""Times as seconds, and as people write them."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonearm.data.times import DAY, parse_moment, to_moment, to_seconds
from tonearm.errors import ConfigError


def test_seconds_count_from_2000() -> None:
    assert to_seconds(datetime(2000, 1, 2, 0, 0, 3)) == DAY + 3
    assert to_seconds(datetime(1999, 12, 31, 23, 59, 59, 200_000)) == -1


def test_zones_go_to_utc() -> None:
    assert to_seconds(datetime(2000, 1, 1, 3, tzinfo=timezone(timedelta(hours=3)))) == 0
    assert to_seconds(datetime(2000, 1, 1, tzinfo=UTC)) == 0


@given(st.integers(-(2**31), 2**31 - 1))
def test_there_and_back(seconds: int) -> None:
    assert to_seconds(to_moment(seconds)) == seconds


def test_parse() -> None:
    assert parse_moment("2022-12-16") == datetime(2022, 12, 16)
    assert parse_moment(" 2022-12-16T09:30:00 ") == datetime(2022, 12, 16, 9, 30)
    assert parse_moment(date(2022, 12, 16)) == datetime(2022, 12, 16)
    with pytest.raises(ConfigError, match=r"'16\.12\.2022' is not a date or time"):
        parse_moment("16.12.2022")
    with pytest.raises(ConfigError, match="whole second"):
        parse_moment("2022-12-16T09:30:00.5")
