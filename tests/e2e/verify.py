"""Accounts of a storm: what became of each posted share, derived from the answers and the signals alone.

The accounts use neither the relay's state nor its code. The simulation's oracle says which states are owed.
"""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.simulation.oracle import PARITY, changed
from tests.simulation.story import SharedState

# Seconds for which a job may be worked, its signal included. A newer share in that time cannot stop the signal.
IN_FLIGHT_SECONDS = 15.0
# Seconds after which a function repeats a call to DynamoDB. If the first call succeeded and only its answer came too
# late, the repetition fails, and the function then finds its own record of the share: it answers `duplicate`.
LOST_ANSWER_SECONDS = 0.7


@dataclass(frozen=True)
class Posted:
    """A posted share and its answer.

    Attributes:
        state: the incident's state in the share.
        posted_at: epoch seconds of the request.
        answered_at: epoch seconds of the answer.
        status: HTTP status of the answer.
        answer: document of the answer.
    """

    state: SharedState
    posted_at: float
    answered_at: float
    status: int
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class Rung:
    """An accepted signal.

    Attributes:
        state: the state that the signal announced.
        at: epoch seconds of the acceptance.
        request_id: xMatters' request id.
        delivery_id: the relay's delivery id.
    """

    state: SharedState
    at: float
    request_id: str
    delivery_id: str


class Accounts:
    """The posts and the signals of a storm. A signal belongs to the post that has the same bytes."""

    def __init__(self, posts: Sequence[Posted], signals: Iterable[Mapping[str, Any]]) -> None:
        self.posts = posts
        self._states = {posted.state.body(): posted.state for posted in posts}
        taken = list(signals)
        self.strangers = [each for each in taken if base64.b64decode(each["body_base64"]) not in self._states]
        self.rings = [self._rung(each) for each in taken if each not in self.strangers]
        self._rings_of = _by_incident(self.rings)
        self._posts_of = _by_incident(posts)

    def problems(self) -> list[str]:
        """Return a sentence for each problem; none if every share is accounted for."""
        strangers = [f"signalled bytes that were never posted: {each['body']}" for each in self.strangers]
        shares = [problem for posted in self.posts for problem in self._account(posted)[1]]
        incidents = [problem for incident in self._posts_of for problem in self._of_incident(incident)]
        return [*strangers, *shares, *incidents]

    def sums(self) -> Counter[str]:
        """Return the number of shares by what became of them, such as "rang at once"."""
        return Counter(self._account(posted)[0] for posted in self.posts)

    def lives(self) -> dict[str, list[str]]:
        """Return the announced statuses of each incident, oldest first."""
        return {name: [str(ring.state.status) for ring in self._rings_of[name]] for name in self._posts_of}

    def newest(self, incident: str) -> Posted:
        """Return the first post of an incident's newest state."""
        return max(self._posts_of[incident], key=lambda posted: (posted.state.number, -posted.posted_at))

    def _rung(self, signal: Mapping[str, Any]) -> Rung:
        return Rung(
            self._states[base64.b64decode(signal["body_base64"])],
            datetime.fromisoformat(signal["received_at"]).timestamp(),
            signal["request_id"],
            signal["headers"]["x-relay-delivery-id"],
        )

    def _account(self, posted: Posted) -> tuple[str, list[str]]:
        """Return what became of a share, and its problems, judged by all posts and signals of its incident."""
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
            case "duplicate" if is_copy:
                end, holds = "a copy", True
            case "duplicate":
                is_slow = posted.answered_at - posted.posted_at >= LOST_ANSWER_SECONDS
                end, holds = "recorded, with a lost answer", is_slow and (bool(rings) or is_overtaken)
            case "unchanged":
                end, holds = "changed nothing", changes_nothing and not rings
            case _:
                end, holds = f"{posted.status} {outcome}", False
        holds = holds and posted.status == (202 if outcome == "queued" else 200)
        holds = holds and (outcome == "queued") == (posted.answer.get("queue") in {"retry", "ledger"})
        return end, [] if holds else [
            f"{state}: answered {posted.status} {dict(posted.answer)}, signalled {len(rings)} times"
        ]

    def _of_incident(self, incident: str) -> Iterator[str]:
        told: SharedState | None = None
        for ring in self._rings_of[incident]:
            if changed(told, ring.state) not in PARITY:
                yield f"{incident}: {ring.state} was signalled but not owed after {told}"
            newer = [
                posted
                for posted in self._posts_of[incident]
                if posted.state.number > ring.state.number and posted.answered_at + IN_FLIGHT_SECONDS < ring.at
            ]
            if newer:
                yield f"{incident}: {ring.state} was signalled although {newer[0].state} was known"
            told = ring.state
        newest = self.newest(incident).state
        if changed(told, newest) in PARITY:
            yield f"{incident} ends unannounced: {newest}; announced is {told}"


def _by_incident[T: (Posted, Rung)](found: Iterable[T]) -> defaultdict[str, list[T]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for each in found:
        groups[each.state.incident].append(each)
    return groups
