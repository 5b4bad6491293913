"""Benchmark of the warm webhook: a share, compared with a bare POST of the same body and the calls to AWS.

The handlers run in this process as Lambda calls them, with real clients and a real session over loopback. Telemetry is
included, Lambda's own decoding of the event is not.
"""

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import requests

from bench import bodies
from bench.edges import TOKEN
from bench.figures import Aim, Figure, Section, compared, measured
from bench.functions import Functions, Spent
from relay.ledger.circuit_breaker import FAILURES_IN_A_ROW
from sandbox.errors import SandboxError

# Below the 60 signals a minute that a channel's rate limit allows.
SHARES_A_CHANNEL = 40
WARM_UP_ROUNDS = 20
USUAL_ALERTS = 3


@dataclass
class Kind:
    """Measurements of one kind of share.

    Attributes:
        outcome: outcome or reason in the webhook's answer.
        posts: True if the webhook signals xMatters for such a share.
        spent: resources of each invocation.
        bare: seconds and CPU seconds of a bare POST of the same body in the same round, one for each invocation.
    """

    outcome: str
    posts: bool
    spent: list[Spent] = field(default_factory=list)
    bare: list[tuple[float, float]] = field(default_factory=list)

    def calls(self) -> Counter[str]:
        """Return the calls to AWS that most shares of this kind make."""
        return most_common(self.spent)

    def bases(self) -> list[float]:
        """Return the unavoidable seconds of each share: its calls to AWS, and its POST if there is one."""
        return [each.aws_seconds + self.posts * bare for each, (bare, _) in zip(self.spent, self.bare, strict=True)]

    def own_cpu(self) -> list[float]:
        """Return the relay's own CPU seconds of each share, without those of the POST and the calls to AWS."""
        return [
            each.cpu - each.aws_cpu - self.posts * cpu for each, (_, cpu) in zip(self.spent, self.bare, strict=True)
        ]


@dataclass(frozen=True)
class Warm:
    """Measurements of incidents with so many alerts.

    Attributes:
        alerts: number of alerts of each incident.
        kinds: measurements by outcome.
    """

    alerts: int
    kinds: Mapping[str, Kind]

    def figures(self, *, aims: bool) -> list[Figure]:
        """Return the rows: time compared with the unavoidable calls, and own CPU."""
        found = []
        for kind in self.kinds.values():
            against = "POST + AWS calls" if kind.posts else "AWS calls"
            milliseconds = [each.seconds * 1e3 for each in kind.spent]
            bases = [base * 1e3 for base in kind.bases()]
            name, is_aimed = f"{kind.outcome}, {self.alerts} alerts", aims and kind.posts
            ratio = Aim(1.5, "ratio") if is_aimed else None
            found.append(compared(name, "ms", milliseconds, bases, against, ratio))
            own = [seconds * 1e3 for seconds in kind.own_cpu()]
            found.append(measured("  own CPU", "ms", *own, aim=Aim(2.0) if is_aimed else None))
        return found


class Client:
    """Client that posts shares to the webhook, and the same bodies directly to xMatters."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._session = requests.Session()
        # Bare: without a search for proxies or passwords.
        self._session.trust_env = False

    def channels(self, side: str, rounds: int, *, shares: int = 1) -> Iterator[str]:
        """Yield a channel's name for each round of measurements. The webhook has the channel's secret in its cache.

        A round has `shares` shares. A new channel follows before the channel's rate limit is reached. `side` selects
        xMatters' answers for the channel: `up` accepts signals, `down` answers 503.
        """
        channel = ""
        for number in range(rounds):
            if number % (SHARES_A_CHANNEL // shares) == 0:
                channel = f"{side}-{uuid.uuid4().hex[:8]}"
                self._functions.invoke(self._functions.webhook, bodies.event(channel, TOKEN, b'{"warm": "up"}'))
            yield channel

    def share(self, channel: str, content: bytes, expected: str) -> Spent:
        """Post a share to the webhook, and return the resources of the invocation.

        Raises SandboxError unless the share's outcome or reason is `expected`.
        """
        answer, spent = self._functions.invoke(self._functions.webhook, bodies.event(channel, TOKEN, content))
        document = json.loads(answer["body"])
        said = {document.get("outcome"), document.get("reason")}
        if expected not in said:
            raise SandboxError(f"a share should be {expected}; the webhook answers {document}")
        return spent

    def bare(self, content: bytes) -> tuple[float, float]:
        """Post a body directly to xMatters; return the seconds and the CPU seconds."""
        url, headers = f"{self._functions.edges.xmatters_url}/up", {"Content-Type": "application/json"}
        began, cpu = time.perf_counter(), time.process_time()
        self._session.post(url, data=content, headers=headers).raise_for_status()
        return time.perf_counter() - began, time.process_time() - cpu


def measure(functions: Functions, rounds: int, alerts: int) -> Warm:
    """Measure so many rounds: a new share, its duplicate, a share without a change, and a bare POST."""
    client = Client(functions)
    kinds = [Kind("delivered", posts=True), Kind("duplicate", posts=False), Kind("unchanged", posts=False)]
    for number, channel in enumerate(client.channels("up", rounds + WARM_UP_ROUNDS)):
        incident = uuid.uuid4().hex
        content, later = bodies.body(incident, alerts), bodies.body(incident, alerts, age=60)
        # The bare POST alternates between first and last, since the second of two finds warmer caches.
        before = client.bare(content) if number % 2 else None
        spent = [
            client.share(channel, each, kind.outcome)
            for each, kind in zip((content, content, later), kinds, strict=True)
        ]
        bare = before or client.bare(content)
        if number >= WARM_UP_ROUNDS:
            for kind, each in zip(kinds, spent, strict=True):
                kind.spent.append(each)
                kind.bare.append(bare)
    return Warm(alerts, {kind.outcome: kind for kind in kinds})


def measure_outage(functions: Functions, rounds: int) -> tuple[Spent, Kind]:
    """Measure shares while xMatters answers 503, until the circuit opens, and then `rounds` further shares.

    Return the measurement of the last share before the circuit opens, and those of the further shares.
    """
    client, kind = Client(functions), Kind("circuit_open", posts=False)
    channel = next(client.channels("down", 1))
    for _ in range(FAILURES_IN_A_ROW):
        first = client.share(channel, bodies.body(uuid.uuid4().hex, USUAL_ALERTS), "upstream")
    for _ in range(rounds):
        kind.spent.append(client.share(channel, bodies.body(uuid.uuid4().hex, USUAL_ALERTS), "circuit_open"))
        kind.bare.append((0.0, 0.0))
    return first, kind


def section(warm: Warm, large: Warm, first: Spent, outage: Kind) -> Section:
    """Return the table of the warm webhook."""
    figures = [*warm.figures(aims=True), *large.figures(aims=False)]
    queued = Warm(USUAL_ALERTS, {outage.outcome: outage}).figures(aims=False)
    calls = [f"{kind.outcome}: {in_words(kind.calls())}" for kind in (*warm.kinds.values(), outage)]
    return Section(
        "warm",
        "Warm webhook: one share, handler and telemetry included",
        [*figures, *queued],
        (
            "AWS and xMatters answer on loopback within a fraction of a millisecond, so that the relay's own time "
            "shows; real services take 3 to 300 ms a call.",
            "Calls to AWS: " + "; ".join([*calls, f"queued after failed attempts: {in_words(first.calls)}"]) + ".",
        ),
    )


def most_common(spent: list[Spent]) -> Counter[str]:
    """Return the calls to AWS that most of these invocations made."""
    kinds = Counter(tuple(sorted(each.calls.items())) for each in spent)
    return Counter(dict(kinds.most_common(1)[0][0]))


def in_words(calls: Counter[str]) -> str:
    """Return counted calls to AWS as text, such as "2 GetItem, 1 PutItem"; "none" if there are none."""
    return ", ".join(f"{number} {name}" for name, number in sorted(calls.items())) or "none"
