"""Canary: shares an invented incident with each channel that has `policy.canary`, about once an hour.

The sweeper posts the share to the stack's own webhook, with the channel's credentials. It posts the resolve once a
device got the notification, and then waits for the end of the page.
"""

import json
from collections.abc import Callable, Mapping
from copy import replace
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.channels.channel import Channel, header_for
from relay.channels.policy import MOST_CANARY_SECONDS, Mode
from relay.deadline import Deadline
from relay.failures import ChannelError
from relay.incidents.share import CANARY_PREFIX
from relay.ledger.entry import Entry, entry_key
from relay.ledger.table import Ledger

if TYPE_CHECKING:
    from relay.sweeper.run import SweeperRun, Tools

# Time between two incidents. With the longest `notified_within_seconds` of a canary, and two runs of the sweeper, an
# outage is found within the hour.
EVERY_SECONDS = 3000.0
# Time for the webhook and xMatters to accept a share, and time for a page to end after the resolve.
ACCEPTED_SECONDS, ENDED_SECONDS = 300.0, 300.0
# Canaries that the sweeper remembers: each takes time of its runs.
MAX_CANARIES = 5

# Posts the body of a share to a channel's webhook, with headers. Returns the reason of a failure, or an empty text.
type Post = Callable[[str, Mapping[str, str], bytes, Deadline], str]


class Phase(StrEnum):
    """Phase of a canary: what has to happen next.

    Attributes:
        OPENING: The webhook has to take the share.
        OPEN: A device has to get the notification.
        CLOSING: The webhook has to take the resolve.
        CLOSED: The page has to end.
        OVER: The incident is over. The next one begins when its time comes.
    """

    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    OVER = "over"


class Canary(NamedTuple):
    """State of a channel's canary between runs of the sweeper. Times are epoch seconds.

    Attributes:
        began: Start of the incident, which is a part of its id; 0 for none yet.
        ended: Time from which the resolve is sent; 0 before.
        is_decided: True if the incident ended early, by a failure, a pause or shadow mode: only the resolve is still
            sent.
        failure: Why the last incident failed, in words; empty if it succeeded.
        judged_at: When the last incident failed or succeeded; 0 for none yet.
    """

    phase: str = Phase.OVER
    began: float = 0.0
    ended: float = 0.0
    is_decided: bool = False
    failure: str = ""
    judged_at: float = 0.0

    @property
    def incident_id(self) -> str:
        return f"{CANARY_PREFIX}{self.began:.0f}"

    def is_due(self, now: float) -> bool:
        """True if the next incident has to begin: EVERY_SECONDS passed, and the last one is over, or ended early."""
        # The resolve of an incident that ended early was sent once at least, which is enough.
        is_stopped = self.phase == Phase.OVER or (self.is_decided and now > self.ended)
        return is_stopped and now - self.began >= EVERY_SECONDS

    def begun(self, now: float) -> "Canary":
        return replace(self, phase=Phase.OPENING, began=round(now), ended=0.0, is_decided=False)

    def failed(self, why: str, now: float) -> "Canary":
        """Return the canary after its incident failed. An incident that ended early (`is_decided`) stays as it is."""
        return self if self.is_decided else replace(self.held(now), failure=why, judged_at=now)

    def held(self, now: float) -> "Canary":
        """Return the canary after a pause or shadow mode began: its incident ends without success or failure."""
        if self.phase in {Phase.OPENING, Phase.OPEN}:
            return replace(self, phase=Phase.CLOSING, ended=now, is_decided=True)
        return replace(self, phase=self.phase if self.phase == Phase.CLOSING else Phase.OVER, is_decided=True)

    def answered(self, refusal: str, now: float) -> "Canary":
        """Return the canary after the webhook answered: in its next phase if `refusal` is empty.

        Otherwise `refusal` is the reason why the webhook did not take the share. The canary then stays in its phase, so
        that the share is sent again. It fails ACCEPTED_SECONDS after the share was due.
        """
        is_opening = self.phase == Phase.OPENING
        if not refusal:
            done = Phase.OVER if self.is_decided else Phase.CLOSED
            return replace(self, phase=Phase.OPEN if is_opening else done)
        is_late = now - (self.began if is_opening else self.ended) >= ACCEPTED_SECONDS
        return self.failed(f"the webhook did not take its share: {refusal}", now) if is_late else self

    def followed(self, entry: Entry, channel: Channel, now: float) -> "Canary":
        """Return the canary in its next phase, or as failed, if the ledger's `entry` of its incident says so."""
        if self.phase == Phase.OPEN:
            return self._followed_open(entry, now)
        # Without the REST API, nobody knows of pages.
        pages = [each for each in entry.accepted_signals if each.is_open] if channel.rest else []
        is_announced = entry.is_over and not entry.debt.is_owed
        if is_announced and all(each.is_over for each in pages):
            return replace(self, phase=Phase.OVER, failure="", judged_at=now)
        why = "its page did not end" if is_announced else "xMatters did not accept its resolve"
        return self.failed(why, now) if now - self.ended >= ENDED_SECONDS else self

    def _followed_open(self, entry: Entry, now: float) -> "Canary":
        receipt = entry.receipt
        if receipt.notified_at:
            return replace(self, phase=Phase.CLOSING, ended=now)
        # The fallback notifier, which runs before, notes the step.
        if receipt.missed:
            return self.failed(receipt.missed.replace("_", " "), now)
        if not receipt.since and now - self.began >= ACCEPTED_SECONDS:
            reason = f" ({entry.debt.reason})" if entry.debt.reason else ""
            return self.failed(f"xMatters accepted no signal{reason}", now)
        # Later than any receipt is late: a receipt that ended otherwise, such as by a forged resolve, notes no step.
        is_late = now - self.began >= ACCEPTED_SECONDS + MOST_CANARY_SECONDS + ENDED_SECONDS
        return self.failed("no device got its notification", now) if is_late else self

    def share(self) -> bytes:
        """Return the body of the canary's share: an open critical in the phase OPENING, else the resolve."""
        is_open = self.phase == Phase.OPENING
        status, at = ("critical", self.began) if is_open else ("ok", self.ended)
        alert = {"id": "canary", "status": status, "active": is_open, "description": "Canary of the relay: ignore it"}
        incident = {"id": self.incident_id, "status": status, "severity": "critical", "active": is_open}
        incident |= {"resolved": not is_open, "startedOn": self.began, "changedOn": at, "alerts": [alert]}
        return json.dumps({"incident": incident}).encode()


@dataclass(frozen=True)
class CanaryWatch:
    """Runs the canaries of all channels."""

    tools: "Tools"
    ledger: Ledger
    post: Post

    def run(self, run: "SweeperRun", deadline: Deadline) -> None:
        """Take the next step of each canary: begin an incident, share its opening or end, or judge if devices got it.

        Raises LedgerError.
        """
        channels: dict[str, Channel] = {}
        before = dict(run.canaries)
        for name, canary in before.items():
            now = self.tools.clock()
            if canary.phase == Phase.OVER and not canary.is_due(now):
                continue
            try:
                channels[name] = self.tools.channels.for_work(name)
            except ChannelError:
                continue
            run.canaries[name] = self._followed(canary, channels[name], now)
        # Stored before a share is sent: a run that dies leaves no incident of which the next run does not know.
        if run.canaries != before and not run.record(self.tools.table):
            return
        due = [name for name in channels if run.canaries[name].phase in {Phase.OPENING, Phase.CLOSING}]
        calls = [partial(self._send, channels[name], run.canaries[name], deadline) for name in due]
        for name, refusal in zip(due, self.tools.at_once(calls), strict=True):
            run.canaries[name] = run.canaries[name].answered(refusal, self.tools.clock())
        for name in channels:
            canary, earlier = run.canaries[name], before[name]
            if canary.failure and canary.judged_at > earlier.judged_at:
                # Counted once, until the channel's canary succeeds.
                if not earlier.failure:
                    self.tools.telemetry.count("critical_waits")
                self.tools.telemetry.logger.warning(
                    "canary failed", channel=name, incident_id=canary.incident_id, detail=canary.failure
                )

    def _followed(self, canary: Canary, channel: Channel, now: float) -> Canary:
        policy = channel.policy
        if not policy.canary or policy.mode is Mode.SHADOW or any(each.is_active(now) for each in policy.pauses):
            return canary if canary.phase == Phase.OVER else canary.held(now)
        if canary.phase in {Phase.OPEN, Phase.CLOSED}:
            entry = self.ledger.read(entry_key(channel.name, (), canary.incident_id))
            followed = canary.followed(entry, channel, now)
            if followed.phase == Phase.CLOSING and not followed.is_decided:
                first = entry.accepted_signals[0].at if entry.accepted_signals else now
                times = {"accepted": first - canary.began, "notified": entry.receipt.notified_at - canary.began}
                self._measure(channel.name, canary, times)
            elif followed.phase == Phase.OVER and not followed.is_decided:
                self._measure(channel.name, canary, {"ended": now - canary.ended})
            canary = followed
        return canary.begun(now) if canary.is_due(now) else canary

    def _measure(self, name: str, canary: Canary, times: Mapping[str, float]) -> None:
        """Log and count the seconds that an incident's steps took since its share, or for `ended` since its resolve."""
        fields: dict[str, Any] = {f"{step}_seconds": round(exact, 1) for step, exact in times.items()}
        for step, seconds in fields.items():
            self.tools.telemetry.count(f"canary_{step}", seconds)
        self.tools.telemetry.logger.info("canary", extra={"channel": name, "incident_id": canary.incident_id, **fields})

    def _send(self, channel: Channel, canary: Canary, deadline: Deadline) -> str:
        header = header_for(channel.inbound[0].members)
        headers = {header["name"]: header["value"], "Content-Type": "application/json"}
        return self.post(channel.name, headers, canary.share(), deadline)
