"""Sharing of live incidents with a channel: what is sent, held by the callback lock, or sent again.

Guesses, to be checked against an organisation:

- the callback lock starts with an incident's first share, and holds the newest 50 updates; an incident has one lock in
  its life;
- at the end of the lock all held updates are sent; each has the incident's state at the time of its trigger;
- while BigPanda is silent, it sends no webhook (`Sharing.silence`); an update or a resend that was due then is
  never sent.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sandbox.bigpanda import channels
from sandbox.bigpanda.channels import MOST_ATTEMPTS, Channel
from sandbox.bigpanda.incidents import ENVIRONMENT, Incident
from sandbox.bigpanda.records import MOST_HELD, Record, Records, cut
from sandbox.bigpanda.sender import Sender, WebhookAnswer
from sandbox.bigpanda.timer import Timer
from sandbox.bigpanda.webhooks import Webhook


class Sharing:
    """The channel, and the sending, holding and resending of webhooks to it.

    Safe to use from several threads; no method waits for a webhook.
    """

    def __init__(self, lock: threading.RLock, records: Records, timer: Timer, now: Callable[[], datetime]) -> None:
        self._lock = lock
        self._records = records
        self._timer = timer
        self._now = now
        self._channel: Channel | None = None
        self._is_silent = False
        self._sender = Sender(self._sent)

    @property
    def environment_id(self) -> str:
        """Id of the channel's environment, or of the default environment; incidents are opened in it."""
        return self._channel.environment_id if self._channel else ENVIRONMENT

    @property
    def has_channel(self) -> bool:
        """True if a channel was declared."""
        return self._channel is not None

    def declare(self, declared: object) -> None:
        """Set the channel that live incidents are shared with; it replaces an earlier channel.

        `declared` is the JSON object of a request. Raises InvalidError, which names the member that is wrong.
        """
        channel = channels.parse(declared)
        with self._lock:
            self._channel = channel

    def silence(self, is_silent: bool) -> None:
        """Send no webhooks from now on, and drop the waiting ones; or, if `is_silent` is false, send webhooks again."""
        with self._lock:
            self._is_silent = is_silent
            if is_silent:
                self._sender.clear()

    def why_not(self, environment_id: str, before: Incident, after: Incident, event: str) -> str | None:
        """Return the reason why a change is not shared, as a sentence; None if it is to be shared."""
        if self._channel is None:
            return "Not shared: no sharing channel is declared."
        return channels.why_not_sent(self._channel, environment_id, before, after, event)

    def share(self, environment_id: str, incident: Incident, event: str) -> None:
        """Send an incident's state to the channel by a webhook.

        While the incident has a callback lock, the webhook is held, and sent when the lock ends. After `silence`,
        the webhook is dropped.
        """
        with self._lock:
            if self._channel:
                self._share(Webhook(self._channel, environment_id, incident, event))

    def release(self, incident_id: str) -> None:
        """End an incident's callback lock, and send the webhooks that it held; no effect if there is no lock."""
        self._unlock(incident_id, "The receiver called the callback service: the lock ended.")

    def shown(self) -> dict[str, Any]:
        """Return the channel without secrets, the newest webhooks, and whether `silence` stops webhooks now."""
        return {
            "channel": self._channel.shown() if self._channel else None,
            "webhooks": list(self._records.webhooks),
            "is_silent": self._is_silent,
        }

    def clear(self) -> None:
        """Forget the channel, drop the waiting webhooks, and undo `silence`."""
        with self._lock:
            self._channel, self._is_silent = None, False
            self._sender.clear()

    def stop(self) -> None:
        """Drop the waiting webhooks, and end the sender's threads."""
        self._sender.stop()

    def _share(self, webhook: Webhook) -> None:
        record = self._records.of(webhook.incident)
        if self._is_silent:
            record.say(self._now(), "share", "BigPanda is silent: this update is never sent.")
        elif record.held is not None:
            record.held.append(webhook)
            record.say(self._now(), "share", "Held until the receiver calls the callback service.")
        else:
            if webhook.channel.callbacks and not record.had_lock:
                self._begin_lock(webhook, record)
            self._send(webhook)

    def _begin_lock(self, webhook: Webhook, record: Record) -> None:
        record.held, record.had_lock = deque(maxlen=MOST_HELD), True
        text = "The receiver did not call the callback service in time: the lock ended by itself."
        incident_id = webhook.incident_id
        self._timer.set(("lock", incident_id), webhook.channel.lock_seconds, lambda: self._unlock(incident_id, text))

    def _unlock(self, incident_id: str, text: str) -> None:
        with self._lock:
            record = self._records.by_id.get(incident_id)
            if record is None or record.held is None:
                return
            held, record.held = record.held, None
            self._timer.cancel(("lock", incident_id))
            record.say(self._now(), "share", text)
            for webhook in held:
                self._share(webhook)

    def _send(self, webhook: Webhook) -> None:
        if not self._sender.send(webhook):
            self._say(webhook, "Not sent: too many webhooks wait.")

    def _sent(self, webhook: Webhook, answer: WebhookAnswer) -> None:
        with self._lock:
            # A webhook of a forgotten channel may still have been on the way.
            if webhook.channel is not self._channel and webhook.incident_id not in self._records.by_id:
                return
            self._records.sent(webhook, answer, self._now())
            again = self._resend(webhook, answer)
            said = "no answer came" if answer.status is None else f"the answer was {answer.status}"
            outcome = f", {cut(answer.outcome)}" if answer.outcome else ""
            self._say(webhook, f"Shared ({webhook.event}): {said}{outcome}.{again}")

    def _resend(self, webhook: Webhook, answer: WebhookAnswer) -> str:
        channel, attempt = webhook.channel, webhook.attempt + 1
        if not channel.resends or (answer.status is not None and answer.status < 501):
            return ""
        if attempt > MOST_ATTEMPTS:
            return f" BigPanda gives up after {MOST_ATTEMPTS} attempts."
        again = replace(webhook, attempt=attempt)
        if not self._timer.set(("resend", id(again)), channel.resend_seconds, lambda: self._send_again(again)):
            return " Too many webhooks wait to be sent again."
        return f" BigPanda sends it again in {channel.resend_seconds:g} s: attempt {attempt} of {MOST_ATTEMPTS}."

    def _send_again(self, webhook: Webhook) -> None:
        with self._lock:
            if not self._is_silent:
                self._send(webhook)

    def _say(self, webhook: Webhook, text: str) -> None:
        # The incident may have been forgotten while its webhook was on the way.
        if record := self._records.by_id.get(webhook.incident_id):
            record.say(self._now(), "share", text)
