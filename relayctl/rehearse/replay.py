"""The library's own decisions about past shares, in simulated time: which of them would have rung, and when.

xMatters takes every signal at once, and nobody answers. Waits for rate limits are not reproduced.
"""

from collections import Counter
from collections.abc import Sequence
from copy import replace
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from relay.channels.channel import Channel
from relay.delivery.delivery import row_of
from relay.delivery.step import DeadLetter, Send, Settle, step
from relay.delivery.task import Task
from relay.ledger.debt import Wait
from relay.ledger.entry import LEASE_SECONDS, Entry, Lease
from relayctl.rehearse.history import History, Moment
from relayctl.report.explain import task_of


class Ring(NamedTuple):
    """A signal that the relay would have sent."""

    at: float  # When (epoch seconds)
    incident_id: str
    status: str | None
    after: float  # Seconds since the share


@dataclass
class Rehearsal:
    """Decisions of the relay about the shares of one channel."""

    channel: Channel
    now: float = 0.0  # The simulated time (epoch seconds)
    rings: list[Ring] = field(default_factory=list)  # Its signals, oldest first
    quiet: Counter[str] = field(default_factory=Counter)  # Shares that would not have rung, by the library's outcome
    _entries: dict[str, Entry] = field(default_factory=dict, init=False)
    # When the task that waits for an incident wakes (epoch seconds), and the task, by the entry's key.
    _waiting: dict[str, tuple[float, Task]] = field(default_factory=dict, init=False)
    _numbers: "count[int]" = field(default_factory=count, init=False)

    def share(self, moment: Moment) -> None:
        """Take a share that comes at its time, after what waited until then."""
        self.wake_until(moment.at)
        self.now = max(self.now, moment.at)
        self._attend(task_of(self.channel, moment.share, moment.body, (), self.now))

    def wake_until(self, until: float) -> None:
        """Wake what waited until some time before `until` (epoch seconds)."""
        while self._waiting:
            name = min(self._waiting, key=lambda each: self._waiting[each][0])
            at, task = self._waiting[name]
            if at > until:
                return
            del self._waiting[name]
            self.now = max(self.now, at)
            job = task.job.planned(self._entries[name].debt.plan)
            self._attend(replace(task, job=job, is_from_webhook=False))

    def _attend(self, task: Task) -> None:
        task, entry, action = step(task, self._entries.get(task.entry_key, Entry()), self.now)
        match action:
            case Send():
                self._send(task, entry, action)
            case Settle():
                self.quiet[action.outcome] += task.is_from_webhook
                self._entries[task.entry_key] = task.described(action.note) if action.note is not None else entry
            case DeadLetter():
                self.quiet[action.reason] += 1
                dead = entry.dead_lettering(task.state, self.now, action.reason, plan=entry.debt.plan + 1)
                self._entries[task.entry_key] = dead
            case Wait():
                until = task.wake_at(action.until, self.now)
                row = row_of(task, until, self.now)
                self._entries[task.entry_key] = task.described(entry.waiting(task.state, row, task.job.plan))
                self._waiting[task.entry_key] = (until, task)

    def _send(self, task: Task, entry: Entry, send: Send) -> None:
        lease = Lease(task.owner, self.now + LEASE_SECONDS, entry.next_start(self.now), task.state)
        claimed = task.described(entry.leased(lease, 1, task.job.plan))
        audience, request_id = task.audience(send.only), f"rehearsed-{next(self._numbers)}"
        self._entries[task.entry_key] = claimed.accepted(lease, request_id, 1, until=self.now, audience=audience)
        self._waiting.pop(task.entry_key, None)
        after = max(0.0, self.now - task.state.came)
        self.rings.append(Ring(self.now, task.job.incident_id, task.state.status, after))


def rehearse(histories: Sequence[History], channel: Channel) -> Rehearsal:
    """Return what the relay would have done, with the settings of `channel`."""
    run = Rehearsal(channel)
    moments = (moment for history in histories for moment in history.moments)
    for moment in sorted(moments, key=lambda each: each.at):
        run.share(moment)
    run.wake_until(float("inf"))
    return run
