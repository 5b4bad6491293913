"""Jobs that ask a rate limiter for a ticket, one after the other, and ask again at their slots, or never."""

import random
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from relay.failures import Reason
from relay.ledger.channel_rate_limiter import RateLimiter
from relay.ledger.debt import Slot, Ticket, Wait
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.unit.states import NOW

GATE = "gate/noc"


def on_time() -> float:
    return 0.0


@dataclass(kw_only=True)
class Asker:
    """A job that asks for a ticket. Times are seconds after NOW."""

    is_critical: bool = False
    # Seconds by which the job comes late to its slot; None if it never comes.
    late: Callable[[], float | None] = on_time
    # Number of times that the job asked.
    asked: int = 0
    # Time of the first question; None before it.
    came: float | None = None
    # Time of the ticket; None without one.
    went: float | None = None


@dataclass(kw_only=True)
class Line:
    """A channel's gate (table item of the rate limiter), and the jobs that ask for tickets. Times are s after NOW."""

    limit: int = 60
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    clock: Clock = field(default_factory=lambda: Clock(NOW))
    dynamodb: FakeDynamoDb = field(default_factory=FakeDynamoDb)
    # Limit of each set of recipients (signals a minute); None for none.
    people: int | None = None

    def __post_init__(self) -> None:
        self.rate_limiter = RateLimiter(self.dynamodb.table(self.clock), self.clock, self.chance.random)
        channel = samples.parsed()
        policy = replace(channel.policy, max_per_minute=self.limit, max_per_minute_per_recipients=self.people)
        self.channel = replace(channel, policy=policy)
        self.given: list[float] = []
        self._coming: list[tuple[float, int, Asker, Slot | None]] = []
        self._count = 0

    def ask(
        self, *, recipients: tuple[str, ...] = ("Ops",), is_critical: bool = False, slot: Slot | None = None
    ) -> Ticket | Wait:
        """Ask the rate limiter to send now; return its ticket, or a wait with a slot. The call takes 2 ms."""
        self.clock.now += 0.002
        answer = self.rate_limiter.enter(self.channel, recipients, is_critical=is_critical, slot=slot)
        if isinstance(answer, Ticket):
            self.given.append(self.clock.now - NOW)
        return answer

    def ticket(self, **how: Any) -> Ticket:
        """Ask now, and return the ticket; fail if the answer is a wait."""
        answer = self.ask(**how)
        assert isinstance(answer, Ticket)
        return answer

    def closed(self, **how: Any) -> Wait:
        """Ask now, and return the wait; fail if the answer is a ticket."""
        answer = self.ask(**how)
        assert isinstance(answer, Wait)
        return answer

    def fill(self) -> None:
        """Take as many tickets as the limit allows in a minute."""
        for _ in range(self.limit):
            self.ticket()

    def expect(self, comes: float, asker: Asker, slot: Slot | None = None) -> Asker:
        """Plan that a job asks for a ticket at the time `comes`. Return the job."""
        self._count += 1
        heappush(self._coming, (comes, self._count, asker, slot))
        return asker

    def run(self, until: float = 1e6) -> None:
        """Let the planned jobs ask, and ask again at their slots, until the time `until`."""
        while self._coming and self._coming[0][0] < until:
            comes, _, asker, slot = heappop(self._coming)
            self.clock.now = max(self.clock.now, NOW + comes)
            asker.asked += 1
            answer = self.ask(is_critical=asker.is_critical, slot=slot)
            asker.came = self.clock.now - NOW if asker.came is None else asker.came
            if isinstance(answer, Ticket):
                asker.went = self.given[-1]
            elif (late := asker.late()) is not None:
                self.expect(answer.until - NOW + late, asker, answer.slot)

    def report(self, ticket: Ticket, failure: Reason | None = None, retry_after: float | None = None) -> None:
        """Report the result of a signal."""
        self.rate_limiter.report(self.channel.name, ticket, failure, retry_after)

    def item(self) -> dict[str, Any]:
        """Return the gate's item, as DynamoDB has it."""
        return self.dynamodb.items.get(GATE, {})

    def numbers(self) -> dict[str, float]:
        """Return the numbers of the gate's item, as the table gives them."""
        return {name: float(value["N"]) for name, value in self.item().items() if "N" in value}

    def busiest_minute(self) -> int:
        """Return the most signals in any 60 seconds."""
        given = sorted(self.given)
        return max(sum(start <= moment < start + 60 for moment in given) for start in given)


def storm(line: Line, jobs: int, *, critical: int, within: float = 0, late: Any = None) -> list[Asker]:
    """Plan that `jobs` jobs, `critical` of them critical, ask at random times within `within` seconds; return them."""
    kinds = [True] * critical + [False] * (jobs - critical)
    line.chance.shuffle(kinds)
    askers = [Asker(is_critical=is_critical, **({"late": late} if late else {})) for is_critical in kinds]
    return [line.expect(line.chance.uniform(0, within), asker) for asker in askers]


def moments(askers: list[Asker], *, is_critical: bool) -> list[float]:
    went = [asker.went for asker in askers if asker.is_critical == is_critical]
    return [moment for moment in went if moment is not None]
