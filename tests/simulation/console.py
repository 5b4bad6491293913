"""The simulated BigPanda: its API of incidents, comments, resolves and snoozes."""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from relay.http.session import HttpAnswer, Session
from tests.simulation.services import Edge
from tests.simulation.story import USERS, Story
from tests.simulation.world import Process

# Incidents on a page, whatever page size a request has.
A_PAGE = 2
# BigPanda allows five calls a second. The relay counts them by the seconds of its functions' clocks, which differ. A
# call takes up to 0.4 s to arrive: two seconds of BigPanda's can have the calls of four seconds of theirs, or of more.
CALLS_A_SECOND, CALLS_SECONDS, ARRIVES_SECONDS = 5, 2.0, 0.4
# The name of the first channel's webhook, and that of another one beside it.
MOVED_TO = "e2"
WEBHOOK, OTHER_WEBHOOK = "webhook.noc", "webhook.other"
# BigPanda's answers: it did what was asked; the incident is unknown, or is over or snoozed already.
DONE, UNKNOWN, CONFLICT = 204, 404, 409


@dataclass(frozen=True)
class Act:
    """A request that resolved or snoozed an incident. Times are in epoch seconds.

    Attributes:
        answer: name of the person's answer that caused the request.
        deed: "resolve" or "snooze".
        is_in_doubt: True if the process got no answer to the request.
        until: end of the snooze, in epoch seconds; 0 for a resolve.
    """

    at: float
    answer: str
    incident: str
    deed: str
    process: Process
    is_in_doubt: bool
    until: float


@dataclass
class Console(Session):
    """BigPanda's API, with the weather's faults.

    Attributes:
        shown: called with the id of an incident that was read.
        resolve: resolves an incident, by id; returns the status of BigPanda's answer.
        snooze: snoozes an incident, by id, until a time in epoch seconds; returns the status of BigPanda's answer.
        written: number of comments by answer.
        assigned: time (epoch seconds), incident and person of each assignment.
        released: ids of the incidents whose first shares were reported as received.
    """

    edge: Edge
    story: Story
    incidents: Callable[[], Mapping[str, Mapping[str, Any]]]
    shown: Callable[[str], object]
    commented: Callable[[str], object]
    resolve: Callable[[str], int]
    snooze: Callable[[str, int], int]
    comments: list[tuple[str, str]] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)
    acts: list[Act] = field(default_factory=list)
    asked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    keys: set[str] = field(default_factory=lambda: {"k"})
    remarks: Sequence[tuple[float, str]] = ()
    assigned: list[tuple[float, str, str]] = field(default_factory=list)
    released: set[str] = field(default_factory=set)

    @property
    def texts(self) -> list[str]:
        """Texts of all comments, oldest first."""
        return [text for _, text in self.comments]

    def problems(self) -> Iterator[str]:
        """Yield a problem for each endpoint that got more calls within CALLS_SECONDS than the functions may count."""
        seconds = CALLS_SECONDS + ARRIVES_SECONDS + self.story.cloud.clocks_differ
        most = CALLS_A_SECOND * (math.ceil(round(seconds, 3)) + 1)
        for endpoint, times in self.asked.items():
            for first, last in zip(sorted(times), sorted(times)[most:], strict=False):
                if last - first < CALLS_SECONDS:
                    yield f"capacity: {most + 1} calls of BigPanda's {endpoint} within {last - first:.2f} s"

    def call(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        seconds: float,
    ) -> HttpAnswer:
        world, began = self.edge.world, self.edge.world.now
        self.edge.reach()
        if world.now > began + seconds:
            raise requests.ConnectTimeout("too late to be sent")
        world.note(method, url, body)
        fault = self.edge.fault()
        self.asked[_endpoint(url)].append(world.now)
        status = 200
        if headers["Authorization"].removeprefix("Bearer ") not in self.keys:
            self.edge.end()
            return HttpAnswer(401, {}, b"{}")
        if method in {"POST", "PUT"} and fault in {None, "timeout did it", "slow answer"}:
            status = self._change(url, json.loads(body or b"{}"), fault)
        if fault == "slow answer":
            # The answer has what was so before it was delayed.
            answer = HttpAnswer(status, {}, json.dumps(self._found(url)).encode())
            world.wait(self.edge.slowness())
            return answer
        if fault in {"timeout", "timeout did it"}:
            world.wait(seconds)
            raise requests.ReadTimeout("late")
        self.edge.end()
        # A proxy in front of BigPanda wants a log-in, or refuses all.
        instead = (503, 503, 200, 403)[world.seed % 4]
        if fault == "503" and instead < 503:
            return HttpAnswer(instead, {}, b"<html></html>")
        if fault:
            return HttpAnswer(503 if fault == "503" else 429, {}, b"")
        if method in {"POST", "PUT"}:
            return HttpAnswer(status, {}, b"{}")
        if self.story.moved and self._is_elsewhere(url):
            return HttpAnswer(UNKNOWN, {}, b"{}")
        return HttpAnswer(status, {}, json.dumps(self._found(url)).encode())

    def _change(self, url: str, document: Mapping[str, Any], fault: str | None) -> int:
        """Comment on an incident, resolve or snooze it; return the status of the answer."""
        *_, incident, deed = urlsplit(url).path.split("/")
        if deed == "comments":
            self._write(incident, document["comment"])
            self.commented(incident)
            return DONE
        if deed == "callback":
            self.released.add(document["incident_id"])
            return DONE
        if deed == "assignment":
            [person] = (name for name, user in USERS.items() if document == {"assignee": user})
            self.assigned.append((self.edge.world.now, incident, person))
            self.commented(incident)
            return DONE
        world, text = self.edge.world, document.get("comments") or document["comment"]
        until = document.get("end_time", 0)
        status = self.resolve(incident) if deed == "resolve" else self.snooze(incident, until)
        world.say(f"bigpanda: {status} to {deed} {incident}: {text}")
        if status == DONE:
            for answer in answers_in(text):
                self.acts.append(Act(world.now, answer, incident, deed, world.process(), fault is not None, until))
        return status

    def _found(self, url: str) -> Any:
        parts = urlsplit(url)
        *_, incident, last = parts.path.split("/")
        query = parse_qs(parts.query)
        if last == "Users":
            known = ((name, user) for name, user in USERS.items() if f'"{name}"' in query["filter"][0])
            return {"Resources": [{"id": user, "userName": name} for name, user in known]}
        if last == "activities" and query.get("types") == ["incident_shared"]:
            foreign = self.story.foreign
            names = [WEBHOOK] if not foreign else [OTHER_WEBHOOK] if incident in foreign else [WEBHOOK, OTHER_WEBHOOK]
            return [{"type": "incident_shared", "params": {"share_target": name}} for name in names]
        if last == "activities":
            said = (at for at, name in self.remarks if name == incident and at <= self.edge.world.now)
            remarks = [{"type": "incident_commented", "created_by": "u7", "timestamp": int(at)} for at in said]
            others = [{"type": "incident_tag_updated"}] * (self.edge.world.seed % 3 * 15)
            texts = [text for name, text in reversed(self.comments) if name == incident]
            listed = [*others, *remarks, *({"params": {"comment": text}} for text in texts)]
            page, size = int(query["page"][0]), int(query["per_page"][0])
            return listed[(page - 1) * size : page * size]
        if last == "incidents":
            since, page = int(query.get("from", ["0"])[0]), int(query.get("page", ["1"])[0])
            folder = query.get("folder", ["shared"])[0]
            inside = [each for each in self.incidents().values() if folder == _folder(each)]
            there = [each for each in inside if each["end"] is None or each["end"] >= since]
            return {"items": there[(page - 1) * A_PAGE : page * A_PAGE], "total": len(there)}
        self.shown(last)
        return self.incidents().get(last, [])

    def _is_elsewhere(self, url: str) -> bool:
        """Return True if a URL names an incident in an environment that does not have it."""
        place = re.search(r"/environments/([^/]+)/incidents/([^/?]+)", url)
        return place is not None and (place[1] == MOVED_TO) != (place[2] in self.story.moved)

    def _write(self, incident: str, text: str) -> None:
        self.comments.append((incident, text))
        self.written.update(answers_in(text))
        self.edge.world.say(f"bigpanda: {text}")


def answers_in(text: str) -> list[str]:
    """Return the names of the answers that a text has."""
    return re.findall(r"answer-\d+", text)


def _endpoint(url: str) -> str:
    """Return the endpoint of a URL; each endpoint has a rate limit of its own."""
    last = urlsplit(url).path.rpartition("/")[2]
    return last if last in {"comments", "activities", "incidents", "resolve", "snooze"} else "others"


def _folder(incident: Mapping[str, Any]) -> str:
    if not incident["active"]:
        return "resolved"
    return "snoozed" if incident["snooze"]["snoozed"] else "shared"
