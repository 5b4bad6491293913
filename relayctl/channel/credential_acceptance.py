"""Acceptance of a new credential: wait until the deployed endpoints of a channel let it in."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from relay.deadline import Deadline
from relay.failures import NoAnswer
from relay.http.client import HttpClient
from relayctl import terminal
from relayctl.channel.endpoints import ENDPOINTS
from relayctl.stack.deployed import Stack

# Secrets Manager may serve the old version for seconds after a write, and a function reads the secret every 2 s.
FIRST_SECONDS = 5.0
TOTAL_SECONDS = 90.0
_GROWTH = 1.5
_LEAST_GAP_SECONDS = 0.5
_ANSWER_SECONDS = 10.0
# A network that lets no request out will not change within 90 seconds.
_MOST_UNANSWERED = 3
# The answer to a body that is not JSON; a caller with wrong credentials gets 401.
_ACCEPTED = "HTTP 400"
_NO_ANSWER = "no answer"


class ProbeRequest(NamedTuple):
    """A request with a credential and an empty body.

    Attributes:
        url: The URL of the channel's endpoint.
        header: `name` and `value` of the header with the credential.
    """

    url: str
    header: Mapping[str, str]


@dataclass(frozen=True)
class EndpointProbe:
    """Client that sends requests with a credential, with growing gaps, until the endpoint accepts the credential.

    The body is empty, so the endpoint answers an accepted credential with 400, and no person is notified. The access
    log's alarm on 401 counts only requests with a body.

    Attributes:
        outward: The HTTP client.
        ticks: Returns seconds of a monotonic clock.
        sleep: Waits for a number of seconds.
        first_seconds: Seconds before the first request.
    """

    outward: HttpClient
    ticks: Callable[[], float]
    sleep: Callable[[float], None]
    first_seconds: float = FIRST_SECONDS

    def wait(self, requests: Mapping[str, ProbeRequest]) -> dict[str, str]:
        """Return the endpoints that did not accept their credential within 90 seconds, each with its last answer."""
        end = Deadline(TOTAL_SECONDS, self.ticks)
        closed = dict.fromkeys(requests, "not called")
        unanswered = 0
        for gap in _gaps(self.first_seconds):
            if not closed or unanswered >= _MOST_UNANSWERED or gap > end.remaining():
                break
            self.sleep(gap)
            said = {endpoint: self._answer(requests[endpoint]) for endpoint in closed}
            closed = {endpoint: answer for endpoint, answer in said.items() if answer != _ACCEPTED}
            unanswered = unanswered + 1 if all(each.startswith(_NO_ANSWER) for each in closed.values()) else 0
        return closed

    def _answer(self, request: ProbeRequest) -> str:
        headers = {"User-Agent": "relayctl", request.header["name"]: request.header["value"]}
        try:
            answer = self.outward.ask("POST", request.url, b"", headers, Deadline(_ANSWER_SECONDS, self.ticks))
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


def verify(stack: Stack, name: str, requests: Mapping[str, ProbeRequest]) -> bool:
    """Wait until each endpoint accepts its credential, with progress on stderr.

    `requests` has the request to each endpoint, by the endpoint's key in the secret. Return False, and raise
    nothing, if an endpoint does not accept its credential in time, or on Ctrl-C: the secret is stored already.
    """
    if not requests:
        return True
    terminal.say(
        f"channel {name}: waiting until the relay accepts the new credential, for up to {TOTAL_SECONDS:.0f} s …"
    )
    try:
        with terminal.status("waiting …"):
            closed = _probe(stack, next(iter(requests.values())).url).wait(requests)
    except KeyboardInterrupt:
        closed = dict.fromkeys(requests, "interrupted")
    if not closed:
        terminal.say(f"channel {name}: the relay accepts it")
    for key, said in closed.items():
        terminal.say(
            f"warning: stored, not verified: {ENDPOINTS[key].vendor}'s credential is not accepted yet ({said})"
        )
    return not closed


def _probe(stack: Stack, url: str) -> EndpointProbe:
    """Return a probe that tries credentials at the host of `url`, an endpoint's URL.

    Both endpoints of a channel are on this host, so one probe is enough.
    """
    effects = stack.effects
    # A local cloud has no second copy of a secret that could be stale.
    first_seconds = 0.0 if stack.is_local else FIRST_SECONDS
    return EndpointProbe(effects.outward(stack.api_host(url)), effects.ticks, effects.sleep, first_seconds)
