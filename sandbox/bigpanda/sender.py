"""Sender of webhooks: background threads, in order for each incident, several incidents at a time.

Guesses, to be checked against an organisation: webhooks of one incident arrive in order and wait for one another's
answer; BigPanda waits 30 s for an answer, and follows no redirect.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
import urllib3

from sandbox.bigpanda.webhooks import Webhook
from sandbox.http.schema import json_or_none

WORKERS = 8
ANSWER_SECONDS = 30.0
MOST_ANSWER_BYTES = 65_536


@dataclass(frozen=True)
class WebhookAnswer:
    """The receiver's answer to a webhook.

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


class Sender:
    """Sender of webhooks. Safe to use from several threads.

    `answered` is called with each webhook and its answer, on one of the sender's own threads.
    """

    def __init__(self, answered: Callable[[Webhook, WebhookAnswer], None]) -> None:
        self._answered = answered
        self._changed = threading.Condition()
        # By incident, the webhooks that are waiting or in flight; an incident is in `_ready` unless one is in flight.
        self._lanes: dict[str, deque[Webhook]] = {}
        self._ready: deque[str] = deque()
        self._is_running = False

    def send(self, webhook: Webhook) -> None:
        """Send a webhook after the earlier ones of its incident."""
        with self._changed:
            lane = self._lanes.get(webhook.incident_id)
            if lane is None:
                self._lanes[webhook.incident_id] = deque([webhook])
                self._ready.append(webhook.incident_id)
            else:
                lane.append(webhook)
            self._start()
            self._changed.notify()

    def clear(self) -> None:
        """Drop the webhooks that wait; one in flight stays in flight."""
        with self._changed:
            self._lanes.clear()
            self._ready.clear()

    def stop(self) -> None:
        """Drop the webhooks that wait, and end the threads once their requests are answered."""
        with self._changed:
            self.clear()
            self._is_running = False
            self._changed.notify_all()

    def _start(self) -> None:
        if not self._is_running:
            self._is_running = True
            for number in range(WORKERS):
                threading.Thread(target=self._work, name=f"bigpanda-sender-{number}", daemon=True).start()

    def _work(self) -> None:
        while webhook := self._next():
            answer = _post(webhook)
            self._answered(webhook, answer)
            self._done(webhook)

    def _next(self) -> Webhook | None:
        with self._changed:
            while self._is_running and not self._ready:
                self._changed.wait()
            return self._lanes[self._ready.popleft()][0] if self._is_running else None

    def _done(self, webhook: Webhook) -> None:
        with self._changed:
            lane = self._lanes.get(webhook.incident_id)
            # After `clear` the lane is gone, or a new one that another thread works.
            if lane and lane[0] is webhook:
                lane.popleft()
                if lane:
                    self._ready.append(webhook.incident_id)
                    self._changed.notify()
                else:
                    del self._lanes[webhook.incident_id]


def _post(webhook: Webhook) -> WebhookAnswer:
    name, value = webhook.channel.header
    headers = {"Content-Type": "application/json", name: value}
    try:
        with requests.Session() as session:
            session.trust_env = False
            with session.post(
                webhook.channel.url,
                data=webhook.body(),
                headers=headers,
                timeout=ANSWER_SECONDS,
                allow_redirects=False,
                stream=True,
            ) as answer:
                return WebhookAnswer(answer.status_code, _document(answer))
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError, RecursionError):
        return WebhookAnswer(None, None)


def _document(answer: requests.Response) -> dict[str, Any] | None:
    content = answer.raw.read(MOST_ANSWER_BYTES + 1, decode_content=True)
    found = json_or_none(content) if len(content) <= MOST_ANSWER_BYTES else None
    return found if isinstance(found, dict) else None
