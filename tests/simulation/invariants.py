"""What must hold in every schedule, at every step and at the end: see docs/guarantees.md, which says it in words."""

import base64
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from relay.incidents.share import parse_share
from tests.simulation.capacity import Capacity
from tests.simulation.conduct import Conduct
from tests.simulation.console import Console
from tests.simulation.oracle import changed, newest, surely_newer, wanted
from tests.simulation.phones import Page, Phones, Ring
from tests.simulation.promptness import Promptness
from tests.simulation.services import SimulatedSns, SimulatedSqs
from tests.simulation.story import NOC, Nap, Said, SharedState
from tests.simulation.weather import Weather
from tests.simulation.world import Process, World

FLOOD_SIGNALS, FLOOD_SECONDS = 4, 60.0
# A signal can be in flight as long as its sender's lease, or BigPanda's patience.
IN_FLIGHT_SECONDS = 16.0
CLOCKS_DIFFER = 0.7
# BigPanda is asked within so long whether an incident is over.
CONFIRMS_SECONDS = 240.0
# From a share's arrival until its credentials are checked, which is when it came: Secrets Manager may be slow.
ADMITTED_SECONDS = 6.0
# The time between two signals is that between their claims, and one may be tried for as long as BigPanda waits.
TRIED_SECONDS = 9.0
# A page of an incident that is over.
ENDS_SECONDS = 60.0
# What two looks take, and what may hold them up.
LOOKS_SECONDS = 20.0
# A function uses a channel's secret for a minute before it reads it again.
REMEMBERED_SECONDS = 62.0
# Whoever acknowledges in the stories.
ACKNOWLEDGER, FORGER = ("jdoe",), ("mallory",)


@dataclass
class Invariants:
    """Watches a simulation; `problems` says what did not hold."""

    # The policy of each channel.
    policies: Mapping[str, Mapping[str, object]]
    world: World
    states: dict[tuple[str, int], SharedState]
    phones: Phones
    # The queues whose messages wake workers.
    queues: Sequence[SimulatedSqs]
    dead_letters: SimulatedSqs
    capacity: Capacity
    sns: SimulatedSns
    weather: Weather
    has_operators: bool
    # When the first channel gets another recipient, in seconds from the beginning.
    widens_at: float | None
    # When both xMatters and the secret have the first channel's new key; None if it never changes.
    renewed_at: float | None
    # BigPanda's token changes.
    has_new_token: bool
    has_rest: bool
    console: Console
    # The incidents of debts that have a row and a stored job.
    owed: Callable[[], Sequence[Mapping[str, Any]]]
    # The digest of the state that the ledger keeps of an incident, and when it came.
    known: Callable[[SharedState], tuple[str, float]]
    # How often BigPanda is asked for what never came, if at all, and what was snoozed.
    looks_every: float | None
    naps: Sequence[Nap]
    routed: Sequence[str]
    problems: list[str] = field(default_factory=list)
    # Extra rings that nobody can rule out, by incident; and incidents that the ledger could not watch over, or that no
    # queue took.
    doubts: Counter[str] = field(default_factory=Counter)
    unguarded: set[str] = field(default_factory=set)
    unqueued: set[str] = field(default_factory=set)
    # Incidents of processes that died: what came to those is not noted anywhere but on their job.
    died: set[str] = field(default_factory=set)
    running: set[Process] = field(default_factory=set)
    # The answers of people that were taken; those that came when the incident was known; and those that a stranger
    # forged, where xMatters can be asked.
    taken: set[str] = field(default_factory=set)
    expected: dict[str, str] = field(default_factory=dict)
    forged: set[str] = field(default_factory=set)
    # When somebody acknowledged, by the id of the incident.
    acknowledged: list[tuple[float, str]] = field(default_factory=list)
    # Channels that a function knows, by the function.
    admits: set[tuple[int, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._wanted_by = {channel: wanted(dict(policy)) for channel, policy in self.policies.items()}
        self._channels = {state.incident: state.channel for state in self.states.values()}

    def wanted(self, incident: str) -> set[str]:
        """The transitions that the policy of the incident's channel wants announced."""
        return self._wanted_by[self._channels[incident]]

    def _policy(self, incident: str) -> Mapping[str, object]:
        return self.policies[self._channels[incident]]

    def answered(self, state: SharedState, status: int) -> None:
        """A share was answered."""
        if status not in {200, 202, 503}:
            self._problem(f"{state} was answered {status}")
        if status < 300:
            state.answered.append(self.world.now)
            self._check_safe(state)

    def admitted(self, function: int, state: SharedState, *, is_admitted: bool) -> None:
        """A function let a share in, or did not: it must once it knows the channel, whether or not it can read it."""
        known = (function, state.channel)
        if is_admitted:
            self.admits.add(known)
            return
        has_bugs = any(spell.fault == "bug" for spell in self.weather.spells)
        if known in self.admits and not has_bugs and not self.has_new_token:
            self._problem(f"credentials: {state} was not let in, by a function that knew the channel")

    def came_back(self, said: Said, page: Page | None) -> None:
        """A callback came that names this page; whoever answers it may die after it was queued."""
        is_credible = not self.has_rest or (page is not None and not said.is_forged)
        if self._is_known(said.incident):
            self.expected[f"answer-{said.number}"] = said.incident
        if said.is_forged and self.has_rest:
            self.forged.add(f"answer-{said.number}")
        if said.response == "Acknowledge" and is_credible:
            self.acknowledged.append((self.world.now, said.incident))

    def commented(self, incident: str) -> None:
        """A comment was written on an incident."""
        came = any(state.arrivals for state in self.states.values() if state.id == incident and state.channel == NOC)
        if not came and not self._is_known(incident):
            self._problem(f"a comment was written on {incident}, of which the channel knows nothing")

    def _is_known(self, incident: str) -> bool:
        """True if the first channel was told of an incident, by its id: by a share, or by who looked for it."""
        if any(post.channel == NOC and post.incident.partition("@")[0] == incident for post in self.phones.posts):
            return True
        known = (state for state in self.states.values() if state.id == incident and state.channel == NOC)
        return any(self._counts(state) for state in known)

    def called_back(self, said: Said, status: int) -> None:
        """A callback was answered."""
        if status == 200:
            self.taken.add(f"answer-{said.number}")
        elif status != 503:
            self._problem(f"a callback was answered {status}")

    def began(self, process: Process) -> None:
        """A process began."""
        self.running.add(process)

    def ended(self, process: Process) -> None:
        """A process ended, or died."""
        self.running.discard(process)
        self.capacity.ended(process)
        if process.is_dead or "bug" in process.troubles:
            # Whatever it had in flight may have rung.
            self.doubts.update(process.claimed)
            self.died.update(process.incidents)
        if "ledger" in process.troubles:
            self.unguarded.update(process.incidents)
        if "queue" in process.troubles:
            self.unqueued.update(process.incidents)
        self.anywhere(process.incidents)

    def anywhere(self, incidents: Collection[str] = ()) -> None:
        """A process ended, and may have let something go: is everything that was answered 2xx still safe?

        `incidents`: those that it had in hand; empty if that may be any.
        """
        for state in self.states.values():
            if state.answered and (not incidents or state.incident in incidents):
                self._check_safe(state)

    def at_the_end(self) -> None:
        """Nothing moves any more."""
        self._check_queues()
        self.anywhere()
        for incident in {state.incident for state in self.states.values()}:
            rings = self._rings(incident)
            if incident not in self.unguarded:
                self._check_bad_again(incident)
                self._check_once(incident, rings)
                if incident not in self.unqueued:
                    self._check_again(incident, rings)
                    self._check_order(rings)
                    self._check_flood(rings)
                    if not self.doubts[incident] and self._are_pages_followed():
                        self._check_pages(incident)
                        self._check_acknowledged(rings)
                    if not self.doubts[incident] + self.phones.doubts[incident]:
                        self._check_rests(rings)
            self._check_ends(incident)
            if self.looks_every is not None and self._channels[incident] == NOC:
                self._check_found(incident)
                self._check_woken(incident)
        self._check_ages()
        self._check_recipients()
        self._check_answers()
        conduct = Conduct(
            self.policies,
            self.states.values(),
            self.weather,
            self.phones,
            self.dead_letters,
            self.sns,
            self.has_operators,
            self.has_rest and self._are_pages_followed(),
            self.widens_at is not None,
            self._is_owed,
        )
        promptness = Promptness(
            self.policies,
            self.states.values(),
            self.world,
            self.weather,
            self.phones,
            self.dead_letters,
            self.sns,
            self._untrusted(),
            {incident for incident, times in self.phones.doubts.items() if times},
            self.has_operators,
            any(queue.vanishing for queue in self.queues),
            self.renewed_at,
        )
        for problem in (
            *conduct.problems(),
            *promptness.problems(),
            *self.capacity.at_the_end(),
            *self.console.crowded(),
        ):
            self._problem(problem)

    def _untrusted(self) -> set[str]:
        """The incidents of which nobody can tell from outside what is owed."""
        doubted = {incident for incident, times in self.doubts.items() if times}
        found = {state.id for state in self.states.values()} if self.looks_every is not None else set()
        return self.unguarded | self.unqueued | doubted | found

    def _are_pages_followed(self) -> bool:
        """False where messages vanish: the job that follows a signal has no row, so nobody looks for its page then."""
        return not any(queue.vanishing for queue in self.queues)

    def _check_queues(self) -> None:
        """Every job came to its end, and SQS was asked for nothing that it refuses."""
        for queue in self.queues:
            if queue.messages:
                self._problem(f"{len(queue.messages)} jobs never ended")
            if queue.wrong_delays:
                self._problem(f"SQS was asked for delays of {queue.wrong_delays} s")
        if left := [debt for debt in self.owed() if debt]:
            self._problem(f"{len(left)} debts never ended")

    def _check_safe(self, state: SharedState) -> None:
        """It, or what overtook it, rang, is on a queue, or is not owed by policy."""
        others = (other for other in self.states.values() if other.incident == state.incident and self._counts(other))
        heirs = [other for other in others if other is state or not surely_newer(state, other)]
        heirs += self._found_over(state.incident, [state])
        if any(self._is_on_a_queue(heir) or self._is_told(heir) for heir in heirs):
            return
        told = self._told(state.incident)
        if any(changed(told, heir) not in self.wanted(heir.incident) for heir in heirs):
            return
        is_guarded = state.incident not in self.unguarded and not any(
            "ledger" in process.troubles and state.incident in process.incidents for process in self.running
        )
        if not is_guarded and self._seems_told(state.incident, heirs):
            return
        self._problem(f"lost: {state}; people were told {told}")

    def _found_over(self, incident: str, others: Sequence[SharedState]) -> list[SharedState]:
        """The states by which a reconcile run may have found that an incident is over, though none of the others is."""
        over = [each for each in self.states.values() if each.incident == incident and each.shown and not each.is_open]
        return [state for state in over if not any(surely_newer(other, state) for other in others)]

    def _counts(self, state: SharedState) -> bool:
        """Whether the relay knows of it, answered or not."""
        if state.answered or any(ring.share == state.number for ring in self._rings(state.incident)):
            return True
        digest, came = self.known(state)
        is_kept = any(-CLOCKS_DIFFER < came - arrival < ADMITTED_SECONDS for arrival in state.arrivals)
        return is_kept and parse_share(state.body()).digest == digest

    def _rings(self, incident: str) -> list[Ring]:
        return [ring for ring in self.phones.rings if ring.incident == incident]

    def _is_on_a_queue(self, state: SharedState) -> bool:
        queued = [job for queue in (*self.queues, self.dead_letters) for job in queue.bodies()]
        for job in (*queued, *self.owed()):
            found = self.states.get((job["entry"], job["share"]))
            if found and found.incident == state.incident and not surely_newer(state, found):
                return True
        return False

    def _rests_alike(self, state: SharedState) -> bool:
        """Whether an older one that is as bad rests: to put the newer there, too, would help nobody."""
        jobs = [job for job in self.dead_letters.bodies() if job["entry"] == state.incident]
        found = [self.states[job["entry"], job["share"]] for job in jobs]
        return any((each.is_open, each.status) == (state.is_open, state.status) for each in found)

    def _is_told(self, state: SharedState) -> bool:
        rung = (self.states[ring.incident, ring.share] for ring in self._rings(state.incident))
        return any(found is state or surely_newer(found, state) for found in rung)

    def _told(self, incident: str) -> SharedState | None:
        rings = self._rings(incident)
        return self.states[incident, rings[-1].share] if rings else None

    def _is_owed(self, incident: str) -> bool:
        """Whether something critical was never told, and nothing went wrong that excuses it."""
        if incident in self.unguarded | self.unqueued or self.doubts[incident]:
            return False
        states = newest(state for state in self.states.values() if state.incident == incident and self._counts(state))
        told = self._told(incident)
        return bool(states) and all(
            state.status == "critical" and changed(told, state) in self.wanted(incident) for state in states
        )

    def _check_ends(self, incident: str) -> None:
        """What people were told last is what is true, as far as policy wants it told; unless that is a dead letter."""
        states = [state for state in self.states.values() if state.incident == incident]
        answered = newest(state for state in states if state.answered)
        # What was not answered may have overtaken it all the same.
        known = newest(state for state in states if self._counts(state))
        told = self._told(incident)
        for state in [*answered, *known, *self._found_over(incident, answered)]:
            is_newer_told = told is not None and not surely_newer(state, told)
            # Without a ledger the order is lost, but not the page.
            is_newer_told = is_newer_told or (incident in self.unguarded and self._is_told(state))
            if is_newer_told or changed(told, state) not in self.wanted(incident) or self._is_on_a_queue(state):
                return
            if incident in self.unguarded and (self._seems_told(incident, [state]) or self._is_unplaced(state, states)):
                return
        if answered:
            self._problem(f"{incident} ends untold: {answered[0]}; people were told {told}")

    def _is_unplaced(self, state: SharedState, others: Iterable[SharedState]) -> bool:
        """True if its arrival alone places a state, and another came later: the ledger alone knew that order."""
        later = (max(other.arrivals, default=0.0) for other in others if other is not state)
        return state.has_wrong_stamps and any(at > max(state.arrivals) for at in later)

    def _check_found(self, incident: str) -> None:
        """What is true of an incident at last is told, though its share never came: somebody asked for it."""
        states = [state for state in self.states.values() if state.incident == incident]
        last = max(states, key=lambda state: state.at)
        stamps = [state.version for state in states if state is not last and state.version]
        if last.version is None or any(stamp >= last.version for stamp in stamps):
            # What has the same time stamp as what is known can't be told from it.
            return
        told = self._told(incident)
        # That alerts joined is not looked for: nobody knows if BigPanda names them there as it does in its webhook.
        is_told = told is last or changed(told, last) not in self.wanted(incident) - {"grew"}
        is_told = is_told or self._is_on_a_queue(last) or self._rests_alike(last)
        if not is_told and not (incident in self.unguarded and self._seems_told(incident, [last])):
            self._problem(f"missed: {last}; people were told {told}")

    def _check_woken(self, incident: str) -> None:
        """What was critical before a snooze, and is critical after it, rings after it once more."""
        if incident in self.unguarded | self.unqueued or "reopened" not in self.wanted(incident):
            return
        states = [each for each in self.states.values() if each.incident == incident]
        last, rings = max(states, key=lambda each: each.at), self._rings(incident)
        # It must have been seen asleep, and awake after that.
        least = 2 * (self.looks_every or 0.0) + LOOKS_SECONDS
        for nap in self.naps:
            begins = self.world.began + nap.begins
            is_told = bool(rings) and rings[-1].at < begins and self.states[incident, rings[-1].share] is last
            is_critical = last.is_open and last.status == "critical" and last.version is not None
            is_seen = nap.incident == incident and nap.ends - nap.begins > least
            if is_seen and is_told and is_critical and not self._is_on_a_queue(last) and not self._is_hidden(nap):
                self._problem(f"{incident} was not woken")

    def _is_hidden(self, nap: Nap) -> bool:
        """Whether BigPanda, or who asks it, may not have been there while an incident was snoozed."""
        spells = (spell for spell in self.weather.spells if spell.service in {"bigpanda", "dynamodb", "secrets"})
        return bool(self.weather.crashes) or any(
            spell.begins < nap.ends and nap.begins < spell.ends for spell in spells
        )

    def _check_bad_again(self, incident: str) -> None:
        """What got better, unheard, and then as bad again is told: people may have seen that it was better."""
        told, rings = self._told(incident), self._rings(incident)
        states = [state for state in self.states.values() if state.incident == incident and state.answered]
        unwanted, bad = self._quietly_better(incident)
        last = newest(states)
        every = (state for state in self.states.values() if state.incident == incident)
        if any(self._counts(state) and not state.answered for state in every):
            # It came, and changed what is known, but nobody can say when.
            return
        if told is None or len(last) != 1 or last[0].version is None or self._is_on_a_queue(last[0]):
            return
        for better in states:
            is_between = surely_newer(better, told) and surely_newer(last[0], better) and last[0] is not told
            is_in_turn = rings[-1].at + IN_FLIGHT_SECONDS < min(better.arrivals, default=0.0)
            later = [other for other in states if surely_newer(other, better)]
            is_in_turn = is_in_turn and all(max(better.answered) < min(other.arrivals) for other in later)
            if is_between and is_in_turn and changed(told, better) in unwanted and changed(better, last[0]) in bad:
                self._problem(f"{incident} ends untold: {last[0]}, after {better}")

    def _quietly_better(self, incident: str) -> tuple[set[str], set[str]]:
        """The transitions to something better that are not announced, and those to something worse that are."""
        wants = self.wanted(incident)
        return {"eased", "resolved"} - wants, {"worsened", "reopened"} & wants

    def _check_again(self, incident: str, rings: list[Ring]) -> None:
        """What is as bad again, at the time stamps of what was told last, is told: it need not be a late copy."""
        came = [state for state in self.states.values() if state.incident == incident and state.arrivals]
        if not rings or not came or self.doubts[incident] + self.phones.doubts[incident]:
            return
        last = max(came, key=lambda state: max(state.arrivals))
        told, at = self.states[incident, rings[-1].share], max(last.arrivals)
        is_same_version = last.version is not None and all(state.version == last.version for state in came)
        is_answered = bool(last.answered) and max(last.answered) > at
        is_worse = changed(told, last) in {"worsened", "reopened"} & self.wanted(incident)
        if is_same_version and is_answered and is_worse and rings[-1].at < at and not self._is_on_a_queue(last):
            self._problem(f"again: {last} was taken for a copy; people were told {told}")

    def _seems_told(self, incident: str, states: Iterable[SharedState]) -> bool:
        """Whether one of the states changes nothing against what the ledger may take for announced.

        What was announced without the ledger is noted there later; what comes before that is compared with less.
        """
        seen = [None, *(self.states[incident, ring.share] for ring in self._rings(incident))]
        return any(changed(told, state) not in self.wanted(incident) for told in seen for state in states)

    def _check_order(self, rings: list[Ring]) -> None:
        """No signal carries an older state than one that was announced before it left."""
        for place, ring in enumerate(rings):
            state = self.states[ring.incident, ring.share]
            if state.version is None and ring.incident in self.died:
                # The ledger alone knows the order in which shares without time stamps came.
                continue
            for earlier in rings[:place]:
                newer = self.states[earlier.incident, earlier.share]
                if surely_newer(newer, state) and ring.began > earlier.at + IN_FLIGHT_SECONDS:
                    self._problem(f"stale: {state} rang after {newer}")
            for other in self.states.values():
                is_known_over = other.incident == ring.incident and not other.is_open and other.answered
                if (
                    is_known_over
                    and state.is_open
                    and surely_newer(other, state)
                    and ring.began > min(other.answered) + IN_FLIGHT_SECONDS
                ):
                    self._problem(f"stale: {state} rang although {other} was known")

    def _check_once(self, incident: str, rings: list[Ring]) -> None:
        """Each ring tells what people did not know, but for one more for each time that nobody could tell."""
        told: SharedState | None = None
        needless, before = 0, 0.0
        for ring in rings:
            state = self.states[ring.incident, ring.share]
            is_news = changed(told, state) in self.wanted(incident) or self._is_bad_again(told, state, ring.at)
            # A newer state may take the place of the critical that the snooze's end was told for.
            needless += not is_news and not (state.is_open and self._is_woken(incident, before, ring.at))
            told, before = state, ring.at
        doubts = self.doubts[incident] + self.phones.doubts[incident]
        # Those that no queue takes wait for a sender that died, then all of them are sent.
        if needless > doubts and not (doubts and incident in self.unqueued):
            self._problem(f"{incident} rang {needless} times too often")

    def _is_woken(self, incident: str, before: float, at: float) -> bool:
        """Whether a snooze ended in between."""
        ends = (self.world.began + nap.ends for nap in self.naps if nap.incident == incident)
        return any(before < end <= at for end in ends)

    def _is_bad_again(self, told: SharedState | None, now: SharedState, at: float) -> bool:
        """Whether it got better in between, untold: people who think that it goes on as before still need to know."""
        unwanted, bad = self._quietly_better(now.incident)
        return any(
            changed(told, other) in unwanted and changed(other, now) in bad
            for other in self.states.values()
            if other.incident == now.incident
            and any(arrival <= at for arrival in other.arrivals)
            and not surely_newer(other, now)
        )

    def _check_flood(self, rings: list[Ring]) -> None:
        times = [ring.at for ring in rings]
        for first, last in zip(times, times[FLOOD_SIGNALS:], strict=False):
            if last - first < FLOOD_SECONDS:
                self._problem(f"{rings[0].incident} rang {FLOOD_SIGNALS + 1} times within {last - first:.1f} s")

    def _check_pages(self, incident: str) -> None:
        """Pages end when their incident does, or when a newer page takes their place: ours, and no others."""
        pages = [page for page in self.phones.pages if page.ring.incident == incident]
        known = {post.request_id for post in self.phones.posts if post.is_accepted}
        told = [page for page in pages if page.request_id in known]
        rings = [ring for ring in self._rings(incident) if self._is_accepted(ring)]
        over = [ring for ring in rings if not self.states[incident, ring.share].is_open]
        for page in pages:
            later = [ring for ring in rings if ring.began > page.ring.began]
            heirs = [
                other for other in told if self._policy(incident)["replace"] and _takes_over(other.ring, page.ring)
            ]
            is_old = any(ring in over for ring in later) or any(
                page.ended_at is not None and heir.found_from <= page.ended_at for heir in heirs
            )
            is_old = is_old or self._is_silently_over(page)
            if page.ended_at is not None and (page not in told or not is_old):
                self._problem(f"{page.name} of {incident} ended, and nothing took its place")
            is_open = self.states[incident, page.ring.share].is_open
            ends = [*(ring.at for ring in later if ring in over), *self._silent_ends(page)]
            ends = [at for at in ends if not self._is_open_again(incident, at)]
            if self.has_rest and is_open and page in told and page.ended_at is None and ends:
                self._problem(f"{page.name} of {incident} goes on, although it is over")
            # Where nothing fails that it needs; a page that its flow makes late can't be ended before.
            needed = {"rest", "sqs", "dynamodb", "lambda", "secrets", "bigpanda"}
            is_fair = not any(spell.service in needed for spell in self.weather.spells)
            is_calm = is_fair and not self.weather.crashes and not self.has_operators
            if self.has_rest and is_open and page in told and ends and is_calm:
                late = (page.ended_at or math.inf) - max(min(ends), page.found_from)
                if late > ENDS_SECONDS:
                    self._problem(f"{page.name} of {incident} ended {late:.0f} s late")

    def _is_open_again(self, incident: str, at: float) -> bool:
        """True if the incident is open in BigPanda, then or soon after, or for all that the relay hears."""
        now = at - self.world.began
        states = [state for state in self.states.values() if state.id == incident.partition("@")[0]]
        last = max((state for state in states if state.at <= now), key=lambda state: state.at, default=None)
        if last is not None and last.is_open:
            return True
        moments = [(state.at + self.world.began, *state.arrivals) for state in states if state.is_open]
        return any(at < moment < at + CONFIRMS_SECONDS for each in moments for moment in each)

    def _is_silently_over(self, page: Page) -> bool:
        """True if a resolve that the policy does not announce may have ended the page."""
        state, ended_at = self.states[page.ring.incident, page.ring.share], page.ended_at or 0.0
        resolves = (other for other in self.states.values() if other.incident == state.incident and not other.is_open)
        return "resolved" not in self.wanted(state.incident) and any(
            not surely_newer(state, each) and any(at <= ended_at for at in each.arrivals) for each in resolves
        )

    def _silent_ends(self, page: Page) -> list[float]:
        """The times at which a resolve that the policy does not announce was answered, and had to end the page.

        A resolve that came after a newer share is superseded, and ends nothing.
        """
        state = self.states[page.ring.incident, page.ring.share]
        others = [other for other in self.states.values() if other.incident == state.incident]
        return [
            min(each.answered)
            for each in others
            if "resolved" not in self.wanted(state.incident)
            and not each.is_open
            and each.version is not None
            and surely_newer(each, state)
            and any(at > page.ring.at for at in each.answered)
            and all(
                not each.answered or min(each.answered) < min(other.arrivals, default=math.inf)
                for other in others
                if surely_newer(other, each)
            )
        ]

    def _is_accepted(self, ring: Ring) -> bool:
        """Whether the relay knows that xMatters took it."""
        return any(
            post.is_accepted and post.delivery == ring.delivery and post.began == ring.began
            for post in self.phones.posts
        )

    def _check_rests(self, rings: list[Ring]) -> None:
        """What is not worse, and not over, leaves people the time that the policy gives them."""
        if not rings:
            return
        least = float(str(self._policy(rings[0].incident)["min_seconds_between_signals"])) - TRIED_SECONDS
        for earlier, later in pairwise(rings):
            told, state = self.states[earlier.incident, earlier.share], self.states[later.incident, later.share]
            is_in_time = later.began - earlier.at >= least or changed(told, state) in {
                "worsened",
                "resolved",
                "touched",
            }
            if not is_in_time and not self._is_bad_again(told, state, later.at):
                self._problem(f"{state} rang {later.began - earlier.at:.0f} s after the signal before")

    def _check_acknowledged(self, rings: list[Ring]) -> None:
        """Who took an incident on hears alone only of what is no worse, and only if that was after what rang anew."""
        anew, told = 0.0, None
        for ring in rings:
            state = self.states[ring.incident, ring.share]
            change = changed(told, state)
            is_anew = change in {"opened", "worsened", "reopened"}
            if ring.recipients in {ACKNOWLEDGER, FORGER}:
                answers = [at for at, incident in self.acknowledged if incident == state.id]
                is_taken = any(anew - CLOCKS_DIFFER <= at < ring.began for at in answers)
                if is_anew or not is_taken:
                    self._problem(f"acknowledged: {state} rang the acknowledger alone, though it {change}")
            if (is_anew or change == "resolved") and self._is_accepted(ring):
                anew = ring.began
            told = state

    def _check_answers(self) -> None:
        """What people answered stands in BigPanda once, or rests among the dead letters; what is forged is doubted."""
        resting = {note for job in self.dead_letters.jobs() for note in _notes(job)}
        # What was announced without the ledger may never be noted there.
        unguarded = {name.partition("@")[0] for name in self.unguarded}
        # A function that died may have noted recipients of a webhook's URL late: the answer's incident was not known.
        unguarded |= {name.partition("@")[0] for name in self.died if "+" in name}
        for answer in self.taken & self.expected.keys():
            if self.expected[answer] in unguarded:
                continue
            if not self.console.written[answer] and answer not in resting:
                self._problem(f"unwritten: {answer}")
        for answer, times in self.console.written.items():
            if times > 1:
                self._problem(f"{answer} was written {times} times")
        for text in self.console.texts:
            if self.forged & set(re.findall(r"answer-\d+", text)) and not text.startswith("Unverified"):
                self._problem(f"forged: {text}")

    def _check_ages(self) -> None:
        """What is older than the policy allows does not ring, unless an operator wants it."""
        for ring in self.phones.rings:
            limit = float(str(self._policy(ring.incident)["max_age_seconds"])) + IN_FLIGHT_SECONDS
            arrivals = [at for at in self.states[ring.incident, ring.share].arrivals if at <= ring.began]
            if not self.has_operators and ring.began > max(arrivals) + limit:
                self._problem(f"{ring.incident} share {ring.share} rang although it was too old")

    def _check_recipients(self) -> None:
        """A signal names exactly those of the rule that applied when its share came, and those of the share's URL.

        A state without a status fits no route. Who took the incident on may be named alone.
        """
        for ring in self.phones.rings:
            state = self.states[ring.incident, ring.share]
            if ring.channel != state.channel:
                self._problem(f"{state} rang by the trigger of {ring.channel}")
            expected = [tuple(dict.fromkeys((*rule, *state.url_recipients))) for rule in self._rules(state, ring.began)]
            # Who forges an acknowledgement is known as nobody only where xMatters can be asked.
            alone = [ACKNOWLEDGER] if self.has_rest else [ACKNOWLEDGER, FORGER]
            if ring.recipients not in [*expected, *alone]:
                self._problem(f"recipients: {state} rang {', '.join(ring.recipients)}")

    def _rules(self, state: SharedState, before: float) -> list[tuple[str, ...]]:
        """The recipients that the rules may have named for a state that came before then; two sets near a change."""
        if state.channel == NOC and self.routed and state.is_open and state.status == "critical":
            return [tuple(self.routed)]
        first, second = ("Ops",), ("Ops", "Dba")
        if state.channel != NOC or self.widens_at is None:
            return [first]
        arrivals = [at for at in state.arrivals if at <= before]
        changes = self.world.began + self.widens_at
        if max(arrivals) < changes:
            return [first]
        is_readable = not any(spell.service == "secrets" for spell in self.weather.spells)
        return [second] if is_readable and min(arrivals) > changes + REMEMBERED_SECONDS else [first, second]

    def _problem(self, what: str) -> None:
        if what not in self.problems:
            self.problems.append(what)
            self.world.say(f"PROBLEM  {what}")


def _takes_over(newer: Ring, older: Ring) -> bool:
    """True if a newer page notifies the same people or more; a page for the acknowledger alone ends no other."""
    alone = {ACKNOWLEDGER, FORGER}
    reaches = older.recipients in alone or set(older.recipients) <= set(newer.recipients)
    return newer.began > older.began and newer.recipients not in alone and reaches


def _notes(job: Mapping[str, Any]) -> list[str]:
    """The answers that a job carries."""
    return re.findall(r"answer-\d+", zlib.decompress(base64.b64decode(job["body"])).decode())


def kinds(problems: Iterable[str]) -> set[str]:
    """The first words of problems: what kind they are."""
    return {problem.partition(":")[0] for problem in problems}
