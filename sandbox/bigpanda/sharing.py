"""Sharing of live incidents with the channel: which changes are shared, and webhooks that are sent again.

Documented by BigPanda (docs/vendors.md, "What BigPanda sends" and "How BigPanda takes the answer"):

- AutoShare shares new incidents of its environment; an older one is shared when it reopens or starts flapping;
- an update goes to all recipients of earlier shares, also after a manual share;
- an incident that became snoozed or flapping is shared once in that state, and then not updated while it lasts.

Guesses, to be checked against an organisation:

- a failed webhook is sent again as BigPanda's ServiceNow integration does it: 6 attempts in all, on 501 and above and
  without an answer; the 15 minutes between them are shortened here (`RESEND_SECONDS`);
- a close, and an update that ends a snooze, are sent, since the incident is not snoozed or flapping any more;
- a manual share is sent while the incident is snoozed or flapping, too;
- while BigPanda is silent, it sends no webhook (`Sharing.silence`); an update or a resend that was due then is
  never sent;
- the name of an integration in activities is that of its kind and its own, such as `webhook.sandbox`.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sandbox.bigpanda import states
from sandbox.bigpanda.incidents import ENVIRONMENT, Incident
from sandbox.bigpanda.records import Records, cut
from sandbox.bigpanda.sender import Sender, WebhookAnswer
from sandbox.bigpanda.webhooks import Channel, Webhook
from sandbox.clock import Clock

# Names of the channel's integration, and of another team's.
OWN_TARGET, OTHER_TARGET = "webhook.sandbox", "webhook.another-team"
# Attempts to send one webhook, in all, with resends.
MOST_ATTEMPTS = 6
# Triggers on which AutoShare shares an incident that is not shared yet.
FIRST_TRIGGERS = ("incident#new", "incident#reopen", "incident#become-flapping")


class Sharing:
    """The channel, and the sending and resending of webhooks to it.

    Safe to use from several threads; no method waits for a webhook.
    """

    def __init__(self, lock: threading.RLock, records: Records, clock: Clock, now: Callable[[], datetime]) -> None:
        self._lock = lock
        self._records = records
        self._clock = clock
        self._now = now
        self._channel: Channel | None = None
        self._is_silent = False
        self._is_elsewhere = False
        self._sender = Sender(self._sent)

    def declare(self, declared: object) -> None:
        """Set the channel that live incidents are shared with; it replaces an earlier channel.

        `declared` is the JSON object of a request: ``url``, on this machine, ``header`` with ``name`` and ``value``,
        and optionally ``resend_seconds``. Raises InvalidError, which names the member that is wrong.
        """
        channel = Channel.parse(declared)
        with self._lock:
            self._channel = channel

    def silence(self, is_silent: bool) -> None:
        """Send no webhooks from now on, and drop the waiting ones; or, if `is_silent` is false, send webhooks again."""
        with self._lock:
            self._is_silent = is_silent
            if is_silent:
                self._sender.clear()

    def turn_away(self, *, is_elsewhere: bool) -> None:
        """Share with another team's webhook from now on, which is not sent here; or with the channel again."""
        with self._lock:
            self._is_elsewhere = is_elsewhere

    @property
    def target(self) -> str:
        """Name of the integration with which incidents are shared now."""
        return OTHER_TARGET if self._is_elsewhere else OWN_TARGET

    def why_not(self, environment_id: str, before: Incident, after: Incident, event: str) -> str | None:
        """Return the reason why a change is not shared, as a sentence; None if it is to be shared.

        `before` and `after` are the incident before and after the change, and `event` is the trigger's name in webhook
        v2, or "manual".
        """
        if self._channel is None:
            return "Not shared: no sharing channel is declared."
        if environment_id != ENVIRONMENT:
            return "Not shared: the channel is of another environment."
        if event == "manual":
            return None
        if not before["shared"]:
            return None if event in FIRST_TRIGGERS else "Not shared: nobody shared the incident yet."
        if states.is_quiet(before) and states.is_quiet(after):
            return "Not shared: no updates are sent while the incident is snoozed or flapping."
        return None

    def share(self, environment_id: str, incident: Incident, event: str) -> None:
        """Send an incident's state to the channel by a webhook; after `silence`, the webhook is dropped."""
        with self._lock:
            if self._is_silent:
                text = "BigPanda is silent: this update is never sent."
                self._records.of(incident).say(self._now(), "share", text)
            elif self._is_elsewhere:
                self._records.of(incident).say(self._now(), "share", "Shared with another team's webhook.")
            elif self._channel:
                self._sender.send(Webhook(self._channel, environment_id, incident, event))

    def shown(self) -> dict[str, Any]:
        """Return the channel without secrets, the newest webhooks, and whether `silence` stops webhooks now."""
        return {
            "channel": self._channel.shown() if self._channel else None,
            "webhooks": list(self._records.webhooks),
            "is_silent": self._is_silent,
            "is_elsewhere": self._is_elsewhere,
        }

    def clear(self) -> None:
        """Forget the channel, drop the waiting webhooks, and undo `silence` and `turn_away`."""
        with self._lock:
            self._channel, self._is_silent, self._is_elsewhere = None, False, False
            self._sender.clear()

    def stop(self) -> None:
        """Drop the waiting webhooks, and end the sender's threads."""
        self._sender.stop()

    def _sent(self, webhook: Webhook, answer: WebhookAnswer) -> None:
        with self._lock:
            # The incident may have been forgotten while its webhook was on the way.
            record = self._records.by_id.get(webhook.incident_id)
            if record is None:
                return
            self._records.sent(webhook, answer, self._now())
            again = self._resend(webhook, answer)
            said = "no answer came" if answer.status is None else f"the answer was {answer.status}"
            outcome = f", {cut(answer.outcome)}" if answer.outcome else ""
            record.say(self._now(), "share", f"Shared ({webhook.event}): {said}{outcome}.{again}")

    def _resend(self, webhook: Webhook, answer: WebhookAnswer) -> str:
        seconds, attempt = webhook.channel.resend_seconds, webhook.attempt + 1
        if answer.status is not None and answer.status < 501:
            return ""
        if attempt > MOST_ATTEMPTS:
            return f" BigPanda gives up after {MOST_ATTEMPTS} attempts."
        again = replace(webhook, attempt=attempt)
        self._clock.call_at(self._clock.now() + timedelta(seconds=seconds), lambda: self._send_again(again))
        return f" BigPanda sends it again in {seconds:g} s: attempt {attempt} of {MOST_ATTEMPTS}."

    def _send_again(self, webhook: Webhook) -> None:
        with self._lock:
            if webhook.channel is self._channel and not self._is_silent:
                self._sender.send(webhook)
