"""Judge of what people are told: no all-clear while a critical is given up unheard, nothing owed that was accepted."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.simulation.conduct import seconds_of
from tests.simulation.phones import Ring
from tests.simulation.played import IN_FLIGHT_SECONDS, NEEDED, CautiousJudge
from tests.simulation.services import HealthMessage, Message, Notice, tells_of, tells_of_unheard
from tests.simulation.story import NOC, SharedState

# From the sweeper's read of what is owed to its message about that, with a topic that is slow.
RUN_SECONDS = 45.0
# From the acceptance of a signal to its record in the ledger, if that works.
NOTED_SECONDS = 3.0
# From a dead letter to its record in the ledger. A dead worker's message is hidden for three minutes.
RECORDED_SECONDS, HIDDEN_SECONDS = 60.0, 400.0
# An incident's lines in a message to the fallback topic.
INCIDENT = re.compile(r"^- Incident (\w+).*\n  (.*)$", re.MULTILINE)
_REQUEST = re.compile(r"\br\d+\b")


@dataclass
class Truth(CautiousJudge):
    """Judge of the messages to people, in a finished schedule."""

    def problems(self) -> Iterator[str]:
        """Yield a problem for each message that is not true."""
        for message in self.sns.of_health:
            known_by = message.at - RUN_SECONDS
            for channel, why in message.channels.items():
                if message.health == "well":
                    yield from self._all_clear(channel, message)
                elif "a critical is owed" in why and not self._may_owe(channel, None, message.at, known_by):
                    yield f"untrue: {channel} is called sick at {self.moment(message.at)}, and no critical is owed"
        for notice in self.sns.told:
            for name, line in INCIDENT.findall(notice.text):
                yield from self._notice(notice, name, line)

    def _all_clear(self, channel: str, told: HealthMessage) -> Iterator[str]:
        """Check that a channel is not called well while a critical is dead-lettered that nobody heard of."""
        if channel in self.story.timelines:
            # A removed channel is not sick of what it gave up.
            return
        for message in self.dead_letters.messages.values():
            job, state = message.job, self._state_of(message)
            if state is None or state.channel != channel or not job["dead_lettered_at"]:
                continue
            at = self._recorded_by(seconds_of(job["dead_lettered_at"]))
            if at < told.at and self._is_unheard(state, told.at):
                yield f"untrue: {channel} is called well at {self.moment(told.at)}, and {state} was given up"

    def _state_of(self, message: Message) -> SharedState | None:
        """Return the open critical state that a dead letter announces; None for another job, or one dropped once."""
        name = message.incident
        dropped = (
            (each.incident["entry"], each.incident["share"]) for each in self.dead_letters.dropped if each.incident
        )
        if name is None or message.job["status"] != "critical" or (name["entry"], name["share"]) in dropped:
            return None
        found = self.states.get((name["entry"], name["share"]))
        return found if found and found.is_open else None

    def _recorded_by(self, at: float) -> float:
        """Return the time by which the ledger has a dead letter of `at` (epoch seconds)."""
        spells = [spell.ends for spell in self.spells("dynamodb", "sqs", "secrets")]
        ends = self.world.began + max([*spells, self.weather.crashes_end if self.weather.crashes else 0.0], default=0.0)
        return max(at, ends) + HIDDEN_SECONDS if spells or self.weather.crashes else at + RECORDED_SECONDS

    def _is_unheard(self, state: SharedState, at: float) -> bool:
        """Return True if, at a time (epoch seconds), the incident's last state is this one, and it never rang."""
        later = (other for other in self.states_of(state.incident) if other.number > state.number)
        has_later = any(arrival < at for other in later for arrival in other.arrivals)
        rang = any(ring.share >= state.number and ring.began < at for ring in self.rings_of(state.incident))
        return not has_later and not rang and state.incident not in self.untrusted

    def _notice(self, notice: Notice, name: str, line: str) -> Iterator[str]:
        """Check what a message to the fallback topic says of an incident."""
        moment = self.moment(notice.at)
        if notice.text.startswith("BigPanda shows"):
            came = [each for each in self.states.values() if each.id == name and each.channel == NOC and each.answered]
            if any(
                min(each.answered) < notice.at - RUN_SECONDS and each.incident not in self.untrusted for each in came
            ):
                yield f"untrue: {name} is called unknown at {moment}, and its share had come"
        elif "made no page of it" in line:
            made = (page for page in self.phones.pages if not page.is_slow)
            late = {page.request_id for page in made if page.found_from < notice.at - RUN_SECONDS}
            if late & set(_REQUEST.findall(line)) and not self.spells("rest", *NEEDED):
                yield f"untrue: {name} is said to have no page at {moment}"
        elif "no device is known" in line or "nobody answered" in line:
            return  # `unheard` judges it.
        elif self._is_known_to_ring(notice, name) or not self._may_owe(
            notice.channel, name, notice.at, self._known_by(notice)
        ):
            yield f"untrue: {name} of {notice.channel} is called owed at {moment}, and xMatters had accepted it"

    def _is_known_to_ring(self, notice: Notice, name: str) -> bool:
        """Return True if a worker tells of an incident, whose last state rang: a worker tells without the ledger.

        If that signal was sent while the ledger failed, the message that records it says so. It must have no second
        copy, and its sender lived. A message from before a signal that was recorded can't know of it.
        """
        is_plain = not self.weather.crashes and not self.spells("sqs") and not any(each.doubled for each in self.queues)
        if not is_plain or not notice.sender.startswith("worker"):
            return False
        own = {each.incident for each in self.states.values() if each.channel == notice.channel and each.id == name}
        return bool(own) and all(self._rings_since(incident, notice) for incident in own)

    def _rings_since(self, incident: str, notice: Notice) -> bool:
        came = [each for each in self.states_of(incident) if min(each.arrivals, default=math.inf) < notice.at]
        # While the ledger can be read, a message that the webhook queued before it sent does not know of the signal.
        spells = [each for each in self.spells("dynamodb") if each.share == 1 and each.fault != "refuses writes"]
        dark = [(self.world.began + each.begins, self.world.began + each.ends) for each in spells]
        # The message of another state, or of a second copy, does not know of the signal.
        return any(
            self.is_accepted(ring)
            and all(each.number == ring.share and max(each.arrivals) < ring.began for each in came)
            and ring.at < notice.at - RUN_SECONDS
            and any(begins < ring.began and ring.at < ends for begins, ends in dark)
            for ring in self.rings_of(incident)
        )

    def _known_by(self, notice: Notice) -> float:
        """Return the time until which a signal was accepted that the sender of a message knows of (epoch seconds)."""
        return notice.began - NOTED_SECONDS if self.is_steady(*NEEDED) else notice.at - RUN_SECONDS

    def _may_owe(self, channel: str, name: str | None, at: float, known_by: float) -> bool:
        """Return True if one of the channel's incidents may owe a critical at a time (epoch seconds).

        `name` is the id of the only incident that counts; None for all. Signals count that were accepted before
        `known_by` (epoch seconds).
        """
        every = (state for state in self.states.values() if state.channel == channel and name in {None, state.id})
        return any(self._may_owe_one(incident, at, known_by) for incident in {state.incident for state in every})

    def _may_owe_one(self, incident: str, at: float, known_by: float) -> bool:
        states = self.states_of(incident)
        if incident in self.untrusted or any(nap.incident == incident for nap in self.naps):
            return True
        if "unanswered_recipients" in self.story.policy and any(
            tells_of_unheard(each.text) and tells_of(each.text, states[0].id) and each.at < at for each in self.sns.told
        ):
            # Its signal to further recipients is owed since then.
            return True
        came = [arrival for state in states for arrival in state.arrivals if arrival < at]
        criticals = [state for state in states if state.status == "critical" and any(a < at for a in state.arrivals)]
        if not criticals:
            return False
        rings = [ring for ring in self.rings_of(incident) if self.is_accepted(ring)]
        rung = {state.number: state for state in states}
        # An older state that rings after the critical came, by a replay, says nothing of the critical.
        known = [
            ring
            for ring in rings
            if ring.at < known_by
            and not any(
                _may_be_newer(state, rung[ring.share]) and min(state.arrivals) < ring.began for state in criticals
            )
        ]
        return not known or any(
            arrival > known[-1].began - IN_FLIGHT_SECONDS and not _is_of(known[-1], arrival, states) for arrival in came
        )


def _may_be_newer(state: SharedState, other: SharedState) -> bool:
    """Return True if the relay may hold one state for newer: a copy without timestamps counts as a new state."""
    if state.version and other.version and state.version > other.version:
        return True
    return state.number > other.number or (
        state.version is None and state.number != other.number and max(state.arrivals) > min(other.arrivals)
    )


def _is_of(ring: Ring, arrival: float, states: Sequence[SharedState]) -> bool:
    """Return True if a share that arrived at a time, before its signal, is that of the signal.

    A second copy without timestamps is none: it counts as a new state until its own message was handled.
    """
    return any(
        state.number == ring.share
        and arrival in state.arrivals
        and arrival <= ring.began
        and (state.version is not None or len(state.arrivals) == 1 or arrival < max(state.arrivals))
        for state in states
    )
