"""The accounts after a storm: what became of each share that was posted, from what was answered and what rang alone.

Nothing of the relay is asked, and nothing of its code is used. What people should have been told, the oracle of the
simulation says.
"""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.simulation.oracle import PARITY, changed
from tests.simulation.story import SharedState

# What was sent while a newer share came in can't be called back. So long may a job be worked on, its signal included.
IN_FLIGHT_SECONDS = 15.0


@dataclass(frozen=True)
class Posted:
    """A share as it was posted, and its answer; times are in epoch seconds."""

    state: SharedState
    posted_at: float
    answered_at: float
    status: int
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class Rung:
    """A signal that xMatters took, and the state that it told of."""

    state: SharedState
    at: float
    request_id: str
    delivery_id: str


class Accounts:
    """Posts and signals, matched byte for byte."""

    def __init__(self, posts: Sequence[Posted], signals: Iterable[Mapping[str, Any]]) -> None:
        self.posts = posts
        self._states = {posted.state.body(): posted.state for posted in posts}
        taken = list(signals)
        self.strangers = [each for each in taken if base64.b64decode(each["body_base64"]) not in self._states]
        self.rings = [self._rung(each) for each in taken if each not in self.strangers]
        self._rings_of = _by_incident(self.rings)
        self._posts_of = _by_incident(posts)

    def problems(self) -> list[str]:
        """All that is not as it should be, in words; empty if every share is accounted for."""
        strangers = [f"rang with bytes that nobody posted: {each['body']}" for each in self.strangers]
        shares = [problem for posted in self.posts for problem in self._account(posted)[1]]
        incidents = [problem for incident in self._posts_of for problem in self._of_incident(incident)]
        return [*strangers, *shares, *incidents]

    def sums(self) -> Counter[str]:
        """How many shares came to each end."""
        return Counter(self._account(posted)[0] for posted in self.posts)

    def lives(self) -> dict[str, list[str]]:
        """The statuses that people were told of each incident, oldest first."""
        return {name: [str(ring.state.status) for ring in self._rings_of[name]] for name in self._posts_of}

    def newest(self, incident: str) -> Posted:
        """The newest state of an incident that was posted, as it came first."""
        return max(self._posts_of[incident], key=lambda posted: (posted.state.number, -posted.posted_at))

    def _rung(self, signal: Mapping[str, Any]) -> Rung:
        return Rung(
            self._states[base64.b64decode(signal["body_base64"])],
            datetime.fromisoformat(signal["received_at"]).timestamp(),
            signal["request_id"],
            signal["headers"]["x-relay-delivery-id"],
        )

    def _account(self, posted: Posted) -> tuple[str, list[str]]:
        """To what end a share came, and what is wrong with that, judged by what else is known of its incident."""
        state, outcome = posted.state, posted.answer.get("outcome")
        rings = [ring for ring in self._rings_of[state.incident] if ring.state == state]
        others = self._posts_of[state.incident]
        is_copy = any(other.state == state and other.posted_at < posted.posted_at for other in others)
        is_overtaken = any(other.state.number > state.number for other in others)
        told = [ring.state for ring in self._rings_of[state.incident] if ring.at <= posted.answered_at]
        changes_nothing = changed(told[-1] if told else None, state) not in PARITY
        match outcome:
            case "delivered":
                end, holds = "rang at once", [ring.request_id for ring in rings] == [posted.answer.get("request_id")]
            case "queued" if rings:
                end, holds = "rang later", len(rings) == 1 and rings[0].delivery_id == posted.answer.get("delivery_id")
            case "queued":
                end, holds = "overtaken while it waited", is_overtaken
            case "superseded":
                end, holds = "overtaken on its way", is_overtaken
            case "duplicate":
                end, holds = "a copy", is_copy
            case "unchanged":
                end, holds = "changed nothing", changes_nothing and not rings
            case _:
                end, holds = f"{posted.status} {outcome}", False
        holds = holds and posted.status == (202 if outcome == "queued" else 200)
        holds = holds and (outcome == "queued") == (posted.answer.get("queue") == "retry")
        return end, [] if holds else [
            f"{state}: answered {posted.status} {dict(posted.answer)}, rang {len(rings)} times"
        ]

    def _of_incident(self, incident: str) -> Iterator[str]:
        told: SharedState | None = None
        for ring in self._rings_of[incident]:
            if changed(told, ring.state) not in PARITY:
                yield f"{incident}: {ring.state} told people nothing new after {told}"
            newer = [
                posted
                for posted in self._posts_of[incident]
                if posted.state.number > ring.state.number and posted.answered_at + IN_FLIGHT_SECONDS < ring.at
            ]
            if newer:
                yield f"{incident}: {ring.state} rang although {newer[0].state} was known"
            told = ring.state
        newest = self.newest(incident).state
        if changed(told, newest) in PARITY:
            yield f"{incident} ends untold: {newest}; people were told {told}"


def _by_incident[T: (Posted, Rung)](found: Iterable[T]) -> defaultdict[str, list[T]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for each in found:
        groups[each.state.incident].append(each)
    return groups
