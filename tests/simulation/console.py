"""The simulated BigPanda: its incidents and their comments."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from relay.http.session import HttpAnswer, Session
from tests.simulation.services import Edge

# Incidents on a page, whatever page size a request has.
A_PAGE = 2
MOST_A_SECOND = 12
_NOTE = re.compile(r"answer-\d+")


@dataclass
class Console(Session):
    """BigPanda's API, with the weather's faults.

    Attributes:
        edge: the service's delays and faults.
        incidents: returns the present incidents by id.
        shown: called with the id of an incident that was read.
        commented: called with the id of an incident that got a comment.
        texts: texts of all comments.
        written: number of comments by answer.
        asked: times of all requests by endpoint.
    """

    edge: Edge
    incidents: Callable[[], Mapping[str, Mapping[str, Any]]]
    shown: Callable[[str], object]
    commented: Callable[[str], object]
    texts: list[str] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)
    asked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def crowded(self) -> Iterator[str]:
        """Yield the endpoints with more than the five calls a second that BigPanda allows, and a margin.

        The margin is for the functions' clocks, which differ, and for the time until a request arrives.
        """
        for endpoint, times in self.asked.items():
            for first, last in zip(sorted(times), sorted(times)[MOST_A_SECOND:], strict=False):
                if last - first < 1:
                    yield f"capacity: {MOST_A_SECOND + 1} calls of BigPanda's {endpoint} within {last - first:.2f} s"

    def call(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        seconds: float,
        heard: Callable[[HttpAnswer], object] = lambda _: None,
    ) -> HttpAnswer:
        del headers, heard
        world, began = self.edge.world, self.edge.world.now
        self.edge.reach()
        if world.now > began + seconds:
            raise requests.ConnectTimeout("too late to be sent")
        fault = self.edge.fault()
        self.asked[_endpoint(url)].append(world.now)
        if method == "POST" and fault in {None, "timeout did it"}:
            self._write(json.loads(body or b"{}")["comment"])
            self.commented(urlsplit(url).path.split("/")[-2])
        if fault in {"timeout", "timeout did it"}:
            world.wait(seconds)
            raise requests.ReadTimeout("late")
        self.edge.end()
        if fault:
            return HttpAnswer(503 if fault == "503" else 429, {}, b"")
        return HttpAnswer(204 if method == "POST" else 200, {}, json.dumps(self._found(url)).encode())

    def _found(self, url: str) -> Any:
        parts = urlsplit(url)
        last, query = parts.path.rpartition("/")[2], parse_qs(parts.query)
        if last == "activities":
            return [{"params": {"comment": text}} for text in reversed(self.texts[-60:])]
        if last == "incidents":
            since, page = int(query.get("from", ["0"])[0]), int(query["page"][0])
            inside = [each for each in self.incidents().values() if query["folder"][0] == _folder(each)]
            there = [each for each in inside if each["end"] is None or each["end"] >= since]
            return {"items": there[(page - 1) * A_PAGE : page * A_PAGE], "total": len(there)}
        self.shown(last)
        return self.incidents().get(last, [])

    def _write(self, text: str) -> None:
        self.texts.append(text)
        self.written.update(_NOTE.findall(text))
        self.edge.world.say(f"bigpanda: {text}")


def _endpoint(url: str) -> str:
    """Return the endpoint of a URL; each endpoint has a rate limit of its own."""
    last = urlsplit(url).path.rpartition("/")[2]
    return last if last in {"comments", "activities", "incidents"} else "others"


def _folder(incident: Mapping[str, Any]) -> str:
    if not incident["active"]:
        return "resolved"
    return "snoozed" if incident["snooze"]["snoozed"] else "shared"
