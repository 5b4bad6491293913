"""Attacks: random schedules in which an attacker holds one of a channel's tokens, and their invariants.

BigPanda and xMatters work, with occasional outages. Jobs wake after their queue's delay. The attacker knows the ids of
the channel's incidents, and sends any request that the token permits.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

from relay.http.session import HttpAnswer
from relay.incidents.callback import Kind
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSession, FakeSqs, Relay

STEP_SECONDS = 6.0
# Steps of a schedule in which resolves are forged in a rhythm.
RHYTHM_STEP_SECONDS = 2.0
LASTS_SECONDS = 1500.0
# The policy's default: the fallback topic is notified of a critical that is owed for so long.
FALLBACK_SECONDS = 300.0
# Most signals in a schedule that say of an open incident that it is over, where resolves are forged in a rhythm: one
# before BigPanda contradicts a resolve, and one more once that is too long ago.
MOST_FALSE_ENDS = 2
TOKEN, CALLBACK_TOKEN = "attacked-webhook-token", "attacked-callback-token"
STRANGER = "mallory"
ENVIRONMENT = "e1"


@dataclass(frozen=True)
class Truth:
    """The true course of an incident.

    Attributes:
        id: the incident's id.
        opened: start as a critical, in seconds since the beginning.
        over: end, in seconds since the beginning.
    """

    id: str
    opened: float
    over: float

    def is_open(self, at: float) -> bool:
        """Return True if the incident is open at that time."""
        return self.opened <= at < self.over


@dataclass
class Attack:
    """One schedule.

    Attributes:
        seed: seed of the schedule.
        holds: the token that the attacker holds, "webhook" or "callback".
        problems: broken invariants.
        rhythm: seconds between the resolves that are forged of one incident all the time; 0 if forgeries are random.
    """

    seed: int
    holds: str
    problems: list[str] = field(default_factory=list)
    rhythm: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._random = Random(f"{self.holds} {self.seed}")
        of_rhythm = Random(f"rhythm {self.holds} {self.seed}")
        is_in_rhythm = self.holds == "webhook" and of_rhythm.random() < 0.3
        self.rhythm = of_rhythm.choice([1.0, 2.0, 5.0, 12.0, 30.0]) if is_in_rhythm else 0.0
        self._ahead, self._rhythm_begins = of_rhythm.choice([0, 2, 4]), of_rhythm.uniform(0, 600)
        self.truths = [
            Truth(f"i{number}", opened, opened + self._random.choice([200.0, 900.0, 5000.0]))
            for number in range(3)
            for opened in [self._random.uniform(0, 300)]
        ]
        self._outages = {
            vendor: (begins, begins + self._random.choice([0.0, 0.0, 90.0, 240.0]))
            for vendor in ("xmatters", "bigpanda")
            for begins in [self._random.uniform(0, 900)]
        }
        self.relay = Relay(
            FakeSession(self._signal),
            secrets=FakeSecrets(noc=json.dumps(self._secret())),
            bigpanda=FakeSession(self._bigpanda),
            rest=FakeSession(self._rest),
        )
        self._began = self.relay.clock.now
        self._due: dict[int, float] = {}
        # The incident of each page, and the number of the signal that made the page.
        self._pages: dict[str, tuple[str, int]] = {}
        # For each true incident, the time of each signal, and True if the signal announced an open incident.
        self.told: dict[str, list[tuple[float, bool]]] = {}
        self.comments: list[tuple[str, str]] = []

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.relay.clock.now - self._began

    def _secret(self) -> dict[str, Any]:
        policy = {"allowed_recipients": [], "min_seconds_between_signals": 0, "max_per_minute": 60}
        access = {"api_key": "BPU-1", "environment_id": ENVIRONMENT, "assign": True}
        secret = samples.secret(policy=policy, bigpanda=access, inbound={"token": TOKEN})
        auth = {"type": "basic", "username": "u", "password": "p"}
        secret["xmatters"] |= {"recipients": ["Ops"], "callback": {"token": CALLBACK_TOKEN}}
        secret["xmatters"]["rest"] = {"base_url": "https://acme.xmatters.com", "auth": auth}
        return secret

    @property
    def refuted(self) -> int:
        """Number of signals that refuted a forged resolve: the incident was announced as over, but was open."""
        pairs = [(truth, *pair) for truth in self.truths for pair in pairwise(self.told.get(truth.id, ()))]
        return sum(truth.is_open(later[0]) and not told[1] and later[1] for truth, told, later in pairs)

    # ---- The vendors -------------------------------------------------------------------------------------------------

    def _is_out(self, vendor: str) -> bool:
        begins, ends = self._outages[vendor]
        return begins <= self.now < ends

    def _signal(self, call: Call) -> HttpAnswer:
        if self._is_out("xmatters"):
            return samples.refused(503)
        incident = json.loads(call.body)["incident"]
        if STRANGER in call.url:
            self.problems.append(f"{incident['id']} rang {STRANGER}")
        self.told.setdefault(incident["id"], []).append((self.now, incident["status"] != "ok"))
        request = f"r{sum(map(len, self.told.values()))}"
        self._pages[f"page-{request}"] = (incident["id"], len(self.told[incident["id"]]))
        return samples.accepted(request)

    def _bigpanda(self, call: Call) -> HttpAnswer:
        if self._is_out("bigpanda"):
            return samples.refused(503)
        if (
            f"/environments/{ENVIRONMENT}/" not in call.url
            and "/activities" not in call.url
            and "/scim/" not in call.url
        ):
            self.problems.append(f"BigPanda was asked for {call.url}")
        if call.method == "POST":
            name = call.url.partition("/incidents/")[2].partition("/")[0]
            self.comments.append((name, json.loads(call.body)["comment"]))
            return HttpAnswer(204, {}, b"")
        if "/scim/" in call.url:
            return HttpAnswer(200, {}, b'{"Resources": [{"id": "u1", "userName": "ceo"}]}')
        if call.method == "PUT":
            self.problems.append("an incident was assigned")
            return HttpAnswer(204, {}, b"")
        name = call.url.partition("/incidents/")[2].partition("?")[0]
        truth = next((each for each in self.truths if each.id == name and each.opened <= self.now), None)
        return samples.refused(404) if truth is None else HttpAnswer(200, {}, json.dumps(self._shown(truth)).encode())

    def _shown(self, truth: Truth) -> dict[str, Any]:
        is_open = truth.is_open(self.now)
        stamp = int(self._began + (truth.opened if is_open else truth.over))
        status = "critical" if is_open else "ok"
        return {"id": truth.id, "status": status, "active": is_open, "changed_at": stamp, "updated_at": stamp}

    def _rest(self, call: Call) -> HttpAnswer:
        if "/people/" in call.url:
            return HttpAnswer(404, {}, b'{"code": 404}')
        if call.method == "POST":
            self._ended(json.loads(call.body)["id"])
            return HttpAnswer(200, {}, b"{}")
        request = call.url.partition("requestId=")[2].partition("&")[0]
        return HttpAnswer(200, {}, json.dumps({"data": [{"id": f"page-{request}", "status": "ACTIVE"}]}).encode())

    def _ended(self, page: str) -> None:
        """Judge the end of a page: right if the incident is over, or if a newer page of an open one replaces it."""
        incident, number = self._pages[page]
        truth = next((each for each in self.truths if each.id == incident), None)
        is_replaced = any(is_open for _, is_open in self.told[incident][number:])
        was_open = self.told[incident][number - 1][1]
        if truth and truth.is_open(self.now) and was_open and not is_replaced:
            self.problems.append(f"{page} of {incident} ended at {self.now:.0f} s, and it is open")

    # ---- Events ------------------------------------------------------------------------------------------------------

    def run(self) -> list[str]:
        """Run the schedule; return the broken invariants."""
        deeds = sorted([*self._true_shares(), *self._attacks()], key=lambda deed: deed[0])
        next_sweep = 60.0
        while self.now < LASTS_SECONDS:
            while deeds and deeds[0][0] <= self.now:
                deeds.pop(0)[1]()
            self._work()
            if self.now >= next_sweep:
                self.relay.sweep(0.0)
                next_sweep += 60.0
            self._judge_now()
            self.relay.clock.now += RHYTHM_STEP_SECONDS if self.rhythm else STEP_SECONDS
        self._judge_comments()
        self._judge_false_ends()
        return self.problems

    def _true_shares(self) -> Iterator[tuple[float, Any]]:
        for truth in self.truths:
            yield truth.opened, lambda truth=truth: self._post(truth.id, "critical", self._began + truth.opened)
            yield truth.over, lambda truth=truth: self._post(truth.id, "ok", self._began + truth.over)

    def _attacks(self) -> Iterator[tuple[float, Any]]:
        if self.rhythm:
            at = self._rhythm_begins
            while at < LASTS_SECONDS:
                yield at, lambda: self._post("i0", "ok", self.relay.clock.now + self._ahead)
                at += self.rhythm
            return
        for _ in range(self._random.choice([1, 3, 12])):
            at = self._random.uniform(30, 1000)
            yield at, self._forged_share if self.holds == "webhook" else self._forged_callback

    def _forged_share(self) -> None:
        name = self._random.choice([*(truth.id for truth in self.truths), "of-nobody"])
        status = self._random.choice(["ok", "ok", "critical", "unknown"])
        ahead = self._random.choice([0, 4, 3600, -60])
        environment_id = self._random.choice([ENVIRONMENT, "..", "e-of-a-stranger"])
        recipients = self._random.choice([(), (STRANGER,)])
        self._post(name, status, self.relay.clock.now + ahead, environment_id, recipients)

    def _post(
        self, name: str, status: str, stamp: float, environment_id: str = ENVIRONMENT, recipients: tuple[str, ...] = ()
    ) -> None:
        said = {"id": name, "status": status, "active": status != "ok", "resolved": status == "ok"}
        content = samples.enveloped(environment_id, **said, changedOn=int(stamp), updatedOn=int(stamp))
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        reply = self.relay.webhook.serve(samples.request(content, headers=headers, recipients=recipients))
        if reply.status >= 300:
            self.problems.append(f"a share was answered {reply.status}")

    def _forged_callback(self) -> None:
        name = self._random.choice([*(truth.id for truth in self.truths), "of-nobody"])
        said = {"relay": 1, "kind": self._random.choice([Kind.RESPONSE, Kind.ANNOTATION]), "incident_id": name}
        said |= {"response": "Acknowledge", "person": {"target": "ceo"}, "note": f"forged {self._random.random()}"}
        said |= {"environment_id": self._random.choice([ENVIRONMENT, "e-of-a-stranger"]), "event": {"number": "1"}}
        headers = {"authorization": f"Bearer {CALLBACK_TOKEN}", "content-type": "application/json"}
        self.relay.callbacks.serve(samples.request(json.dumps(said).encode(), headers=headers))

    def _work(self) -> None:
        """Work the jobs whose delay is over."""
        for queue in (self.relay.retries, self.relay.chores):
            awake = [message for message in queue.messages if self._is_awake(message)]
            queue.messages = [message for message in queue.messages if message not in awake]
            self._hand_over(queue, awake)

    def _is_awake(self, message: dict[str, Any]) -> bool:
        due = self._due.setdefault(id(message), self.now + message["DelaySeconds"])
        return due <= self.now

    def _hand_over(self, queue: FakeSqs, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            self._due.pop(id(message), None)
            if self.relay.worker.work([{"messageId": "m1", "body": message["MessageBody"]}]):
                queue.messages.append(message)

    # ---- Invariants --------------------------------------------------------------------------------------------------

    def _judge_now(self) -> None:
        """Check that an open critical is announced in time, whatever is forged of it meanwhile."""
        for truth in self.truths:
            if not truth.is_open(self.now):
                continue
            told = self.told.get(truth.id, [])
            since = max([truth.opened, *([told[-1][0]] if told else [])])
            since = max([since, *(ends for begins, ends in self._outages.values() if begins < self.now)])
            is_silent = not told or not told[-1][1]
            what = f"{truth.id} is open, and nobody knows"
            if is_silent and self.now - since > FALLBACK_SECONDS and what not in self.problems:
                self.problems.append(what)

    def _judge_false_ends(self) -> None:
        """Check that resolves which are forged in a rhythm are not told again and again."""
        for truth in self.truths if self.rhythm else ():
            false_ends = sum(truth.is_open(at) and not is_open for at, is_open in self.told.get(truth.id, ()))
            if false_ends > MOST_FALSE_ENDS:
                self.problems.append(f"people were told {false_ends} times that {truth.id} is over, and it is open")

    def _judge_comments(self) -> None:
        for name, text in self.comments:
            if name not in {truth.id for truth in self.truths}:
                self.problems.append(f"a comment was written on {name}")
            if not text.startswith("Unverified"):
                self.problems.append(f"a forged comment is not doubted: {text}")
        if self.holds == "callback" and any(self.relay.entry(truth.id).acknowledged_by for truth in self.truths):
            self.problems.append("somebody acknowledged")
