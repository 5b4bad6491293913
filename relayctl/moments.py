"""Times as an operator types and reads them: types of options, ages, durations, ISO 8601 and local times."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import click

# In seconds.
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def seconds(text: str) -> float:
    """Return the seconds of a duration (90m, 12h, 7d). Raises ValueError for another text."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration")
    return timedelta(**{_UNITS[found[2]]: int(found[1])}).total_seconds()


def parse(text: str, now: datetime, sign: int) -> float:
    """Return epoch seconds: of a time, or of `now` plus `sign` times a duration. Raises ValueError, OverflowError."""
    if re.fullmatch(r"[0-9]+[a-z]", text):
        return (now + sign * timedelta(seconds=seconds(text))).timestamp()
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.astimezone()).timestamp()


def since(text: str, sign: int = -1) -> float:
    """Return an option's value in epoch seconds: a time, or an age; a duration if `sign` is 1. Raises BadParameter."""
    try:
        return parse(text, datetime.now(UTC), sign)
    except (ValueError, OverflowError):
        what = "an age" if sign < 0 else "a duration"
        raise click.BadParameter(f"use {what} such as 90m, 12h or 7d, or a time such as 2030-01-31T12:00:00Z") from None


def until(text: str) -> float:
    return since(text, 1)


def since_option(default: str | None, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the option `--since` to a verb, with the help `text`, and a default unless it is None."""
    return click.option("--since", type=since, default=default, show_default=True, metavar="AGE|TIME", help=text)


def span(shortest: str, longest: str) -> Callable[[str], float]:
    """Return an option's type: a duration such as 90m, from `shortest` to `longest`. The value is in seconds."""

    def duration(text: str) -> float:
        try:
            found = seconds(text)
        except ValueError:
            raise click.BadParameter("use a duration such as 90m, 12h or 7d") from None
        if not seconds(shortest) <= found <= seconds(longest):
            raise click.BadParameter(f"use a duration from {shortest} to {longest}")
        return found

    return duration


def iso(at: float) -> str:
    """Return epoch seconds as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def iso_or_none(at: float | None) -> str | None:
    return None if at is None else iso(at)


def moment(at: float) -> str:
    """Return the local date and time of epoch seconds, to the minute, with the zone's name."""
    return f"{local(at):%Y-%m-%d %H:%M (%Z)}"


def clock_in_zone(at: float) -> str:
    """Return the local time of day of epoch seconds, to the second, with the zone's name."""
    return f"{local(at):%H:%M:%S (%Z)}"


def local(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone()
