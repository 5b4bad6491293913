"""Callbacks: xMatters' requests to the relay that report people's answers and the states of pages.

Documented by xMatters, for the BigPanda workflow: status, delivery and response callbacks are on by default. The other
kinds are off unless declared.

Guesses, to be checked against a tenant:

- each callback is one POST; without an answer, or after 429 or 5xx, it is sent once more, at once, in both shapes (the
  step in docs/xmatters/tell-relay.js does so); a redirect is not followed;
- callbacks are sent one after the other, in the order of what they report;
- in the flow shape, no callback is sent for a page without an incident's id, since the custom step fails.
"""

import json
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from sandbox.http.faults import Script
from sandbox.http.schema import compiled
from sandbox.xmatters.callback_bodies import KINDS, SHAPES, CallbackFacts, body_of
from sandbox.xmatters.notifications import Notification
from sandbox.xmatters.pages import Page
from sandbox.xmatters.people import Person

ANSWER_SECONDS = 30.0
MOST_LOGGED = 500
DEFAULT_KINDS = ["response", "delivery", "status"]

_PRINTABLE = "[\\x20-\\x7e]"
_DECLARATION = compiled(
    {"url": {"type": ["string", "null"], "pattern": "^https?://[\\x21-\\x7e]+$", "maxLength": 2000}},
    {
        "header": {"type": ["object", "null"], "default": None},
        "shape": {"enum": SHAPES, "default": "flow"},
        "kinds": {"type": "array", "items": {"enum": KINDS}, "default": DEFAULT_KINDS},
        "function": {
            "type": ["string", "null"],
            "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
            "default": None,
        },
    },
)
_HEADER = compiled(
    {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,100}$"},
        "value": {"type": "string", "pattern": f"^[\\x21-\\x7e]({_PRINTABLE}*[\\x21-\\x7e])?$", "maxLength": 4000},
    },
    {},
)


@dataclass(frozen=True)
class Target:
    """Destination of callbacks.

    Attributes
    ----------
    url
        Address of the relay's callback route for a channel.
    headers
        Credentials, as one header; empty without any.
    shape
        One of `sandbox.xmatters.callback_bodies.SHAPES`.
    kinds
        Kinds that are sent.
    """

    url: str
    headers: Mapping[str, str]
    shape: str
    kinds: frozenset[str]


class Callbacks:
    """Queue and sender of callbacks; nothing is sent before `declare`. Safe to use from several threads.

    A thread of its own sends, so that neither a vendor's route nor the clock waits for the relay.
    """

    def __init__(self, script: Script, now: Callable[[], datetime]) -> None:
        self._script = script
        self._now = now
        self._lock = threading.Lock()
        self._targets: dict[str | None, Target] = {}
        self._log: deque[dict[str, Any]] = deque(maxlen=MOST_LOGGED)
        self._queue: queue.Queue[tuple[CallbackFacts, Target] | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def declare(self, document: object) -> dict[str, Any]:
        """Set the destination of callbacks; return the declaration with its secret masked.

        With ``function``, the UUID of a trigger, the destination is for the pages of that trigger only. Without it, the
        destination is for the pages of all triggers that have none of their own.

        ``url`` null removes the destination; ``header`` has ``name`` and ``value``; ``shape`` is legacy or flow
        (default); ``kinds`` lists the kinds to send.

        Raises
        ------
        InvalidError
            If the declaration is invalid; the message names the key, never the value.
        """
        wanted = _DECLARATION(document, "callbacks")
        header = _HEADER(wanted["header"], "callbacks.header") if wanted["header"] is not None else None
        headers = {header["name"]: header["value"]} if header else {}
        function = wanted["function"].lower() if wanted["function"] else None
        with self._lock:
            if wanted["url"] is None:
                self._targets.pop(function, None)
            else:
                kinds = frozenset(wanted["kinds"])
                self._targets[function] = Target(wanted["url"], headers, wanted["shape"], kinds)
        shown = {"name": header["name"], "value": "****"} if header else None
        return wanted | {"function": function, "header": shown}

    def log(self) -> list[dict[str, Any]]:
        """Return the newest callbacks that were sent, or could not be, oldest first."""
        with self._lock:
            return list(self._log)

    def clear(self) -> None:
        """Forget the log."""
        with self._lock:
            self._log.clear()

    def settle(self) -> None:
        """Wait until each queued callback was sent, or lost by a fault."""
        self._queue.join()

    def close(self) -> None:
        """Send no further callback, and end the thread."""
        with self._lock:
            self._closing.set()
            thread, self._thread = self._thread, None
        self._queue.put(None)
        if thread:
            # The thread may wait for the relay's answer; it is a daemon, so the process can end all the same.
            thread.join(timeout=1)

    def status(self, page: Page, word: str, username: str = "") -> None:
        """Queue a callback with the status of a page.

        `word` is the status in the spelling of xMatters' older JSON callbacks, such as `terminated`.
        """
        self._send(CallbackFacts("status", page, self._now(), word=word, username=username))

    def delivery(self, made: Notification) -> None:
        """Queue a callback which reports that a notification was delivered, or failed."""
        self._send(CallbackFacts("delivery", made.page, self._now(), made.person, made.device, made.delivery_status))

    def response(self, answered: Notification, comment: str | None) -> None:
        """Queue a callback with a person's answer, and the comment written with it."""
        facts = CallbackFacts(
            "response", answered.page, self._now(), answered.person, answered.device, answered.answer, comment
        )
        self._send(facts)

    def annotation(self, page: Page, person: Person, comment: str) -> None:
        """Queue a callback with a person's comment on a page."""
        self._send(CallbackFacts("annotation", page, self._now(), person, note=comment))

    def escalation(self, page: Page, person: Person, group: str, reason: str) -> None:
        """Queue a callback which reports that a group's next member is notified after `person`; `reason` says why."""
        self._send(CallbackFacts("escalation", page, self._now(), person, group=group, reason=reason))

    def failure(self, page: Page, group: str, reason: str) -> None:
        """Queue a callback which reports that nobody is left to notify in a group."""
        self._send(CallbackFacts("failure", page, self._now(), group=group, reason=reason))

    def _send(self, facts: CallbackFacts) -> None:
        with self._lock:
            target = self._targets.get(facts.page.function.lower()) or self._targets.get(None)
            if target is None or facts.kind not in target.kinds or self._closing.is_set():
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="sandbox-callbacks", daemon=True)
                self._thread.start()
        self._queue.put((facts, target))

    def _work(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while True:
                item = self._queue.get()
                try:
                    if item is None or self._closing.is_set():
                        return
                    self._deliver(session, *item)
                finally:
                    self._queue.task_done()

    def _deliver(self, session: requests.Session, facts: CallbackFacts, target: Target) -> None:
        if target.shape == "flow" and facts.page.incident_id is None:
            self._record(facts, None, "was not sent, since the page has no incident's id")
            return
        fault = self._script.take("callback")
        if fault and not (fault.accept or fault.kind in ("accept_then_reset", "reset_body", "truncated_json")):
            self._record(facts, None, f"was lost by the scripted fault {fault.kind}")
            return
        if fault:
            self._closing.wait(fault.seconds)
        body = json.dumps(body_of(facts, target.shape)).encode()
        status = self._post(session, target, body)
        retried = _may_pass(status) or (fault is not None and fault.kind not in ("slow", "drip"))
        if retried:
            status = self._post(session, target, body)
        self._record(facts, status, _outcome(status) + (", at the second attempt" if retried else ""))

    def _post(self, session: requests.Session, target: Target, body: bytes) -> int | None:
        headers = {"Content-Type": "application/json", **target.headers}
        try:
            answer = session.post(target.url, data=body, headers=headers, timeout=ANSWER_SECONDS, allow_redirects=False)
        except (requests.RequestException, ValueError):
            return None
        return answer.status_code

    def _record(self, facts: CallbackFacts, status: int | None, what: str) -> None:
        entry = {
            "at": facts.at.isoformat(),
            "page": facts.page.number,
            "kind": facts.kind,
            "status": status,
            "text": f"The {facts.kind} callback for page {facts.page.number} {what}.",
        }
        with self._lock:
            self._log.append(entry)


def _may_pass(status: int | None) -> bool:
    return status is None or status == 429 or status >= 500


def _outcome(status: int | None) -> str:
    if status is None:
        return "got no answer"
    return f"was taken (status {status})" if 200 <= status < 300 else f"was refused (status {status})"
