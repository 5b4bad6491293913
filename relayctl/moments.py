"""Times as an operator types and reads them: option types, ages, durations, ISO 8601 and local times."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from relay.incidents.share import scalar

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def seconds(text: str) -> float:
    """Return the seconds of a duration (90m, 12h, 7d). Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration")
    return timedelta(**{_UNITS[found[2]]: int(found[1])}).total_seconds()


class Moment(click.ParamType[float]):
    """Type of an option for a time; its value is in epoch seconds.

    The operator types a duration from now, or a time (ISO 8601) if `takes_times`. `sign` is -1 if the duration is an
    age, and 1 if it leads into the future.
    """

    def __init__(self, name: str, sign: int, *, takes_times: bool = True) -> None:
        self.name = name
        self._sign, self._takes_times = sign, takes_times

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the epoch seconds of a text that the operator typed."""
        if isinstance(value, float):
            return value
        what = "an age" if self._sign < 0 else "a duration"
        times = ", or a time such as 2030-01-31T12:00:00Z" if self._takes_times else ""
        try:
            return self.parse(str(value), datetime.now(UTC))
        except (ValueError, OverflowError):
            self.fail(f"use {what} such as 90m, 12h or 7d{times}", param, ctx)

    def parse(self, text: str, now: datetime) -> float:
        """Return the epoch seconds of a text. Raises ValueError or OverflowError."""
        if not self._takes_times or re.fullmatch(r"[0-9]+[a-z]", text):
            return (now + self._sign * timedelta(seconds=seconds(text))).timestamp()
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.astimezone()).timestamp()


class Span(click.ParamType[float]):
    """Type of an option for a duration such as 90m, from `shortest` to `longest`; its value is in seconds."""

    name = "duration"

    def __init__(self, shortest: str, longest: str) -> None:
        self._least, self._most = seconds(shortest), seconds(longest)
        self.bounds = f"{shortest} to {longest}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds of a duration that is not too short or too long."""
        try:
            found = value if isinstance(value, float) else seconds(str(value))
        except ValueError:
            self.fail("use a duration such as 90m, 12h or 7d", param, ctx)
        if not self._least <= found <= self._most:
            self.fail(f"use a duration from {self.bounds}", param, ctx)
        return found


# Epoch milliseconds are larger than this, and epoch seconds smaller until the year 5138.
_MILLISECONDS = 1e11


def told(value: Any) -> float | None:
    """Return epoch seconds for a vendor's time: epoch seconds, milliseconds or ISO 8601; None for other values."""
    text = scalar(value) or ""
    try:
        found = float(text)
    except ValueError:
        try:
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            return None
    found = found / 1000 if found > _MILLISECONDS else found
    # Years beyond 9999 cannot be shown.
    return found if 0 <= found < 2e11 else None


SINCE, UNTIL = Moment("since", -1), Moment("until", 1)
AGO = Moment("duration", -1, takes_times=False)


def iso(at: float) -> str:
    """Return epoch seconds as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def iso_or_none(at: float | None) -> str | None:
    """Return epoch seconds as ISO 8601 in UTC, to the second; None for None."""
    return None if at is None else iso(at)


def day(at: float) -> str:
    """Return the local date of epoch seconds, with the name of the zone."""
    return f"{_local(at):%Y-%m-%d (%Z)}"


def moment(at: float) -> str:
    """Return the local date and time of epoch seconds, to the minute, with the zone's name, and the time in UTC."""
    return f"{_local(at):%Y-%m-%d %H:%M} ({_zones(at, '%H:%M')})"


def clock(at: float) -> str:
    """Return the local time of day of epoch seconds, to the second."""
    return f"{_local(at):%H:%M:%S}"


def clock_in_zones(at: float) -> str:
    """Return the local time of day of epoch seconds, to the second, with the name of the zone, and the time in UTC."""
    return f"{clock(at)} ({_zones(at, '%H:%M:%S')})"


def _zones(at: float, form: str) -> str:
    """Return the name of the local zone and, unless that is UTC, the time in UTC in a form of `strftime`."""
    local = _local(at)
    return f"{local:%Z}, {datetime.fromtimestamp(at, UTC):{form}} UTC" if local.utcoffset() else f"{local:%Z}"


def _local(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone()
