"""Promptness of the relay: criticals ring in time and first, debts end, and the fallback topic is notified in time.

The judge knows only the times of the answers to shares, of the requests to xMatters and of the notifications. So it
leaves out incidents whose owed state or signal is in doubt, and schedules with operators.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any, NamedTuple

from tests.simulation.cloud import USUAL
from tests.simulation.conditions import LEARNS_SECONDS
from tests.simulation.conduct import OPEN_SECONDS, seconds_of
from tests.simulation.flaps import NOTED_SECONDS, SWEPT_SECONDS, may_wait_until, span
from tests.simulation.oracle import changed, wanted
from tests.simulation.phones import AMBIGUOUS, Post
from tests.simulation.played import NEEDED, CautiousJudge
from tests.simulation.services import tells_of, tells_of_unheard
from tests.simulation.story import NOC, SharedState
from tests.simulation.weather import Spell
from tests.simulation.world import Time

RINGS_SECONDS = 120.0
EXPIRED_SECONDS = 120.0
LONGEST_BACKOFF_SECONDS = 900.0
# The sweeper looks again after so long at a job that a newer version wrote.
UNREAD_SECONDS = 180.0
# Duration of an inline attempt if no service is slow.
INLINE_SECONDS = 4.0
# The farthest slot that the rate limit reserves.
HORIZON_SECONDS = 300.0
# The sweeper's interval and the duration of a run; the delay of EventBridge.
NOTIFIED_SECONDS, LATE_SECONDS = 90.0, 60.0
# The distance of a channel's notifications.
BETWEEN_MESSAGES_SECONDS = 360.0
# The queue's visibility timeout, which hides the message of a dead or throttled worker.
HIDDEN_SECONDS = 185.0
# From the rate limit to the trigger, and the queue's rounding of delays.
PASSES_SECONDS = 1.0
# A sender's work before and after its post; the time from a message without delay to its worker.
AROUND_SECONDS, WAKES_SECONDS = 1.0, 5.0
# Shares that the rate limiter may have counted at the same moment.
SAME_MOMENT_SECONDS = 0.2
# Signals that are held by another limit are counted for so long at most.
TOGETHER_SECONDS = 2.0
# A lease, and the queue's rounding of delays.
LEASE_SECONDS = 18.0
# A function reads a secret again for a refused key, at most every ten seconds. A job with a refused key, or without a
# token, is retried after five minutes.
READ_AGAIN_SECONDS, REFUSED_SECONDS, QUICK_SECONDS = 11.0, 300.0, 1.0
WINDOW_SECONDS, FLOOD_SECONDS, FLOOD_SIGNALS = 62.0, 62.0, 4
# From the end of a pause, which functions learn within ten seconds if it comes early, to the sweeper's next run.
RESUMES_SECONDS = 200.0
# From the end of a state's age until the sweeper acts on its row, and the differences of clocks.
ROW_DUE_SECONDS = 18.0
# From a share's arrival to its signal without the ledger: its message wakes after 36 s, and the ledger is waited for in
# vain for two minutes, with half a minute between two tries. Each try takes some seconds.
UNGUARDED_SECONDS = 240.0
# From the time at which xMatters takes signals to a critical's signal by the sweeper, which invokes a worker, and the
# time for which a message that vanished is awaited.
UNQUEUED_SECONDS, AWAITED_SECONDS = 150.0, 180.0
# An owed state waits so long for BigPanda's answer about a claimed resolve.
CLAIM_SECONDS = 62.0
# Services that the signals of the first channel may need.
_NEEDED = (*NEEDED, "token")


class Debt(NamedTuple):
    """A state that was owed for some time, if only while it was being sent.

    Attributes:
        state: the newest state of its incident in that time.
        comes: time at which the first copy of its share arrived.
        begins: time at which the relay first answered its share 2xx.
        ends: start of its accepted request, or arrival of a newer share; infinity if neither happened.
        allowed_at: time from which the signal is allowed by its incident's own limits, a flap or a pause.
        held_until: time until which it may wait for the end of a flap; 0 if it may not.
    """

    state: SharedState
    comes: float
    begins: float
    ends: float
    allowed_at: float
    held_until: float

    @property
    def is_left(self) -> bool:
        """True if the state was still owed when its webhook was answered."""
        return self.ends > self.begins


@dataclass
class Promptness(CautiousJudge):
    """Judge of the relay's promptness in a finished schedule.

    Attributes:
        doubted: incidents with a signal whose result the relay cannot know.
        claimed: incident and number of each resolve that BigPanda had to confirm. When it is owed is not known.
        free_at: returns the time from which no pause holds a state (`Conditions.free_at`).
        unclear: the untrusted incidents, but for those that have no more against them than a claimed resolve.
    """

    doubted: Collection[str]
    claimed: Collection[tuple[str, int]]
    free_at: Callable[[SharedState, float, float], float]
    unclear: Collection[str]
    swept: Sequence[Time]

    def problems(self) -> Iterator[str]:
        """Yield the late signals and notifications, and those out of order."""
        yield from self._stale_keys()
        yield from self._late_expiry()
        if self.has_operators:
            return
        yield from self._without_ledger()
        yield from self._without_queue()
        with_doubted = [debt for channel in self.policies for debt in self._debts(channel)]
        every = [debt for debt in with_doubted if debt.state.incident not in self.doubted]
        yield from self._not_prompt(every)
        left = [debt for debt in every if debt.is_left]
        # The sweeper replaces a vanished message only minutes later.
        if not self.has_vanishing:
            yield from self._asleep(left)
            yield from self._late_rings(left)
            # A job that a newer version wrote waits until a function of that version finds it.
            urgent = [] if self.cloud.has_newer_schema else [debt for debt in left if debt.state.is_critical]
            yield from self._overtaken(urgent)
        yield from self._late_notices([debt for debt in with_doubted if debt.is_left and debt.state.is_critical])
        yield from self._needless_calls()

    def _stale_keys(self) -> Iterator[str]:
        """Check that a new key is used once the old one is refused, or once no function has an older secret."""
        if self.renewed_at is None or not self.is_steady("secrets", "dynamodb", "sqs", "token"):
            return
        refused = [post for post in self.phones.posts if post.fault == "credentials" and post.channel == NOC]
        for post in refused:
            if post.began > self.renewed_at + self.cloud.remembered_seconds:
                yield f"credentials: an old key was used {post.began - self.renewed_at:.0f} s after it changed"
            later = [other for other in self.phones.posts if other.process == post.process and other.began > post.began]
            # A slow refusal leaves no time to read the secret and to retry.
            has_time = (post.ended or math.inf) - post.began < QUICK_SECONDS
            # A new secret that may name other people is used by the next attempt only.
            is_widened = self.story.widens_at is not None and post.began > self.world.began + self.story.widens_at
            if has_time and post.began > self.renewed_at + READ_AGAIN_SECONDS and not later and not is_widened:
                yield f"credentials: {post.process.name} did not try again with the new key"

    def _without_ledger(self) -> Iterator[str]:
        """Check that an incident's first state is signalled without the ledger if it fails for minutes."""
        outages = self._only_outages_of("dynamodb")
        if outages is None or self.has_vanishing or self.cloud.has_newer_schema:
            return
        for state in self.states.values():
            comes, by = min(state.arrivals, default=0.0), min(state.arrivals, default=0.0) + UNGUARDED_SECONDS
            first, last = comes - self.world.began, by - self.world.began
            is_dark = any(each.begins < first and last < each.ends for each in outages)
            is_calm = not self.spells(_trigger(state.channel)) and state.channel not in self.story.timelines
            is_kept = state.number == 0 and state.is_open and any(at < by for at in state.answered)
            is_last = sum(min(each.arrivals, default=by) < by for each in self.states_of(state.incident)) == 1
            policy = self.policies[state.channel]
            is_owed = (
                changed(None, state) in self.wanted(state.incident) and policy["max_age_seconds"] > UNGUARDED_SECONDS
            )
            rang = any(post.began < by for post in self._posts(state))
            if is_dark and is_calm and is_kept and is_last and is_owed and not rang:
                yield f"late: {state} was not sent in {UNGUARDED_SECONDS:.0f} s, while the ledger failed"

    def _without_queue(self) -> Iterator[str]:
        """Check that a critical that failed is signalled although the retry queue takes no message for minutes."""
        outages = self._only_outages_of("sqs")
        is_odd = self.weather.skips_runs or self.cloud != USUAL or NOC in self.story.timelines
        # What may have rung waits for longer.
        is_odd = is_odd or any(each.fault in AMBIGUOUS for each in self.spells(_trigger(NOC)))
        if outages is None or is_odd or len(self.states) > self.policies[NOC]["max_per_minute"]:
            return
        works_from = self.world.began + max((each.ends for each in self.spells(_trigger(NOC))), default=0.0)
        most = UNQUEUED_SECONDS + (AWAITED_SECONDS if self.has_vanishing else 0.0)
        for state in self.states.values():
            is_only = len(self.states_of(state.incident)) == 1
            if state.channel != NOC or state.status != "critical" or not state.answered or not is_only:
                continue
            by = max(works_from, *state.answered) + most
            is_refused = any(each.begins < by - self.world.began < each.ends for each in outages)
            rang = any(ring.began < by for ring in self.rings_of(state.incident))
            is_lost = self._is_expired(state, by) or self._given_up_at(state) < by
            if is_refused and not rang and not is_lost:
                yield f"late: {state} was not sent in {most:.0f} s, while the queue failed"

    def _only_outages_of(self, service: str) -> list[Spell] | None:
        """Return the times in which a service refuses all calls; None if something else may delay signals, too."""
        others = [each for each in _NEEDED if each != service]
        if not self.is_steady(*others) or self.renewed_at is not None:
            return None
        return [each for each in self.spells(service) if each.fault == "refuses" and each.share == 1]

    # ---- Debts ---------------------------------------------------------------------------------------------------

    def _debts(self, channel: str) -> Iterator[Debt]:
        for incident, states in self.incidents_of(channel).items():
            if incident not in self.unclear and _is_clear(states):
                states.sort(key=lambda state: state.version or (0, 0))
                yield from self._debts_of(incident, states)

    def _debts_of(self, incident: str, states: Sequence[SharedState]) -> Iterator[Debt]:
        rings = self.rings_of(incident)
        wants = self.wanted(incident)
        by_number = {state.number: state for state in states}
        claims = {min(state.arrivals) for state in states if (incident, state.number) in self.claimed}
        held = 0.0
        for place, state in enumerate(states):
            if (incident, state.number) in self.claimed:
                # An older state that comes late waits for BigPanda's answer, and so does what comes after it.
                claimed = min(state.arrivals)
                late = [at for older in states[:place] for at in older.arrivals if 0 <= at - claimed < CLAIM_SECONDS]
                held = max(held, claimed + CLAIM_SECONDS if late else 0.0)
                continue
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
            policy = self.policies[state.channel]
            held_until = may_wait_until(policy, states, state, change)
            if held_until:
                # The sweeper alone ends the wait.
                allowed_at = math.inf if self.weather.skips_runs else max(allowed_at, held_until + SWEPT_SECONDS)
            allowed_at = max(begins, allowed_at, self._resumed_at(state, comes), held)
            if ends in claims:
                # What is owed when a resolve is claimed waits for BigPanda's answer, and so does what comes after it.
                held = ends + CLAIM_SECONDS
            yield Debt(state, comes, begins, ends, allowed_at, held_until)

    def _resumed_at(self, state: SharedState, comes: float, within: float = RESUMES_SECONDS) -> float:
        """Return the time from which a state that waits from `comes` on may be signalled, if a pause may hold it."""
        ends = self._held_until(state, comes, within)
        return ends + RESUMES_SECONDS if ends > comes else 0.0

    def _held_until(self, state: SharedState, comes: float, within: float) -> float:
        """Return the end of what holds a state at `comes`, or begins to within so many seconds after that."""
        return min(self.free_at(state, comes, within), self.quiet_until(state.channel) + LEARNS_SECONDS)

    def _met(self, state: SharedState) -> list[Post]:
        """Return the signals of the same incident that may have been in flight when the state arrived."""
        came, answered = min(state.arrivals) - AROUND_SECONDS, min(state.answered) + AROUND_SECONDS
        return [
            post
            for post in self.phones.posts
            if post.incident == state.incident and post.began < answered and (post.ended or math.inf) > came
        ]

    def _wakes(self, post: Post) -> float:
        """Return the latest time of the next attempt for a share that met this signal's lease."""
        ended = post.ended or math.inf
        return ended + WAKES_SECONDS if post.is_accepted else max(ended, post.began + LEASE_SECONDS)

    def _distance(self, channel: str, change: str, times: Sequence[float]) -> float:
        """Return the time from which the incident's minimum distance and flood limit allow a signal."""
        least = float(self.policies[channel]["min_seconds_between_signals"])
        is_hurried = change in {"worsened", "resolved"}
        since_last = times[-1] + least + 1 if times and not is_hurried else 0.0
        flood = times[-FLOOD_SIGNALS] + FLOOD_SECONDS if len(times) >= FLOOD_SIGNALS else 0.0
        return max(since_last, flood)

    # ---- Time ----------------------------------------------------------------------------------------------------

    def _late_rings(self, debts: Sequence[Debt]) -> Iterator[str]:
        """Check that an owed critical is signalled within two minutes of the time from which its signal is allowed.

        Other states may take as long as the longest backoff in addition.
        """
        for debt in debts:
            channel = debt.state.channel
            is_unswept = channel in self.story.timelines and self.weather.skips_runs
            if (
                self._has(channel, "429 for long")
                or self._has(channel, "503 for minutes")
                or self.is_dead_lettered(debt.state)
                or is_unswept
            ):
                continue
            allowed = max(debt.allowed_at, self._fair_from(*_NEEDED, _trigger(channel)))
            if channel == NOC and self.renewed_at is not None:
                allowed = max(allowed, self.renewed_at + self.cloud.remembered_seconds + REFUSED_SECONDS)
            # A refused request for a token counts as a refused key.
            allowed = max([allowed, *(self.world.began + each.ends + REFUSED_SECONDS for each in self.spells("token"))])
            backoff = 0.0 if debt.state.is_critical else LONGEST_BACKOFF_SECONDS
            if self.cloud.has_newer_schema:
                backoff += UNREAD_SECONDS
            # A state that kills its workers may take a run's only probe of the circuit.
            backoff += LATE_SECONDS * len(self.story.poison)
            # A pause may have begun meanwhile.
            allowed = max(allowed, self._resumed_at(debt.state, allowed, RESUMES_SECONDS + backoff))
            # The recovery after an outage may not see a row that the index does not show yet, written until the circuit
            # closed, or one that a batch read left out: the next run does. So it does if a newer share came after the
            # message that was to probe it.
            is_hidden = self.cloud.index_lag or self.cloud.answers_in_part
            shown_at = allowed + (OPEN_SECONDS + self.cloud.index_lag if is_hidden else 0.0)
            by = shown_at + RINGS_SECONDS + backoff + self._turn(debt, debts, allowed)
            # A run while the circuit is still open probes nothing: it leaves a newer share to the next one.
            probed_at = max(shown_at, allowed + OPEN_SECONDS)
            waits_for_run = self.weather.skips_runs and not self._is_swept(probed_at, by)
            if debt.ends > by and not self._is_expired(debt.state, by) and not waits_for_run:
                yield f"late: {debt.state} rang {debt.ends - allowed:.0f} s after it was allowed to"

    def _not_prompt(self, debts: Sequence[Debt]) -> Iterator[str]:
        """Check that a state that nothing delays is signalled while BigPanda waits."""
        for debt in debts:
            channel = debt.state.channel
            if self._is_troubled(channel):
                continue
            is_free = debt.allowed_at <= debt.begins and not self._met(debt.state)
            is_held = not is_free or not (self._has_room(debt, debts) or self._has_own_room(debt))
            if not is_held and debt.ends > debt.comes + INLINE_SECONDS:
                yield f"prompt: {debt.state} was not sent at once"

    def _asleep(self, debts: Sequence[Debt]) -> Iterator[str]:
        """Check that a state that waited for another signal's lease is sent when that signal ends, unless delayed."""
        for debt in debts:
            state, channel = debt.state, debt.state.channel
            if self._is_troubled(channel):
                continue
            freed = max((post.ended or math.inf for post in self._met(state)), default=math.inf)
            is_held = debt.allowed_at > freed or not self._has_room(debt, debts)
            if freed < math.inf and not is_held and debt.ends > freed + WAKES_SECONDS:
                yield f"asleep: {state} was sent {debt.ends - freed:.0f} s after its incident was free"

    def _is_troubled(self, channel: str) -> bool:
        """Return True if a fault, or another key, may delay the channel's signals."""
        is_rotated = channel == NOC and self.renewed_at is not None
        return is_rotated or not self.is_steady(*_NEEDED, _trigger(channel))

    def _limit(self, channel: str) -> int:
        """Return the narrower one of a channel's rate limits."""
        limits = [self.policies[channel].get(name) for name in ("max_per_minute", "max_per_minute_per_recipients")]
        return min(limit for limit in limits if isinstance(limit, int))

    def _has_room(self, debt: Debt, debts: Sequence[Debt]) -> bool:
        """Return True if the channel's rate limit admits a signal at once: it has free slots, and no signal waits."""
        channel, since = debt.state.channel, debt.comes - WINDOW_SECONDS
        sent = [post for post in self.phones.posts if post.channel == channel and since < post.began < debt.begins + 1]
        # A reserved slot stays reserved until its grace period is over, even if its signal never uses it.
        waits = any(
            other is not debt
            and other.state.channel == channel
            and other.is_left
            and other.comes < debt.begins
            and other.ends > debt.comes - HORIZON_SECONDS
            for other in debts
        )
        # A share is counted before it is known to be a duplicate. Two that are counted at the same moment both wait.
        comes = debt.comes - SAME_MOMENT_SECONDS
        around = sum(post.began > comes for post in sent)
        others = sum(
            comes < arrival < debt.begins + SAME_MOMENT_SECONDS
            for state in self.states.values()
            if state.channel == channel
            for arrival in state.arrivals
        )
        counted = len(sent) - around + max(around, others - 1)
        is_clear = self._is_quiet(debt) or not self._has_unclear(channel)
        return counted < self._limit(channel) and not waits and is_clear

    def _is_quiet(self, debt: Debt) -> bool:
        """Return True if all that a channel got and sent for minutes before a debt fits its limit of one minute."""
        channel, since = debt.state.channel, debt.comes - WINDOW_SECONDS - HORIZON_SECONDS
        shares = (each for each in self.states.values() if each.channel == channel)
        came = (at for each in shares for at in (*each.arrivals, *each.shown))
        sent = (post.began for post in self.phones.posts if post.channel == channel)
        return sum(since < at < debt.begins + 1 for at in (*came, *sent)) < self._limit(channel)

    def _has_own_room(self, debt: Debt) -> bool:
        """Return True if the limit of a state's recipients is the only one that may matter, and admits its signal.

        No other state came about when it did, and those that wait are for other recipients.
        """
        policy, channel = self.policies[debt.state.channel], debt.state.channel
        own, since = policy.get("max_per_minute_per_recipients"), debt.comes - WINDOW_SECONDS
        sent = sum(post.channel == channel and since < post.began < debt.begins for post in self.phones.posts)
        came = [
            (at, other.url_recipients == debt.state.url_recipients)
            for other in self.states.values()
            if other.channel == channel and other is not debt.state
            for at in other.arrivals
        ]
        is_alone = not any(abs(at - debt.comes) < TOGETHER_SECONDS for at, _ in came)
        alike = sum(is_alike and since - HORIZON_SECONDS < at < debt.begins for at, is_alike in came)
        is_free = own is not None and is_alone and alike < own and sent + 1 < policy["max_per_minute"]
        return is_free and not self._is_crowded(debt)

    def _is_crowded(self, debt: Debt) -> bool:
        """Return True if a burst of shares, those that their recipients' limit refused included, filled the limit.

        The channel counts a share first. One that finds no room waits there, and later ones give way to a critical.
        """
        channel, since = debt.state.channel, debt.comes - WINDOW_SECONDS
        posts = [each.began for each in self.phones.posts if each.channel == channel]
        came = [at for each in self.states.values() if each.channel == channel for at in each.arrivals]
        return any(
            sum(at - SAME_MOMENT_SECONDS < other <= at for other in came)
            + sum(at - WINDOW_SECONDS < began < at - SAME_MOMENT_SECONDS for began in posts)
            > self._limit(channel)
            for at in came
            if since < at < debt.begins
        )

    def _has_unclear(self, channel: str) -> bool:
        """Return True if the channel has incidents that may or may not wait for the rate limit."""
        wants = wanted(self.policies[channel])
        return any(
            name in {*self.untrusted, *self.doubted} or not _is_clear(states) or _may_be_bad_again(states, wants)
            for name, states in self.incidents_of(channel).items()
        )

    def _is_expired(self, state: SharedState, at: float) -> bool:
        age: float = self.policies[state.channel]["max_age_seconds"]
        return at > self._age_from(state.channel, min(state.arrivals)) + age

    def _age_from(self, channel: str, came: float) -> float:
        line = self.story.timelines.get(channel)
        return max(came, self.world.began + line.paused_until) if line else came

    def _turn(self, debt: Debt, debts: Sequence[Debt], allowed: float) -> float:
        """Return the seconds for which the channel's rate limit may delay a debt.

        The delay comes from earlier signals and from other debts. For a critical, only other critical debts count. A
        slot that was reserved for a critical stays unused if a newer share supersedes the critical.
        """
        channel = debt.state.channel
        first = sum(
            post.channel == channel and allowed - WINDOW_SECONDS < post.began < allowed for post in self.phones.posts
        )
        others = sum(
            other.state.channel == channel and other.begins < debt.ends and other.ends > allowed - WINDOW_SECONDS
            for other in debts
            if other.state.is_critical or not debt.state.is_critical
        )
        # Signals of untrusted incidents use slots as well.
        before = sum(
            post.channel == channel and post.incident != debt.state.incident and allowed < post.began < debt.ends
            for post in self.phones.posts
            if post.is_critical or not debt.state.is_critical
        )
        others = max(others, before, self._may_have_slots(debt, debts, allowed))
        return WINDOW_SECONDS * (first + others) / self._limit(channel)

    def _may_have_slots(self, debt: Debt, debts: Sequence[Debt], allowed: float) -> int:
        """Return the number of states that may have reserved a rate-limit slot before this debt.

        For a critical debt only criticals count. States of incidents without a clear order of states count as well.
        """
        clear = {other.state.incident for other in debts} - {incident for incident, _ in self.claimed}
        return sum(
            allowed - HORIZON_SECONDS < min(state.arrivals) < debt.ends
            for state in self.states.values()
            if state.channel == debt.state.channel and state.arrivals and state.incident not in clear
            if state.status == "critical" or not debt.state.is_critical
        ) + sum(
            other.state.channel == debt.state.channel and allowed - HORIZON_SECONDS < other.begins < debt.ends
            for other in debts
            if other is not debt and (other.state.is_critical or not debt.state.is_critical)
        )

    def _given_up_at(self, state: SharedState) -> float:
        """Return when a state was dead-lettered (epoch seconds); infinity for never."""
        times = (
            seconds_of(message.job["dead_lettered_at"])
            for message in self.dead_letters.messages.values()
            if (body := message.incident)
            and (body["entry"], body["share"]) == (state.incident, state.number)
            and message.job["dead_lettered_at"]
        )
        return min(times, default=math.inf)

    def _fair_from(self, *services: str) -> float:
        """Return the time from which no process dies, and these services work again, in epoch seconds."""
        hidden = HIDDEN_SECONDS if self.weather.crashes or self.spells("lambda", "secrets") else 0.0
        spells = self.spells(*services)
        crashes = self.weather.crashes_end if self.weather.crashes else 0.0
        fair: float = max([crashes, *(spell.ends for spell in spells)])
        return self.world.began + fair + hidden

    def _late_expiry(self) -> Iterator[str]:
        """Check that an expired debt is dead-lettered in time, or by the sweeper if it may have no message.

        If SQS refuses both the dead letter and the next message, the job's message stays hidden for a while. A state
        that a pause or a flap held has a row and no message, so its dead letter waits for the sweeper's next run.
        """
        is_refused = bool(self.spells("sqs"))
        # A dead-lettered state that the ledger did not record is dead-lettered again, by the sweeper. So is one whose
        # message this version can't read.
        is_swept = self.has_vanishing or is_refused or bool(self.spells("dynamodb")) or self.cloud.has_newer_schema
        if is_swept and self.weather.skips_runs:
            return
        # A run's message may vanish, too: the next run invokes the worker.
        late_runs = 2 if self.has_vanishing else 1
        most = EXPIRED_SECONDS + (late_runs * LATE_SECONDS if is_swept else 0.0)
        most += HIDDEN_SECONDS if is_refused else 0.0
        for job in self.dead_letters.jobs():
            if job["reason"] != "expired" or job["kind"] != "signal" or job["dead_lettered_at"] is None:
                continue
            since = self._age_from(job["channel"], seconds_of(job["revived_at"] or job["received_at"]))
            policy = self.policies[job["channel"]]
            # A state may have waited for the end of a flap first.
            due = since + policy["max_age_seconds"] + (span(policy) + NOTED_SECONDS if policy.get("flap") else 0.0)
            full = [self.world.began + each.ends for each in self.spells("dead-letters")]
            due = max(due, self._fair_from(*_NEEDED, _trigger(job["channel"])), *full)
            at = seconds_of(job["dead_lettered_at"])
            # An imported job counts as dead-lettered at its import.
            if any(deed == "import" and self.world.began + begun < at + 1 for begun, deed in self.story.operations):
                continue
            # A run wakes no more of a channel's rows than its limit has room for.
            late = (
                at - due - (60.0 * len(self.states) / policy["max_per_minute"] if self._may_lack_message(job) else 0.0)
            )
            waits_for_run = self._may_lack_message(job) and not self._is_swept(
                due + ROW_DUE_SECONDS, at - self.cloud.clock_margin
            )
            if late > most and not waits_for_run:
                yield f"late: {job['incident_id']} was dead-lettered {late:.0f} s after it was too old"

    def _may_lack_message(self, job: Mapping[str, Any]) -> bool:
        """Return True if a pause, flap or circuit may have held a job's state, so that only the sweeper wakes it."""
        came = seconds_of(job["revived_at"] or job["received_at"])
        is_paused = came < self.quiet_until(job["channel"]) + RESUMES_SECONDS
        is_failing = bool(self.spells(_trigger(job["channel"])))
        return is_paused or is_failing or bool(self.policies[job["channel"]].get("flap"))

    def _is_swept(self, first: float, last: float) -> bool:
        return any(first < run.begins and run.ends < last for run in self.swept)

    def _late_notices(self, debts: Sequence[Debt]) -> Iterator[str]:
        """Check that the fallback topic is notified of an owed critical in time."""
        # Phones are called whatever the topic answers.
        deaf = self.spells("sns") if self.sns.phoned is None else []
        is_slow = any(spell.fault != "refuses" for spell in deaf)
        if self.weather.skips_runs or is_slow:
            return
        # A message that the topic refused, or that a sweeper died of, is sent again by the next run.
        heard_from = max([self._fair_from(*_NEEDED), *(self.world.began + spell.ends for spell in deaf)])
        for debt in debts:
            channel = debt.state.channel
            first, waits = _first_of(debt, debts), self.policies[channel]["fallback_after_seconds"]
            by = max(first.comes + waits, heard_from) + NOTIFIED_SECONDS + LATE_SECONDS
            paused = self._paused_until(first, by)
            before = [ring for ring in self.rings_of(debt.state.incident) if ring.at < first.begins]
            # Of a critical that people know nobody is told while its next signal keeps its distance.
            is_known = bool(before) and self.told_by(before[-1]).is_critical
            spaced = before[-1].at + self.policies[channel]["min_seconds_between_signals"] if is_known else 0.0
            since = max(first.begins, debt.held_until, paused, spaced) + waits
            # Of one that is given up it is notified at once.
            since = min(since, max(self._given_up_at(debt.state), paused))
            by = max(since, heard_from) + NOTIFIED_SECONDS + LATE_SECONDS
            told = [(each.at, each.text) for each in self.sns.told if each.channel == channel]
            if self.sns.phoned is not None:
                # A call names the worst incident alone, and counts the others.
                told = [(at, " more ") for at in self.sns.phoned]
            last = max((at for at, _ in told if at < by), default=-math.inf)
            by = max(by, last + BETWEEN_MESSAGES_SECONDS + LATE_SECONDS)
            rings = [ring.at for ring in self.rings_of(debt.state.incident) if ring.at < by]
            # A message about a receipt, from before the debt, does not tell of the debt, unless the debt began with it:
            # then further recipients are owed a signal.
            has_others = "unanswered_recipients" in self.policies[channel]
            told = [each for each in told if each[0] > first.begins or not tells_of_unheard(each[1]) or has_others]
            # After an end that was believed at once, people have to be told anew.
            ends = [
                min(each.arrivals)
                for each in self.states_of(debt.state.incident)
                if not each.is_open and each.arrivals and (each.incident, each.number) not in self.claimed
            ]
            from_on = max([*rings, *(at for at in ends if at < first.comes)], default=0.0)
            if (
                debt.ends > by
                and by < self.world.now
                # No other pause began while the message waited for the channel's last one.
                and self._paused_until(first, by) == paused
                and not any(from_on < at <= by and tells_of(text, debt.state.id) for at, text in told)
            ):
                yield f"late: the fallback topic was not told of {debt.state} by {self.moment(by)}"

    def _paused_until(self, debt: Debt, by: float) -> float:
        """Return the end of the pauses that may hold a state of the debt's incident until then (epoch seconds)."""
        own = self.states_of(debt.state.incident)
        return max(self._held_until(each, debt.comes, by - debt.comes) for each in own)

    def _needless_calls(self) -> Iterator[str]:
        """Check that phones are called only if a critical became overdue since the call before."""
        waits = self.policies[NOC]["fallback_after_seconds"]
        # While the ledger fails, the sweeper sees no debt: it calls later.
        unseen = [(spell.begins, spell.ends + LATE_SECONDS) for spell in self.spells("dynamodb")]
        for before, at in pairwise([self.world.began, *(self.sns.phoned or ())]):
            # The delay counts from the first owed state.
            due = (
                max(min(at for each in self.states_of(state.incident) for at in each.arrivals) + waits, *state.arrivals)
                for state in self.states.values()
                if state.status == "critical" and state.arrivals
            )
            is_due = any(before - LATE_SECONDS < moment < at + self.cloud.clock_margin for moment in due)
            if not is_due and not any(begins < before - self.world.began < ends for begins, ends in unseen):
                yield f"phones: called at {self.moment(at)}, and no critical had become overdue"

    # ---- Priority ------------------------------------------------------------------------------------------------

    def _overtaken(self, debts: Sequence[Debt]) -> Iterator[str]:
        """Check that a channel sends only criticals, and signals in flight, while a critical could be sent."""
        for debt in debts:
            channel = debt.state.channel
            if self._is_troubled(channel):
                continue
            first = min((post.began for post in self._posts(debt.state)), default=debt.ends)
            # A job that met a lease is woken by the lease's holder, or wakes at the lease's end.
            woken = max((self._wakes(post) for post in self._met(debt.state)), default=0.0)
            allowed_at = max(debt.allowed_at, woken)
            # A debt that expired or was given up no longer waits.
            first = min(first, debt.begins + self.policies[channel]["max_age_seconds"] - PASSES_SECONDS)
            first = min(first, self._given_up_at(debt.state))
            for post in self.phones.posts:
                is_other = post.channel == channel and post.incident != debt.state.incident and not post.is_critical
                is_other = is_other and not self._has_limit_of_its_own(post, debt)
                if is_other and allowed_at + PASSES_SECONDS < post.began < min(first, debt.ends) - PASSES_SECONDS:
                    yield f"priority: {post.incident} share {post.share} was sent while {debt.state} waited"

    def _has_limit_of_its_own(self, post: Post, debt: Debt) -> bool:
        """Return True if a critical debt and another signal have separate rate limits for their recipients.

        Then the critical may wait for its recipients' limit, while the channel's limit has room for the other signal.
        """
        if "max_per_minute_per_recipients" not in self.policies[debt.state.channel]:
            return False
        names = {each.url_recipients for each in self.states_of(post.incident)}
        return debt.state.url_recipients not in names

    def _posts(self, state: SharedState) -> Iterator[Post]:
        return (post for post in self.phones.posts if (post.incident, post.share) == (state.incident, state.number))

    def _has(self, channel: str, fault: str) -> bool:
        return any(spell.fault == fault for spell in self.spells(_trigger(channel)))


def _may_be_bad_again(states: Sequence[SharedState], wants: Collection[str]) -> bool:
    """Return True if an incident may owe a worse state that followed an unannounced better one."""
    return any(
        changed(one, better) in {"eased", "resolved"} - set(wants)
        and changed(better, worse) in {"worsened", "reopened"} & set(wants)
        and min(better.arrivals) < max(worse.arrivals)
        for one, better, worse in permutations(states, 3)
    )


def _is_clear(states: Sequence[SharedState]) -> bool:
    """Return True if the order of the states is beyond doubt, and each of them was answered."""
    versions = [state.version for state in states]
    return all(state.answered for state in states) and None not in versions and len(set(versions)) == len(versions)


def _first_of(debt: Debt, debts: Sequence[Debt]) -> Debt:
    """Return the first of the debts that an incident had without a break until this one: an end is a break."""
    before = (each for each in debts if each.state.incident == debt.state.incident and each.ends == debt.comes)
    earlier = next((each for each in before if each.state.is_open or not debt.state.is_open), None)
    return _first_of(earlier, debts) if earlier else debt


def _trigger(channel: str) -> str:
    return "xmatters" if channel == NOC else f"xmatters/{channel}"
