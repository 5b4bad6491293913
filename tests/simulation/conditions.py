"""Judge of pauses, routes and modes that operators change: nobody is held or rung by one that does not apply."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.simulation.conduct import seconds_of
from tests.simulation.oracle import surely_newer
from tests.simulation.phones import Ring
from tests.simulation.played import IN_FLIGHT_SECONDS, NEEDED, Played
from tests.simulation.services import tells_of_unheard
from tests.simulation.settings import Facts, Pause, Settings
from tests.simulation.story import NOC, SharedState

# The reason why a channel in shadow mode sends nothing.
SHADOWED = "in shadow mode"
# From an operator's change until no function has an older copy of the channel, if it can read the new one.
LEARNS_SECONDS = 20.0
# A function caches a channel's secret for a minute.
REMEMBERED_SECONDS = 62.0
# The longest time to a critical's signal.
RINGS_SECONDS = 120.0
# From the last signal to a tag that still brings further recipients.
REROUTED_SECONDS = 600.0
# After a pause: its sweep, a state's backoff, and its signal.
KEPT_SECONDS = 1400.0


@dataclass
class Conditions(Played):
    """Judge of the channels whose settings operators change.

    Attributes:
        unguarded: incidents that were processed without the ledger.
        unreadable: returns the incidents with a job that waits for the newer version that wrote it.
    """

    unguarded: Collection[str]
    unreadable: Callable[[], Collection[str]]

    def facts(self, state: SharedState) -> list[Facts]:
        """Return the facts that the relay may have of a state.

        BigPanda's API has neither names of environments nor tags. The relay has them from an earlier share, but from no
        resolve, which may be forged, and from no share that came after a newer state.
        """
        if not state.shown:
            return [state.facts]
        others = self.states_of(state.incident)
        opened = (other for other in others if other.is_open)
        kept = (at for other in opened for at in other.answered if not self._is_superseded(other, at))
        first = min(kept, default=self.world.now)
        is_kept = first + IN_FLIGHT_SECONDS < min(state.shown) and state.incident not in self.unguarded
        return [state.facts, *([] if is_kept else [Facts(status=state.facts.status)])]

    def _is_superseded(self, state: SharedState, at: float) -> bool:
        """Return True if a newer state of the incident came before a time (epoch seconds)."""
        newer = (other for other in self.states_of(state.incident) if surely_newer(other, state))
        return any(came < at for other in newer for came in (*other.arrivals, *other.shown))

    def used(self, channel: str, first: float, last: float) -> list[Settings]:
        """Return the settings that a function may use between two times (epoch seconds); none if they never change."""
        if channel not in self.story.timelines:
            return []
        # While the change marks are refused, functions read the secret itself.
        spells = [
            each
            for each in self.spells("secrets", "dynamodb")
            if not each.fault.startswith("refuses") or each.service == "secrets"
        ]
        # A process that dies while it reads the change marks keeps its function from reading them for a while.
        stale = REMEMBERED_SECONDS if self.weather.crashes else LEARNS_SECONDS
        if spells:
            # Functions can't read the change marks or the new secret until the services work again.
            fair = self.world.began + max(each.ends for each in spells)
            begins = self.world.began + min(each.begins for each in spells)
            stale = REMEMBERED_SECONDS + max(0.0, fair - first, min(first, fair) - begins)
            # A function may not have worked for the channel since its last good copy, however old that is.
            is_dark = any(
                self.world.began + each.begins < last and first < self.world.began + each.ends for each in spells
            )
            stale = math.inf if is_dark else stale
        return self.story.timelines[channel].used(first, last, stale)

    def may_be_left_out(self, state: SharedState) -> bool:
        """Return True if the state may have come in shadow mode, or in a pause that drops it."""
        (first, last), margin = self._came(state), self.cloud.clock_margin
        return self.may_be_shadowed(state) or any(
            not pause.keeps and pause.since < last + margin and first < pause.until + margin
            for each in self.used(state.channel, first, last + margin)
            for facts in self.facts(state)
            for pause in each.pauses_of(facts)
        )

    def may_be_shadowed(self, state: SharedState) -> bool:
        """Return True if the state may have come in shadow mode."""
        return any(each.mode == "shadow" for each in self.used(state.channel, *self._came(state)))

    def is_shadowed(self, state: SharedState) -> bool:
        """Return True if the state came in shadow mode beyond doubt."""
        first, last = self._came(state)
        used = self.used(state.channel, first, last + LEARNS_SECONDS)
        return bool(used) and all(each.mode == "shadow" for each in used)

    def _came(self, state: SharedState) -> tuple[float, float]:
        """Return the times of a state's first arrival and of its last arrival or answer; first infinity for none."""
        return min(state.arrivals, default=math.inf), max([*state.arrivals, *state.answered], default=0.0)

    def age_from(self, state: SharedState, came: float, before: float) -> float:
        """Return the latest time from which the age of a state may count: its arrival, or the end of a pause."""
        settings = self.used(state.channel, before - IN_FLIGHT_SECONDS, before)
        pauses = (pause for each in settings for facts in self.facts(state) for pause in each.pauses_of(facts))
        # The clock of the function that sends may be ahead.
        ended_by = before + self.cloud.clock_margin
        return max([came, *(pause.until for pause in pauses if pause.until <= ended_by)])

    def recipients(self, state: SharedState, began: float) -> list[tuple[str, ...]]:
        """Return the recipients that a state may have that was signalled at `began` (epoch seconds)."""
        found = [
            each.recipients_of(facts)
            for each in self.used(state.channel, began - IN_FLIGHT_SECONDS, began)
            for facts in self.facts(state)
            if not each.is_removed
        ]
        return list(dict.fromkeys(found))

    def problems(self) -> Iterator[str]:
        """Yield the problems of the finished schedule."""
        for channel in self.story.timelines:
            rings = [ring for ring in self.phones.rings if ring.channel == channel]
            by_incident = self.incidents_of(channel)
            states = [state for state in self.states.values() if state.channel == channel and state.arrivals]
            yield from self._rung(rings)
            yield from self._told(channel, states)
            yield from self._expired_early(channel)
            yield from self._late_tags(channel, states)
            yield from self._kept(channel, by_incident)
            # The first channel has people's answers and a key that changes, which hold states, too.
            if channel != NOC and self.is_steady(*NEEDED, "sns"):
                for incident, own in sorted(by_incident.items()):
                    yield from self._of(own, [ring for ring in rings if ring.incident == incident])

    def _is_accepted(self, ring: Ring) -> bool:
        """Return True if the relay got the answer that a signal was accepted."""
        posts = (post for post in self.phones.posts if (post.incident, post.share) == (ring.incident, ring.share))
        return any(post.is_accepted for post in posts)

    # ---- Rings ---------------------------------------------------------------------------------------------------

    def _rung(self, rings: Sequence[Ring]) -> Iterator[str]:
        """Check that nothing is signalled while the channel is removed, in shadow mode, or paused for the state."""
        for ring in rings:
            state, began = self.told_by(ring), ring.began
            if why := self.stopped(state, began - IN_FLIGHT_SECONDS, began):
                yield f"conditions: {state} rang, though its channel was {why}"

    def _late_tags(self, channel: str, states: Sequence[SharedState]) -> Iterator[str]:
        """Check that a tag that comes late rings whom its route names, if no signal of the incident named them.

        That holds for incidents that only get tags since their last signal, and that nobody answers. Nobody else is
        rung of one that somebody acknowledged.
        """
        settings = self.story.timelines[channel]
        is_plain = len(settings) == 1 and settings[0].mode == "live" and not settings[0].pauses
        if not is_plain or not self.is_steady(*NEEDED, "sns", "xmatters", "rest"):
            return
        for state in states:
            rings, first = self.rings_of(state.incident), min(state.arrivals)
            own = [each for each in self.states_of(state.incident) if each.arrivals]
            earlier = [each for each in own if each.number < state.number]
            later = [at for each in own for at in each.arrivals if at > first]
            unlike = [each.number for each in earlier if (each.is_open, each.status) != (state.is_open, state.status)]
            before = [ring for ring in rings if ring.at < first]
            # It may have got worse until it rang last.
            is_as_told = bool(before) and max(unlike, default=-1) < before[-1].share
            names = settings[0].recipients_of(state.facts)
            answers = [(at, text) for at, incident, text in self.phones.answers if incident == state.incident]
            pages = [page for page in self.phones.pages if page.ring.incident == state.incident]
            # A follow-up finds the page that a person acknowledges.
            is_known = pages and all(page.found_from < first - RINGS_SECONDS for page in pages)
            if any(text == "Acknowledge" and at < first - RINGS_SECONDS / 2 for at, text in answers) and is_known:
                # The resolve goes to the recipients of the last route, whoever heard of the incident.
                open_rings = [ring for ring in rings if self.told_by(ring).is_open]
                is_rung = any(ring.recipients == names and ring.began > first for ring in open_rings)
                if not unlike and before and is_rung and names != settings[0].recipients:
                    yield f"late tag: {state} rang {', '.join(names)}, although somebody had acknowledged it"
            if not (state.is_open and is_as_told and state.number and not answers) or state.shown:
                continue
            is_named = {*names, *settings[0].recipients} & {name for ring in before for name in ring.recipients}
            by = first + RINGS_SECONDS
            is_due = (
                set(names).isdisjoint(is_named) and names != settings[0].recipients and min(later, default=by) >= by
            )
            has_rung = any(ring.recipients == names and ring.began <= by for ring in rings)
            if is_due and first - before[-1].at < REROUTED_SECONDS - self.cloud.clock_margin and not has_rung:
                yield f"late tag: {state} did not ring {', '.join(names)}"

    def _expired_early(self, channel: str) -> Iterator[str]:
        """Check that no state expires before its age from the end of the last pause."""
        longest = float(self.policies[channel]["max_age_seconds"])
        for message in self.dead_letters.messages.values():
            job, body = message.job, message.incident
            if not body or job["channel"] != channel or job["reason"] != "expired" or not job["dead_lettered_at"]:
                continue
            state = self.states[body["entry"], body["share"]]
            start, at = seconds_of(job["revived_at"] or job["received_at"]), seconds_of(job["dead_lettered_at"])
            counts_from = min(
                (
                    self._age_start(each.pauses_of(facts), start, longest)
                    for each in self.used(channel, at - IN_FLIGHT_SECONDS, at)
                    for facts in self.facts(state)
                ),
                default=start,
            )
            if at < counts_from + longest - self.cloud.clock_margin:
                yield f"conditions: {state} was given up {counts_from + longest - at:.0f} s too early"

    def _age_start(self, pauses: Iterable[Pause], came: float, longest: float) -> float:
        """Return the time from which an age counts at least: the end of each pause that begins before it is too old."""
        start = came
        for pause in sorted(pauses):
            if pause.since < start + longest - self.cloud.clock_margin:
                start = max(start, pause.until)
        return start

    def stopped(self, state: SharedState, first: float, last: float) -> str:
        """Return the reason why a state can't be signalled in all of a time (epoch seconds); empty if it may be."""
        settings = self.used(state.channel, first, last)
        found = [self._stop(each, facts, first, last) for each in settings for facts in self.facts(state)]
        return found[-1] if all(found) else ""

    def _stop(self, settings: Settings, facts: Facts, first: float, last: float) -> str:
        if settings.is_removed or settings.mode == "shadow":
            return "removed" if settings.is_removed else SHADOWED
        pauses = settings.pauses_of(facts)
        is_paused = any(
            each.since + self.cloud.clock_margin < first and last < each.until - self.cloud.clock_margin
            for each in pauses
        )
        return "paused" if is_paused else ""

    # ---- Notices -------------------------------------------------------------------------------------------------

    def _told(self, channel: str, states: Collection[SharedState]) -> Iterator[str]:
        """Check that the fallback topic is not notified of incidents that a pause holds, or in shadow mode."""
        spells = [each for each in self.spells("secrets") if each.fault == "bug"]
        unread = [(self.world.began + each.begins, self.world.began + each.ends) for each in spells]
        for at, text, about, *_ in self.sns.told:
            if any(begins < at < ends for begins, ends in unread):
                # A run that can't read the secret does not know of the pause.
                continue
            if about == channel and self._is_early(channel, at, text):
                yield f"conditions: the fallback topic was told of {channel} in a pause, or soon after it"
            if about != channel or "the relay has given up" in text or "made no page of it" in text:
                continue
            for name in sorted({state.id for state in states}):
                known = [state for state in states if state.id == name and min(state.arrivals) < at]
                is_named = re.search(rf"^- Incident {re.escape(name)}\b", text, re.MULTILINE)
                first = at - IN_FLIGHT_SECONDS
                reasons = [self.stopped(state, first, at) for state in known]
                # Without its job, a pause with conditions is not known to hold it.
                is_unread = any(state.incident in self.unreadable() for state in known)
                if is_named and known and not is_unread and all(each in {"paused", SHADOWED} for each in reasons):
                    yield f"conditions: the fallback topic was told of {name} of {channel}, which was {reasons[-1]}"

    def _is_early(self, channel: str, at: float, text: str) -> bool:
        """Return True if a message came in a pause for all incidents, or before the delay that counts from its end."""
        # A receipt that is late since the pause makes a message due, which tells of what is owed if there is any.
        has_receipts = any(self.story.receipts.values())
        is_at_once = "the relay has given up" in text or tells_of_unheard(text) or has_receipts
        waits = 0.0 if is_at_once else float(self.policies[channel]["fallback_after_seconds"])
        first, last = at - IN_FLIGHT_SECONDS - self.cloud.clock_margin, at + self.cloud.clock_margin
        return all(
            any(pause.since < first and last < pause.until + waits for pause in each.pauses_of(Facts()))
            for each in self.used(channel, at - IN_FLIGHT_SECONDS, at)
        )

    # ---- States --------------------------------------------------------------------------------------------------

    def _kept(self, channel: str, by_incident: Mapping[str, Sequence[SharedState]]) -> Iterator[str]:
        """Check that a critical is announced after a pause that kept it, or that began while it was owed."""
        spells = [spell for spell in self.weather.spells if spell.service != f"xmatters/{channel}"]
        last = self.quiet_until(channel) + KEPT_SECONDS
        is_odd = self.weather.crashes or self.has_operators or self.cloud.has_newer_schema
        if spells or is_odd or last > self.world.now:
            return
        for incident, states in by_incident.items():
            pauses = (
                pause
                for each in self.story.timelines[channel]
                for state in states
                for pause in each.pauses_of(state.facts)
            )
            begins = min((pause.since for pause in pauses), default=0.0)
            before = [each for each in states if max(each.answered, default=begins) < begins - IN_FLIGHT_SECONDS]
            is_owed = any(not self.may_be_shadowed(each) for each in before)
            is_owed = is_owed or (len(states) == 1 and bool(states[0].answered) and self._is_kept(states[0]))
            is_bad = all(state.is_critical for state in states)
            rang = any(ring.began < last for ring in self.rings_of(incident))
            if is_owed and is_bad and not rang and not any(map(self.is_dead_lettered, states)):
                yield f"kept: {incident} was owed before or in the pause of {channel}, and never rang after it"

    def _is_kept(self, state: SharedState) -> bool:
        """Return True if the state came in a pause that keeps it, beyond doubt."""
        (first, last), margin = self._came(state), self.cloud.clock_margin
        return all(
            each.mode != "shadow"
            and any(
                pause.keeps and pause.since + margin < first and last + margin < pause.until
                for pause in each.pauses_of(state.facts)
            )
            for each in self.used(state.channel, first, last)
        )

    # ---- States, in fair weather -----------------------------------------------------------------------------------

    def _of(self, states: Sequence[SharedState], rings: Sequence[Ring]) -> Iterator[str]:
        """Check the states of an incident, each of which must have come once, and been answered before the next."""
        ordered = sorted(states, key=lambda state: state.number)
        for place, state in enumerate(ordered):
            if len(state.arrivals) != 1 or len(state.answered) != 1 or state.shown:
                return
            later = ordered[place + 1 :]
            ends = min((at for each in later for at in each.arrivals), default=float("inf"))
            if ends < state.answered[0]:
                return
            before = [ring for ring in rings if ring.began < state.arrivals[0]]
            earlier = ordered[:place]
            # The relay knows that people know of the state before this one, or there was none.
            is_settled = (before[-1].share == earlier[-1].number) if before and earlier else not (before or earlier)
            is_settled = is_settled and (not before or self._is_accepted(before[-1]))
            rang = any(ring.share == state.number for ring in rings)
            if rang and is_settled and (why := self._left_out(state)):
                yield f"conditions: {state} rang after it came while its channel was {why}"

    def _left_out(self, state: SharedState) -> str:
        """Return the reason why a state that came must not be signalled at all; empty if it may be."""
        came, until = state.arrivals[0] - self.cloud.clock_margin, state.answered[0]
        settings = self.used(state.channel, came, until)
        if all(each.mode == "shadow" for each in settings):
            return SHADOWED
        for each in settings:
            pauses = each.pauses_of(state.facts)
            first, last = came + self.cloud.clock_margin, until + self.cloud.clock_margin
            # Its end must be far: if the share's function waits, the state may be judged by its job, after the pause.
            active = [pause for pause in pauses if pause.since < last and first < pause.until + self.cloud.clock_margin]
            sure = [pause for pause in active if pause.since + self.cloud.clock_margin < came and last < pause.until]
            if each.mode != "shadow" and (not sure or any(pause.keeps for pause in active)):
                return ""
        return "paused"

    def free_at(self, state: SharedState, came: float, within: float) -> float:
        """Return the time from which nothing holds a state for so many seconds (`within`), from a time on.

        Times are in epoch seconds. It is infinity if the channel may be removed or in shadow mode before that.
        """
        until = came
        while held := [
            self._held_until(state.channel, each, facts, until, until + within)
            for each in self.used(state.channel, until, until + within)
            for facts in self.facts(state)
        ]:
            if max(held) <= until:
                break
            until = max(held)
        return until

    def _held_until(self, channel: str, settings: Settings, facts: Facts, first: float, last: float) -> float:
        """Return the end of what holds a state in a time, by these settings; `first` if nothing does.

        An operator may end a pause before. A function learns of that later.
        """
        if settings.mode == "shadow" or settings.is_removed:
            return math.inf
        times = (self.world.began + each.at for each in self.story.timelines[channel] if each.at > settings.at)
        change = min(times, default=math.inf) + LEARNS_SECONDS
        pauses = (each for each in settings.pauses_of(facts) if each.since < min(last, change))
        return max([first, *(min(each.until, change) for each in pauses)])
