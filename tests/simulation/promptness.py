"""How soon the relay does what it owes: criticals ring in time and first, debts end and the fallback knows in time.

Everything is judged from outside: when shares were answered, what xMatters was asked and when, what the topic was told.
So only those criticals are judged of which that is enough: no doubt, no trouble, no operator.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, NamedTuple

from tests.simulation.conduct import seconds_of
from tests.simulation.oracle import changed, wanted
from tests.simulation.phones import Phones, Post
from tests.simulation.services import SimulatedSns, SimulatedSqs
from tests.simulation.story import NOC, SharedState
from tests.simulation.weather import Weather
from tests.simulation.world import World

RINGS_SECONDS = 120.0
EXPIRED_SECONDS = 120.0
LONGEST_BACKOFF_SECONDS = 900.0
# What an inline attempt takes, where nothing is slow.
INLINE_SECONDS = 4.0
# A moment is set aside so far ahead.
HORIZON_SECONDS = 300.0
# A minute's schedule, what a run takes, and how late EventBridge may be.
NOTIFIED_SECONDS, LATE_SECONDS = 90.0, 60.0
# A channel's next message.
BETWEEN_MESSAGES_SECONDS = 360.0
# A message that was received by a worker that died, or that Lambda throttled, is hidden for so long.
HIDDEN_SECONDS = 185.0
# From the gate to the trigger, and what a queue rounds.
PASSES_SECONDS = 1.0
# What a sender does before it posts and after it; a message that wakes a worker at once.
AROUND_SECONDS, WAKES_SECONDS = 1.0, 5.0
# A lease, and what a queue rounds.
LEASE_SECONDS = 18.0
# A function uses a secret for a minute, and reads it again for a refused key unless it did so within ten seconds. A job
# whose key was refused comes back after five minutes.
REMEMBERED_SECONDS, READ_AGAIN_SECONDS, REFUSED_SECONDS, QUICK_SECONDS = 62.0, 11.0, 300.0, 1.0
WINDOW_SECONDS, FLOOD_SECONDS, FLOOD_SIGNALS = 62.0, 62.0, 4
# What a signal needs; the others may fail.
_NEEDED = ("sqs", "dynamodb", "secrets", "lambda")


class Debt(NamedTuple):
    """A state that was owed for a while, if only while it was sent.

    Attributes:
        state: the newest of its incident, during that time.
        comes: when it came first.
        begins: when it was answered first.
        ends: when xMatters was asked to take it, and did, or a newer share came; infinity if neither happened.
        allowed_at: from when on its own incident's distances let it ring.
    """

    state: SharedState
    comes: float
    begins: float
    ends: float
    allowed_at: float

    @property
    def is_critical(self) -> bool:
        """True if people are to be woken."""
        return self.state.is_open and self.state.status == "critical"

    @property
    def is_left(self) -> bool:
        """True if it was owed still when its webhook was answered."""
        return self.ends > self.begins


@dataclass(frozen=True)
class Promptness:
    """Judges a schedule that has ended.

    `untrusted` are the incidents of which nobody can tell what is owed; `doubted` those of which the relay can't tell
    what rang; `has_operators`: an operator moved messages; `has_vanishing`: messages vanish.
    """

    policies: Mapping[str, Mapping[str, Any]]
    states: Collection[SharedState]
    world: World
    weather: Weather
    phones: Phones
    dead_letters: SimulatedSqs
    sns: SimulatedSns
    untrusted: Collection[str]
    doubted: Collection[str]
    has_operators: bool
    has_vanishing: bool
    # When both xMatters and the secret had the first channel's new key; None if it never changed.
    renewed_at: float | None

    def problems(self) -> Iterator[str]:
        """What came too late, or out of turn."""
        yield from self._stale_keys()
        yield from self._late_expiry()
        if self.has_operators:
            return
        with_doubted = [debt for channel in self.policies for debt in self._debts(channel)]
        every = [debt for debt in with_doubted if debt.state.incident not in self.doubted]
        yield from self._not_prompt(every)
        left = [debt for debt in every if debt.is_left]
        # The sweeper comes to a debt whose message vanished minutes later.
        if not self.has_vanishing:
            yield from self._asleep(left)
            yield from self._late_rings(left)
            yield from self._overtaken([debt for debt in left if debt.is_critical])
        yield from self._late_notices([debt for debt in with_doubted if debt.is_left and debt.is_critical])

    def _stale_keys(self) -> Iterator[str]:
        """A new key is used as soon as a function reads it: when the old one is refused, or after a minute."""
        if self.renewed_at is None or self.weather.crashes or self._spells("secrets", "dynamodb", "sqs"):
            return
        refused = [post for post in self.phones.posts if post.fault == "credentials" and post.channel == NOC]
        for post in refused:
            if post.began > self.renewed_at + REMEMBERED_SECONDS:
                yield f"credentials: an old key was used {post.began - self.renewed_at:.0f} s after it changed"
            later = [other for other in self.phones.posts if other.process == post.process and other.began > post.began]
            # A slow refusal leaves no time to read the secret and to try once more.
            has_time = post.process.startswith("webhook") and (post.ended or math.inf) - post.began < QUICK_SECONDS
            if has_time and post.began > self.renewed_at + READ_AGAIN_SECONDS and not later:
                yield f"credentials: {post.process} did not try again with the new key"

    # ---- What is owed, and when ----------------------------------------------------------------------------------

    def _debts(self, channel: str) -> Iterator[Debt]:
        by_incident: dict[str, list[SharedState]] = {}
        for state in self.states:
            if state.channel == channel and state.arrivals:
                by_incident.setdefault(state.incident, []).append(state)
        for incident, states in by_incident.items():
            if incident not in self.untrusted and _is_clear(states):
                states.sort(key=lambda state: state.version or (0, 0))
                yield from self._debts_of(incident, states)

    def _debts_of(self, incident: str, states: Sequence[SharedState]) -> Iterator[Debt]:
        rings = [ring for ring in self.phones.rings if ring.incident == incident]
        wants = wanted(dict(self.policies[states[0].channel]))
        by_number = {state.number: state for state in states}
        for place, state in enumerate(states):
            begins = min(state.answered)
            newer = {other.number for other in states[place:]}
            rung = (ring.began for ring in rings if ring.share in newer)
            newer_come = (min(other.arrivals) for other in states[place + 1 :])
            ends = min([*rung, *newer_come], default=math.inf)
            comes = min(state.arrivals)
            if ends <= comes:
                continue
            before = [ring for ring in rings if ring.began < ends]
            if before and before[-1].share not in by_number:
                continue
            change = changed(by_number[before[-1].share] if before else None, state)
            if change not in wants:
                continue
            allowed_at = self._distance(state.channel, change, [ring.at for ring in before])
            yield Debt(state, comes, begins, ends, max(begins, allowed_at))

    def _met(self, state: SharedState) -> list[Post]:
        """Return the signals of the same incident that may have been under way when the state came."""
        came, answered = min(state.arrivals) - AROUND_SECONDS, min(state.answered) + AROUND_SECONDS
        return [
            post
            for post in self.phones.posts
            if post.incident == state.incident and post.began < answered and (post.ended or math.inf) > came
        ]

    def _wakes(self, post: Post) -> float:
        """Return when a share that met this signal is tried at the latest."""
        ended = post.ended or math.inf
        return ended + WAKES_SECONDS if post.is_accepted else max(ended, post.began + LEASE_SECONDS)

    def _distance(self, channel: str, change: str, times: Sequence[float]) -> float:
        """The moment from which on the distance to the incident's own signals is kept."""
        least = float(self.policies[channel]["min_seconds_between_signals"])
        is_hurried = change in {"worsened", "resolved"}
        since_last = times[-1] + least + 1 if times and not is_hurried else 0.0
        flood = times[-FLOOD_SIGNALS] + FLOOD_SECONDS if len(times) >= FLOOD_SIGNALS else 0.0
        return max(since_last, flood)

    # ---- Time ----------------------------------------------------------------------------------------------------

    def _late_rings(self, debts: Sequence[Debt]) -> Iterator[str]:
        """An owed critical rings within two minutes of being allowed to, and anything else a backoff later at most."""
        for debt in debts:
            channel = debt.state.channel
            if self._has(channel, "429 for long") or self._is_dead(debt.state):
                continue
            allowed = max(debt.allowed_at, self._fair_from(channel))
            if channel == NOC and self.renewed_at is not None:
                allowed = max(allowed, self.renewed_at + REMEMBERED_SECONDS + REFUSED_SECONDS)
            backoff = 0.0 if debt.is_critical else LONGEST_BACKOFF_SECONDS
            by = allowed + RINGS_SECONDS + backoff + self._turn(debt, debts, allowed)
            if debt.ends > by and not self._is_expired(debt, by):
                yield f"late: {debt.state} rang {debt.ends - allowed:.0f} s after it was allowed to"

    def _not_prompt(self, debts: Sequence[Debt]) -> Iterator[str]:
        """What nothing holds rings while BigPanda waits."""
        for debt in debts:
            channel = debt.state.channel
            is_rotated = channel == NOC and self.renewed_at is not None
            if is_rotated or self.weather.crashes or self._spells(*_NEEDED, _trigger(channel)):
                continue
            is_free = debt.allowed_at <= debt.begins and not self._met(debt.state)
            is_held = not is_free or not self._has_room(debt, debts)
            if not is_held and debt.ends > debt.comes + INLINE_SECONDS:
                yield f"prompt: {debt.state} was not sent at once"

    def _asleep(self, debts: Sequence[Debt]) -> Iterator[str]:
        """What met a lease is sent as soon as its holder is done, if nothing else holds it."""
        for debt in debts:
            state, channel = debt.state, debt.state.channel
            is_rotated = channel == NOC and self.renewed_at is not None
            if is_rotated or self.weather.crashes or self._spells(*_NEEDED, _trigger(channel)):
                continue
            freed = max((post.ended or math.inf for post in self._met(state)), default=math.inf)
            is_held = debt.allowed_at > freed or not self._has_room(debt, debts)
            if freed < math.inf and not is_held and debt.ends > freed + WAKES_SECONDS:
                yield f"asleep: {state} was sent {debt.ends - freed:.0f} s after its incident was free"

    def _has_room(self, debt: Debt, debts: Sequence[Debt]) -> bool:
        """True if the channel's limit lets a signal through at once: fewer were sent, and none waits."""
        policy, channel = self.policies[debt.state.channel], debt.state.channel
        limits = [policy.get(name) for name in ("max_per_minute", "max_per_minute_per_recipients")]
        limit = min(limit for limit in limits if isinstance(limit, int))
        since = debt.comes - WINDOW_SECONDS
        sent = [post for post in self.phones.posts if post.channel == channel and since < post.began < debt.begins + 1]
        # A line keeps its moment for a signal that does not come to it, until its grace is over.
        waits = any(
            other is not debt
            and other.state.channel == channel
            and other.is_left
            and other.comes < debt.begins
            and other.ends > debt.comes - HORIZON_SECONDS
            for other in debts
        )
        return len(sent) < limit and not waits and not self._has_unclear(channel)

    def _has_unclear(self, channel: str) -> bool:
        """True if the channel has incidents of which nobody can tell whether they wait for the pace."""
        by_incident: dict[str, list[SharedState]] = {}
        for state in self.states:
            if state.channel == channel and state.arrivals:
                by_incident.setdefault(state.incident, []).append(state)
        wants = wanted(dict(self.policies[channel]))
        return any(
            name in {*self.untrusted, *self.doubted} or not _is_clear(states) or _may_be_bad_again(states, wants)
            for name, states in by_incident.items()
        )

    def _is_expired(self, debt: Debt, at: float) -> bool:
        age: float = self.policies[debt.state.channel]["max_age_seconds"]
        return at > min(debt.state.arrivals) + age

    def _turn(self, debt: Debt, debts: Sequence[Debt], allowed: float) -> float:
        """The seconds that the channel's limit may hold a critical: for signals before it, and for other criticals.

        A moment that was set aside for a critical passes unused if a newer share takes the critical's place.
        """
        policy, channel = self.policies[debt.state.channel], debt.state.channel
        limits = [policy.get(name) for name in ("max_per_minute", "max_per_minute_per_recipients")]
        limit = min(limit for limit in limits if isinstance(limit, int))
        first = sum(
            post.channel == channel and allowed - WINDOW_SECONDS < post.began < allowed for post in self.phones.posts
        )
        others = sum(
            other.state.channel == channel and other.begins < debt.ends and other.ends > allowed - WINDOW_SECONDS
            for other in debts
            if other.is_critical or not debt.is_critical
        )
        # Of some incidents nobody can tell what is owed; their signals take places in the line all the same.
        before = sum(
            post.channel == channel and post.incident != debt.state.incident and allowed < post.began < debt.ends
            for post in self.phones.posts
            if post.is_critical or not debt.is_critical
        )
        others = max(others, before)
        return WINDOW_SECONDS * (first + others) / limit

    def _is_dead(self, state: SharedState) -> bool:
        found = [(body["entry"], body["share"]) for body in self.dead_letters.bodies()]
        return (state.incident, state.number) in found

    def _fair_from(self, channel: str) -> float:
        """The moment from which on nothing that a channel's signals need fails any more."""
        hidden = HIDDEN_SECONDS if self.weather.crashes or self._spells("lambda", "secrets") else 0.0
        spells = self._spells(*_NEEDED, _trigger(channel))
        crashes = self.weather.crashes_end if self.weather.crashes else 0.0
        fair: float = max([crashes, *(spell.ends for spell in spells)])
        return self.world.began + fair + hidden

    def _late_expiry(self) -> Iterator[str]:
        """A debt that is too old is dead-lettered in time; if it may have no message, as late as the sweeper runs.

        A message that a worker could neither dead-letter nor let wait, since SQS refused that, is hidden for a while.
        """
        is_refused = bool(self._spells("sqs"))
        is_swept = self.has_vanishing or is_refused
        if is_swept and self.weather.skips_runs:
            return
        most = EXPIRED_SECONDS + (LATE_SECONDS if is_swept else 0.0) + (HIDDEN_SECONDS if is_refused else 0.0)
        for job in self.dead_letters.jobs():
            if job["reason"] != "expired" or job["kind"] != "signal" or job["dead_lettered_at"] is None:
                continue
            since = seconds_of(job["revived_at"] or job["received_at"])
            due = since + self.policies[job["channel"]]["max_age_seconds"]
            late = seconds_of(job["dead_lettered_at"]) - max(due, self._fair_from(job["channel"]))
            if late > most:
                yield f"late: {job['incident_id']} was dead-lettered {late:.0f} s after it was too old"

    def _late_notices(self, debts: Sequence[Debt]) -> Iterator[str]:
        """The fallback topic knows in time of a critical that is owed."""
        if self.weather.crashes or self.weather.skips_runs or self._spells(*_NEEDED, "sns"):
            return
        for debt in debts:
            channel = debt.state.channel
            since = debt.begins + self.policies[channel]["fallback_after_seconds"]
            by = since + NOTIFIED_SECONDS + LATE_SECONDS
            told = [(at, text) for at, text, about in self.sns.told if about == channel]
            last = max((at for at, _ in told if at < by), default=-math.inf)
            by = max(by, last + BETWEEN_MESSAGES_SECONDS + LATE_SECONDS)
            rings = [ring.at for ring in self.phones.rings if ring.incident == debt.state.incident and ring.at < by]
            from_on = max(rings, default=0.0)
            if debt.ends > by and not any(from_on < at <= by and _tells_of(text, debt.state.id) for at, text in told):
                yield f"late: the fallback topic was not told of {debt.state} by {by - self.world.began:.0f} s"

    # ---- Priority ------------------------------------------------------------------------------------------------

    def _overtaken(self, debts: Sequence[Debt]) -> Iterator[str]:
        """Nothing else of a channel is sent while a critical could be, but what was in flight, and other criticals."""
        for debt in debts:
            channel = debt.state.channel
            if self.weather.crashes or self._spells(*_NEEDED, _trigger(channel)):
                continue
            if channel == NOC and self.renewed_at is not None:
                continue
            first = min((post.began for post in self._posts(debt.state)), default=debt.ends)
            # What met a lease is woken when its holder is done, or wakes when the lease is over.
            woken = max((self._wakes(post) for post in self._met(debt.state)), default=0.0)
            allowed_at = max(debt.allowed_at, woken)
            # A debt that is too old waits no more.
            first = min(first, debt.begins + self.policies[channel]["max_age_seconds"] - PASSES_SECONDS)
            for post in self.phones.posts:
                is_other = post.channel == channel and post.incident != debt.state.incident and not post.is_critical
                if is_other and allowed_at + PASSES_SECONDS < post.began < min(first, debt.ends) - PASSES_SECONDS:
                    yield f"priority: {post.incident} share {post.share} was sent while {debt.state} waited"

    def _posts(self, state: SharedState) -> Iterator[Post]:
        return (post for post in self.phones.posts if (post.incident, post.share) == (state.incident, state.number))

    def _spells(self, *services: str) -> list[Any]:
        return [spell for spell in self.weather.spells if spell.service in services]

    def _has(self, channel: str, fault: str) -> bool:
        return any(spell.fault == fault for spell in self._spells(_trigger(channel)))


def _may_be_bad_again(states: Sequence[SharedState], wants: Collection[str]) -> bool:
    """True if an incident got better, untold, and then worse again: that is news if the two came in that order."""
    return any(
        changed(one, better) in {"eased", "resolved"} - set(wants)
        and changed(better, worse) in {"worsened", "reopened"} & set(wants)
        and min(better.arrivals) < max(worse.arrivals)
        for one, better, worse in permutations(states, 3)
    )


def _is_clear(states: Sequence[SharedState]) -> bool:
    """True if the order of the states is beyond doubt, and each of them was answered."""
    versions = [state.version for state in states]
    return all(state.answered for state in states) and None not in versions and len(set(versions)) == len(versions)


def _trigger(channel: str) -> str:
    return "xmatters" if channel == NOC else f"xmatters/{channel}"


def _tells_of(message: str, incident: str) -> bool:
    """True if a message to the topic names an incident, or may count it."""
    return bool(re.search(rf"\b{re.escape(incident)}\b", message)) or " more " in message
