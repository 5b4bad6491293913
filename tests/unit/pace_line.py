"""Workers that ask a pace for leave, one after the other, and come back when they are told to, or not."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from relay.errors import Reason
from relay.ledger.entry import Slot, Wait
from relay.ledger.pace import Pace, Rule, Ticket
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock
from tests.unit.states import NOW

GATE = "gate/noc"


def on_time() -> float:
    return 0.0


@dataclass
class Asker:
    """A job that wants to be sent; `late` says how many seconds after its moment it comes, None that it never does."""

    urgent: bool = False
    late: Callable[[], float | None] = on_time
    asked: int = 0
    came: float | None = None
    went: float | None = None


@dataclass
class Line:
    """One channel's gate, and all who ask at it. Moments are seconds after NOW."""

    limit: int = 60
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    clock: Clock = field(default_factory=lambda: Clock(NOW))
    dynamodb: FakeDynamoDb = field(default_factory=FakeDynamoDb)
    gate: str = GATE

    def __post_init__(self) -> None:
        self.pace = Pace(self.dynamodb.table(self.clock), self.clock, self.chance.random)
        self.rules = [Rule(self.gate, self.limit)]
        self.given: list[float] = []
        self._coming: list[tuple[float, int, Asker, Slot | None]] = []
        self._count = 0

    def ask(self, *, urgent: bool = False, slot: Slot | None = None) -> Ticket | Wait:
        """Ask now; that takes some milliseconds."""
        self.clock.now += 0.002
        answer = self.pace.enter(self.rules, urgent=urgent, slot=slot)
        if isinstance(answer, Ticket):
            self.given.append(self.clock.now - NOW)
        return answer

    def ticket(self, **how: Any) -> Ticket:
        """Ask now, and get leave."""
        answer = self.ask(**how)
        assert isinstance(answer, Ticket)
        return answer

    def closed(self, **how: Any) -> Wait:
        """Ask now, and get none."""
        answer = self.ask(**how)
        assert isinstance(answer, Wait)
        return answer

    def fill(self) -> None:
        """Take all there is."""
        for _ in range(self.limit):
            self.ticket()

    def expect(self, comes: float, asker: Asker, slot: Slot | None = None) -> Asker:
        """Let somebody come at a moment."""
        self._count += 1
        heappush(self._coming, (comes, self._count, asker, slot))
        return asker

    def run(self, until: float = 1e6) -> None:
        """Let all come who come before a moment, and come back when they are told to."""
        while self._coming and self._coming[0][0] < until:
            comes, _, asker, slot = heappop(self._coming)
            self.clock.now = max(self.clock.now, NOW + comes)
            asker.asked += 1
            answer = self.ask(urgent=asker.urgent, slot=slot)
            asker.came = self.clock.now - NOW if asker.came is None else asker.came
            if isinstance(answer, Ticket):
                asker.went = self.given[-1]
            elif (late := asker.late()) is not None:
                self.expect(answer.until - NOW + late, asker, answer.slot)

    def report(self, ticket: Ticket, failure: Reason | None = None, retry_after: float | None = None) -> None:
        """Tell what came of a signal."""
        self.pace.report(self.rules, ticket, failure, retry_after)

    def item(self) -> dict[str, Any]:
        """What stands in the gate's item."""
        return self.dynamodb.items.get(self.gate, {})

    def numbers(self) -> dict[str, float]:
        """The same, as the table gives it."""
        return {name: float(value["N"]) for name, value in self.item().items() if "N" in value}

    def busiest_minute(self) -> int:
        """The most signals in any 60 seconds."""
        given = sorted(self.given)
        return max(sum(start <= moment < start + 60 for moment in given) for start in given)


def storm(line: Line, jobs: int, critical: int, within: float = 0, late: Any = None) -> list[Asker]:
    """So many jobs, the critical ones anywhere among them, that ask within so many seconds."""
    kinds = [True] * critical + [False] * (jobs - critical)
    line.chance.shuffle(kinds)
    askers = [Asker(urgent, **({"late": late} if late else {})) for urgent in kinds]
    return [line.expect(line.chance.uniform(0, within), asker) for asker in askers]


def moments(askers: list[Asker], *, urgent: bool) -> list[float]:
    went = [asker.went for asker in askers if asker.urgent == urgent]
    return [moment for moment in went if moment is not None]
