"""The library's own decisions about past shares, in simulated time: which of them would have rung, and when.

xMatters takes every signal at once. People answer when they answered the pages that they really got.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from relay.channels.channel import Channel
from relay.delivery.delivery import row_of
from relay.delivery.step import DeadLetter, Send, Settle, step
from relay.delivery.task import Task
from relay.incidents.share import Transition
from relay.ledger.channel_rate_limiter import RateLimiter
from relay.ledger.debt import Ticket, Wait
from relay.ledger.entry import LEASE_SECONDS, Entry, Lease
from relay.ledger.entry_key import key
from relayctl.rehearse.history import History, Moment
from relayctl.report.explanation import task_of


class Ring(NamedTuple):
    """A signal that the relay would have sent."""

    at: float  # When (epoch seconds)
    incident_id: str
    transition: Transition
    status: str | None
    after: float  # Seconds since the share


class _Gates:
    """The part of the ledger's table that the rate limiter uses, in memory. There is no second writer of it."""

    def __init__(self) -> None:
        self._items = dict[str, dict[str, float]]()

    def update(
        self,
        key: str,
        *,
        add: Mapping[str, float] | None = None,
        put: Mapping[str, float] | None = None,
        remove: Sequence[str] = (),
        **_: object,
    ) -> dict[str, float]:
        """Change an item's numbers as `Table.update` does, and return them. Its conditions on what was read hold."""
        item = self._items.setdefault(key, {})
        for name, value in (add or {}).items():
            item[name] = item.get(name, 0) + value
        item |= put or {}
        for name in remove:
            item.pop(name, None)
        return dict(item)


@dataclass
class Rehearsal:
    """Decisions of the relay about the shares of one channel."""

    channel: Channel
    now: float = 0.0  # The simulated time (epoch seconds)
    rings: list[Ring] = field(default_factory=list)  # Its signals, oldest first
    quiet: Counter[str] = field(default_factory=Counter)  # Shares that would not have rung, by the library's outcome
    dead: list[str] = field(default_factory=list)  # Incidents of states that would have been dead-lettered

    def __post_init__(self) -> None:
        gates: Any = _Gates()
        self._limiter = RateLimiter(gates, lambda: self.now, lambda: 0.5)
        self._entries = dict[str, Entry]()
        self._wakes = dict[str, tuple[float, Task]]()
        self._agenda: list[tuple[float, int, str]] = []
        self._numbers = count()

    def share(self, moment: Moment) -> None:
        """Take a share that comes now."""
        self._attend(task_of(self.channel, moment.share, moment.body, (), self.now))

    def wake_until(self, until: float) -> None:
        """Wake what waited until some time before `until` (epoch seconds)."""
        while self._agenda and self._agenda[0][0] <= until:
            at, _, name = heapq.heappop(self._agenda)
            due, task = self._wakes.get(name, (0.0, None))
            if task is None or due != at:
                continue
            del self._wakes[name]
            self.now = max(self.now, at)
            job = task.job.planned(self._entries[name].debt.plan)
            self._attend(replace(task, job=job, is_from_webhook=False))

    def answer(self, history: History, who: str) -> None:
        """Let a person acknowledge the incident now, if it rang."""
        name = key(self.channel.name, (), history.incident_id)
        if who and name in self._entries:
            self._entries[name] = self._entries[name].acknowledged(who, self.now)

    def _attend(self, task: Task) -> None:
        entry = self._entries.get(task.entry_key, Entry())
        task, entry, action = step(task, entry, self.now)
        if isinstance(action, Send):
            gate = self._limiter.enter(
                self.channel, task.recipients, is_critical=task.state.is_critical, slot=entry.debt.slot
            )
            if isinstance(gate, Ticket):
                self._send(task, entry, action)
                return
            action = gate
        match action:
            case Settle():
                self._settle(task, entry, action)
            case DeadLetter():
                self.dead.append(task.job.incident_id)
                dead = entry.dead_lettering(task.state, self.now, action.reason, plan=entry.debt.plan + 1)
                self._entries[task.entry_key] = dead
            case Wait():
                self._wait(task, entry, action)

    def _settle(self, task: Task, entry: Entry, action: Settle) -> None:
        if task.is_from_webhook:
            self.quiet[action.outcome] += 1
        self._entries[task.entry_key] = task.described(action.note) if action.note is not None else entry

    def _wait(self, task: Task, entry: Entry, wait: Wait) -> None:
        until = task.wake_at(wait.until, self.now)
        owed = task.described(entry.waiting(task.state, row_of(task, until, self.now), task.job.plan))
        self._entries[task.entry_key] = replace(owed, debt=replace(owed.debt, slot=wait.slot or entry.debt.slot))
        self._wakes[task.entry_key] = (until, task)
        heapq.heappush(self._agenda, (until, next(self._numbers), task.entry_key))

    def _send(self, task: Task, entry: Entry, send: Send) -> None:
        lease = Lease(task.owner, self.now + LEASE_SECONDS, entry.next_start(self.now), task.state)
        claimed = task.described(entry.leased(lease, 1, task.job.plan))
        audience, request_id = task.audience(send.only), f"rehearsed-{next(self._numbers)}"
        self._entries[task.entry_key] = claimed.accepted(lease, request_id, 1, until=self.now, audience=audience)
        self._wakes.pop(task.entry_key, None)
        transition = task.change.transition if task.change else Transition.TOUCHED
        after = max(0.0, self.now - task.state.came)
        self.rings.append(Ring(self.now, task.job.incident_id, transition, task.state.status, after))


def rehearse(histories: Sequence[History], channel: Channel) -> Rehearsal:
    """Return what the relay would have done, with the settings of `channel`."""
    run = Rehearsal(channel)
    happens: list[tuple[float, Callable[[], None]]] = [
        (page.answered_at, partial(run.answer, history, page.answered_by))
        for history in histories
        for page, _ in history.pages
        if page.answered_at is not None
    ]
    happens += [(moment.at, partial(run.share, moment)) for history in histories for moment in history.moments]
    # Of what happens at one moment, answers come first.
    for at, happen in sorted(happens, key=lambda each: each[0]):
        run.wake_until(at)
        run.now = max(run.now, at)
        happen()
    run.wake_until(float("inf"))
    return run
