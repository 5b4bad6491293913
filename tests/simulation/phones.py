"""The simulated xMatters: its requests, its signals and its pages."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from greenlet import GreenletExit

from relay.http.session import HttpAnswer, Session
from relay.incidents.share import CANARY_PREFIX
from relay.xmatters.authorization import TOKEN_PATH
from tests.simulation.cloud import REST_USER, TRIGGER_USER, Logins
from tests.simulation.services import Edge
from tests.simulation.story import BOSS, NOC, USERS, Story
from tests.simulation.world import Process

OLD_KEY, NEW_KEY = "old-key", "new-key"
AMBIGUOUS = {"timeout", "timeout rang", "reset rang", "504", "504 rang"}
# The relay looks for a page for so long.
LOOKED_FOR_SECONDS = 180.0
RANG = {None, "slow", "reset rang", "timeout rang", "504 rang"}


@dataclass(frozen=True)
class Ring:
    """A signal that xMatters accepted, so that phones rang.

    Attributes:
        at: time of the acceptance, in epoch seconds.
        began: start of the relay's post, in epoch seconds.
        incident: name of the ledger entry.
        share: number of the announced state.
    """

    at: float
    began: float
    incident: str
    share: int
    delivery: str
    recipients: tuple[str, ...]
    channel: str


@dataclass
class Page:
    """A page that xMatters made of a signal. Times are in epoch seconds, and infinity for never.

    Attributes:
        found_from: time from which a search finds the page, in epoch seconds.
        is_dead: True if xMatters ended the page when it made it.
        called_back_at: time at which the relay took a callback about that, in epoch seconds; infinity for never.
        given_up_at: time at which the relay took a callback that nobody is left, in epoch seconds; infinity for never.
        doubtful_since: time from which the relay may have a callback about the page that it did not answer with 200, in
            epoch seconds; infinity for never.
    """

    name: str
    ring: Ring
    request_id: str
    found_from: float
    ended_at: float | None = None
    is_dead: bool = False
    delivered_at: float = math.inf
    called_back_at: float = math.inf
    given_up_at: float = math.inf
    doubtful_since: float = math.inf
    answers: list[tuple[float, str]] = field(default_factory=list)

    @property
    def is_slow(self) -> bool:
        """True if xMatters made the page after the relay's search for it had ended."""
        return self.found_from >= self.ring.at + LOOKED_FOR_SECONDS

    def tells_of_its_end(self, *, has_rest: bool) -> bool:
        """Return True if xMatters calls back about the page's end, and not about a failed recipient."""
        return has_rest and int(self.request_id[1:]) % 2 == 1


@dataclass
class Post:
    """A process's request to a trigger, and its result. Times are in epoch seconds.

    Attributes:
        is_marked: True if the request had the header X-Relay-May-Repeat.
        is_accepted: True if the process got the status 202.
        calls_boss: True if the signal was to BOSS, since nobody is known to have heard a critical.
    """

    process: Process
    delivery: str
    began: float
    incident: str
    share: int
    channel: str
    is_critical: bool
    is_marked: bool
    request_id: str | None = None
    ended: float | None = None
    fault: str | None = None
    is_accepted: bool = False
    calls_boss: bool = False


@dataclass
class Phones(Session):
    """The triggers and the REST API of xMatters, with the weather's faults.

    Attributes:
        edge: delays and faults of the triggers.
        logins: credentials of the first channel; None if they are in its trigger's URL.
        on_delivery: called when a device got a page, in a story with receipts.
        on_failure: called when nobody is left to notify with a page, in a story with receipts.
        calls: accepted signals to BOSS, since nobody is known to have heard a critical; oldest first.
        doubts: number of requests with an unknown result for the relay, by incident.
        refused_tokens: times of the requests for a token that got none, in epoch seconds.
        questions: number of requests for audits, by page.
        looks: number of requests to the REST API.
        killed: number of workers that died of a signal, by incident.
        answers: time (epoch seconds), incident's id and text of each answer that the relay was called back with.
    """

    edge: Edge
    rest: Edge
    tokens: Edge
    story: Story
    on_delivery: Callable[[Page], None]
    on_failure: Callable[[Page], None]
    keys: dict[str, str] = field(default_factory=dict)
    accepted: int = 0
    calls: list[Ring] = field(default_factory=list)
    rings: list[Ring] = field(default_factory=list)
    rings_of: dict[str, list[Ring]] = field(default_factory=lambda: defaultdict(list))
    posts: list[Post] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    doubts: Counter[str] = field(default_factory=Counter)
    refused_tokens: list[float] = field(default_factory=list)
    questions: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    answers: list[tuple[float, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        world, cloud = self.edge.world, self.story.cloud
        self._slow, self._twins, self._devices = (
            Random(f"{name} in {world.seed}") for name in ("slow pages", "late twins", "deliveries")
        )
        self.logins = Logins(cloud, world.began, OLD_KEY) if cloud.login != "url" else None

    def call(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        seconds: float,
    ) -> HttpAnswer:
        if url.endswith(TOKEN_PATH):
            return self._token((body or b"").decode(), seconds)
        if any(path in url for path in ("/people/", "/events", "/audits", "/event-suppressions")):
            return self._of_rest(url, headers, body, seconds)
        world, began = self.edge.world, self.edge.world.now
        document = json.loads(body or b"")["incident"]
        # Nobody is told of a canary as of a critical.
        is_critical = document.get("status") == "critical" and not document["id"].startswith(CANARY_PREFIX)
        is_critical &= document["active"]
        is_marked = "X-Relay-May-Repeat" in headers
        delivery, share = headers["X-Relay-Delivery-Id"], document["share"]
        channel, incident = urlsplit(url).path.split("/")[-2], document.get("entry", document["id"])
        post = Post(world.process(), delivery, began, incident, share, channel, is_critical, is_marked)
        post.calls_boss = BOSS in url.rpartition("recipients=")[2].split(",")
        if incident in self.story.poison and world.process().name.startswith("worker"):
            self.killed[incident] += 1
            world.die()
        self.edge.reach()
        if world.now > began + seconds:
            # The real session also checks the clock before the first byte, since a function may have been frozen. A
            # caller that timed out before cannot know if the request was sent.
            self.doubts[incident] += 1
            raise requests.ConnectTimeout("too late to be sent")
        self.posts.append(post)
        world.note(url, headers, body)
        try:
            answer = self._answered(post, url, headers, seconds)
        except GreenletExit:
            # The call was abandoned and never resumed: its sender cannot know if the request arrived.
            self.doubts[incident] += post.fault not in AMBIGUOUS
            raise
        else:
            post.is_accepted = answer.status == 202
            if world.now > began + seconds:
                # The answer comes too late for its sender, which cannot know if the signal was accepted.
                self.doubts[incident] += post.fault not in AMBIGUOUS
            return answer
        finally:
            # The process of an abandoned call may be frozen by now.
            post.ended = min(world.now, began + seconds)

    def _answered(self, post: Post, url: str, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        world = self.edge.world
        service = self.edge.service if post.channel == NOC else f"{self.edge.service}/{post.channel}"
        fault = post.fault = self.edge.weather.fault(service)
        refusal = self._refusal(post, url, headers)
        is_known = not refusal
        incident, share = post.incident, post.share
        delay = self.edge.slowness() if fault == "slow" else 0.0
        if is_known:
            world.process().claimed.add(incident)
        if is_known and fault in RANG:
            recipients = dict(parse_qsl(urlsplit(url).query)).get("recipients", "")
            self._ring_in(delay, post, tuple(recipients.split(",")))
        elif is_known:
            world.say(f"xmatters: {fault} for {incident} share {share}")
        if delay:
            world.wait(delay)
        if not is_known:
            post.fault = refusal
            # 404, if the trigger was made anew: the key is a part of its URL.
            return self._answer(404 if world.seed % 2 and not self.logins else 401)
        if fault in AMBIGUOUS:
            self.doubts[incident] += 1
        if fault is None or fault == "slow":
            self.edge.end()
            if world.now - post.began > seconds:
                self.doubts[incident] += 1
                post.fault = "timeout"
                raise requests.ReadTimeout("late")
            return HttpAnswer(202, {}, json.dumps({"requestId": post.request_id}).encode())
        return self._failed(fault, seconds)

    def _refusal(self, post: Post, url: str, headers: Mapping[str, str]) -> str:
        """Return why xMatters refuses a signal's credentials: "credentials" or "token"; empty if it does not."""
        if post.channel == NOC and self.logins:
            self.logins.password = self.keys[NOC]
            return self.logins.refusal(TRIGGER_USER, headers, self.edge.world.now)
        return "" if f"apiKey={self.keys[post.channel]}" in url else "credentials"

    def _token(self, form: str, seconds: float) -> HttpAnswer:
        assert self.logins
        world, fault = self.tokens.world, self.tokens.begin()
        if fault == "timeout":
            self.refused_tokens.append(world.now)
            world.wait(seconds)
            raise requests.ReadTimeout("late")
        self.logins.password = self.keys[NOC]
        refusal = HttpAnswer({"503": 503, "refused": 400}.get(fault or "", 200), {}, b"{}")
        answer = refusal if fault else self.logins.grant(form, world.now)
        if b"access_token" not in answer.body:
            world.say(f"xmatters: refuses a token ({fault or 'wrong password'})")
            self.refused_tokens.append(world.now)
        self.tokens.end()
        return answer

    def _of_rest(self, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float) -> HttpAnswer:
        self.rest.world.note(url, body)
        self.looks += 1
        if self.logins and self.logins.refusal(REST_USER, headers, self.rest.world.now):
            self.rest.reach()
            self.rest.end()
            return HttpAnswer(401, {}, b"")
        fault = self.rest.begin()
        if fault == "timeout":
            self.rest.world.wait(seconds)
            raise requests.ReadTimeout("late")
        # A proxy answers in place of xMatters: it wants a log-in, knows no such page and person, or has a limit.
        instead = (200, 404, 429, 503)[self.rest.world.seed % 4]
        if fault == "503" and instead < 503:
            return HttpAnswer(instead, {}, b"<html></html>")
        if fault and fault != "slow":
            return HttpAnswer(503 if fault == "503" else 401, {}, b"")
        answer = self._of_people(url) if "/people/" in url else self._of_pages(url, json.loads(body or b"{}"))
        self.rest.end()
        return answer

    def _ring_in(self, delay: float, post: Post, recipients: tuple[str, ...]) -> None:
        """Accept a signal after `delay` seconds, even if its sender is frozen by then."""
        world = self.edge.world

        def rings() -> None:
            self.accepted += 1
            post.request_id = f"r{self.accepted}"
            ring = Ring(world.now, post.began, post.incident, post.share, post.delivery, recipients, post.channel)
            self._ring(ring)
            world.say(f"RINGS  {post.incident} share {post.share}{f' ({post.fault})' if post.fault else ''}")

        if delay:
            world.at(world.now + delay, rings)
        else:
            rings()

    def _ring(self, ring: Ring) -> None:
        if BOSS in ring.recipients:
            self.calls.append(ring)
            ring = replace(ring, recipients=tuple(name for name in ring.recipients if name != BOSS))
        if ring.recipients:
            self.rings.append(ring)
            self.rings_of[ring.incident].append(ring)
        if ring.channel != NOC:
            # The relay reads only the pages of the first channel.
            return
        # Most workflows make one page of a signal, some none, some two.
        world, number = self.edge.world, self.accepted
        found_from = world.now + world.random.choice([0.0, world.random.uniform(0, 60)])
        if self.story.has_slow_pages and self._slow.random() < 0.4:
            found_from = world.now + self._slow.uniform(LOOKED_FOR_SECONDS, 2 * LOOKED_FOR_SECONDS)
        count = world.random.choice([0, 1, 1, 1, 1, 1, 2])
        has_twins = self.story.has_late_twins
        for place in range(self._twins.choice([1, 2]) if has_twins else count):
            later = self._twins.uniform(20, 120) if has_twins and place else 0.0
            page = Page(f"page-{number}-{place}", ring, f"r{number}", found_from + later)
            page.is_dead = self.story.has_dead_pages and self._twins.random() < 0.4
            self.pages.append(page)
            if self.story.receipts:
                self._deliver(page, found_from)

    def _deliver(self, page: Page, found_from: float) -> None:
        """Let a device get a page, or nobody, some time after it can be found; or leave both open."""
        luck, has_dead_ends = self._devices, self.story.has_dead_ends
        if self.story.has_forged_deliveries:
            self.edge.world.at(found_from + luck.uniform(1, 60), partial(self.on_delivery, page))
        if luck.random() < (0.2 if has_dead_ends else 0.6):
            page.delivered_at = found_from + luck.choice([5.0, 60.0, 200.0]) * luck.random()
            self.edge.world.at(page.delivered_at, partial(self.on_delivery, page))
        elif luck.random() < (0.9 if has_dead_ends else 0.5):
            seconds = 70.0 if has_dead_ends else 0.0
            fails_at = found_from + seconds + luck.choice([5.0, 60.0, 200.0]) * luck.random()
            self.edge.world.at(fails_at, partial(self.on_failure, page))

    def _of_pages(self, url: str, said: Mapping[str, str]) -> HttpAnswer:
        """Answer a search for a signal's pages, or a termination of a page."""
        world = self.rest.world
        if "id" in said:
            [page] = [page for page in self.pages if page.name == said["id"]]
            is_active, page.ended_at = page.ended_at is None, page.ended_at or world.now
            world.say(f"xmatters: {page.name} of {page.ring.incident} share {page.ring.share} ends")
            return HttpAnswer(200 if is_active else 409, {}, b"{}")
        if "/event-suppressions" in url:
            # Flood control is the cause of every second signal without a page.
            lost = [ring for ring in self.rings if all(page.ring != ring for page in self.pages)][::2]
            moments = (datetime.fromtimestamp(ring.at, UTC).isoformat() for ring in lost)
            return HttpAnswer(200, {}, json.dumps({"data": [{"match": {"at": at}} for at in moments]}).encode())
        if "/audits" in url:
            return self._audits(dict(parse_qsl(urlsplit(url).query))["eventId"])
        wanted = dict(parse_qsl(urlsplit(url).query)).get("requestId")
        there = [page for page in self.pages if page.request_id == wanted and page.found_from <= world.now]
        found = [
            {"id": page.name, "status": "TERMINATED" if page.ended_at or page.is_dead else "ACTIVE"} for page in there
        ]
        return HttpAnswer(200, {}, json.dumps({"data": found}).encode())

    def _audits(self, name: str) -> HttpAnswer:
        [page], now = [page for page in self.pages if page.name == name], self.rest.world.now
        self.questions[name] += 1
        device = {"targetName": "jdoe|Phone", "owner": {"targetName": "jdoe"}}
        got = {"recipient": device, "deliveryStatus": "DELIVERED"}
        audits: list[dict[str, Any]] = [{"type": "NOTIFICATION_DELIVERED", "notification": got}]
        audits = audits if page.delivered_at <= now else []
        answers = ({"response": text, "notification": got} for _, text in page.answers)
        audits += [{"type": "RESPONSE_RECEIVED", "response": each} for each in answers]
        return HttpAnswer(200, {}, json.dumps({"data": audits}).encode())

    def _of_people(self, url: str) -> HttpAnswer:
        name = urlsplit(url).path.rpartition("/")[2]
        if name not in USERS:
            return HttpAnswer(404, {}, json.dumps({"code": 404}).encode())
        person = {"id": "p1", "targetName": name, "recipientType": "PERSON", "status": "ACTIVE"}
        return HttpAnswer(200, {}, json.dumps(person).encode())

    def page_of(self, incident: str, *, is_first: bool) -> Page | None:
        """Return the first or the latest page of an incident, by its id, on the first channel."""
        pages = (page for page in self.pages if page.ring.incident.partition("@")[0] == incident)
        return (min if is_first else max)(pages, key=lambda page: page.ring.at, default=None)

    def _failed(self, fault: str, seconds: float) -> HttpAnswer:
        match fault:
            case "timeout" | "timeout rang":
                self.edge.world.wait(seconds)
                raise requests.ReadTimeout("late")
            case "gone":
                raise requests.ConnectTimeout("gone")
            case "reset rang":
                raise requests.ConnectionError("reset")
            case "429" | "429 for long":
                return self._answer(429, {"retry-after": "20" if fault == "429" else "5000"})
            case "refused":
                return self._answer(400)
            case "redirect":
                return self._answer(302)
            case "504" | "504 rang" if self.edge.world.seed % 3:
                return self._answer(504)
            case "504" | "504 rang":
                return self._answer(200, body=b"<html></html>")
            case "503 for minutes":
                return self._answer(503, {"retry-after": "300"})
            case _:
                return self._answer(503)

    def _answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> HttpAnswer:
        self.edge.end()
        return HttpAnswer(status, headers or {}, body)
