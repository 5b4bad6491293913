"""Times as an operator types and reads them: option types, ages, durations, ISO 8601 and local times."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Moment(click.ParamType[float]):
    """Type of an option for a time or a duration; its value is in seconds.

    `parse` raises ValueError for a text that is none, and `advice` then says what to type.
    """

    def __init__(self, name: str, parse: Callable[[str], float], advice: str) -> None:
        self.name = name
        self._parse = parse
        self._advice = advice

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds of a text that the operator typed."""
        if isinstance(value, float):
            return value
        try:
            return self._parse(str(value))
        except ValueError:
            self.fail(self._advice, param, ctx)


class Span(Moment):
    """Type of an option: a duration such as 90m, from `shortest` to `longest`."""

    def __init__(self, shortest: str, longest: str) -> None:
        super().__init__("duration", seconds, "use a duration such as 90m, 12h or 7d")
        self._least, self._most = seconds(shortest), seconds(longest)
        self.bounds = f"{shortest} to {longest}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds of a duration that is not too short or too long."""
        found = super().convert(value, param, ctx)
        if not self._least <= found <= self._most:
            self.fail(f"use a duration from {self.bounds}", param, ctx)
        return found


def seconds(text: str) -> float:
    """Return the seconds of a duration (90m, 12h, 7d). Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration")
    return timedelta(**{_UNITS[found[2]]: int(found[1])}).total_seconds()


def ago(text: str, now: datetime) -> float:
    """Return the epoch seconds of an age (90m, 12h, 7d) before `now`. Raises ValueError."""
    try:
        return (now - timedelta(seconds=seconds(text))).timestamp()
    except OverflowError as error:
        raise ValueError(str(error)) from error


def until(text: str, now: datetime) -> float:
    """Return the epoch seconds of a duration (90m, 12h, 7d) after `now`, or of an ISO 8601 time. Raises ValueError."""
    if re.fullmatch(r"[0-9]+[a-z]", text):
        return 2 * now.timestamp() - ago(text, now)
    return since(text, now)


def since(text: str, now: datetime) -> float:
    """Return the epoch seconds of an age (90m, 12h, 7d) before `now`, or of an ISO 8601 time. Raises ValueError."""
    if re.fullmatch(r"[0-9]+[a-z]", text):
        return ago(text, now)
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.astimezone()).timestamp()
    except OverflowError as error:
        raise ValueError(str(error)) from error


# Types of options: an age or a time, a duration from now or a time, and an age; the value is in epoch seconds.
SINCE = Moment(
    "since",
    lambda text: since(text, datetime.now(UTC)),
    "use an age such as 90m, 12h or 7d, or a time such as 2030-01-31T12:00:00Z",
)
UNTIL = Moment(
    "until",
    lambda text: until(text, datetime.now(UTC)),
    "use a duration such as 90m, 12h or 7d, or a time such as 2030-01-31T12:00:00Z",
)
AGO = Moment("duration", lambda text: ago(text, datetime.now(UTC)), "use an age such as 90m, 12h or 7d")


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
