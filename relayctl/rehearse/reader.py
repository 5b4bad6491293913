"""Read-only client of one vendor's API: it can only GET, keeps to a pace, and waits out what passes.

Its failures are sentences for the operator, without a credential.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlencode

import click

from relay.deadline import Deadline
from relay.failures import NoAnswer
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer

# Time limit of one call, and how often it is tried.
CALL_SECONDS, TRIES = 30.0, 6
# Waits after a failure, and after a 429 without Retry-After: each twice as long as the one before.
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
# The vendor's seconds and ours do not begin together, so the pace stays below the limit by this part.
MARGIN = 0.015
CLOCKS_DIFFER_SECONDS = 120.0
# Longest part of a wait, after which a stop is noticed.
SLICE_SECONDS = 1.0
_REFUSED = {
    401: "refuses the credentials",
    403: "the user of the credentials has no right to read this; give the role the right to view it",
}


class HasTime(Protocol):
    """The clocks of a run of relayctl (`relayctl.stack.deployed.Effects`)."""

    @property
    def clock(self) -> Callable[[], float]:
        """The time in epoch seconds."""

    @property
    def ticks(self) -> Callable[[], float]:
        """Seconds of a monotonic clock."""

    @property
    def sleep(self) -> Callable[[float], None]:
        """Waits for some seconds."""


class Pace:
    """Distance between the calls of one endpoint, for all threads together."""

    def __init__(self, calls_a_second: float, time: HasTime) -> None:
        self.seconds = (1 + MARGIN) / calls_a_second
        self._time, self._lock, self._next = time, threading.Lock(), 0.0

    def wait(self, stop: threading.Event | None = None) -> None:
        """Wait until the next call may begin, or `stop` is set."""
        with self._lock:
            now = self._time.ticks()
            at = max(self._next, now)
            self._next = at + self.seconds
        sleep(at - now, self._time, stop)

    def hold(self, seconds: float) -> None:
        """Let no call begin for some seconds: the vendor asked for fewer."""
        with self._lock:
            self._next = max(self._next, self._time.ticks() + seconds)


def sleep(seconds: float, time: HasTime, stop: threading.Event | None) -> None:
    """Wait for some seconds, or until `stop` is set."""
    until = time.ticks() + seconds
    while (left := until - time.ticks()) > 0 and not (stop and stop.is_set()):
        time.sleep(min(left, SLICE_SECONDS))


class FetchError(click.ClickException):
    """A vendor cannot be read; the message says why, and what to do."""


@dataclass
class Reader:
    """Reads one vendor's API.

    Attributes:
        vendor: Name of the vendor.
        outward: Client for the vendor's hosts.
        base_url: URL without a slash at the end.
        headers: Headers with the credentials.
        time: Clocks of the run.
        calls: Number of requests that were sent.
        stop: Set to end all waits, with a FetchError in each thread that waits.
        ahead_seconds: How far this machine's clock is ahead of the vendor's; 0 before the first answer.
    """

    vendor: str
    outward: HttpClient
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    time: HasTime
    stop: threading.Event = field(default_factory=threading.Event)
    calls: int = 0
    ahead_seconds: float = 0.0

    def get(self, pace: Pace, path: str, query: Mapping[str, Any]) -> Any:
        """Return the JSON document at a path; None if there is nothing (404, 410). Raises FetchError."""
        url = f"{self.base_url}{path}?{urlencode(query)}" if query else f"{self.base_url}{path}"
        wait, problem = FIRST_WAIT_SECONDS, ""
        for _ in range(TRIES):
            pace.wait(self.stop)
            if self.stop.is_set():
                raise FetchError("stopped")
            self.calls += 1
            try:
                answer = self.outward.ask("GET", url, None, self.headers, Deadline(CALL_SECONDS, self.time.ticks))
            except NoAnswer as error:
                if not error.was_sent and "must not be called" in str(error):
                    raise FetchError(f"{self.vendor}: {error}") from None
                problem = str(error)
                sleep(wait, self.time, self.stop)
            else:
                self._compare_clocks(answer)
                if 200 <= answer.status < 300 and (document := _json(answer)) is not None:
                    return document
                if answer.status in {404, 410}:
                    return None
                problem = self._judged(answer, path)
                pace.hold(_retry_after(answer) or wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        raise FetchError(f"{self.vendor}: {problem}, {TRIES} times; with --keep, the same command goes on here later")

    def _judged(self, answer: HttpAnswer, path: str) -> str:
        """Return what an answer says that may pass. Raises FetchError for one that will not."""
        if answer.status == 429:
            return "too many requests (HTTP 429); does another program use the same key?"
        if answer.status >= 500 or 200 <= answer.status < 300:
            return f"HTTP {answer.status}" if answer.status >= 500 else "an answer that is no JSON, maybe a proxy's"
        said = _REFUSED.get(answer.status, "refuses the request")
        raise FetchError(f"{self.vendor}: HTTP {answer.status} for {path}: {said}")

    def _compare_clocks(self, answer: HttpAnswer) -> None:
        try:
            told = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except (ValueError, TypeError):
            return
        ahead = self.time.clock() - told
        self.ahead_seconds = ahead if abs(ahead) > CLOCKS_DIFFER_SECONDS else 0.0


def _json(answer: HttpAnswer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _retry_after(answer: HttpAnswer) -> float | None:
    told = answer.headers.get("retry-after", "")
    return min(float(told), 10 * LONGEST_WAIT_SECONDS) if told.isdecimal() else None


# What `Reader.get` is once its pace is known: takes a path and a query.
type Get = Callable[[str, Mapping[str, Any]], Any]


def paced(reader: Reader, pace: Pace) -> Get:
    """Return `Reader.get` at a pace."""
    return partial(reader.get, pace)
