"""The simulated xMatters: what it was asked, and what rang because of it."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import requests

from relay.http import Answer, Session
from tests.simulation.services import Edge

OLD_KEY, NEW_KEY = "old-key", "new-key"
AMBIGUOUS = {"timeout", "timeout rang", "reset rang"}


@dataclass(frozen=True)
class Ring:
    """A signal that xMatters took: phones rang. `began` is when the relay began to post it."""

    at: float
    began: float
    incident: str
    share: int
    delivery: str


@dataclass
class Phones(Session):
    """A trigger that rings phones, knows one key, and fails as the weather is.

    `asked` counts the posts of each delivery; `doubts`, by incident, those of which the relay can't know if they rang.
    """

    edge: Edge
    key: str = OLD_KEY
    rings: list[Ring] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)

    def call(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        seconds: float,
        heard: Callable[[Answer], object] = lambda _: None,
    ) -> Answer:
        world, began = self.edge.world, self.edge.world.now
        delivery = headers["X-Relay-Delivery-Id"]
        self.asked[delivery] += 1
        fault = self.edge.begin()
        if f"apiKey={self.key}" not in url:
            return self._answer(401)
        document = json.loads(body or b"")["incident"]
        incident, share = document["id"], document["share"]
        world.process().notes.setdefault("posted", set()).add(incident)
        if fault in {None, "slow", "reset rang", "timeout rang"}:
            self.rings.append(Ring(world.now, began, incident, share, delivery))
            world.say(f"RINGS  {incident} share {share}{f' ({fault})' if fault else ''}")
        else:
            world.say(f"xmatters: {fault} for {incident} share {share}")
        if fault in AMBIGUOUS:
            self.doubts[incident] += 1
        if fault is None or fault == "slow":
            self.edge.end()
            if world.now - began > seconds:
                self.doubts[incident] += 1
                raise requests.ReadTimeout("late")
            return Answer(202, {}, json.dumps({"requestId": f"r{len(self.rings)}"}).encode())
        return self._failed(fault, seconds)

    def _failed(self, fault: str, seconds: float) -> Answer:
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
                return self._answer(404)
            case "redirect":
                return self._answer(302)
            case _:
                return self._answer(503)

    def _answer(self, status: int, headers: Mapping[str, str] | None = None) -> Answer:
        self.edge.end()
        return Answer(status, headers or {}, b"")
