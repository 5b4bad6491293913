"""Requests of both vendors to the relay: their target, the answer, and the order in which they are sent.

Guess, to be checked against the vendors: they wait 30 s for an answer, and follow no redirect.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests
import urllib3

from sandbox.http.schema import HEADER, LOOPBACK_URL, json_or_none

ANSWER_SECONDS = 30.0
MOST_ANSWER_BYTES = 65_536
MOST_AT_ONCE = 8
# Schemas of a declared target.
TARGET = {"url": LOOPBACK_URL, "header": HEADER}


@dataclass(frozen=True)
class Answer:
    """The receiver's answer to a request.

    Attributes:
        status: HTTP status; None if no answer came.
        document: The answer's body, if it is a JSON object; None if it is anything else, or too large.
    """

    status: int | None
    document: dict[str, Any] | None

    @property
    def outcome(self) -> str | None:
        """The relay's outcome, such as `delivered`: the member `outcome` of the answer; None if the answer has none."""
        found = self.document.get("outcome") if self.document else None
        return found if isinstance(found, str) else None


@dataclass(frozen=True)
class Target:
    """A URL on this machine, and name and value of the header by which the receiver authenticates the vendor."""

    url: str
    header: tuple[str, str]

    @classmethod
    def of(cls, checked: Mapping[str, Any]) -> "Target":
        """Return the target of a declaration that fits the schemas `TARGET`."""
        return cls(checked["url"], (checked["header"]["name"], checked["header"]["value"]))

    def post(self, document: Any) -> Answer:
        """Post a JSON document."""
        name, value = self.header
        headers = {"Content-Type": "application/json", name: value}
        body = json.dumps(document).encode()
        try:
            with requests.Session() as session:
                session.trust_env = False
                options: dict[str, Any] = {"timeout": ANSWER_SECONDS, "allow_redirects": False, "stream": True}
                with session.post(self.url, data=body, headers=headers, **options) as answer:
                    return Answer(answer.status_code, _document(answer))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError, RecursionError):
            return Answer(None, None)


class Sender[Item]:
    """Sends items in the background: in order within a lane, several lanes at a time. Safe to use from several threads.

    `deliver` sends one item, and waits for its answer.
    """

    def __init__(self, deliver: Callable[[Item], None]) -> None:
        self._deliver = deliver
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(MOST_AT_ONCE)
        # The items that are waiting or in flight; a lane with items has a thread.
        self._lanes: dict[str, deque[Item]] = {}
        self._is_stopped = False

    def send(self, lane: str, item: Item) -> None:
        """Send an item after the earlier ones of its lane; after `stop`, drop it."""
        with self._lock:
            if self._is_stopped:
                return
            waiting = self._lanes.setdefault(lane, deque())
            waiting.append(item)
            if len(waiting) == 1:
                # The thread may wait for an answer; it is a daemon, so the process can end all the same.
                threading.Thread(target=self._work, args=(lane, waiting), name="sandbox-sender", daemon=True).start()

    def clear(self) -> None:
        """Drop the items that wait; one in flight stays in flight."""
        with self._lock:
            self._lanes.clear()

    def stop(self) -> None:
        """Drop the items that wait, and send nothing more."""
        self._is_stopped = True
        self.clear()

    def _work(self, lane: str, waiting: deque[Item]) -> None:
        # After `clear`, the lane is gone, or a new one with a thread of its own.
        while waiting and self._lanes.get(lane) is waiting:
            with self._turns:
                self._deliver(waiting[0])
            with self._lock:
                waiting.popleft()
                if not waiting and self._lanes.get(lane) is waiting:
                    del self._lanes[lane]


def _document(answer: requests.Response) -> dict[str, Any] | None:
    content = answer.raw.read(MOST_ANSWER_BYTES + 1, decode_content=True)
    found = json_or_none(content) if len(content) <= MOST_ANSWER_BYTES else None
    return found if isinstance(found, dict) else None
