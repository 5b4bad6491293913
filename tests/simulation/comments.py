"""The simulated BigPanda: the comments that stand on its incidents."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import requests

from relay.http import Answer, Session
from tests.simulation.services import Edge

_NOTE = re.compile(r"answer-\d+")


@dataclass
class Comments(Session):
    """BigPanda's API as far as comments go; it fails as the weather is. `written` counts how often an answer was."""

    edge: Edge
    texts: list[str] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)

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
        del headers, heard
        world, began = self.edge.world, self.edge.world.now
        self.edge.reach()
        if world.now > began + seconds:
            raise requests.ConnectTimeout("too late to be sent")
        fault = self.edge.fault()
        if method == "POST" and fault in {None, "timeout did it"}:
            self._write(json.loads(body or b"{}")["comment"])
        if fault in {"timeout", "timeout did it"}:
            world.wait(seconds)
            raise requests.ReadTimeout("late")
        self.edge.end()
        if fault:
            return Answer(503 if fault == "503" else 429, {}, b"")
        found = [{"params": {"comment": text}} for text in reversed(self.texts[-60:])] if "activities" in url else []
        return Answer(204 if method == "POST" else 200, {}, json.dumps(found).encode())

    def _write(self, text: str) -> None:
        self.texts.append(text)
        self.written.update(_NOTE.findall(text))
        self.edge.world.say(f"bigpanda: {text}")
