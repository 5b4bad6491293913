"""Judge of the messages that a channel is sick, because it can't deliver, or well again: none false, none missing."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from relay.incidents.share import CANARY_PREFIX
from tests.simulation.conditions import SHADOWED
from tests.simulation.played import IN_FLIGHT_SECONDS, NEEDED, Played, may_be_unrecorded
from tests.simulation.services import HealthMessage
from tests.simulation.settings import Facts
from tests.simulation.story import NOC, SharedState

# The shortest time between two messages about a channel, minus the difference of the functions' clocks.
LEAST_SECONDS = 899.0
# A critical that is owed for two minutes makes its channel sick. Two runs of the sweeper have to agree, each of which
# may be a minute late, and may take so long.
TOLD_SECONDS = 120.0 + 4 * 60.0 + 45.0
# A debt from before a pause is recorded as waiting for it once its job wakes: the longest wait of a critical.
HELD_SECONDS = 180.0
# From a canary's beginning to a delivery that proves it, and to the message about its failure or success.
PROVEN_SECONDS, CANARY_SECONDS = 60.0, 2400.0
# A credential that a vendor refused is tested again after ten minutes, or at once if it was changed.
PROBED_SECONDS = 600.0
# From the sweeper's read of what is owed to its message about that, with a topic that is slow.
RUN_SECONDS = 60.0

# Words of a message about criticals of which people may not know: owed or dead-lettered.
_URGENT = ("a critical is owed", "critical was given up", "criticals were given up")


class _Told(NamedTuple):
    """A possible content of the sweeper's record of the last health message about a channel.

    Attributes:
        at: time of the message, in epoch seconds; -inf for none.
        level: urgency of a message that the channel is sick. With two topics it is the topic, "alarm" or "notice"; with
            one topic "urgent" or "any". Empty if the channel is well.
    """

    at: float = -math.inf
    health: str = "well"
    level: str = ""

    def accepts(self, later: "_Told") -> bool:
        """Return True if `later` may be the next message after this one.

        It must not come too soon. "well" may only follow "sick". "sick" may follow "well", or a less urgent "sick".
        """
        if later.at - self.at < LEAST_SECONDS:
            return False
        if later.health == "well":
            return self.health == "sick"
        return self.health == "well" or (self.level in {"notice", "any"} and later.level in {"alarm", "urgent"})


@dataclass
class Health(Played):
    """Judge of the messages about sick channels in a finished schedule.

    Attributes:
        given_up: open criticals that are dead-lettered at the end.
        stopped: returns the reason why a state can't be signalled in a time (`Conditions.stopped`).
    """

    given_up: Collection[SharedState]
    dropped: Collection[SharedState]
    stopped: Callable[[SharedState, float, float], str]

    def problems(self) -> Iterator[str]:
        """Yield a problem for each wrong or needless message, and for each that is missing."""
        if not self.story.topics:
            if self.sns.of_health:
                yield "health: a message was published without a topic"
            return
        has_canary = "canary" in self.story.policy
        if has_canary and self.is_steady(*NEEDED, "sns") and not self.weather.skips_runs:
            yield from self._canaries()
        for channel in self.policies:
            messages = [each for each in self.sns.of_health if channel in each.channels]
            yield from self._repeated(channel, messages)
            yield from self._held(channel, messages)
            yield from self._unheard(channel, messages)
            yield from self._needless(channel, messages)
            yield from self._untold(channel, messages)
            yield from self._all_clear(channel, messages)
            is_given_up = any(state.channel == channel for state in self.given_up)
            # Without the ledger, or after a crash, what was dropped counts as given up.
            is_unrecorded = not self.is_steady("dynamodb", "sqs")
            is_given_up |= is_unrecorded and any(state.channel == channel for state in self.dropped)
            # Two messages are some time apart, for which a schedule may be too short.
            waits = LEAST_SECONDS + TOLD_SECONDS
            waits += PROBED_SECONDS if messages and "relayctl channel rotate" in messages[-1].channels[channel] else 0.0
            is_due = messages and self.world.now > messages[-1].at + waits
            is_sick = bool(messages) and messages[-1].health == "sick" and not (has_canary and channel == NOC)
            if is_due and is_sick and not is_given_up and not may_be_unrecorded(messages[-1]):
                yield f"health: nobody was told that {channel} is well again"

    def _canaries(self) -> Iterator[str]:
        """Check that people are told of a canary that no device gets, and that all is well by the next that one gets.

        The latter must meet no outage and no pause, and xMatters must not call back that it notifies nobody else.
        """
        messages = [each for each in self.sns.of_health if NOC in each.channels]
        line = self.story.timelines.get(NOC, ())
        pauses = [pause for settings in line for pause in settings.pauses_of(Facts())]
        dark = [(self.world.began + each.begins, self.world.began + each.ends) for each in self.weather.spells]
        for state in [each for each in self.states.values() if each.id.startswith(CANARY_PREFIX) and each.is_open]:
            began, by = self.world.began + state.at, self.world.began + state.at + CANARY_SECONDS
            rings = [ring for ring in self.rings_of(state.incident) if self.told_by(ring).is_open]
            pages = [page for page in self.phones.pages if page.ring in rings]
            is_held = any(pause.since < by and began < pause.until for pause in pauses)
            if by > self.world.now or is_held:
                continue
            health = next((each.health for each in reversed(messages) if each.at < by), "well")
            if health == "well" and all(page.delivered_at == math.inf for page in pages):
                yield f"health: nobody was told of the canary that failed at {self.moment(began)}"
            is_dark = any(begins < by and began - LEAST_SECONDS < ends for begins, ends in dark)
            is_dark |= any(page.given_up_at < math.inf for page in pages)
            is_proven = any(page.delivered_at < began + PROVEN_SECONDS and page.ended_at for page in pages)
            if health == "sick" and is_proven and not is_dark:
                yield f"health: {NOC} is called sick after the canary that succeeded at {self.moment(began)}"

    def _repeated(self, channel: str, messages: Sequence[HealthMessage]) -> Iterator[str]:
        """Check that sick and well take turns, with the shortest time in between.

        A message that was published without an answer, or could not be noted, may be repeated.
        """
        known = {_Told()}
        for message in messages:
            told = self._as_told(message)
            possible = {later for later in told for earlier in known if earlier.accepts(later)}
            if not possible:
                yield f"health: {channel} is {message.health} at {self.moment(message.at)}, after {max(known)}"
            known = (possible or set(told)) | (known if may_be_unrecorded(message) else set())

    def _as_told(self, message: HealthMessage) -> list[_Told]:
        """Return the possible records of a message in the ledger.

        With a single topic there are two, since the topic does not show whether the sickness is urgent.
        """
        if message.health == "well":
            return [_Told(message.at, "well")]
        levels = [message.topic] if len(self.story.topics) > 1 else ["any", "urgent"]
        return [_Told(message.at, "sick", level) for level in levels]

    def _held(self, channel: str, messages: Sequence[HealthMessage]) -> Iterator[str]:
        """Check that nobody is told of debts that wait for the end of a pause, or of a channel in shadow mode."""
        came = [state for own in self.incidents_of(channel).values() for state in own]
        for message in messages if channel in self.story.timelines else ():
            first, at = message.at - IN_FLIGHT_SECONDS, message.at
            known = [state for state in came if min(state.arrivals) < at]
            is_held = all(
                self.stopped(state, first - HELD_SECONDS, at) or self.stopped(state, first, at) == SHADOWED
                for state in known
            )
            is_owed = message.health == "sick" and "owed for" in message.channels[channel]
            # A debt whose message vanished, waits for a worker, or is hidden since its process died, does not know of
            # the pause, or is not dead-lettered in shadow mode.
            is_plain = not self._has_vanished(channel, at) and not self.weather.crashes and not self.spells("lambda")
            if is_owed and known and is_held and is_plain:
                yield f"health: {channel} is sick, and all of it is stopped: {message.channels[channel]}"

    def _unheard(self, channel: str, messages: Sequence[HealthMessage]) -> Iterator[str]:
        """Check that the topic that wakes people gets the messages about criticals of which they may not know."""
        for message in messages:
            is_urgent = message.health == "sick" and any(each in message.channels[channel] for each in _URGENT)
            if is_urgent and message.topic == "notice" and "alarm" in self.story.topics:
                yield f"health: {channel} is sick, and nobody is woken: {message.channels[channel]}"

    def _all_clear(self, channel: str, messages: Sequence[HealthMessage]) -> Iterator[str]:
        """Check that the last message about a channel that gave up a critical is that it is sick.

        Of two states with equal time stamps, or with one from a wrong clock, the relay takes the later to arrive for
        newer. So a state that arrived after the critical settles it, unless it is a critical that rang nobody, either.
        """
        if not self._are_people_told_of(channel):
            return
        for state in self.given_up:
            # A person's answer makes states whose numbers say nothing about their order.
            own = self.states_of(state.incident)
            last = max(own, key=lambda each: (each.changed_on or 0, each.updated_on or 0, each.number))
            is_unheard = last is state and not self._has_rung(state)
            is_unheard = is_unheard and not any(
                min(other.arrivals, default=0.0) > max(state.arrivals)
                and (not other.is_critical or self._has_rung(other))
                for other in own
                if other.version == state.version or state.has_wrong_stamps
            )
            # An imported job can be replayed, but its state stays dropped.
            is_unheard = is_unheard and state not in self.dropped
            if state.channel == channel and is_unheard and (not messages or messages[-1].health == "well"):
                yield f"health: {channel} gave up {state}, and is not called sick"

    def _are_people_told_of(self, channel: str) -> bool:
        """Return True if nothing keeps people from being told that a channel is sick."""
        return self.is_steady(*NEEDED, "sns") and not self.weather.skips_runs and channel not in self.story.timelines

    def _has_rung(self, state: SharedState) -> bool:
        """Return True if a state was signalled, or after its arrival an equal one that no time stamp distinguishes."""
        came = min(state.arrivals, default=math.inf)
        twins = {
            other.number
            for other in self.states_of(state.incident)
            if other.version == state.version and other.tells_the_same(state)
        }
        return any(
            ring.share == state.number or (ring.share in twins and ring.began > came)
            for ring in self.rings_of(state.incident)
        )

    def _needless(self, channel: str, messages: Sequence[HealthMessage]) -> Iterator[str]:
        """Check that a channel is not called sick if all signals were accepted, and no owed message vanished."""
        came = sum(state.channel == channel for state in self.states.values())
        limit = min(self.policies[channel]["max_per_minute"], 60)
        is_plain = (
            channel != NOC
            and channel not in self.story.timelines
            and limit >= max(came, 1)
            and "max_per_minute_per_recipients" not in self.policies[channel]
            and all(post.is_accepted for post in self.phones.posts if post.channel == channel)
            and self.is_steady(*NEEDED, f"xmatters/{channel}")
            and bool(self.phones.rings)
        )
        for message in messages:
            if is_plain and message.health == "sick" and not self._has_vanished(channel, message.at):
                yield f"health: {channel} is called sick, though each of its signals was accepted: {message.channels}"

    def _has_vanished(self, channel: str, at: float) -> bool:
        """Return True if a vanished queue message may be the reason that the channel is sick at `at` (epoch seconds).

        The sweeper replaces a vanished message only minutes later, and the replacement may vanish, too. So the channel
        may be sick although xMatters accepted each of its signals. A vanished message is no reason if its own state was
        signalled well before `at`, or if its incident was signalled between the loss and that time. A second copy of a
        share that has no timestamps of its own counts as a state of its own, which was not signalled.
        """
        versions = Counter((state.incident, state.version) for state in self.states.values())
        copied = {
            (state.incident, state.number)
            for state in self.states.values()
            if len(state.arrivals) > 1 and (state.version is None or versions[state.incident, state.version] > 1)
        }
        return any(
            message.job["channel"] == channel
            and lost_at < at
            and not any(
                ring.began < at - RUN_SECONDS
                and (
                    (ring.share == lost["share"] and (ring.incident, ring.share) not in copied) or ring.began > lost_at
                )
                for ring in self.rings_of(lost["entry"])
            )
            for queue in self.queues
            for lost_at, message in queue.vanished
            if (lost := message.incident)
        )

    def _untold(self, channel: str, messages: Sequence[HealthMessage]) -> Iterator[str]:
        """Check that people are told of a channel that owes a critical for long, or whose trigger refused it."""
        if not self._are_people_told_of(channel):
            return
        for state in self.states.values():
            if state.channel != channel or not state.answered:
                continue
            by = min(state.answered) + TOLD_SECONDS
            before = [message for message in messages if message.at < by]
            if before and not self._wakes(before[-1]):
                # A sickness within 15 minutes of the last message is told later.
                by = max(by, before[-1].at + LEAST_SECONDS + 300)
            if self._is_owed_until(state, by):
                told = [message for message in messages if message.at < by]
                if not told or not self._wakes(told[-1]):
                    yield f"health: nobody was told that {channel} owes {state} by {self.moment(by)}"

    def _wakes(self, message: HealthMessage) -> bool:
        """Return True if a message says that a channel is sick, on the topic that wakes people if there is one."""
        return message.health == "sick" and (message.topic == "alarm" or "alarm" not in self.story.topics)

    def _is_owed_until(self, state: SharedState, until: float) -> bool:
        """Return True if an incident's first state is a critical that is not announced until a time (epoch seconds).

        The policy announces that state, and no other state of the incident arrives in that time.
        """
        policy, lasts = self.policies[state.channel], until - min(state.answered)
        others = [other for other in self.states_of(state.incident) if other is not state]
        return (
            state.is_critical
            and state.number == 0
            and "opened" in self.wanted(state.incident)
            and "flap" not in policy
            and policy["max_age_seconds"] > lasts + IN_FLIGHT_SECONDS
            and not any(at < until for other in others for at in (*other.arrivals, *other.answered))
            and not any(ring.began < until for ring in self.rings_of(state.incident))
        )
