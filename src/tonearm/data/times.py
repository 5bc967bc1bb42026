"""Times as whole seconds, and as people write them."""

from datetime import UTC, date, datetime, timedelta

from tonearm.errors import ConfigError

EPOCH = datetime(2000, 1, 1)
"""Times are int32 whole seconds since this instant, which reaches from 1932 to 2068."""

DAY = 86_400


def to_seconds(moment: datetime) -> int:
    """Whole seconds since `EPOCH`; an aware moment is taken to UTC first, a naive one is used as it stands."""
    # Subtracted last, as the years 1 and 9999 have no moment in UTC on the other side of their ends.
    ahead = moment.utcoffset() or timedelta(0)
    return (moment.replace(tzinfo=None) - EPOCH - ahead) // timedelta(seconds=1)


def to_moment(seconds: int) -> datetime:
    """The naive moment that `to_seconds` came from."""
    return datetime.fromtimestamp(EPOCH.replace(tzinfo=UTC).timestamp() + seconds, tz=UTC).replace(tzinfo=None)


def parse_moment(text: str | date | datetime) -> datetime:
    """A date (its midnight) or an ISO date and time.

    Raises:
        ConfigError: the text is neither, or has a fraction of a second.
    """
    if isinstance(text, datetime):
        moment = text
    elif isinstance(text, date):
        moment = datetime(text.year, text.month, text.day)
    else:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise ConfigError(
                f"'{text}' is not a date or time. Write it as 2022-12-16 or 2022-12-16T09:30:00."
            ) from error
    if moment.microsecond:
        raise ConfigError(f"'{text}': a cut falls on a whole second. Leave the fraction out.")
    return moment
