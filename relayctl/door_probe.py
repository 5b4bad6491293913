"""Probe of a channel's doors: wait until the deployed functions take a new credential."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from relay.deadline import Deadline
from relay.errors import NoAnswer
from relay.http.client import Outward

# Secrets Manager may serve the old version for seconds after a write, and a function reads it again every 2 s.
FIRST_SECONDS = 5.0
TOTAL_SECONDS = 90.0
_GROWTH = 1.5
_LEAST_GAP_SECONDS = 0.5
_ANSWER_SECONDS = 10.0
# A network that lets no request out does not change within the time.
_MOST_UNANSWERED = 3
# The answer to a body that is no JSON, which only a caller with good credentials gets.
_TAKEN = "HTTP 400"
_NO_ANSWER = "no answer"


class Knock(NamedTuple):
    """A request with a credential and an empty body.

    Attributes:
        url: The channel's callback URL.
        header: `name` and `value` of the credential's header.
    """

    url: str
    header: Mapping[str, str]


@dataclass(frozen=True)
class DoorProbe:
    """Knocks at a door until it takes the credential, with growing gaps.

    The body is empty, so a taken credential is answered 400 and nobody is notified. The access log's alarm on 401
    counts only requests with a body.

    Attributes:
        outward: The HTTP client.
        ticks: Seconds that never go back.
        sleep: Waits for that many seconds.
        first_seconds: The wait before the first knock.
    """

    outward: Outward
    ticks: Callable[[], float]
    sleep: Callable[[float], None]
    first_seconds: float = FIRST_SECONDS

    def wait(self, knocks: Mapping[str, Knock]) -> dict[str, str]:
        """Return the doors that do not take their credential within 90 seconds, each with its last answer in words."""
        end = Deadline(TOTAL_SECONDS, self.ticks)
        closed = dict.fromkeys(knocks, "it was not asked")
        unanswered = 0
        for gap in _gaps(self.first_seconds):
            if not closed or unanswered >= _MOST_UNANSWERED or gap > end.remaining():
                break
            self.sleep(gap)
            said = {door: self._answer(knocks[door]) for door in closed}
            closed = {door: answer for door, answer in said.items() if answer != _TAKEN}
            unanswered = unanswered + 1 if all(each.startswith(_NO_ANSWER) for each in closed.values()) else 0
        return closed

    def _answer(self, knock: Knock) -> str:
        headers = {"User-Agent": "relayctl", knock.header["name"]: knock.header["value"]}
        try:
            answer = self.outward.ask("POST", knock.url, b"", headers, Deadline(_ANSWER_SECONDS, self.ticks))
        except NoAnswer as error:
            return f"{_NO_ANSWER}: {error}"
        return f"HTTP {answer.status}"


def _gaps(first: float) -> Iterator[float]:
    yield first
    gap, total = max(first, _LEAST_GAP_SECONDS), first
    while total < TOTAL_SECONDS:
        gap = min(gap * _GROWTH, TOTAL_SECONDS - total)
        total += gap
        yield gap
