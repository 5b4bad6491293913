"""Invariants of every schedule, at every step and at the end. docs/guarantees.md has them in words."""

import base64
import math
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from relay.bigpanda.client import as_webhook
from relay.delivery.resolve_questions import UNREACHABLE_SECONDS
from relay.incidents.share import parse_share
from relay.jobs.queue import SCHEMA
from relay.ledger.entry import CLAIM_SECONDS, entry_key
from tests.simulation.answers import ActingAnswers, Answer
from tests.simulation.capacity import Capacity
from tests.simulation.cloud import USUAL
from tests.simulation.conditions import REROUTED_SECONDS, Conditions
from tests.simulation.conduct import Conduct
from tests.simulation.console import answers_in
from tests.simulation.flaps import Flaps, span
from tests.simulation.health import Health
from tests.simulation.oracle import changed, newest, surely_newer
from tests.simulation.phones import LOOKED_FOR_SECONDS, Page, Ring
from tests.simulation.played import ACKNOWLEDGER, ALONE, IN_FLIGHT_SECONDS, NEEDED, OTHER, Played
from tests.simulation.promptness import HIDDEN_SECONDS, Promptness
from tests.simulation.quiet import Quiet
from tests.simulation.reports import Reports
from tests.simulation.services import SimulatedDynamoDb
from tests.simulation.story import DESK, NOC, RANKS, Nap, Said, SharedState
from tests.simulation.truth import Truth
from tests.simulation.unheard import Unheard
from tests.simulation.world import Process, Time

FLOOD_SIGNALS, FLOOD_SECONDS = 4, 60.0
# From a sender's read of the ledger to its signal, if no service is slow.
SENDS_SECONDS = 2.0
# An owed signal waits once for so long for BigPanda's answer about a resolve.
CLAIMED_SECONDS = 60.0
# The relay asks BigPanda within so long after a resolve whether the incident is over.
CONFIRMS_SECONDS = 240.0
# From a share's arrival to the check of its credentials, which sets its arrival time: Secrets Manager may be slow.
ADMITTED_SECONDS = 6.0
# The distance of two signals is that of their claims; the attempts of a signal may last as long as BigPanda waits.
TRIED_SECONDS = 9.0
# From a resolve to its signal while BigPanda does not answer: ten minutes, and the wait for the next question.
BELIEVED_SECONDS = UNREACHABLE_SECONDS + 360.0
# From a resolve to its signal if BigPanda confirms it: two questions, and a wait for xMatters' flood control.
CONFIRMED_SECONDS = 180.0
# The longest time from an incident's end to the end of its pages: 5 s and their terminations, of which each takes a
# second. A page that is found later waits for the next search.
ENDS_SECONDS = 25.0
SEARCHED_SECONDS = 60.0
# From a follow-up's read of the ledger to the end of a page.
READ_SECONDS = 3.0
# So long BigPanda may be asked about a resolve whose signal waits: a minute, and one until the sweeper runs.
UNTOLD_SECONDS = 121.0
# Duration of two reconcile runs, with their delays.
LOOKS_SECONDS = 20.0
# Requests of a follow-up or an answer to xMatters' REST API.
MOST_LOOKS = 18
# An incident's last signals, whose pages end (docs/guarantees.md).
REMEMBERED_SIGNALS = 16
# A last search that fails for so long may not be repeated in time: SQS shows its message again after three minutes.
LATE_SEARCH_SECONDS = 120.0
# From a change to the end of the second reconcile run after it: two intervals, BigPanda's lag, and the runs themselves.
FOUND_SECONDS = 200.0
# A callback may come this long before xMatters shows its page.
SEEN_SECONDS = 200.0


class _End(NamedTuple):
    """A resolve that has to end pages.

    Attributes:
        began: start of the relay's post, or the answer to the share if the policy does not announce the resolve.
        at: time of the signal's acceptance, or the answer to the share.
    """

    state: SharedState
    began: float
    at: float


@dataclass
class Invariants(Played):
    """Observer of a simulation, and judge of its invariants.

    Attributes:
        doubts: number of repeated signals that a crash or a bug excuses, by incident.
        unguarded: incidents that were processed without the ledger.
        unbelieved: incident and number of each resolve that was answered while BigPanda has still to confirm it.
        unqueued: incidents whose job no queue may have taken.
        died: incidents of processes that died: only the job may have the time at which the share arrived.
        admits: pairs of a function and a channel whose credentials it has accepted.
        swept: the sweeper's runs that neither died nor found another run's lease, in the order of their ends.
        reconciled_until: time of the last reconcile run, in epoch seconds.
        held: start (epoch seconds) and channel of each process that an open circuit kept from sending.
        revived: time of the last replay of each state that was dead-lettered then, in epoch seconds.
    """

    dynamodb: SimulatedDynamoDb
    problems: list[str] = field(default_factory=list)
    doubts: Counter[str] = field(default_factory=Counter)
    unguarded: set[str] = field(default_factory=set)
    unbelieved: set[tuple[str, int]] = field(default_factory=set)
    unqueued: set[str] = field(default_factory=set)
    died: set[str] = field(default_factory=set)
    running: set[Process] = field(default_factory=set)
    answers: dict[int, Answer] = field(default_factory=dict)
    admits: set[tuple[int, str]] = field(default_factory=set)
    swept: list[Time] = field(default_factory=list)
    reconciled_until: float = 0.0
    held: list[tuple[float, str]] = field(default_factory=list)
    revived: dict[tuple[str, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._clocks_differ = self.cloud.clock_margin
        self.capacity = Capacity(**self.played, dynamodb=self.dynamodb)
        self.conditions = Conditions(**self.played, unguarded=self.unguarded, unreadable=self._unreadable)

    def answered(self, state: SharedState, status: int) -> None:
        """Note the HTTP status that answers a share, and check that a share that is answered 2xx is safe."""
        if status not in {200, 202, 503} and not (status == 401 and self._is_remade(state.channel)):
            self._problem(f"{state} was answered {status}")
        if status < 300:
            state.answered.append(self.world.now)
            self._check_safe(state)

    def admitted(self, function: int, state: SharedState, *, is_admitted: bool) -> None:
        """Check that a function that once knew the channel accepts a share, even if the secret can't be read now."""
        known = (function, state.channel)
        if is_admitted:
            self.admits.add(known)
            return
        has_bugs = any(spell.fault == "bug" for spell in self.weather.spells)
        if (
            known in self.admits
            and not has_bugs
            and self.story.token_changes_at is None
            and not self._is_remade(state.channel)
        ):
            self._problem(f"credentials: {state} was not let in, by a function that knew the channel")

    def _is_remade(self, channel: str) -> bool:
        """Return True if an operator removes the channel, and makes it anew."""
        return any(settings.is_removed for settings in self.story.timelines.get(channel, ()))

    def came_back(self, said: Said, page: Page | None) -> None:
        """Note the arrival of a callback for this page.

        The arrival is noted first, since the process of the callback may queue the job and then die.
        """
        answer = self.answers.setdefault(said.number, Answer(said, page))
        answer.arrivals.append(self.world.now)
        answer.is_known = answer.is_known or self._is_known(said.incident)

    def commented(self, incident: str) -> None:
        """Check that the first channel knows the incident on which the relay writes."""
        came = any(state.arrivals for state in self.states.values() if state.id == incident and state.channel == NOC)
        if not came and not self._is_known(incident):
            self._problem(f"a comment was written on {incident}, of which the channel knows nothing")

    def _is_known(self, incident: str) -> bool:
        """Return True if the first channel knows an incident id, from a share or from a reconcile run."""
        if any(post.channel == NOC and post.incident.partition("@")[0] == incident for post in self.phones.posts):
            return True
        return any(
            self._knows(state) for state in self.states.values() if state.id == incident and state.channel == NOC
        )

    def called_back(self, said: Said, status: int) -> None:
        """Note the HTTP status that answers a callback."""
        if status == 200:
            self.answers[said.number].taken.add(said.at)
        elif status != 503:
            self._problem(f"a callback was answered {status}")

    def ended(self, process: Process) -> None:
        """Note the end or the death of a process, and check the invariants."""
        self.running.discard(process)
        self.capacity.ended(process)
        if process.is_dead or "bug" in process.troubles:
            # A signal in flight may have paged.
            self.doubts.update(process.claimed)
            self.died.update(process.incidents)
        if "ledger" in process.troubles:
            self.unguarded.update(process.incidents)
        if "queue" in process.troubles:
            self.unqueued.update(process.incidents)
        # A process that is for no incident, such as a run of the sweeper, can lose only what it wrote.
        self.check_answered(process.incidents or frozenset(process.claimed))

    def check_answered(self, incidents: Collection[str] | None = None) -> None:
        """Check that every share that was answered 2xx is safe: of these incidents, or of all (None)."""
        for state in self.states.values():
            if state.answered and (incidents is None or state.incident in incidents):
                self._check_safe(state)

    def at_the_end(self) -> None:
        """Check the invariants of a finished schedule."""
        self._check_queues()
        self.check_answered()
        for incident in sorted({state.incident for state in self.states.values()}):
            rings = self.rings_of(incident)
            if incident not in self.unguarded:
                self._check_bad_again(incident)
                self._check_once(incident, rings)
                if incident not in self.unqueued:
                    self._check_again(incident, rings)
                    self._check_order(rings)
                    self._check_overtaken(rings)
                    self._check_flood(rings)
                    if not self.doubts[incident] and self.are_pages_followed:
                        self._check_pages(incident)
                        self._check_acknowledged(rings)
                    if not self.doubts[incident] + self.phones.doubts[incident]:
                        self._check_distance(rings)
            self._check_ends(incident)
            if self.story.reconcile_interval is not None and self.channel_of(incident) == NOC:
                self._check_found(incident)
                self._check_found_over(incident)
                self._check_woken(incident)
        self._check_load()
        self._check_believed()
        self._check_asked()
        self._check_verified()
        self._check_ages()
        self._check_recipients()
        self._check_answers()
        self._check_assigned()
        self._check_released()
        self._check_damaged()
        shared, doubted = self.played, set(+self.phones.doubts)
        untrusted, unreadable = self._untrusted(), self._unreadable()
        failed = self.unguarded | self.unqueued | set(+self.doubts)
        acting = [each for each in self.answers.values() if each.said.response in self.story.actions]
        dead = [self.states.get((job["entry"], job["share"])) for job in self.dead_letters.bodies()]
        dropped = [self.states.get((job["entry"], job["share"])) for job in self._dropped()]
        # A dropped message of a newer version does not say which state it was: that one stays given up.
        unsent = [*dead, *dropped] if self.cloud.has_newer_schema else dead
        given_up = [state for state in unsent if state and state.is_critical]
        judges: list[Any] = [
            self.conditions,
            Unheard(**shared),
            Truth(**shared, untrusted=untrusted | doubted),
            Reports(**shared, until=self.reconciled_until),
            Conduct(**shared, held=self.held, revived=self.revived),
            ActingAnswers(**shared, answers=acting, untrusted=failed),
            Quiet(**shared, answers=[*self.answers.values()], untrusted=untrusted | doubted | unreadable),
            Health(
                **shared,
                given_up=given_up,
                dropped=[state for state in dropped if state],
                stopped=self.conditions.stopped,
            ),
            Flaps(**shared, untrusted=untrusted | doubted | unreadable),
            Promptness(
                **shared,
                untrusted=untrusted,
                doubted=doubted | unreadable,
                claimed=self.unbelieved,
                free_at=self.conditions.free_at,
                unclear=self._untrusted(is_strict=False),
                swept=self.swept,
            ),
            self.capacity,
            self.console,
        ]
        for judge in judges:
            # A debt that nobody can read keeps its channel sick.
            for problem in () if unreadable and isinstance(judge, Health) else judge.problems():
                self._problem(problem)

    def _untrusted(self, *, is_strict: bool = True) -> set[str]:
        """Return the incidents whose owed state cannot be derived from outside the relay.

        Those of which a resolve was claimed count only if `is_strict`.
        """
        found = {state.id for state in self.states.values()} if self.story.reconcile_interval is not None else set()
        left_out = {state.incident for state in self.states.values() if self.conditions.may_be_left_out(state)}
        unbelieved = {incident for incident, _ in self.unbelieved if is_strict}
        return self.unguarded | self.unqueued | set(+self.doubts) | found | left_out | unbelieved

    def _unreadable(self) -> set[str]:
        """Return the incidents with a job of another schema, which waits for the newer version that wrote it."""
        queued = [job for queue in (*self.queues, self.dead_letters) for job in queue.bodies()]
        return {job["entry"] for job in (*queued, *self.dynamodb.owed()) if job["schema"] != SCHEMA}

    def _check_verified(self) -> None:
        """Check that a person's answer to a page which xMatters shows soon after it is not called unverified."""
        if self.weather.spells or self.weather.crashes or self.has_operators or not self.are_pages_followed:
            return
        for answer in self.answers.values():
            page, is_true = answer.page, answer.is_credible and not answer.said.is_to_the_first
            if page is None or not is_true or not self.story.has_rest:
                continue
            is_seen = page.found_from < answer.came + SEEN_SECONDS and not page.is_slow and self.is_accepted(page.ring)
            texts = (text for text in self.console.texts if answer.name in answers_in(text))
            if is_seen and any(text.startswith("Unverified") for text in texts):
                self._problem(f"mistrusted: {answer.name} was an answer to {page.name}")

    def _check_queues(self) -> None:
        """Check that every job and debt ended, and that SQS got no invalid delay."""
        for queue in self.queues:
            if queue.messages:
                self._problem(f"{len(queue.messages)} jobs never ended")
            if queue.wrong_delays:
                self._problem(f"SQS was asked for delays of {queue.wrong_delays} s")
        unreadable = self._unreadable()
        if left := [debt for debt in self.dynamodb.owed() if debt["entry"] not in unreadable]:
            self._problem(f"{len(left)} debts never ended")

    def _check_safe(self, state: SharedState) -> None:
        """Check that the state or a newer one was announced, is on a queue, or is not owed by policy."""
        is_claimed = self._is_claimed(state)
        if is_claimed:
            self.unbelieved.add((state.incident, state.number))
        told = self._told(state.incident)
        # The usual reasons first: this is asked of each state after each process.
        if is_claimed or not self._is_wanted(told, state) or self._is_told(state) or self._is_on_a_queue(state):
            return
        others = (other for other in self.states_of(state.incident) if not surely_newer(state, other))
        heirs = [other for other in others if other is state or self._knows(other)]
        heirs += self._found_over(state.incident, [state])
        if not all(self._is_wanted(told, heir) for heir in heirs):
            return
        if any(self.conditions.may_be_left_out(heir) for heir in (*heirs, *self._coming(state))):
            return
        if any(map(self._is_told, heirs)) or self._is_one_on_a_queue(state.incident, heirs):
            return
        if self._is_refuted(state) or self._counts_as_copy(state) or self._has_hidden_status(state):
            return
        is_guarded = state.incident not in self.unguarded and not any(
            "ledger" in process.troubles and state.incident in process.incidents for process in self.running
        )
        unplaced = not is_guarded and self._is_unplaced(state, self.states_of(state.incident))
        if unplaced or (not is_guarded and self._seems_told(state.incident, heirs)):
            return
        self._problem(f"lost: {state}; people were told {told}")

    def _counts_as_copy(self, state: SharedState) -> bool:
        """Return True if a state of the same second that came before says the same: the relay takes this for a copy."""
        others = (other for other in self.states_of(state.incident) if other is not state and other.arrivals)
        return state.version is not None and any(
            other.version == state.version
            and _digest(other.body()) == _digest(state.body())
            and min(other.arrivals) < max(state.arrivals, default=math.inf)
            for other in others
        )

    def _has_hidden_status(self, state: SharedState) -> bool:
        """Return True if the state has no status, and an older one that has came later; or if it is that older one.

        True, too, for a state without a status that comes after such a one.
        """
        came = [each for each in self.states_of(state.incident) if each.is_open and each.arrivals]
        return any(
            (state in (silent, late) or (not state.says_status and surely_newer(state, silent)))
            # A function that dies answers nothing, and may have recorded nothing.
            and min(late.answered or late.arrivals) > min(silent.arrivals)
            and surely_newer(silent, late)
            for silent in came
            for late in came
            if late.says_status and not silent.says_status
        )

    def _coming(self, state: SharedState) -> list[SharedState]:
        """Return the newer states of an incident that came: shadow mode records one before its webhook answers."""
        return [other for other in self.states_of(state.incident) if other.arrivals and surely_newer(other, state)]

    def _is_claimed(self, state: SharedState) -> bool:
        """Return True if the state is a resolve that BigPanda is asked about before anything is done with it."""
        if state.is_open or not self.story.confirms_ends:
            return False
        at, version, _ = self._entry(state).get("claim", (0.0, None, 0.0))
        is_part = state.version is None or (bool(version) and state.version <= (version[0], version[1]))
        return at > 0 and (is_part or any(arrival > at - self._clocks_differ for arrival in state.arrivals))

    def _is_refuted(self, state: SharedState) -> bool:
        """Return True if the state is a resolve that is not newer than one that BigPanda was asked about and refuted.

        BigPanda's API showed an open state then. Equal time stamps make the resolve no newer. A state that is surely
        older than the resolve counts if the API showed it so late that it can't be a lag: its time stamps are wrong.
        """

        def is_older(other: SharedState) -> bool:
            return surely_newer(state, other) and (not state.version or state.version != other.version)

        states = self.states_of(state.incident)
        asked = [each for each in states if not is_older(each) and (each.incident, each.number) in self.unbelieved]
        shown = [(at, is_older(other)) for other in states if other.is_open for at in other.shown]
        if state.is_open or not asked:
            return False
        came = min(min(each.arrivals) for each in asked)
        # The relay counts the lag from the resolve's timestamp, which may be coarser than a second.
        happened = min([came, *(float(each.version[0]) for each in asked if each.version)])
        return any(at > (happened + CLAIMED_SECONDS if is_lag else came) for at, is_lag in shown)

    def _is_wanted(self, told: SharedState | None, state: SharedState) -> bool:
        """Return True if the policy announces the transition from the announced state `told` to `state`.

        Added alerts (`grew`) are exempt if BigPanda's API showed one of the states. The relay keeps no alerts of such a
        state, since the API may name them in another way than the webhook.

        A share without a status counts as one with that of the newest known state that says one.
        """
        if not state.says_status:
            saying = (each for each in self.states_of(state.incident) if each.says_status)
            before = [each for each in saying if self._knows_before(each, state)]
            # A claimed resolve may not be the newest state for the relay.
            believed = [each for each in before if (each.incident, each.number) not in self.unbelieved]
            # One that came late was not known yet.
            came = [min(each.answered or each.arrivals, default=0.0) for each in before]
            known = [*newest(before), *newest(believed)]
            for until in (min(state.arrivals, default=0.0), max(state.arrivals, default=0.0)):
                known += newest(each for each, at in zip(before, came, strict=True) if at < until)
            statuses = {each.status for each in known if each.is_open and each.says_status} or {state.status}
            # After a resolve that is not announced yet, the share may say no more than people know.
            statuses |= {told.status for each in known if told and not each.is_open}
            return all(self._is_wanted(told, replace(state, status=word, says_status=True)) for word in statuses)
        change = changed(told, state)
        is_only_shown = bool(state.shown) and not state.answered
        is_exempt = change == "grew" and (is_only_shown or (told is not None and bool(told.shown)))
        return not is_exempt and change in self.wanted(state.incident)

    def _knows_before(self, state: SharedState, other: SharedState) -> bool:
        """Return True if the relay knows `state`, which is surely older than `other`."""
        return surely_newer(other, state) and self._knows(state)

    def _found_over(self, incident: str, others: Sequence[SharedState]) -> list[SharedState]:
        """Return the incident's resolved states that a reconcile run may have found.

        BigPanda's API has shown these states. A state is left out if one of `others` is surely newer, unless it was
        BigPanda's answer about a claimed resolve that is newer still. The webhook may have died after it noted a claim.
        """

        def is_older(state: SharedState) -> bool:
            return any(surely_newer(other, state) for other in others)

        def is_claimed(state: SharedState) -> bool:
            may_be = not state.is_open and not state.answered and bool(state.arrivals) and self.story.confirms_ends
            return may_be or (incident, state.number) in self.unbelieved

        states = self.states_of(incident)
        claimed = [each for each in states if is_claimed(each) and not is_older(each)]
        asked_at = min((min(each.arrivals) for each in claimed), default=math.inf)
        over = [each for each in states if each.shown and not each.is_open]
        return [state for state in over if not is_older(state) or max(state.shown) > asked_at]

    def _knows(self, state: SharedState) -> bool:
        """Return True if the relay knows a state, even if its share was never answered 2xx."""
        if state.answered or any(ring.share == state.number for ring in self.rings_of(state.incident)):
            return True
        kept = self._entry(state).get("newest")
        digest, came = (kept[1], kept[2]) if kept else ("", 0.0)

        def is_kept(arrivals: Iterable[float]) -> bool:
            return any(-self._clocks_differ < came - arrival < ADMITTED_SECONDS for arrival in arrivals)

        if is_kept(state.arrivals) and _digest(state.body()) == digest:
            return True
        # After a refuted resolve the ledger keeps the state as BigPanda's API showed it, with another digest.
        bodies = (as_webhook(state.in_the_api(is_snoozed=is_snoozed), "e") for is_snoozed in (False, True))
        return is_kept(state.shown) and any(_digest(body) == digest for body in bodies)

    def _entry(self, state: SharedState) -> Mapping[str, Any]:
        """Return the ledger's document about a state's incident; empty if there is none."""
        return self.dynamodb.document(entry_key(state.channel, state.url_recipients, state.id))

    def _is_on_a_queue(self, state: SharedState) -> bool:
        return self._is_one_on_a_queue(state.incident, [state])

    def _is_one_on_a_queue(self, incident: str, states: Sequence[SharedState]) -> bool:
        """Return True if one of the incident's states, or one that may be newer than it, is on a queue, or owed."""
        for jobs in (*(queue.bodies for queue in (*self.queues, self.dead_letters)), self._dropped, self.dynamodb.owed):
            for job in jobs():
                found = self.states.get((incident, job["share"])) if job["entry"] == incident else None
                if found and any(not surely_newer(state, found) or self._ends_as(found, state) for state in states):
                    return True
        return False

    def _ends_as(self, end: SharedState, state: SharedState) -> bool:
        """Return True if `end` may stand for `state`, a later end of the incident.

        When that came, the relay knew of no open state in between. BigPanda's API, which is asked about the later end,
        may show the earlier one.
        """
        if end.is_open or state.is_open or not self.story.confirms_ends:
            return False
        by = min(state.answered, default=math.inf)
        opened = (each for each in self.states_of(end.incident) if each.is_open and min(each.arrivals, default=by) < by)
        between = (other for other in opened if surely_newer(other, end) and not surely_newer(other, state))
        return not any(map(self._knows, between))

    def _dropped(self) -> list[dict[str, Any]]:
        """Return the incidents in the signals that operators deleted from the dead-letter queue."""
        return [message.incident for message in self.dead_letters.dropped if message.incident]

    def _is_status_dead_lettered(self, state: SharedState) -> bool:
        """Return True if a state with the same status is dead-lettered already, so that this one need not be."""
        jobs = [job for job in (*self.dead_letters.bodies(), *self._dropped()) if job["entry"] == state.incident]
        found = [self.states[job["entry"], job["share"]] for job in jobs]
        return any((each.is_open, each.status) == (state.is_open, state.status) for each in found)

    def _is_told(self, state: SharedState) -> bool:
        rung = (self.told_by(ring) for ring in reversed(self.rings_of(state.incident)))
        return any(found is state or surely_newer(found, state) or self._ends_as(found, state) for found in rung)

    def _told(self, incident: str) -> SharedState | None:
        rings = self.rings_of(incident)
        return self.told_by(rings[-1]) if rings else None

    def _check_ends(self, incident: str) -> None:
        """Check that the last owed state is announced, or dead-lettered."""
        states = self.states_of(incident)
        answered = newest(state for state in states if state.answered)
        # A state that was not answered may also have superseded it.
        known = newest(state for state in states if self._knows(state))
        told = self._told(incident)
        if any(map(self.conditions.may_be_left_out, (coming for state in answered for coming in self._coming(state)))):
            return
        for state in [*answered, *known, *self._found_over(incident, answered)]:
            if self.conditions.may_be_left_out(state):
                return
            is_newer_told = told is not None and not surely_newer(state, told)
            # Without the ledger only the order is lost: an announcement still counts.
            is_newer_told = is_newer_told or (incident in self.unguarded and self._is_told(state))
            if (
                is_newer_told
                or self._is_claimed(state)
                or self._is_refuted(state)
                or self._counts_as_copy(state)
                or not self._is_wanted(told, state)
                or self._is_on_a_queue(state)
                or self._has_hidden_status(state)
            ):
                return
            if incident in self.unguarded and (self._seems_told(incident, [state]) or self._is_unplaced(state, states)):
                return
        if answered:
            self._problem(f"{incident} ends untold: {answered[0]}; people were told {told}")

    def _is_unplaced(self, state: SharedState, others: Iterable[SharedState]) -> bool:
        """Return True if the ledger's failure may hide that another state arrived later, or make it seem so.

        That is so for a state whose time stamps the relay does not believe: only the ledger knows its order of arrival.
        It is so, too, for states without time stamps that arrived within the difference of two functions' clocks.
        """
        times = [max(other.arrivals, default=0.0) for other in others if other is not state]
        first, last = min(state.arrivals), max(state.arrivals)
        is_close = state.version is None and any(0 < first - at < self._clocks_differ for at in times)
        return is_close or (state.has_wrong_stamps and any(at > last for at in times))

    def _check_found(self, incident: str) -> None:
        """Check that an incident's last state is announced by a reconcile run if its share never arrived."""
        states = self.states_of(incident)
        last = max(states, key=lambda state: state.at)
        stamps = [state.version for state in states if state is not last and state.version]
        if last.version is None or any(stamp >= last.version for stamp in stamps):
            # A state with the time stamps of a known state cannot be distinguished from it.
            return
        told = self._told(incident)
        if incident in self.story.foreign:
            if told is not None:
                self._problem(f"foreign: {told} rang, though BigPanda shared it with another webhook")
            return
        # `grew` is exempt: BigPanda's API may name alerts in another way than the webhook.
        is_told = told is last or changed(told, last) not in self.wanted(incident) - {"grew"}
        is_told = is_told or self._is_on_a_queue(last) or self._is_status_dead_lettered(last)
        # A job that waits for the version that wrote it announces the last state, too.
        is_told = is_told or incident in self._unreadable()
        # Without a share, an incident is only reported, or was left out.
        is_told = is_told or (self.story.reports and not any(map(self._knows, states)))
        is_told = is_told or any(map(self.conditions.may_be_left_out, states))
        if not is_told and not (incident in self.unguarded and self._seems_told(incident, [last])):
            self._problem(f"missed: {last}; people were told {told}")

    def _check_found_over(self, incident: str) -> None:
        """Check that an incident does not ring any more once reconcile runs had to find that it is over."""
        last = max(self.states_of(incident), key=lambda state: state.at)
        interval = self.story.reconcile_interval or 0.0
        is_odd = self.has_operators or self.cloud.has_newer_schema or not self.is_steady(*NEEDED, "bigpanda")
        if last.is_open or last.version is None or is_odd:
            return
        others = (state for state in self.states_of(incident) if state is not last)
        if any(state.version is None or state.version >= last.version for state in others):
            return
        found = self.world.began + last.at + 2 * interval + FOUND_SECONDS
        for ring in self.rings_of(incident):
            if self.told_by(ring).is_open and ring.began > found:
                self._problem(f"stale: {incident} share {ring.share} rang although BigPanda had shown {last}")

    def _check_woken(self, incident: str) -> None:
        """Check that an incident that is critical before and after a snooze is signalled again after it."""
        if incident in self.unguarded | self.unqueued or "reopened" not in self.wanted(incident):
            return
        if self.channel_of(incident) in self.story.timelines:
            return
        states = self.states_of(incident)
        last, rings = max(states, key=lambda each: each.at), self.rings_of(incident)
        # Long enough for one run during the snooze and one after it.
        least = 2 * (self.story.reconcile_interval or 0.0) + LOOKS_SECONDS
        for nap in self.naps:
            begins = self.world.began + nap.begins
            is_told = bool(rings) and rings[-1].at < begins and self.told_by(rings[-1]) is last
            is_known = last.is_critical and last.version is not None
            is_seen = nap.incident == incident and nap.ends - nap.begins > least
            if is_seen and is_told and is_known and not self._is_on_a_queue(last) and not self._is_hidden(nap):
                self._problem(f"{incident} was not woken")

    def _is_hidden(self, nap: Nap) -> bool:
        """Return True if BigPanda or the reconcile runs may have failed during a snooze."""
        spells = self.spells("bigpanda", "dynamodb", "secrets")
        return self.weather.crashes > 0 or any(each.begins < nap.ends and nap.begins < each.ends for each in spells)

    def _check_bad_again(self, incident: str) -> None:
        """Check that an incident that became worse again is announced.

        Its previous state was better, but was not announced, so the worse state may equal the announced one.
        """
        left_out = [state for state in self.states_of(incident) if self.conditions.may_be_left_out(state)]
        # The ledger has what came in shadow mode, unless it failed then. What a pause leaves out may be better again.
        if left_out and (incident in self.unguarded or not all(map(self.conditions.may_be_shadowed, left_out))):
            return
        told, rings = self._told(incident), self.rings_of(incident)
        states = [state for state in self.states_of(incident) if state.answered]
        unwanted, bad = self._quietly_better(incident)
        last = newest(states)
        if any(self._knows(state) and not state.answered for state in self.states_of(incident)):
            # The time at which such a state changed the ledger is unknown.
            return
        if told is None or len(last) != 1 or last[0].version is None or self._is_on_a_queue(last[0]):
            return
        if self.conditions.may_be_left_out(last[0]):
            return
        for better in states:
            is_between = surely_newer(better, told) and surely_newer(last[0], better) and last[0] is not told
            # Until BigPanda confirms it, a claimed resolve changes nothing: people know of the open state.
            is_between = is_between and (better.incident, better.number) not in self.unbelieved
            # Also a state that was not answered may have reached the ledger.
            later = [other for other in self.states_of(incident) if other.arrivals and surely_newer(other, better)]
            # The better state, and the worse one after it, may have come while the signal was on its way.
            is_in_turn = rings[-1].at + IN_FLIGHT_SECONDS < min((min(each.arrivals) for each in later), default=0.0)
            is_in_turn = is_in_turn and all(max(better.answered) < min(other.arrivals) for other in later)
            unsaid = {"eased", "resolved"} if self.conditions.is_shadowed(better) else unwanted
            if self._has_ended_by(incident, min(last[0].arrivals)):
                unsaid = unsaid | {"resolved"}
            # A state that was as bad in shadow mode was said by whoever pages people then.
            is_said = any(self.conditions.may_be_shadowed(other) and changed(better, other) in bad for other in later)
            is_between = is_between and not is_said
            # An end that is not announced yet may end the pages: what follows reopens the incident.
            ended = [other for other in later if not other.is_open and surely_newer(last[0], other)]
            is_bad = all(changed(before, last[0]) in bad for before in (better, *ended[-1:]))
            if is_between and is_in_turn and changed(told, better) in unsaid and is_bad:
                self._problem(f"{incident} ends untold: {last[0]}, after {better}")

    def _has_ended_by(self, incident: str, at: float) -> bool:
        """Return True if the relay ended the pages of an incident's last signal before a time (epoch seconds)."""
        last = max(
            (ring for ring in self.rings_of(incident) if ring.began < at), key=lambda ring: ring.began, default=None
        )
        ended = [page.ended_at or math.inf for page in self.phones.pages if page.ring is last]
        return bool(ended) and max(ended) < at

    def _quietly_better(self, incident: str) -> tuple[set[str], set[str]]:
        """Return two sets of transitions, chosen by the policy of the incident's channel.

        The first set has the transitions to a better state that the policy does not announce. The second set has the
        transitions to a worse state that it announces.
        """
        wants = self.wanted(incident)
        return {"eased", "resolved"} - wants, {"worsened", "reopened"} & wants

    def _check_again(self, incident: str, rings: Sequence[Ring]) -> None:
        """Check that a worse state is announced even if its time stamps are those of the announced one.

        Equal time stamps do not make the state a copy.
        """
        came = [state for state in self.states_of(incident) if state.arrivals]
        if not rings or not came or self.doubts[incident] + self.phones.doubts[incident]:
            return
        last = max(came, key=lambda state: max(state.arrivals))
        told, at = self.told_by(rings[-1]), max(last.arrivals)
        is_same_version = last.version is not None and all(state.version == last.version for state in came)
        is_answered = bool(last.answered) and max(last.answered) > at
        is_worse = changed(told, last) in {"worsened", "reopened"} & self.wanted(incident)
        if is_same_version and is_answered and is_worse and rings[-1].at < at and not self._is_on_a_queue(last):
            self._problem(f"again: {last} was taken for a copy; people were told {told}")

    def _seems_told(self, incident: str, states: Iterable[SharedState]) -> bool:
        """Return True if the ledger may show that one of the states need not be announced.

        The ledger may have an older announced state: a state announced without the ledger is recorded there only later.
        """
        seen = [None, *(self.told_by(ring) for ring in self.rings_of(incident))]
        return any(changed(told, state) not in self.wanted(incident) for told in seen for state in states)

    def _check_order(self, rings: Sequence[Ring]) -> None:
        """Check that a signal's state is not older than an announced one, nor than a resolve that the relay knows."""
        for place, ring in enumerate(rings):
            state = self.told_by(ring)
            if state.version is None and ring.incident in self.died:
                # Only the ledger knows the order of shares without time stamps.
                continue
            for earlier in rings[:place]:
                newer = self.told_by(earlier)
                if surely_newer(newer, state) and ring.began > earlier.at + IN_FLIGHT_SECONDS:
                    self._problem(f"stale: {state} rang after {newer}")
            for other in self.states_of(ring.incident):
                is_known_over = not other.is_open and bool(other.answered)
                # A share in shadow mode is on no queue: while the ledger fails, it is lost.
                is_known_over = is_known_over and not (
                    self.conditions.may_be_shadowed(other) and other.incident in self.unguarded
                )
                # Until BigPanda confirms it, a claimed resolve changes nothing. Nor does one that it refuted.
                is_known_over = is_known_over and (other.incident, other.number) not in self.unbelieved
                if (
                    is_known_over
                    and state.is_open
                    and surely_newer(other, state)
                    and ring.began > min(other.answered) + IN_FLIGHT_SECONDS
                    and not self._is_refuted(other)
                ):
                    self._problem(f"stale: {state} rang although {other} was known")

    def _has_waited_for_answer(self, state: SharedState, ring: Ring) -> bool:
        """Return True if a share's state waited for BigPanda's answer about a resolve for a minute, and then rang."""
        resolves = (
            other for other in self.states_of(state.incident) if (other.incident, other.number) in self.unbelieved
        )
        # A claim from before the state counts, too: it holds the state once, whatever is claimed later.
        since = min(state.arrivals, default=0.0) - CLAIMED_SECONDS
        claims = [
            min(other.arrivals)
            for other in resolves
            if surely_newer(other, state) or any(at > since for at in other.arrivals)
        ]
        return (
            bool((state.answered or state.shown) and claims)
            and ring.began > min(claims) + CLAIMED_SECONDS - self._clocks_differ
        )

    def _check_overtaken(self, rings: Sequence[Ring]) -> None:
        """Check that a state of BigPanda's API is not announced if a share came since; neither has timestamps."""
        if not self.is_steady(*NEEDED):
            return
        for ring in rings:
            state = self.told_by(ring)
            shown = any(at < ring.began for at in state.shown)
            # Its share may have come since, too: without timestamps the order of arrivals decides.
            came = max((at for at in state.arrivals if at < ring.began), default=0.0)
            for other in self.states_of(ring.incident) if shown and state.is_open and state.version is None else ():
                is_over = not other.is_open and other.version is None and bool(other.answered)
                if (
                    is_over
                    and min(other.arrivals) > came + self._clocks_differ
                    and ring.began > min(other.answered) + SENDS_SECONDS
                    and not self._has_waited_for_answer(state, ring)
                ):
                    self._problem(f"stale: {state} rang, though {other} had come since BigPanda showed it")

    def _check_once(self, incident: str, rings: Sequence[Ring]) -> None:
        """Check that each signal was owed; each ambiguous attempt or crash excuses one that was not."""
        if any(map(self.conditions.may_be_left_out, self.states_of(incident))):
            return
        told: SharedState | None = None
        needless, before = 0, 0.0
        for ring in rings:
            state = self.told_by(ring)
            is_news = changed(told, state) in self.wanted(incident) or self._is_bad_again(told, state, ring.at)
            is_news = is_news or self._is_rerouted(told, state, ring) or self._has_ended_untold(told, state, ring.at)
            # The relay may not have known the status of an incident whose share did not say it.
            is_news = is_news or (told is not None and not told.says_status and state.is_open)
            # A newer state may replace the critical that the snooze's end announces.
            needless += not is_news and not (state.is_open and self._is_snooze_over(incident, before, ring.at))
            told, before = state, ring.at
        doubts = self.doubts[incident] + self.phones.doubts[incident]
        # Shares that no queue takes wait for a dead sender's lease, and are then all sent.
        if needless > doubts and not (doubts and incident in self.unqueued):
            self._problem(f"{incident} rang {needless} times too often")

    def _is_rerouted(self, told: SharedState | None, now: SharedState, ring: Ring) -> bool:
        """Return True if a signal was for recipients whom a late tag chose, and who had no signal of it yet."""
        is_shared = any(at < ring.began and at not in now.shown for at in now.arrivals)
        if told is None or not is_shared or ring.channel not in self.story.timelines:
            return False
        before = [each for each in self.rings_of(ring.incident) if each.at < ring.began]
        ends = [each.at for each in before if not self.told_by(each).is_open]
        named = {name for each in before if each.at > max(ends, default=0.0) for name in each.recipients}
        # A tag may have come in an earlier state, which is owed until this one rings.
        since = (state for state in self.states_of(ring.incident) if state.number > before[-1].share)
        came = min(at for state in (now, *since) for at in state.arrivals)
        is_late = came - before[-1].at > REROUTED_SECONDS + self._clocks_differ
        is_as_told = not is_late and changed(told, now) in {"touched", "grew"}
        return is_as_told and now.is_open and bool(ring.recipients) and not named & set(ring.recipients)

    def _is_snooze_over(self, incident: str, before: float, at: float) -> bool:
        """Return True if a snooze of the incident ended between two times."""
        ends = (self.world.began + nap.ends for nap in self.naps if nap.incident == incident)
        return any(before < end <= at for end in ends)

    def _is_bad_again(self, told: SharedState | None, now: SharedState, at: float) -> bool:
        """Return True if `now` is owed, since it is worse than an earlier better state that was not announced.

        The earlier state is also better than the announced state `told`.

        Only states that arrived until `at` (epoch seconds) count.
        """
        unwanted, bad = self._quietly_better(now.incident)
        return any(
            changed(told, other) in unwanted and changed(other, now) in bad
            for other in self.states_of(now.incident)
            if any(arrival <= at for arrival in other.arrivals) and not surely_newer(other, now)
        )

    def _has_ended_untold(self, told: SharedState | None, now: SharedState, at: float) -> bool:
        """Return True if a resolve whose signal waits may have ended the pages of `told`, so that `now` rings anew."""
        return (
            self.story.has_rest
            and told is not None
            and any(
                any(arrival <= at for arrival in other.arrivals)
                for other in self.states_of(now.incident)
                if not other.is_open and not surely_newer(told, other) and not surely_newer(other, now)
            )
        )

    def _is_never_searched(self, page: Page) -> bool:
        """Return True if no follow-up can run in the minutes in which late pages are searched for the last time."""
        searched = page.ring.began - self.world.began + LOOKED_FOR_SECONDS
        return any(
            each.begins < searched and searched + LATE_SEARCH_SECONDS < each.ends for each in self.spells(*NEEDED)
        )

    def _check_flood(self, rings: Sequence[Ring]) -> None:
        times = [ring.at for ring in rings]
        for first, last in zip(times, times[FLOOD_SIGNALS:], strict=False):
            # The relay counts on clocks that differ by less than a second.
            if last - first < FLOOD_SECONDS - max(0.0, self._clocks_differ - 1.0):
                self._problem(f"{rings[0].incident} rang {FLOOD_SIGNALS + 1} times within {last - first:.1f} s")

    def _check_pages(self, incident: str) -> None:
        """Check that pages end with their incident or when a newer page replaces them, and that no other page ends."""
        pages = [page for page in self.phones.pages if page.ring.incident == incident]
        known = {post.request_id for post in self.phones.posts if post.is_accepted}
        told = [page for page in pages if page.request_id in known]
        rings = [ring for ring in self.rings_of(incident) if self.is_accepted(ring)]
        over = [ring for ring in rings if not self.told_by(ring).is_open]
        for page in pages:
            later = [ring for ring in rings if ring.began > page.ring.began]
            heirs = [other for other in told if not other.is_dead and _takes_over(other.ring, page.ring)]
            ended_at = page.ended_at or 0.0
            is_alone = not any(each.found_from < ended_at < (each.ended_at or math.inf) for each in heirs)
            heirs = heirs if self.policy(incident)["replace"] else []
            is_old = any(ring in over for ring in later) or any(
                page.ended_at is not None and heir.found_from <= page.ended_at for heir in heirs
            )
            is_old = is_old or self._is_quietly_over(page)
            if page.ended_at is not None and (page not in told or not is_old):
                self._problem(f"{page.name} of {incident} ended, and nothing took its place")
            is_open = self.told_by(page.ring).is_open
            if is_open and page.ended_at is not None and is_alone and self._is_left_alone(page, rings):
                self._problem(f"{page.name} of {incident} ended, although the incident was open again and had no other")
            announced = [_End(self.told_by(ring), ring.began, ring.at) for ring in later if ring in over]
            resolves = [*announced, *self._silent_ends(page)] or self._untold_ends(page)
            ends = [end.at for end in resolves if not self._is_open_again(page, end)]
            # A page that comes long after its signal, and after the end of its incident, is not looked for, not even
            # after a further resolve. The end may be untold, because the incident opened again before its signal.
            known_at = [*(end.began for end in resolves), *self._ends_known_at(page)]
            first = min(known_at, default=0.0)
            ends = [at for at in ends if not page.is_dead and (not page.is_slow or page.found_from < first)]
            ends = [at for at in ends if page.found_from < first or not self._is_never_searched(page)]
            ends = ends if page.ring in rings[-REMEMBERED_SIGNALS:] else []
            if self.story.has_rest and is_open and page in told and page.ended_at is None and ends:
                self._problem(f"{page.name} of {incident} goes on, although it is over")
            # Only without faults of the needed services; a late page cannot end before it exists.
            is_calm = self.is_steady(*NEEDED, "rest", "bigpanda", "token") and not self.has_operators
            if self.story.has_rest and is_open and page in told and ends and is_calm:
                # After the end, a second page is looked for when the workflow makes no more.
                is_second = any(each.ring == page.ring and each.found_from < page.found_from for each in pages)
                is_late = is_second and page.found_from > min(ends)
                looked_for = page.ring.at + LOOKED_FOR_SECONDS if is_late else 0.0
                late = (page.ended_at or math.inf) - max(min(ends), page.found_from, looked_for)
                # BigPanda may be asked for a minute if a resolve is true, which is announced then.
                is_asked = self.story.confirms_ends and not announced
                most = SEARCHED_SECONDS if page.found_from > min(ends) - ENDS_SECONDS else ENDS_SECONDS
                if late > most + (CLAIM_SECONDS if is_asked else 0.0):
                    self._problem(f"{page.name} of {incident} ended {late:.0f} s late")

    def _is_open_again(self, page: Page, end: _End) -> bool:
        """Return True if the incident was open in BigPanda at its resolve or soon after, or an open share arrived.

        The relay then need not end the page.
        """
        now = end.at - self.world.began
        states = [state for state in self.states.values() if state.id == end.state.id]
        last = max((state for state in states if state.at <= now), key=lambda state: state.at, default=None)
        if last is not None and last.is_open:
            return True
        moments = [(state.at + self.world.began, *state.arrivals) for state in states if state.is_open]
        if any(end.at < moment < self._asked_until(end) for each in moments for moment in each):
            return True
        return self.story.confirms_ends and self._is_overtaken_in_flight(page, end)

    def _asked_until(self, end: _End) -> float:
        """Return the time until which the relay may ask BigPanda to confirm a resolve, in epoch seconds.

        The time is later if BigPanda does not answer.
        """
        until, began = end.at + CONFIRMS_SECONDS, self.world.began
        if not self.story.confirms_ends:
            return until
        for spell in sorted(self.weather.spells, key=lambda spell: spell.begins):
            if spell.service == "bigpanda" and spell.begins + began < until:
                until = max(until, spell.ends + began + CONFIRMS_SECONDS)
        if self.weather.crashes:
            # The job of a follow-up that died is hidden for some minutes, and may die again.
            until = max(until, began + self.weather.crashes_end + HIDDEN_SECONDS + CONFIRMS_SECONDS)
        return min(until, end.at + UNREACHABLE_SECONDS + CONFIRMS_SECONDS)

    def _is_overtaken_in_flight(self, page: Page, end: _End) -> bool:
        """Return True if an open state may have arrived after the share of a resolve, before its signal was accepted.

        The relay takes the open state for newer if its time stamps are not older. Then the relay does not confirm the
        end of the incident, and the page ends once the signal of the open state has a page.
        """
        came = max((arrival for arrival in end.state.arrivals if arrival <= end.began), default=end.began)
        since = max(came - self._clocks_differ, page.ring.began)
        return any(
            since < arrival <= end.at
            for state in self.states_of(end.state.incident)
            if state.is_open and not surely_newer(end.state, state)
            for arrival in state.arrivals
        )

    def _is_left_alone(self, page: Page, rings: Sequence[Ring]) -> bool:
        """Return True if a page ended while a later open state waited for its signal, and AWS works."""
        ended_at, states = page.ended_at or 0.0, self.states_of(page.ring.incident)
        came = [each for each in states if min(each.arrivals, default=math.inf) < ended_at]
        last = newest(came)
        if len(last) != 1 or not last[0].is_open or not last[0].answered or last[0] is self.told_by(page.ring):
            return False
        over = [each for each in came if not each.is_open and surely_newer(last[0], each)]
        opened = [each for each in came if each.is_open and all(surely_newer(each, other) for other in over)]
        first = min(min(each.arrivals) for each in opened)
        is_owed = any(changed(each, last[0]) in self.wanted(page.ring.incident) for each in over)
        has_rung = any(first < ring.began for ring in rings if ring.began < ended_at)
        is_known = min(min(each.answered, default=math.inf) for each in opened) < ended_at - READ_SECONDS
        is_calm = self.is_steady("dynamodb", "sqs", "secrets", "lambda") and not self.has_operators
        return is_owed and is_known and not has_rung and is_calm and not self._is_on_a_queue(last[0])

    def _is_quietly_over(self, page: Page) -> bool:
        """Return True if a resolve without a signal may have ended the page: it was left out, or its signal waits."""
        state, ended_at = self.told_by(page.ring), page.ended_at or 0.0
        is_unwanted = "resolved" not in self.wanted(state.incident)
        is_dark = bool(self.weather.spells) or self.story.rotates_at is not None
        states, flap = self.states_of(state.incident), self.policy(state.incident).get("flap")

        def may_be_calm(over: SharedState) -> bool:
            """Return True if no signal may have said by this resolve that the incident flaps: its pages go on then."""
            if is_dark or not flap:
                return True
            by = min(over.arrivals, default=0.0)
            lately = sorted(at for each in states for at in each.arrivals if by - flap["minutes"] * 60 < at < by)
            since = dict(enumerate(lately, 1)).get(int(flap["transitions"]), by)
            return not any(since <= ring.at and ring.began <= by for ring in self.rings_of(state.incident))

        # A resolve that BigPanda has not confirmed is believed after ten minutes.
        asked = UNREACHABLE_SECONDS if self.story.confirms_ends else 0.0
        return state.is_open and any(
            any(at <= ended_at for at in each.shown)
            or (
                (may_be_calm(each) or is_unwanted or self.conditions.may_be_left_out(each))
                and min(each.arrivals, default=math.inf) + asked <= ended_at
            )
            for each in states
            if not each.is_open and not surely_newer(state, each)
        )

    def _ends_known_at(self, page: Page) -> list[float]:
        """Return the times at which the relay believes a resolve after the page's signal."""
        state, asked = self.told_by(page.ring), UNREACHABLE_SECONDS if self.story.confirms_ends else 0.0
        if self.policy(state.incident).get("flap"):
            return []
        over = [each for each in self.states_of(state.incident) if not each.is_open and not surely_newer(state, each)]
        known_at = (at for each in over for at in (*each.shown, *(came + asked for came in each.answered)))
        return [at for at in known_at if at > page.ring.at]

    def _silent_ends(self, page: Page) -> list[_End]:
        """Return the resolves that the policy does not announce, and that have to end the page.

        A resolve that arrived after a newer share is superseded, and ends nothing.
        """
        state = self.told_by(page.ring)
        others = self.states_of(state.incident)
        return [
            _End(each, min(each.answered), min(each.answered))
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

    def _untold_ends(self, page: Page) -> list[_End]:
        """Return the resolves that have to end the page, although their signals wait (see UNTOLD_SECONDS)."""
        state, incident = self.told_by(page.ring), page.ring.incident
        others = self.states_of(incident)
        if (
            self.policy(incident).get("flap")
            or self._is_remade(state.channel)
            or any(map(self.conditions.may_be_left_out, others))
        ):
            return []
        asked = UNTOLD_SECONDS if self.story.confirms_ends else 0.0
        return [
            _End(each, min(each.answered), min(each.answered) + asked)
            for each in others
            if not each.is_open
            and each.answered
            and all(each is other or surely_newer(each, other) for other in others)
            and not self._is_refuted(each)
        ]

    def _check_distance(self, rings: Sequence[Ring]) -> None:
        """Check the policy's minimum distance of signals that neither worsen nor resolve."""
        if not rings:
            return
        least = float(str(self.policy(rings[0].incident)["min_seconds_between_signals"])) - TRIED_SECONDS
        for earlier, later in pairwise(rings):
            told, state = self.told_by(earlier), self.told_by(later)
            is_in_time = later.began - earlier.at >= least or changed(told, state) in {
                "worsened",
                "resolved",
                "touched",
            }
            # Without a known status before it, any status counts as worse.
            is_in_time = is_in_time or not told.says_status
            if not is_in_time and not self._is_bad_again(told, state, later.at):
                self._problem(f"{state} rang {later.began - earlier.at:.0f} s after the signal before")

    def _check_acknowledged(self, rings: Sequence[Ring]) -> None:
        """Check that a signal to the acknowledger alone is allowed.

        It is allowed if the incident neither worsened nor reopened since the acknowledgement.
        """
        anew, told = 0.0, None
        for ring in rings:
            state = self.told_by(ring)
            change = changed(told, state)
            is_anew = change in {"opened", "worsened", "reopened"}
            if ring.recipients in ALONE:
                answers = [at for at, incident, _ in self._acknowledged() if incident == state.id]
                # The relay notes the arrival once the credentials of a callback are checked.
                since = anew - self._clocks_differ - ADMITTED_SECONDS
                taken = [at for at in answers if since <= at < ring.began]
                is_known = change == "worsened" and any(self._was_as_bad(state, rings, at) for at in taken)
                if (is_anew and not is_known) or not taken:
                    self._problem(f"acknowledged: {state} rang the acknowledger alone, though it {change}")
            is_alone = ring.recipients in ALONE
            if ((is_anew and not is_alone) or change == "resolved") and self.is_accepted(ring):
                anew = ring.began
            told = state

    def _acknowledged(self) -> Iterator[tuple[float, str, str]]:
        """Yield the time, the incident's id and the person of each acknowledgement."""
        for answer in self.answers.values():
            if answer.said.response == "Acknowledge" and (answer.is_credible or not self.story.has_rest):
                yield from ((at, answer.said.incident, answer.said.person) for at in answer.arrivals)

    def _was_as_bad(self, state: SharedState, rings: Sequence[Ring], at: float) -> bool:
        """Return True if the state may be signalled to the acknowledger alone by the policy's rule for flaps.

        That is so if the policy has such a rule, and if an equally bad or worse state was signalled before `at`.
        """
        told = [self.told_by(ring) for ring in rings if ring.began < at]
        is_as_bad = any(RANKS[each.status] >= RANKS[state.status] for each in told)
        return "flap" in self.policy(state.incident) and is_as_bad

    def _check_believed(self) -> None:
        """Check that a resolve is announced once BigPanda confirmed it, or left the questions without an answer."""
        outages = [spell for spell in self.spells("bigpanda") if spell.share == 1]
        is_fair = len(outages) == len(self.weather.spells) and not self.weather.crashes and not self.has_operators
        if not self.story.confirms_ends or not is_fair:
            return
        for state in self.states.values():
            came = min(state.answered, default=math.inf)
            by = came + (BELIEVED_SECONDS if outages else CONFIRMED_SECONDS)
            first, last = min(state.arrivals, default=math.inf) - self.world.began, by - self.world.began
            is_dark = any(
                each.begins < first and last < each.ends and each.fault in {"503", "timeout"} for each in outages
            )
            others = [other for other in self.states_of(state.incident) if other is not state]
            is_last = not any(came - IN_FLIGHT_SECONDS < at < by for other in others for at in other.arrivals)
            rings = [ring for ring in self.rings_of(state.incident) if ring.at < by]
            told = self.told_by(rings[-1]) if rings else None
            is_owed = not state.is_open and told is not None and told.is_open and state.channel == NOC
            is_asked = state.id not in self._dead_questions()
            is_due = is_dark or not (outages or self._may_delay_ends(state))
            if is_due and is_last and is_owed and is_asked and "resolved" in self.wanted(state.incident):
                self._problem(f"believed: {state} did not ring in {by - came:.0f} s, and BigPanda did not deny it")

    def _may_delay_ends(self, state: SharedState) -> bool:
        """Return True if a limit, a pause, another key or a person's deed may delay an end that BigPanda confirms."""
        policy, incident = self.policies[NOC], state.incident
        is_limited = int(str(policy["max_per_minute"])) < len(self.states) or "max_per_minute_per_recipients" in policy
        is_changed = (
            self.renewed_at is not None or self.story.token_changes_at is not None or NOC in self.story.timelines
        )
        is_odd = self.cloud != USUAL or not self.are_pages_followed or self.story.reconcile_interval is not None
        is_unsure = incident in self.unguarded | self.unqueued or state.version is None or self.doubts[incident] > 0
        is_short = float(str(policy["max_age_seconds"])) < CONFIRMED_SECONDS
        return any(
            (is_limited, is_changed, is_odd, is_unsure, is_short, "flap" in policy, self.naps, self.story.actions)
        )

    def _check_load(self) -> None:
        """Check that the requests to xMatters' REST API grow no faster than its signals and people's answers."""
        if any(each.fault == "answer lost" for each in self.spells("sqs")):
            # Each send that is repeated makes two messages of one.
            return
        # A follow-up goes on until the workflow makes no more pages: one for each signal and for each resolve that
        # comes, and one more for each message of which SQS makes two.
        ends = sum(len(state.arrivals) for state in self.states.values() if not state.is_open)
        followups = sum(map(len, self.phones.rings_of.values())) + ends + self.queues[1].doubled
        some = 2 + followups + len(self.phones.answers)
        if self.phones.looks > MOST_LOOKS * some:
            self._problem(f"load: {self.phones.looks} requests to xMatters' REST API for {some} follow-ups and answers")

    def _check_asked(self) -> None:
        """Check that BigPanda was asked about each resolve until it answered, or until the question was too old."""
        for incident in {state.incident for state in self.states.values() if state.channel == NOC}:
            state = self.states_of(incident)[0]
            is_claimed = self._entry(state).get("claim", (0.0,))[0] > 0
            if is_claimed and state.id not in self._dead_questions():
                self._problem(f"unasked: BigPanda is not asked any more if {incident} is over")

    def _dead_questions(self) -> set[str]:
        """Return the ids of the incidents with a dead-lettered question, which this version may not be able to read."""
        return {job["incident_id"] for job in self.dead_letters.jobs() if job["kind"] == "question"}

    def _check_answers(self) -> None:
        """Check that each answer is written once or dead-lettered, and that a forged answer is marked as unverified.

        One that is given again is written again.
        """
        jobs = [*self.dead_letters.jobs(), *(message.job for message in self.dead_letters.dropped)]
        bodies = (zlib.decompress(base64.b64decode(job["body"])).decode() for job in jobs)
        dead_lettered = {name for body in bodies for name in answers_in(body)}
        # The ledger may never learn of an announcement that was made without it.
        unguarded = {name.partition("@")[0] for name in self.unguarded}
        # A dead function may have noted a webhook's URL recipients late, so that the answer's incident was unknown.
        unguarded |= {name.partition("@")[0] for name in self.died if "+" in name}
        for answer in self.answers.values():
            done = self.console.written[answer.name] + any(act.answer == answer.name for act in self.console.acts)
            is_expected = answer.is_known and answer.said.incident not in unguarded and not self.story.is_keyless
            if is_expected and done < len(answer.taken) and answer.name not in dead_lettered:
                self._problem(f"unwritten: {answer.name}")
        given = Counter(Answer(said, None).name for said in self.story.answers)
        for name, times in self.console.written.items():
            if times > given[name]:
                self._problem(f"{name} was written {times} times")
        forged = {answer.name for answer in self.answers.values() if answer.said.is_forged and self.story.has_rest}
        for text in self.console.texts:
            if forged & set(answers_in(text)) and not text.startswith("Unverified"):
                self._problem(f"forged: {text}")

    def _has_rung_since(self, incident: str, person: str, came: float, until: float) -> bool:
        """Return True if the incident rang since the page that a person acknowledged, whose answer came then.

        The ledger keeps no acknowledgement of an earlier page.
        """
        answers = (
            each for each in self.answers.values() if (each.said.incident, each.said.person) == (incident, person)
        )
        since = min([came, *(each.page.ring.began for each in answers if each.page)])
        return any(since < ring.began < until for ring in self.rings_of(incident))

    def _check_assigned(self) -> None:
        """Check that incidents are assigned to those who acknowledged them, and to nobody else."""
        last: dict[str, float] = {}
        for at, incident, person in self.console.assigned:
            own = [came for came, said, who in self._acknowledged() if (said, who) == (incident, person) and came < at]
            if not own:
                self._problem(f"assigned: {incident} is assigned to {person}, who did not acknowledge it")
            elif max(own) < last.get(incident, 0.0) and not self._has_rung_since(incident, person, max(own), at):
                self._problem(f"assigned: {incident} is assigned to {person}, though another acknowledged it later")
            else:
                last[incident] = max(last.get(incident, 0.0), min(own))
        assigned = {incident for _, incident, _ in self.console.assigned}
        for answer in self.answers.values() if self.story.assigns else ():
            texts = [text for text in self.console.texts if answer.name in answers_in(text)]
            is_verified = bool(texts) and not texts[0].startswith("Unverified")
            is_said = any("(Not assigned: " in text for text in texts)
            is_acknowledgement = is_verified and answer.said.response == "Acknowledge" and not is_said
            if is_acknowledgement and answer.said.incident not in assigned:
                self._problem(
                    f"assigned: {answer.said.incident} is assigned to nobody, though {answer.name} acknowledged it"
                )

    def _check_released(self) -> None:
        """Check that an incident's first share is reported as received, so that BigPanda sends its updates."""
        if not self.story.withholds or not self.is_steady(*NEEDED):
            return
        for state in self.states.values():
            if state.answered and state.id not in self.console.released:
                self._problem(f"withheld: {state.id} is not released, so BigPanda sends no update of it")

    def _check_damaged(self) -> None:
        """Check that the end of an incident is announced although its entry became unreadable after it rang."""
        for at, incident in self.story.damaged:
            states, damaged_at = self.states_of(incident), self.world.began + at
            last = max(states, key=lambda state: state.at, default=None)
            came = min(last.answered, default=0.0) if last else 0.0
            rings = self.rings_of(incident)
            rang = any(self.told_by(ring).is_open and ring.at < damaged_at for ring in rings)
            is_due = last is not None and not last.is_open and rang and damaged_at < came
            if last and is_due and self._told(incident) is not last and not self._is_on_a_queue(last):
                self._problem(f"damaged: {last} was not announced")

    def _check_ages(self) -> None:
        """Check that no signal is older than the policy allows, unless an operator replayed it."""
        for ring in self.phones.rings:
            policy = self.policy(ring.incident)
            longest = float(str(policy["max_age_seconds"]))
            # The age of a state that waits for the end of a flap counts from that end.
            limit = longest + span(policy) + IN_FLIGHT_SECONDS
            arrivals = [at for at in self.told_by(ring).arrivals if at <= ring.began]
            arrivals = [self.conditions.age_from(self.told_by(ring), at, ring.began) for at in arrivals]
            # A state that only BigPanda's listing showed has no arrival.
            if not self.has_operators and ring.began > max(arrivals, default=ring.began) + limit:
                self._problem(f"{ring.incident} share {ring.share} rang although it was too old")

    def _check_recipients(self) -> None:
        """Check that a signal names exactly the recipients of its channel when it is sent, and those in its URL.

        A state without a status fits no route. The acknowledger may be named alone.
        """
        for ring in self.phones.rings:
            state = self.told_by(ring)
            if ring.channel != state.channel:
                self._problem(f"{state} rang by the trigger of {ring.channel}")
            more = (*state.url_recipients, *([DESK] if self.story.has_url_recipient else []))
            expected = [sorted({*rule, *more}) for rule in self._rules(state, ring.began)]
            # Only xMatters' REST API can show that a forger is no user.
            alone = [ACKNOWLEDGER, OTHER] if self.story.has_rest else [*ALONE]
            if sorted(ring.recipients) not in [*expected, *map(list, alone)]:
                self._problem(f"recipients: {state} rang {', '.join(ring.recipients)}")

    def _rules(self, state: SharedState, began: float) -> list[tuple[str, ...]]:
        """Return the lists of recipients that a state may have by the channel's secret.

        There is one list, or two if the signal was sent (`began`, epoch seconds) soon after the channel got another
        recipient: a function may have read the secret before.
        """
        # BigPanda's API says the status.
        is_shown = any(at < began for at in state.shown)
        if state.channel == NOC and self.story.routed and state.is_critical and (state.says_status or is_shown):
            return [self.story.routed] if state.says_status else [self.story.routed, ("Ops",)]
        if state.channel in self.story.timelines:
            rules = self.conditions.recipients(state, began)
            if not state.says_status and is_shown:
                rules = [*rules, *self.conditions.recipients(replace(state, says_status=True), began)]
            return rules
        first, second = ("Ops",), ("Ops", "Dba")
        if state.channel != NOC or self.story.widens_at is None:
            return [first]
        changes = self.world.began + self.story.widens_at
        if began < changes:
            return [first]
        is_known = began - IN_FLIGHT_SECONDS > changes + self.cloud.remembered_seconds
        return [second] if is_known and not self.spells("secrets") else [first, second]

    def faulty(self, entry: str, why: str) -> None:
        """Note an illegal change of an entry (`tests.simulation.phases`)."""
        self._problem(f"phase: {entry}: {why}")

    def _problem(self, what: str) -> None:
        if what not in self.problems:
            self.problems.append(what)
            self.world.say(f"PROBLEM  {what}")


# The judge asks for the same states after each process.
@lru_cache(maxsize=1024)
def _digest(body: bytes) -> str:
    return parse_share(body).digest


def _takes_over(newer: Ring, older: Ring) -> bool:
    """Return True if a newer page replaces an older one: it notifies the same people or more.

    A page for the acknowledger alone replaces no other.
    """
    reaches = older.recipients in ALONE or set(older.recipients) <= set(newer.recipients)
    return newer.began > older.began and newer.recipients not in ALONE and reaches
