"""Attacks: random schedules in which an attacker holds one of a channel's tokens.

BigPanda and xMatters work, with occasional outages. Jobs wake after their queue's delay. The attacker knows the ids of
the channel's incidents, and sends any request that the token permits. The invariants are those of
`tests.simulation.attack_invariants`.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from random import Random
from types import MappingProxyType
from typing import Any

from relay.incidents.callback import Kind
from relay.ledger.entry import Entry, entry_key
from relay.reconcile.history import ChannelHistory, History, listing_name
from relay.reconcile.ownership import Learnt
from tests import samples
from tests.fakes import Clock, FakeSecrets, FakeSession, FakeSqs, Relay
from tests.simulation.attack_invariants import Posted, broken_invariants, undecided
from tests.simulation.attack_plans import (
    ALLOWED_NAMES,
    ATTACKED,
    CALLBACK_TOKEN,
    CALM_SECONDS,
    ENVIRONMENT,
    LASTS_SECONDS,
    NEIGHBOUR,
    NEIGHBOUR_TOKEN,
    STRANGERS,
    TOKEN,
    WEBHOOK,
    Plan,
    hostile_members,
    plan_of,
)
from tests.simulation.attack_vendors import FORGED_PERSON, OTHER_ENVIRONMENT, Vendors
from tests.simulation.services import Notice
from tests.simulation.silence import silence
from tests.simulation.verdict import Verdict

STEP_SECONDS = 6.0
# Steps of a schedule in which resolves are forged in a rhythm, or in a flood.
RHYTHM_STEP_SECONDS, FLOOD_STEP_SECONDS = 2.0, 1.0
# Workers of a queue in a flood, and the time that one needs for a job besides its waits for BigPanda's rate limit.
WORKERS, JOB_SECONDS = 5, 0.25
SWEEP_EVERY, RECONCILE_EVERY = 60.0, 300.0
UNKNOWN_INCIDENT = "of-nobody"

type Deed = tuple[float, Callable[[], object]]


class _SleepingClock(Clock):
    """The clock of workers that work at the same moment: while one of them sleeps, no time passes for the others.

    Attributes:
        passes: True while one function works for a long time of its own, as a reconcile run does.
    """

    passes = False

    def sleep(self, seconds: float) -> None:
        """Note how long the worker is busy."""
        self.slept.append(seconds)
        self.now += seconds if self.passes else 0.0


class Attack:
    """One schedule. With an even seed the attacker holds the webhook's token, with an odd seed the callback's.

    Attributes:
        forged_open: time of the last share of each incident that was forged as open, in seconds since the beginning.
        posted: shares that the relay got, by their correlation ids.
    """

    def __init__(self, seed: int, plan: Plan | None = None) -> None:
        self.plan = plan or plan_of(seed)
        self._random, self._odd = Random(f"forgeries {seed}"), Random(f"bodies {seed}")
        clock = _SleepingClock() if self.plan.has_flood_of_resolves else Clock()
        self._began = clock.now
        self.vendors = Vendors(self.plan, clock, clock.now, self._say)
        self.relay = Relay(
            FakeSession(self.vendors.take_signal),
            secrets=FakeSecrets(**{name: json.dumps(secret) for name, secret in self.plan.secrets().items()}),
            bigpanda=FakeSession(self.vendors.bigpanda),
            rest=FakeSession(self.vendors.rest),
            clock=clock,
        )
        self.notices: list[Notice] = []
        self.forged_open: dict[str, float] = {}
        self.posted: dict[str, Posted] = {}
        self.problems: list[str] = []
        self.words: list[str] = [f"{name}: {value}" for name, value in vars(self.plan).items()]

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.relay.clock.now - self._began

    @property
    def _step(self) -> float:
        """Seconds until workers have the next jobs."""
        if self.plan.has_flood_of_resolves:
            return FLOOD_STEP_SECONDS
        return RHYTHM_STEP_SECONDS if self.plan.rhythm and self.now < LASTS_SECONDS else STEP_SECONDS

    def entries(self) -> Iterator[Entry]:
        """Yield the ledger's entries of the true incidents."""
        for truth in self.plan.truths:
            yield self.relay.ledger.read(entry_key(truth.channel, truth.recipients, truth.id))

    # ---- Events ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the schedule, and judge it."""
        if self.plan.is_reconciled:
            self._note_earlier_runs()
        deeds = sorted([*self._true_shares(), *self._attacks(), *self._runs()], key=lambda deed: deed[0])
        while self.now < LASTS_SECONDS + CALM_SECONDS:
            while deeds and deeds[0][0] <= self.now:
                deeds.pop(0)[1]()
            self._work(self.relay.retries)
            self._work(self.relay.chores)
            self.relay.clock.now += self._step
        is_acknowledged = any(entry.acknowledged_by for entry in self.entries())
        self.problems += broken_invariants(
            self.plan, self.vendors, self.notices, self.forged_open, is_acknowledged=is_acknowledged
        )
        self.problems += undecided(self.posted, self.vendors.signals)

    def _note_earlier_runs(self) -> None:
        """Let reconcile runs have covered the channel already, so that no incident predates its first run."""
        access = self.relay.channels.get(ATTACKED).bigpanda
        assert access
        known = {ATTACKED: ChannelHistory(self._began - 1200, self._began - 600)}
        History(known).write(self.relay.table, listing_name(access, ENVIRONMENT))
        Learnt((WEBHOOK,), self._began).store(self.relay.table, ATTACKED)

    def _runs(self) -> Iterator[Deed]:
        for number in range(1, int((LASTS_SECONDS + CALM_SECONDS) / SWEEP_EVERY)):
            yield number * SWEEP_EVERY, self._sweep
        if self.plan.is_reconciled:
            for number in range(int((LASTS_SECONDS + CALM_SECONDS) / RECONCILE_EVERY)):
                yield number * RECONCILE_EVERY + 10, self._reconcile

    def _reconcile(self) -> None:
        """Let a reconcile run work. It waits for BigPanda's rate limit, and takes no time from the workers."""
        clock = self.relay.clock
        began = clock.now
        if isinstance(clock, _SleepingClock):
            clock.passes = True
        self.relay.reconciler.run()
        if isinstance(clock, _SleepingClock):
            clock.passes, clock.now = False, began

    def _sweep(self) -> None:
        told = len(self.relay.sns.published)
        self.relay.sweep(0.0)
        for message in self.relay.sns.published[told:]:
            self._say(f"the fallback topic is notified: {message['Subject']}")
            if message["MessageAttributes"]["channel"]["StringValue"] == ATTACKED:
                self.notices.append(Notice(self.now, json.loads(message["Message"])["default"], ATTACKED, self.now))

    def _true_shares(self) -> Iterator[Deed]:
        for truth in self.plan.truths:
            token = TOKEN if truth.channel == ATTACKED else NEIGHBOUR_TOKEN
            post = partial(self._post, recipients=truth.recipients, channel=truth.channel, token=token)
            if not truth.is_lost:
                yield truth.opened, partial(post, truth.id, "critical", self._began + truth.opened)
            if not truth.is_end_lost:
                yield truth.over, partial(post, truth.id, "ok", self._began + truth.over)

    def _attacks(self) -> Iterator[Deed]:
        plan = self.plan
        if rhythm := plan.rhythm:
            for number in range(math.ceil((LASTS_SECONDS - rhythm.begins) / rhythm.every)):
                yield (
                    rhythm.begins + number * rhythm.every,
                    partial(self._forge, "i0", "ok", rhythm.ahead, recipients=plan.url_recipients),
                )
        if flood := plan.flood:
            for number in range(flood.count):
                name, at = f"flood-{number}", flood.begins + number * flood.every
                if not flood.is_silent:
                    yield at, partial(self._forge, name, "critical")
                if flood.resolved_after is not None:
                    yield at + flood.resolved_after, partial(self._forge, name, "ok")
        for _ in range(plan.forgeries):
            at = self._random.uniform(30, 1000)
            yield at, self._forged_share if plan.holds_webhook_token else self._forged_callback

    def _forged_share(self) -> None:
        name = self._known_name()
        status = self._random.choice(["ok", "ok", "critical", "unknown"])
        ahead = self._random.choice([0, 4, 3600, -60])
        environment_id = self._random.choice([ENVIRONMENT, "..", OTHER_ENVIRONMENT])
        recipients = self._random.choice(
            [(), self.plan.url_recipients, (self._random.choice([*STRANGERS, *ALLOWED_NAMES]),)]
        )
        self._forge(name, status, ahead, environment_id=environment_id, recipients=recipients)

    def _forge(self, name: str, status: str, ahead: float = 0.0, **where: Any) -> None:
        if status != "ok":
            self.forged_open[name] = self.now
        inside, outside = hostile_members(self._odd, [truth.id for truth in self.plan.truths])
        self._post(name, status, self.relay.clock.now + ahead, inside=inside, outside=outside, **where)

    def _post(
        self,
        name: str,
        status: str,
        stamp: float,
        *,
        environment_id: str = ENVIRONMENT,
        recipients: tuple[str, ...] = (),
        channel: str = ATTACKED,
        token: str = TOKEN,
        inside: Mapping[str, Any] = MappingProxyType({}),
        outside: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        said = {"id": name, "status": status, "active": status != "ok", "resolved": status == "ok"}
        content = samples.enveloped(environment_id, **said, changedOn=int(stamp), updatedOn=int(stamp), **inside)
        content = json.dumps(json.loads(content) | outside).encode()
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        trail = f"share-{len(self.posted)}"
        self.posted[trail] = Posted(channel, name, status != "ok", recipients)
        request = samples.request(content, headers=headers, recipients=recipients, channel=channel, id=trail)
        reply = self.relay.webhook.serve(request)
        said_at, outcome = stamp - self._began, reply.document.get("outcome")
        self._say(f"share of {channel}: {name} is {status} since {said_at:.0f} s, for {recipients}: {outcome}")
        if reply.status >= 300:
            self.problems.append(f"a share was answered {reply.status}")

    def _forged_callback(self) -> None:
        name = self._known_name()
        response = self._random.choice(["Acknowledge", "Resolve", "Resolve", "Snooze"])
        kind, person, event = Kind.RESPONSE, FORGED_PERSON, {"number": "1"}
        page = self.vendors.page_of(name)
        if page and self._random.random() < 0.4:
            # A guessed page. In the name of a person whom xMatters knows, the answer could not be told from a true one.
            event = {"id": page}
        else:
            kind = self._random.choice([Kind.RESPONSE, Kind.RESPONSE, Kind.ANNOTATION])
            person = self._random.choice([FORGED_PERSON, "Ops"])
        said = {"relay": 1, "kind": kind, "incident_id": name, "response": response, "person": {"target": person}}
        said |= {"note": f"forged {self._random.random()}", "event": event}
        said |= {"environment_id": self._random.choice([ENVIRONMENT, OTHER_ENVIRONMENT])}
        headers = {"authorization": f"Bearer {CALLBACK_TOKEN}", "content-type": "application/json"}
        reply = self.relay.callbacks.serve(samples.request(json.dumps(said).encode(), headers=headers))
        self._say(f"callback: {said}: {reply.status}")

    def _known_name(self) -> str:
        """Return an incident that the attacker knows: one of the channel, or none that exists."""
        names = [truth.id for truth in self.plan.truths if truth.channel != NEIGHBOUR]
        return self._random.choice([*names, UNKNOWN_INCIDENT])

    def _work(self, queue: FakeSqs) -> None:
        """Work the jobs of a queue whose delay is over, oldest first, as far as its workers get."""
        now, slept = self.relay.clock.now, self.relay.clock.slept
        awake = [message for message in queue.messages if message["visible_at"] <= now]
        queue.messages = [message for message in queue.messages if message["visible_at"] > now]
        seconds = WORKERS * self._step if self.plan.has_flood_of_resolves else math.inf
        while awake and seconds > 0:
            slept.clear()
            message = awake.pop(0)
            if self.relay.worker.work([{"messageId": "m1", "body": message["MessageBody"]}]):
                queue.messages.append(message)
            seconds -= JOB_SECONDS + sum(slept)
        queue.messages[:0] = awake

    def _say(self, what: str) -> None:
        self.words.append(f"{self.now:9.1f} s  {what}")


def play(seed: int) -> Attack:
    """Return the attack of a seed after its run. A crash of the simulation itself is a problem, too."""
    with silence():
        attack = Attack(seed)
        try:
            attack.run()
        except Exception as error:  # noqa: BLE001 - one seed must not hide what the others found
            attack.problems.append(f"the simulation crashed: {error!r}")
    return attack


def judge(seed: int) -> Verdict:
    """Run the schedule of a seed, and return its verdict."""
    attack = play(seed)
    return Verdict(seed, attack.problems, attack.words)
