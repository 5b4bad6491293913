"""The webhook while it is warm: a share's way through it against a bare POST of the same body and its calls to AWS.

The handlers run in this process, with real clients and a real session over loopback, as Lambda calls them; telemetry
is part of it, Lambda's own decoding of the event is not.
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
from relay.ledger.pace import FAILURES_IN_A_ROW
from sandbox.errors import SandboxError

# A channel takes 60 signals a minute; so each gets no more shares than that.
SHARES_A_CHANNEL = 40
WARM_UP_ROUNDS = 20
USUAL_ALERTS = 3


@dataclass
class Kind:
    """What was measured of one kind of share, and of bare POSTs of the same bodies in the same rounds."""

    outcome: str
    posts: bool
    spent: list[Spent] = field(default_factory=list)
    bare: list[tuple[float, float]] = field(default_factory=list)

    def calls(self) -> Counter[str]:
        """The calls to AWS of one share, as most shares of this kind make them."""
        return most_common(self.spent)

    def bases(self) -> list[float]:
        """Seconds that nobody could do without: those of the calls to AWS, and of the POST where there is one."""
        return [each.aws_seconds + self.posts * bare for each, (bare, _) in zip(self.spent, self.bare, strict=True)]

    def own_cpu(self) -> list[float]:
        """Seconds of CPU that were neither the POST's nor those of calls to AWS."""
        return [
            each.cpu - each.aws_cpu - self.posts * cpu for each, (_, cpu) in zip(self.spent, self.bare, strict=True)
        ]


@dataclass(frozen=True)
class Warm:
    """Everything that was measured of incidents with so many alerts, by kind of share."""

    alerts: int
    kinds: Mapping[str, Kind]

    def figures(self, *, aims: bool) -> list[Figure]:
        """Its rows: time against what nobody could do without, and CPU."""
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
    """Posts shares to the webhook, each to the channel it is told, and the same bodies bare beside them."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._session = requests.Session()
        # Bare: no look for proxies or passwords.
        self._session.trust_env = False

    def channels(self, side: str, rounds: int, *, shares: int = 1) -> Iterator[str]:
        """A channel for each round of so many shares, its secret read already; `side` is up or down."""
        channel = ""
        for number in range(rounds):
            if number % (SHARES_A_CHANNEL // shares) == 0:
                channel = f"{side}-{uuid.uuid4().hex[:8]}"
                self._functions.invoke(self._functions.webhook, bodies.event(channel, TOKEN, b'{"warm": "up"}'))
            yield channel

    def share(self, channel: str, content: bytes, expected: str) -> Spent:
        """Post a share and say what it took. Raises SandboxError when something else came of it than expected."""
        answer, spent = self._functions.invoke(self._functions.webhook, bodies.event(channel, TOKEN, content))
        document = json.loads(answer["body"])
        said = {document.get("outcome"), document.get("reason")}
        if expected not in said:
            raise SandboxError(f"a share should be {expected}; the webhook answers {document}")
        return spent

    def bare(self, content: bytes) -> tuple[float, float]:
        """Post the same to xMatters without anything around it: seconds, and seconds of CPU."""
        url, headers = f"{self._functions.edges.xmatters_url}/up", {"Content-Type": "application/json"}
        began, cpu = time.perf_counter(), time.process_time()
        self._session.post(url, data=content, headers=headers).raise_for_status()
        return time.perf_counter() - began, time.process_time() - cpu


def measure(functions: Functions, rounds: int, alerts: int) -> Warm:
    """Relay so many incidents: each share once, then again, then one that changes nothing; a bare POST each round."""
    client = Client(functions)
    kinds = [Kind("delivered", posts=True), Kind("duplicate", posts=False), Kind("unchanged", posts=False)]
    for number, channel in enumerate(client.channels("up", rounds + WARM_UP_ROUNDS)):
        incident = uuid.uuid4().hex
        content, later = bodies.body(incident, alerts), bodies.body(incident, alerts, age=60)
        # Now before, now after: whoever comes second finds warmer caches.
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
    """Relay shares while xMatters answers 503: the first of them, and those that come while the circuit is open."""
    client, kind = Client(functions), Kind("circuit_open", posts=False)
    channel = next(client.channels("down", 1))
    for _ in range(FAILURES_IN_A_ROW):
        first = client.share(channel, bodies.body(uuid.uuid4().hex, USUAL_ALERTS), "upstream")
    for _ in range(rounds):
        kind.spent.append(client.share(channel, bodies.body(uuid.uuid4().hex, USUAL_ALERTS), "circuit_open"))
        kind.bare.append((0.0, 0.0))
    return first, kind


def section(warm: Warm, large: Warm, first: Spent, outage: Kind) -> Section:
    """The table of the warm webhook."""
    figures = [*warm.figures(aims=True), *large.figures(aims=False)]
    queued = Warm(USUAL_ALERTS, {outage.outcome: outage}).figures(aims=False)
    calls = [f"{kind.outcome}: {in_words(kind.calls())}" for kind in (*warm.kinds.values(), outage)]
    return Section(
        "warm",
        "Warm webhook: one share, handler and telemetry included",
        [*figures, *queued],
        (
            "AWS and xMatters answer on loopback within a fraction of a millisecond, so that none of our time hides "
            "behind theirs; real ones take 3 to 300 ms a call.",
            "Calls to AWS: " + "; ".join([*calls, f"queued after tries that failed: {in_words(first.calls)}"]) + ".",
        ),
    )


def most_common(spent: list[Spent]) -> Counter[str]:
    """The calls that most of these made."""
    kinds = Counter(tuple(sorted(each.calls.items())) for each in spent)
    return Counter(dict(kinds.most_common(1)[0][0]))


def in_words(calls: Counter[str]) -> str:
    """How many of each."""
    return ", ".join(f"{number} {name}" for name, number in sorted(calls.items())) or "none"
