"""Reader of one vendor's API: it can only GET, keeps to a pace, and keeps each answer, so that no run asks it again."""

import dbm.sqlite3
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from relay.deadline import Deadline
from relay.failures import Reason, SendError
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from relayctl.stack.deployed import Effects

FILE = "fetched.sqlite"
# Time limit of one call, and how often it is tried.
CALL_SECONDS, TRIES = 30.0, 6
# Waits after a failure without Retry-After: each twice as long as the one before.
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 600.0
# The vendor's seconds and ours do not begin together, so the pace stays below the limit by this part.
MARGIN = 0.015
# Longest part of a wait, after which a stop is noticed.
SLICE_SECONDS = 1.0
_REFUSED = {
    401: "refuses the credentials",
    403: "the user of the credentials has no right to read this; give the role the right to view it",
}


class FetchError(click.ClickException):
    """A vendor cannot be read; the message says why, and what to do."""


class Answers:
    """Vendors' answers by URL, in a file of a folder that only the operator can read. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._place = folder / FILE

    def get(self, url: str, ask: Callable[[], Any]) -> Any:
        """Return the kept answer, or that of `ask`, which is kept."""
        self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with dbm.sqlite3.open(self._place, "c", 0o600) as kept:
            text = kept.get(url.encode())
        if text is None:
            text = json.dumps(ask()).encode()
            with dbm.sqlite3.open(self._place, "c", 0o600) as kept:
                kept[url] = text
        return json.loads(text)


@dataclass
class Reader:
    """Reads one vendor's API, at the vendor's pace for all threads together."""

    vendor: str  # Name of the vendor
    outward: HttpClient  # Client for the vendor's hosts
    base_url: str  # URL without a slash at the end
    headers: Mapping[str, str] = field(repr=False)  # Headers with the credentials
    calls_a_second: float  # The vendor's limit for one endpoint
    effects: Effects  # Clocks of the run
    answers: Answers  # What was read before, and is now
    stop: threading.Event = field(default_factory=threading.Event)  # Ends all waits, by a FetchError
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    # The earliest time of the next call, by endpoint (seconds of the monotonic clock).
    _next: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    @property
    def seconds(self) -> float:
        """Seconds from one call of an endpoint to the next."""
        return (1 + MARGIN) / self.calls_a_second

    def get(self, path: str, query: Mapping[str, Any], endpoint: str = "") -> Any:
        """Return the JSON document at a path, from the answers or from the vendor; None for 404 and 410.

        Calls are at the pace of `endpoint`. Raises FetchError.
        """
        url = f"{self.base_url}{path}?{urlencode(query)}"
        return self.answers.get(url, lambda: self._asked(url, path, endpoint))

    def _asked(self, url: str, path: str, endpoint: str) -> Any:
        wait, problem = FIRST_WAIT_SECONDS, ""
        for _ in range(TRIES):
            self._take_turn(endpoint)
            if self.stop.is_set():
                raise FetchError("stopped")
            told = None
            try:
                deadline = Deadline(CALL_SECONDS, self.effects.ticks)
                answer = self.outward.ask("GET", url, None, self.headers, deadline)
            except SendError as error:
                problem = str(error)
            else:
                if 200 <= answer.status < 300 and (document := _json(answer)) is not None:
                    return document
                if answer.status in {404, 410}:
                    return None
                problem = self._judged(answer, path)
                told = self.outward.bad_answer(answer, Reason.UPSTREAM, ()).retry_after
            self._sleep(min(told or wait, LONGEST_WAIT_SECONDS))
            wait *= 2
        raise FetchError(f"{self.vendor}: {problem}, {TRIES} times; with --keep, the same command goes on here later")

    def _take_turn(self, endpoint: str) -> None:
        with self._lock:
            now = self.effects.ticks()
            at = max(self._next.get(endpoint, now), now)
            self._next[endpoint] = at + self.seconds
        self._sleep(at - now)

    def _sleep(self, seconds: float) -> None:
        until = self.effects.ticks() + seconds
        while (left := until - self.effects.ticks()) > 0 and not self.stop.is_set():
            self.effects.sleep(min(left, SLICE_SECONDS))

    def _judged(self, answer: HttpAnswer, path: str) -> str:
        if answer.status == 429:
            return "too many requests (HTTP 429); does another program use the same key?"
        if answer.status >= 500:
            return f"HTTP {answer.status}"
        if 200 <= answer.status < 300:
            return "an answer that is no JSON, maybe a proxy's"
        said = _REFUSED.get(answer.status, "refuses the request")
        raise FetchError(f"{self.vendor}: HTTP {answer.status} for {path}: {said}")


def _json(answer: HttpAnswer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
