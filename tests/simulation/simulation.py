"""One schedule: the library's own code, wired to a simulated world, until no process or message is left."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from copy import replace
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import chain, count
from random import Random
from typing import Any, override

import pytest
from aws_lambda_powertools import Logger, Metrics

from relay.channels.authentication import Request
from relay.channels.cache import ChangeMarks, settings_mark_name
from relay.channels.channel import Channel
from relay.channels.parsing import parse_channel
from relay.deadline import Deadline
from relay.delivery.fallback_phones import Phones as LastResortPhones
from relay.delivery.fallback_phones import ways_to
from relay.entrypoints.wiring import Effects, Resources, Vendors, Wiring
from relay.failures import LedgerError
from relay.http.session import VendorHosts
from relay.jobs.job import timestamp
from relay.ledger.credentials import MARKS_KEY, Uses
from relay.ledger.debt import BEHIND_SECONDS
from relay.ledger.entry import entry_key
from relay.ledger.table import Table
from relay.reconcile.history import listing_name
from relay.reconcile.ownership import OWN_KEY
from relay.telemetry import Telemetry
from relayctl.dlq.queue import DeadLetters, Filter
from relayctl.dlq.replay_and_drop import move
from tests.fakes import one_by_one, unwatched
from tests.simulation.cloud import REST_PASSWORD, REST_USER, TRIGGER_USER, USUAL_CLOCKS_DIFFER, as_read_by_newer
from tests.simulation.console import CONFLICT, DONE, MOVED_TO, OTHER_WEBHOOK, UNKNOWN, WEBHOOK, Console
from tests.simulation.dead_letter_deeds import DEEDS, DeadLetterDeeds
from tests.simulation.invariants import Invariants
from tests.simulation.operators import tell
from tests.simulation.phones import NEW_KEY, OLD_KEY, Page, Phones
from tests.simulation.services import (
    DEAF_PHONE,
    PHONE,
    Edge,
    Message,
    SimulatedDynamoDb,
    SimulatedSecrets,
    SimulatedSns,
    SimulatedSqs,
    queue_of,
)
from tests.simulation.settings import Settings, plain_secret
from tests.simulation.silence import silence
from tests.simulation.story import DESK, NOC, STORM_SECONDS, Nap, Post, Said, SharedState, Story, entry_name, stamped
from tests.simulation.verdict import Verdict
from tests.simulation.weather import Weather
from tests.simulation.world import Process, Time, World, WorldDeadline

HOSTS = VendorHosts.of(("*.xmatters.com",), ("*.bigpanda.io",))
TOKEN, NEW_TOKEN, CALLBACK_TOKEN = "inbound-token", "new-inbound-token", "callback-token"
TRIGGER = "https://acme.xmatters.com/api/integration/1/functions/{channel}/triggers?apiKey={key}"
TOPICS = "arn:aws:sns:eu-central-1:000000000000"
REST = {"base_url": "https://acme.xmatters.com", "auth": {"type": "basic", "username": "u", "password": "p"}}
RESENDS = 2
# The template's visibility timeout, and its receives before the redrive.
VISIBILITY_SECONDS, RECEIVES = 180.0, 20
# From the new token's storage until BigPanda uses it. A function reads a secret again for a wrong credential, at most
# every two seconds.
PASTED_SECONDS = 3.0
# From the storage of a new key for BigPanda's API until the old one ends: functions cache a secret for a minute.
API_KEY_SECONDS = 300.0
# From BigPanda's answer about an incident to its end. Only arrivals order the two, and the clocks of functions differ.
ENDS_AFTER_SECONDS = 1.0
# Concurrent workers of each queue: the template's default.
WORKERS = 5
# Timeouts of the functions.
WEBHOOK_SECONDS, WORKER_SECONDS, RECONCILE_SECONDS, SWEEPER_SECONDS = 15.0, 30.0, 900.0, 60.0
# Largest delay of a sweeper's run; probability of a second start, and, in some stories, of none.
SWEPT_LATE_SECONDS, SWEPT_TWICE, SWEPT_NEVER = 60.0, 0.05, 0.3
# A channel that is well does not get sick later than this after the last share.
HEALTH_SECONDS = 3600.0
# A canary begins no later than this.
CANARIES_SECONDS = 6000.0
# Probability of a second start of a reconcile run.
RECONCILED_TWICE = 0.2
# Reconcile runs go on for so long after the last share, for several runs.
RECONCILED_SECONDS = 1500.0
# The first number of states that are not in the story: shares for the relay's own comments, and resolves by answers.
DYNAMIC = 1000
# The longest time from a job's expiry to its end: its backoff or wait, with a margin.
SETTLED_SECONDS = 4000.0


class _Unrecorded(Uses):
    """A record of credentials' uses that stays empty: its writes would change the schedules of recorded seeds."""

    @override
    def record(self, key: str, deadline: Deadline) -> None:
        """Do nothing."""


# Most reads of a secret find it unchanged.
@lru_cache(maxsize=1024)
def _channel(name: str, secret: str) -> Channel:
    return parse_channel(name, secret, HOSTS)


@dataclass(eq=False)
class _Wiring(Wiring):
    """One warm environment of each function. It parses each secret once, and records no uses of credentials.

    `has_operators` is False in a story in which nobody changes a channel: its change marks are not read.
    """

    has_operators: bool = True

    @property
    def _change_marks(self) -> ChangeMarks:
        if self.has_operators:
            return super()._change_marks
        return ChangeMarks(dict, self._clock, self.telemetry.notice)

    @override
    def _channel(self, name: str) -> Channel:
        return _channel(name, self.resources.read_secret(name))

    @property
    @override
    def uses(self) -> Uses:
        """A record that stays empty."""
        return _Unrecorded(self.resources.credentials, self._clock)


class Simulation:
    """The library's functions in a simulated world, which plays one story."""

    def __init__(self, seed: int, story: Story | None = None) -> None:
        self.seed = seed
        self.story: Story = story or tell(seed)
        self.world = World(seed)
        story = self.story
        weather = self.weather = Weather(
            self.world, story.spells, story.crashes, STORM_SECONDS, skips_runs=Random(f"runs of {seed}").random() < 0.2
        )
        self.phones = Phones(
            Edge(self.world, weather, "xmatters", 0.05, 0.4),
            Edge(self.world, weather, "rest", 0.05, 0.4),
            Edge(self.world, weather, "token", 0.05, 0.4),
            story,
            partial(self._call_back_about, "delivery"),
            self._call_back_end,
        )
        edge = Edge(self.world, weather, "bigpanda", 0.05, 0.4)
        self._naps = list(story.naps)
        self.console = Console(edge, story, self._shown, self._came_by_api, self._echo, self._resolve, self._snooze)
        sqs = Edge(self.world, weather, "sqs")
        self.dead_letters = SimulatedSqs(self.world, sqs, "dead-letters", 60, cloud=story.cloud)
        self._pools: dict[str, set[Process]] = {"retries": set(), "chores": set()}
        self.retries, self.chores = self._queue_with_workers("retries", sqs), self._queue_with_workers("chores", sqs)
        self.retries.vanishing, self.retries.luck = story.vanishing, Random(f"vanishing in {seed}")
        self.retries.found = self._found
        every = [post.state for post in story.posts]
        entries = {entry_key(state.channel, state.url_recipients, state.id): state.incident for state in every}
        dynamodb = Edge(self.world, weather, "dynamodb", 0.001, 0.01)
        luck = Random(f"table of {seed}")
        self.dynamodb = SimulatedDynamoDb(dynamodb, entries, story.ceiling, story.cloud, luck)
        self.console.remarks = [(self.world.began + at, incident) for at, incident in story.remarks]
        # What may change in the first channel's secret, and the token that BigPanda uses.
        self._now: dict[str, Any] = {"key": OLD_KEY, "recipients": ["Ops"], "api_key": "k", "inbound": {"token": TOKEN}}
        self._token, self._ending = TOKEN, set(story.ending)
        self.phones.keys = {NOC: OLD_KEY} | {channel: f"{channel}-key" for channel in story.others}
        changed = {channel: line for channel, line in story.timelines.items() if channel != NOC}
        self.phones.keys |= {channel: line[0].key(channel) for channel, line in changed.items()}
        secrets = {channel: self._other_secret(channel) for channel in story.others} | {NOC: self._secret()}
        self.secrets = SimulatedSecrets(Edge(self.world, weather, "secrets"), secrets)
        self.sns = SimulatedSns(Edge(self.world, weather, "sns"), phoned=[] if story.has_phones else None)
        self._deeds = DeadLetterDeeds(self.world, self.dead_letters, self.dynamodb, Random(f"drops of {seed}"))
        self._names = count(1)
        # A generator of its own, so that other choices of a seed stay the same.
        self._twice = Random(f"second reconcile runs of {seed}")
        self._answered: dict[int, Page | None] = {}
        self._environments = [self._functions() for _ in range(3)]
        states = {(post.state.incident, post.state.number): post.state for post in story.posts}
        self.invariants = Invariants(
            story,
            states,
            self.world,
            weather,
            self.phones,
            (self.retries, self.chores),
            self.dead_letters,
            self.sns,
            self.console,
            self._naps,
            self.dynamodb,
        )
        self.dynamodb.on_fault = self.invariants.faulty

    def run(self) -> Verdict:
        """Play the story and return its verdict."""
        began = self.world.began
        last = max(STORM_SECONDS, *(post.at for post in self.story.posts))
        for post in self.story.posts:
            if not post.is_lost:
                self.world.at(began + post.at, lambda post=post: self._post(post))  # type: ignore[misc]
        self._schedule_reconcile_runs(last)
        for said in self.story.answers:
            if not said.copies:
                self.world.at(began + said.at, lambda said=said: self._page_of(said))  # type: ignore[misc]
            for copy in range(said.copies):
                self.world.at(began + said.at + 5 * copy, lambda said=said: self._call_back(said))  # type: ignore[misc]
        for moment, deed in self.story.operations:
            self.world.at(began + moment, lambda deed=deed: self._operate(deed))  # type: ignore[misc]
        self._schedule_changes()
        self.invariants.reconciled_until = began + last + RECONCILED_SECONDS - (self.story.reconcile_interval or 0.0)
        ages = (policy["max_age_seconds"] for policy in self.story.policies.values())
        until = began + last + max(ages) + SETTLED_SECONDS
        self._sweep(until, began + last + HEALTH_SECONDS)
        self.world.run(until)
        self.invariants.at_the_end()
        return Verdict(
            self.seed, self.invariants.problems, [*self.story.words(), "", *self.world.log], self.world.effects
        )

    def _schedule_changes(self) -> None:
        began = self.world.began
        for at, change in (
            (self.story.rotates_at, lambda: self.phones.keys.update({NOC: NEW_KEY})),
            (None if self.story.rotates_at is None else self.story.learns_at, partial(self._change, key=NEW_KEY)),
            (self.story.token_changes_at, self._change_token),
            (self.story.api_key_changes_at, self._change_api_key),
            (self.story.widens_at, partial(self._change, recipients=["Ops", "Dba"])),
        ):
            if at is not None:
                self.world.at(began + at, change)
        for at, incident in self.story.damaged:
            self.world.at(began + at, partial(self._damage, incident))
        for channel, line in self.story.timelines.items():
            for settings in line[1:]:
                self.world.at(began + settings.at, partial(self._change_settings, channel, settings))

    def _schedule_reconcile_runs(self, last: float) -> None:
        """Schedule reconcile runs, if the story has any.

        `last` is the time of the last share, in seconds since the beginning.
        """
        began = self.world.began
        if not self.story.reconcile_interval:
            return
        # Earlier runs have already covered the channel, so that no incident predates its first run.
        access = parse_channel("noc", self._secret(), HOSTS).bigpanda
        assert access
        channels = {"noc": [began - 1000, began - 1000, {}]}
        history = {"channels": channels, "snoozed_at": {}, "unknown": {}, "days": {}}
        self._store(f"reconcile/{listing_name(access, 'e')}", history)
        # They have learnt the name of the channel's webhook, too.
        names = [WEBHOOK, OTHER_WEBHOOK] if self.story.foreign else [WEBHOOK]
        self._store(f"{OWN_KEY}{NOC}", [names, began])
        self.world.at(
            began + self.story.reconcile_interval, lambda: self._start_reconcile_run(began + last + RECONCILED_SECONDS)
        )

    def _change_api_key(self) -> None:
        """Store a new key for BigPanda's API. BigPanda refuses the old one once no function has it any more."""
        self._change(api_key="k2")
        self.console.keys = {"k", "k2"}
        self.world.at(self.world.now + API_KEY_SECONDS, lambda: self.console.keys.discard("k"))

    def _change(self, **members: Any) -> None:
        """Store the first channel's secret with other members."""
        self._now |= members
        self.secrets.texts[NOC] = self._secret()

    def _mark(self, name: str, text: str) -> None:
        """Store a mark of a changed channel beside those of others."""
        self._store(MARKS_KEY, {**self.dynamodb.document(MARKS_KEY), name: (text, self.world.now)})

    def _store(self, pk: str, document: object) -> None:
        """Store an item without a call of DynamoDB."""
        self.dynamodb.items[pk] = {"pk": {"S": pk}, "text": {"S": json.dumps(document)}, "sequence": {"N": "1"}}

    def _damage(self, incident: str) -> None:
        """Let the ledger's entry of an incident become unreadable: a member of it gets another type."""
        if self.dynamodb.damage(entry_key(NOC, (), incident)):
            self.world.say(f"the entry of {incident} becomes unreadable")
            self.invariants.unguarded.add(incident)

    def _change_settings(self, channel: str, settings: Settings) -> None:
        """Store, or delete, the channel's secret, and mark the change, as relayctl does."""
        self.world.say(f"an operator: {channel} {settings.deed}")
        if settings.is_removed:
            del self.secrets.texts[channel]
        else:
            self.phones.keys[channel] = settings.key(channel)
            self.secrets.texts[channel] = self._other_secret(channel)
        name = channel if settings.is_removed or settings.credentials else settings_mark_name(channel)
        self._mark(name, settings.deed + str(settings.at))

    def _change_token(self) -> None:
        """Store a new token in the secret and keep the old one for an hour, as `relayctl channel rotate` does."""
        previous = {"token": TOKEN, "expires_at": timestamp(self.world.now + 3600)}
        self._change(inbound={"token": NEW_TOKEN, "previous": previous})
        # An operator pastes the token into BigPanda; meanwhile every function may read the secret again.
        self.world.at(self.world.now + PASTED_SECONDS, lambda: setattr(self, "_token", NEW_TOKEN))

    def _secret(self) -> str:
        trigger, recipients = TRIGGER.format(channel=NOC, key=self._now["key"]), self._now["recipients"]
        trigger += f"&recipients={DESK}" if self.story.has_url_recipient else ""
        xmatters: dict[str, Any] = {"trigger_url": trigger, "auth": {"type": "url"}, "recipients": recipients}
        if self.story.has_rest:
            xmatters["rest"] = REST
        if logins := self.phones.logins:
            xmatters["auth"] = logins.auth(TRIGGER_USER, self._now["key"])
            xmatters["trigger_url"] = trigger.partition("?")[0]
            if self.story.has_rest:
                xmatters["rest"] = REST | {"auth": logins.auth(REST_USER, REST_PASSWORD)}
        policy = self.story.policy
        if any(post.state.url_recipients for post in self.story.posts):
            # BigPanda's API names no webhook for an incident, so a confirmed state could not be assigned to an entry.
            policy = policy | {"confirm_resolve": False}
        if self.story.routed:
            policy = policy | {"routes": [{"when": {"status": "critical"}, "recipients": list(self.story.routed)}]}
        if line := self.story.timelines.get(NOC):
            policy = policy | line.now(self.world.now).policy
        policy = {**policy, "notified_within_seconds": 0, **self.story.receipts}
        document = {"inbound": self._now["inbound"], "xmatters": xmatters, "policy": policy}
        if self.story.answers:
            xmatters["callback"] = {"token": CALLBACK_TOKEN}
        if (self.story.answers and not self.story.is_keyless) or self.story.reconcile_interval:
            looks = ("report" if self.story.reports else "ring") if self.story.reconcile_interval else False
            more: dict[str, Any] = {"environments": [MOVED_TO]} if self.story.moved else {}
            more |= {"assign": True} if self.story.assigns else {}
            more |= {"callbacks": True, "app_key": "a"} if self.story.withholds else {}
            document["bigpanda"] = {"api_key": self._now["api_key"], "environment_id": "e", "reconcile": looks, **more}
        if self.story.actions:
            document["bigpanda"]["actions"] = self.story.actions
        return json.dumps(document)

    def _other_secret(self, channel: str) -> str:
        trigger = TRIGGER.format(channel=channel, key=self.phones.keys[channel])
        if line := self.story.timelines.get(channel):
            return line.now(self.world.now).secret(channel, trigger, self.story.others[channel])
        return plain_secret(f"{channel}-{TOKEN}", trigger, ["Ops"], self.story.others[channel])

    def _functions(self) -> _Wiring:
        """Return functions with a clock that may be wrong."""
        world, usual = self.world, USUAL_CLOCKS_DIFFER / 2
        skew = world.random.uniform(-usual, usual) * self.story.cloud.clocks_differ / USUAL_CLOCKS_DIFFER

        def clock() -> float:
            return world.now + skew

        def deadline(seconds: float) -> Deadline:
            return WorldDeadline(seconds, world, clock)

        sns: Any = self.sns
        client: Any = self.dynamodb
        table = Table(client, "ledger", clock)
        numbers = [PHONE, *([DEAF_PHONE] if self.story.has_deaf_phone else [])]
        resources = Resources(
            table=table,
            credentials=table,
            retries=queue_of(self.retries),
            chores=queue_of(self.chores),
            dead_letters=queue_of(self.dead_letters),
            read_secret=self.secrets,
            secret_names=lambda: list(self.secrets.texts) if self.story.topics else [NOC],
            sns=lambda: sns,
            topic_arn=f"{TOPICS}:fallback",
            alarm_topic_arn=f"{TOPICS}:alarm" if "alarm" in self.story.topics else "",
            notice_topic_arn=f"{TOPICS}:notice" if "notice" in self.story.topics else "",
            invoke=self._invoke,
            phones=LastResortPhones(lambda: sns, ways_to(numbers, "voice", "text"), one_by_one)
            if self.story.has_phones
            else None,
        )
        effects = Effects(
            clock=clock,
            random=self.world.random.random,
            sleep=self.world.wait,
            deadlines=deadline,
            owner=lambda: f"sender-{next(self._names)}",
            at_once=one_by_one,
            # Every call in this world ends at its time limit, so no request needs the watchdog.
            watch=unwatched,
        )
        webhook = self._share_canary if self.story.policy.get("canary") else None
        vendors = Vendors(HOSTS, lambda: self.phones, lambda: self.phones, lambda: self.console, webhook=webhook)
        return _Wiring(
            resources,
            vendors,
            effects,
            Telemetry(_logger(), _Metrics(self.world.note)),
            cache_seconds=self.story.cloud.cache_seconds,
            has_operators=bool(self.story.timelines),
        )

    # ---- The sweeper ------------------------------------------------------------------------------------------------

    def _sweep(self, until: float, calm_at: float) -> None:
        """Run the sweeper each minute: sometimes late, sometimes twice, sometimes never.

        From `calm_at` (epoch seconds) on it runs only for what is owed, and for channels that are sick.
        """
        lateness = self.world.random.uniform(0, SWEPT_LATE_SECONDS)
        is_skipped = self.weather.skips_runs and self.world.chance(SWEPT_NEVER)
        # The sweeper has nothing to do about a given-up state that the fallback topic was notified of.
        is_owed = any(
            float(item["due_at"]["N"]) < self.world.now + BEHIND_SECONDS / 2 for item in self.dynamodb.shown()
        )
        said = {channel: message.health for message in self.sns.of_health for channel in message.channels}
        is_watched = bool(self.story.topics) and (self.world.now < calm_at or "sick" in said.values())
        is_needed = (is_owed or is_watched or "canary" in self.story.policy) and not is_skipped
        for _ in range(1 + self.world.chance(SWEPT_TWICE) if is_needed else 0):
            self.world.at(self.world.now + lateness, self._start_sweeper)
        if self.world.now + 60 < until:
            self.world.at(self.world.now + 60, lambda: self._sweep(until, calm_at))

    def _start_sweeper(self) -> None:
        rows = (*self.dynamodb.indexed(), *self.dynamodb.shown())
        incidents = {self.dynamodb.entry_name(item["pk"]["S"]) for item in rows}
        self._start(f"sweeper {next(self._names)}", incidents, self._swept, SWEEPER_SECONDS)

    def _swept(self, process: Process) -> None:
        counts: dict[str, Any] = {}
        with suppress(LedgerError):
            counts = self._any().sweeper.sweep()
        self.world.say(f"{process.name}: {counts}")
        if counts:
            self.invariants.swept.append(Time(process.started_at, self.world.now))

    def _share_canary(self, channel: str, headers: Mapping[str, str], body: bytes, _: Deadline) -> str:
        """Let the sweeper share a canary's incident by the webhook; return the reason of a failure.

        For the judges its states have no arrivals, and no critical is among them: people hear of it by its failure.
        """
        document = json.loads(body)
        incident, number = document["incident"], int(not document["incident"]["active"])
        at, status = incident["changedOn"] - self.world.began, "ok" if number else "warning"
        if not number and at > CANARIES_SECONDS:
            return "the schedule ends soon"
        self.invariants.states.setdefault((incident["id"], number), stamped(incident["id"], number, at, status))
        incident["share"] = number
        lower = {name.lower(): value for name, value in headers.items()}
        reply = self._any().webhook.serve(Request(channel, lower, (), json.dumps(document), is_base64=False, id="r"))
        return "" if reply.status < 300 else f"status {reply.status}"

    def _invoke(self, envelope: str) -> bool:
        """Start a worker for a job, as Lambda does for an asynchronous invocation."""
        job = json.loads(envelope)
        incidents = [entry_name(job["channel"], job["url_recipients"] or (), job["incident_id"])]
        record = {"messageId": "from-the-sweeper", "body": envelope}
        name = f"worker {next(self._names)}, invoked"
        self._start(name, incidents, lambda _: self._any().worker.work([record]), WORKER_SECONDS)
        return True

    # ---- BigPanda and the webhook --------------------------------------------------------------------------------

    def _post(self, post: Post, resends: int = RESENDS) -> None:
        state = post.state
        name = f"webhook {next(self._names)} (share {state.number} of {state.incident})"

        def ended(process: Process) -> None:
            if process.is_dead:
                self._resend(post, resends)

        serve = partial(self._serve, post, resends)
        self._start(name, [state.incident], serve, WEBHOOK_SECONDS, then=ended)

    def _serve(self, post: Post, resends: int, process: Process) -> None:
        state = post.state
        came = self.world.now
        state.arrivals.append(came)
        functions = self._any()
        process.function = id(functions)
        token = self._token if state.channel == NOC else f"{state.channel}-{TOKEN}"
        if state.channel != NOC and (line := self.story.timelines.get(state.channel)):
            # An operator pastes a new token into BigPanda once the channel is made anew.
            token = line.now(self.world.now - PASTED_SECONDS).token(state.channel)
        headers, body = {"authorization": f"Bearer {token}"}, state.sent().decode()
        refused = (self.story.refused_recipient,) if self.story.refused_recipient else ()
        request = Request(state.channel, headers, (*refused, *state.url_recipients), body, is_base64=False, id="r")
        reply = functions.webhook.serve(request)
        self.world.note(reply.status, reply.document)
        said = f"{reply.status} {reply.document.get('outcome')} {reply.document.get('reason') or ''}"
        self.world.say(f"{process.name} answers {said}")
        if reply.document.get("reason") == "circuit_open":
            self.invariants.held.append((process.started_at, state.channel))
        if reply.status == 401:
            # A channel that is removed for now takes nothing.
            state.arrivals.remove(came)
        self.invariants.answered(state, reply.status)
        is_admitted = reply.document.get("incident_id") is not None
        self.invariants.admitted(id(functions), state, is_admitted=is_admitted)
        if reply.status >= 300:
            self._resend(post, resends)

    def _resend(self, post: Post, resends: int) -> None:
        if resends and not post.state.has_wrong_stamps and self.world.chance(0.7):
            self.world.at(self.world.now + self.world.random.uniform(1, 60), lambda: self._post(post, resends - 1))

    def _call_back(self, said: Said) -> None:
        name = f"callback {next(self._names)} (answer {said.number})"
        self._start(name, (), partial(self._take, said), WEBHOOK_SECONDS)

    def _page_of(self, said: Said) -> Page | None:
        """Let a person answer a page, and return that page. A copy of the callback has the page of the first one."""
        page = self.phones.page_of(said.incident, is_first=said.is_to_the_first)
        page = self._answered.setdefault(said.number, page)
        if page:
            page.answers.append((self.world.now, said.response))
        return page

    def _take(self, said: Said, process: Process) -> None:
        page = self._page_of(said)
        self.invariants.came_back(said, page)
        self.phones.answers.append((self.world.now, said.incident, said.response))
        self.invariants.called_back(said, self._served(process, said.body(page.name if page else "").decode()))

    def _served(self, process: Process, body: str) -> int:
        """Return the HTTP status that answers a callback."""
        request = Request("noc", {"authorization": f"Bearer {CALLBACK_TOKEN}"}, (), body, is_base64=False, id="r")
        reply = self._any().callbacks.serve(request)
        self.world.say(f"{process.name} answers {reply.status} {reply.document.get('outcome')}")
        return reply.status

    def _call_back_end(self, page: Page) -> None:
        """Let xMatters call back that nobody is left to notify, or, if that counts, that the page ended."""
        ends = page.tells_of_its_end(has_rest=self.story.has_rest)
        self._call_back_about("status" if ends else "failure", page)

    def _call_back_about(self, kind: str, page: Page) -> None:
        """Let xMatters call back that a device got a page's notification, or what `_call_back_end` says.

        The callback may be lost, or come twice.
        """
        for _ in range(self.world.random.choice([0, 1, 1, 1, 2])):
            name = f"callback {next(self._names)} ({kind} of {page.name})"
            start = partial(self._start, name, (), partial(self._take_about, kind, page), WEBHOOK_SECONDS)
            self.world.at(self.world.now + self.world.random.uniform(0, 3), start)

    def _take_about(self, kind: str, page: Page, process: Process) -> None:
        incident = page.ring.incident.partition("@")[0]
        said = {"relay": 1, "kind": kind, "incident_id": incident, "event": {"number": page.name}}
        what = {"deliverystatus": "Delivered", "status": "terminated"}
        # Of several recipients one fails.
        target = page.ring.recipients[0] if kind == "failure" and len(page.ring.recipients) > 1 else "jdoe"
        body = json.dumps(said | {"person": {"target": target}} | what)
        if self._served(process, body) != 200:
            page.doubtful_since = min(page.doubtful_since, self.world.now)
        elif kind == "delivery":
            page.called_back_at = min(page.called_back_at, self.world.now)
        else:
            page.given_up_at = min(page.given_up_at, self.world.now)

    # ---- BigPanda's console and the reconcile runs -------------------------------------------------------------------

    def _shown(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the incidents as BigPanda's API shows them, which may be behind."""
        return self._incidents(self.story.api_lag)

    def _incidents(self, lag: float = 0.0) -> Mapping[str, Mapping[str, Any]]:
        """Return the incidents of `lag` seconds before; time stamps, where there are any, decide the newest state."""
        now = self.world.now - self.world.began - lag
        happened = [
            state for state in self.invariants.states.values() if state.at <= now and state.incident == state.id
        ]
        # In the true order. Contradicting time stamps win; a state without stamps follows all earlier ones.
        happened.sort(key=lambda state: state.at)
        newest: dict[str, SharedState] = {}
        for state in happened:
            known = newest.get(state.incident)
            is_older = known and known.version and state.version and state.version < known.version
            newest[state.incident] = known if known and is_older else state
        asleep = {nap.incident for nap in self._naps if nap.begins <= now < nap.ends}
        return {name: state.in_the_api(is_snoozed=name in asleep) for name, state in newest.items()}

    def _came_by_api(self, incident: str) -> None:
        """Note that BigPanda's API showed the relay an incident's newest state."""
        shown = self._shown().get(incident)
        if shown:
            state = self.invariants.states[incident, shown["share"]]
            state.arrivals.append(self.world.now)
            state.shown.append(self.world.now)
            if incident in self._ending:
                self._ending.remove(incident)
                ends = self.world.now + ENDS_AFTER_SECONDS
                self._happen(state, ends, ends, is_open=False, status="ok")

    def _found(self, incident: Mapping[str, Any]) -> None:
        """Note the arrival of a state that a reconcile run queues, if the run knows it from BigPanda's list only.

        A run asks for an incident's details, and `_came_by_api` then notes the arrival. After a failed request the run
        asks for no further details, and queues what the list shows. The age of the state counts from then, even if
        the state arrived long ago and is queued because its incident's snooze is over.
        """
        state = self.invariants.states[incident["entry"], incident["share"]]
        if not any(at >= self.world.process().started_at for at in state.shown):
            state.arrivals.append(self.world.now)
            state.shown.append(self.world.now)

    def _echo(self, incident: str) -> None:
        """Share an incident again after the relay's own comment: only its time of update differs."""
        self.invariants.commented(incident)
        happened = self._happened(incident)
        last = max(happened, key=lambda state: state.at, default=None)
        # With stamps in whole minutes an echo would look newer than later states of the same minute.
        counts_seconds = any((state.updated_on or 0) % 60 for state in happened)
        if last and counts_seconds and last.version and last.version == (last.updated_on, last.changed_on):
            self._happen(last, self.world.now, self._shared_at(), updated_on=int(self.world.now), is_comment=True)

    def _resolve(self, incident: str) -> int:
        """Resolve an incident, and share that; return the status of BigPanda's answer."""
        shown, now = self._incidents().get(incident), self.world.now - self.world.began
        if shown is None:
            return UNKNOWN
        if not shown["active"]:
            return CONFLICT
        self.invariants.commented(incident)
        self._naps[:] = [
            replace(nap, ends=min(nap.ends, max(now, nap.begins))) if nap.incident == incident else nap
            for nap in self._naps
        ]
        last, stamp = max(self._happened(incident), key=lambda state: state.at), int(self.world.now)
        over = {"is_open": False, "status": "ok", "changed_on": stamp, "updated_on": stamp, "is_comment": False}
        self._happen(last, self.world.now, self._shared_at(), **over)
        return DONE

    def _snooze(self, incident: str, until: int) -> int:
        """Snooze an incident until a time or its next change; return the status of BigPanda's answer."""
        shown, now = self._incidents().get(incident), self.world.now - self.world.began
        if shown is None:
            return UNKNOWN
        if not shown["active"] or shown["snooze"]["snoozed"]:
            return CONFLICT
        self.invariants.commented(incident)
        changes = [state.at for state in self.invariants.states.values() if state.id == incident and state.at > now]
        self._naps.append(Nap(incident, now, min([until - self.world.began, *changes])))
        return DONE

    def _happened(self, incident: str) -> list[SharedState]:
        now = self.world.now - self.world.began
        return [state for state in self.invariants.states_of(incident) if state.at <= now]

    def _shared_at(self) -> float:
        """Return the time at which BigPanda shares what happens now."""
        return self.world.now + self.world.random.uniform(0.5, 5)

    def _happen(self, last: SharedState, at: float, shared_at: float, **changes: Any) -> None:
        """Let a state that is not in the story follow another one at a time, and share it. Times are epoch seconds."""
        states, moment = self.invariants.states, at - self.world.began
        number = DYNAMIC + sum(state.number >= DYNAMIC for state in states.values())
        state = replace(last, number=number, at=moment, arrivals=[], answered=[], shown=[], **changes)
        states[state.incident, number] = state
        self.world.at(shared_at, lambda: self._post(Post(moment, state)))

    def _start_reconcile_run(self, until: float) -> None:
        self._reconcile()
        # EventBridge fires a rule at least once.
        if self._twice.random() < RECONCILED_TWICE:
            self.world.at(self.world.now + self._twice.uniform(0.0, 3.0), self._reconcile)
        again = self.world.now + (self.story.reconcile_interval or 0.0)
        if again < until:
            self.world.at(again, lambda: self._start_reconcile_run(until))

    def _reconcile(self) -> None:
        # A run may meet any of them.
        incidents, reconciler = {post.state.incident for post in self.story.posts}, self._any().reconciler
        name = f"reconcile {next(self._names)}"
        self._start(name, incidents, lambda _: reconciler.run(), RECONCILE_SECONDS, works="reconcile")

    # ---- SQS and the workers -------------------------------------------------------------------------------------

    def _queue_with_workers(self, label: str, edge: Edge) -> SimulatedSqs:
        """Return a queue whose messages start workers when they become visible.

        The queue has its own pool of workers; each takes one message.
        """

        def wake_at(moment: float) -> None:
            self.world.at(moment + self.world.random.uniform(0, 1.5), lambda: self._poll(queue))

        queue = SimulatedSqs(self.world, edge, label, VISIBILITY_SECONDS, self.dead_letters, RECEIVES, wake_at)
        queue.cloud = self.story.cloud
        return queue

    def _poll(self, queue: SimulatedSqs) -> None:
        pool = self._pools[queue.label]
        if len(pool) < WORKERS:
            for message in queue.receive(WORKERS - len(pool)):
                self._hand_over(queue, message, pool)

    def _hand_over(self, queue: SimulatedSqs, message: Message, pool: set[Process]) -> None:
        if self.weather.fault("lambda") == "throttled":
            self.world.say("lambda: throttled, no worker gets what was received")
            return

        def ended(process: Process) -> None:
            pool.discard(process)
            self._poll(queue)

        job = message.job
        named = entry_name(job["channel"], job["url_recipients"] or (), job["incident_id"])
        name, work = f"worker {next(self._names)}", partial(self._work, queue, message)
        pool.add(self._start(name, [named], work, WORKER_SECONDS, works=job["kind"], then=ended))

    def _work(self, queue: SimulatedSqs, message: Message, _: Process) -> None:
        body = as_read_by_newer(message.body) if queue.edge.has_newer(self.story.cloud) else message.body
        if not self._any().worker.work([{"messageId": message.name, "body": body}]):
            queue.delete(message)

    # ---- Operators -----------------------------------------------------------------------------------------------

    def _operate(self, deed: str) -> None:
        self.world.say(f"an operator does: {deed}")
        given_up = ((body["entry"], body["share"]) for body in self.dead_letters.bodies())
        if deed in {"redrive", "replay"} or (deed == "import" and self._deeds.file):
            self.invariants.revived |= dict.fromkeys(given_up, self.world.now)
        if deed == "redrive":
            for message in self.dead_letters.receive(1000):
                self.retries.put(message.body)
                del self.dead_letters.messages[message.name]
        elif deed in DEEDS:
            self._start(f"dlq {deed} {next(self._names)}", (), lambda _: self._deeds.do(deed))
        else:
            self._start(f"replay {next(self._names)}", (), self._replay)

    def _replay(self, _: Process) -> None:
        """Move all dead-lettered messages, in batches; the operator may die between any two calls."""
        client: Any = self.dead_letters
        dead_letters = DeadLetters(client, "dead-letters", lambda: self.world.now)
        with dead_letters.holding():
            batches = move(dead_letters, queue_of(self.retries), Filter().choose(list(dead_letters.scan())))
            for moved in chain.from_iterable(batches):
                self.world.say(f"moved: {moved.job.incident_id} {moved.fate.became} {moved.note or ''}")
                self.invariants.check_answered()
                self.world.wait(0.2)

    def _start(
        self,
        name: str,
        incidents: Iterable[str],
        work: Callable[[Process], object],
        at_most: float = math.inf,
        *,
        works: str = "",
        then: Callable[[Process], object] = lambda _: None,
    ) -> Process:
        """Start a process, which is killed after `at_most` seconds. `then` is called with it at its end or death."""

        def ended(process: Process) -> None:
            self.invariants.ended(process)
            then(process)

        process = Process(name, frozenset(incidents), ended, works)
        self.invariants.running.add(process)
        self.world.start(process, lambda: work(process), at_most=at_most)
        return process

    def _any(self) -> _Wiring:
        return self.world.random.choice(self._environments)


class _Metrics(Metrics):
    """Metrics that only note what would be counted."""

    def __init__(self, note: Callable[..., object]) -> None:
        super().__init__()
        self._note = note

    def add_metric(self, *metric: Any) -> None:
        self._note(*metric)


@cache
def _logger() -> Logger:
    with pytest.MonkeyPatch.context() as environment, silence():
        environment.setenv("POWERTOOLS_SERVICE_NAME", "simulation")
        environment.setenv("POWERTOOLS_METRICS_NAMESPACE", "simulation")
        environment.setenv("POWERTOOLS_LOG_LEVEL", "CRITICAL")
        return Logger()


def judge(seed: int) -> Verdict:
    """Run the schedule of a seed, and return its verdict."""
    return judge_story(seed, tell(seed))


def judge_story(seed: int, story: Story) -> Verdict:
    """Play a story, and return its verdict. A crash of the simulation itself is a problem, too."""
    log: list[str] = []
    with silence():
        try:
            simulation = Simulation(seed, story)
            log = simulation.world.log
            return simulation.run()
        except Exception as error:  # noqa: BLE001 - one seed must not hide what the others found
            return Verdict(seed, [f"the simulation crashed: {error!r}"], log)
