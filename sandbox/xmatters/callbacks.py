"""Callbacks: xMatters' requests to the relay that report people's answers and the states of pages.

Each is the JSON of the custom step in docs/xmatters/tell-relay.js, version 1. Documented by xMatters, for the BigPanda
workflow: status, delivery and response callbacks are on by default. Besides these, failures are sent here, which are
off by default.

Guesses, to be checked against a tenant:

- each callback is one POST; without an answer, or after 429 or 5xx, it is sent once more, at once, as the custom step
  does;
- callbacks are sent one after the other, in the order of what they report;
- no callback is sent for a page without an incident's id, since the custom step fails.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandbox.http.schema import compiled
from sandbox.http.sender import TARGET, Sender, Target
from sandbox.xmatters.notifications import Notification
from sandbox.xmatters.pages import Page, rest_time
from sandbox.xmatters.people import Person

MOST_LOGGED = 500

_DECLARATION = compiled(TARGET, {"function": {"type": ["string", "null"], "default": None}})


@dataclass(frozen=True)
class Callback:
    """A callback to send.

    Attributes:
        target: Its destination: the relay's callback route for a channel.
        page, at: The page, and the time of what is reported.
        body: The body, a JSON object.
    """

    target: Target
    page: Page
    at: datetime
    body: dict[str, Any]


class Callbacks:
    """Sender of callbacks; nothing is sent before `declare`. Safe to use from several threads.

    Neither a vendor's route nor the clock waits for the relay.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._targets: dict[str | None, Target] = {}
        self._log: deque[dict[str, Any]] = deque(maxlen=MOST_LOGGED)
        self._sender = Sender(self._deliver)

    def declare(self, document: object) -> None:
        """Set the destination of callbacks: ``url``, on this machine, and ``header`` with ``name`` and ``value``.

        With ``function``, the UUID of a trigger, the destination is for the pages of that trigger only. Without it, the
        destination is for the pages of all triggers that have none of their own.

        Raises InvalidError if the declaration is invalid; the message names the key, never the value.
        """
        wanted = _DECLARATION(document, "callbacks")
        function = wanted["function"]
        with self._lock:
            self._targets[function and function.lower()] = Target.of(wanted)

    def log(self) -> list[dict[str, Any]]:
        """Return the newest callbacks that were sent, or could not be, oldest first."""
        with self._lock:
            return list(self._log)

    def clear(self) -> None:
        """Forget the log and the destinations."""
        with self._lock:
            self._log.clear()
            self._targets.clear()

    def close(self) -> None:
        """Send no further callback."""
        self._sender.stop()

    def status(self, page: Page) -> None:
        """Queue a callback with the status of a page."""
        self._send("status", page, {"status": page.status})

    def delivery(self, made: Notification) -> None:
        """Queue a callback which reports if a notification was delivered."""
        self._send("delivery", made.page, _of(made) | {"delivery_status": made.delivery_status})

    def failure(self, page: Page, recipient: str, reason: str) -> None:
        """Queue a callback which reports that a recipient of the signal, a user or a group, could not be notified."""
        self._send("failure", page, {"person": {"target": recipient}, "reason": reason})

    def response(self, answered: Notification, comment: str | None) -> None:
        """Queue a callback with a person's answer, and the comment written with it."""
        self._send("response", answered.page, _of(answered) | {"response": answered.answer, "note": comment})

    def _send(self, kind: str, page: Page, members: Mapping[str, Any]) -> None:
        with self._lock:
            target = self._targets.get(page.function.lower()) or self._targets.get(None)
        if target is None:
            return
        now = self._now()
        body = {
            "relay": 1,
            "kind": kind,
            "incident_id": page.incident_id,
            "environment_id": page.order.environment_id,
            "event": {"id": page.id, "number": page.number},
            **members,
            "at": rest_time(now),
        }
        # One lane: callbacks are sent one after the other.
        self._sender.send("", Callback(target, page, now, _without_empty(body)))

    def _deliver(self, callback: Callback) -> None:
        if callback.page.incident_id is None:
            self._record(callback, None, "was not sent, since the page has no incident's id")
            return
        status, again = callback.target.post(callback.body).status, ""
        if status is None or status == 429 or status >= 500:
            status, again = callback.target.post(callback.body).status, ", at the second attempt"
        self._record(callback, status, _outcome(status) + again)

    def _record(self, callback: Callback, status: int | None, what: str) -> None:
        number, kind = callback.page.number, callback.body["kind"]
        entry = {
            "at": callback.at.isoformat(),
            "page": number,
            "kind": kind,
            "status": status,
            "text": f"The {kind} callback for page {number} {what}.",
        }
        with self._lock:
            self._log.append(entry)


def _outcome(status: int | None) -> str:
    if status is None:
        return "got no answer"
    return f"was taken (status {status})" if 200 <= status < 300 else f"was refused (status {status})"


def _of(notification: Notification) -> dict[str, Any]:
    """Return the members of a body that name a notification's person and device."""
    return {"person": _person(notification.person), "device": notification.device.name}


def _person(person: Person) -> dict[str, Any]:
    return _without_empty(
        {
            "target": person.name,
            "first_name": person.first_name,
            "last_name": person.last_name,
            "email": person.email,
        }
    )


def _without_empty(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}
