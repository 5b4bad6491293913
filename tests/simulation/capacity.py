"""What a schedule costs: writes of the table, by key and by process, and messages on the queues."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.fake_dynamodb import size
from tests.simulation.services import SimulatedDynamoDb, SimulatedSqs
from tests.simulation.weather import Weather
from tests.simulation.world import Process

# DynamoDB takes 1,000 write units a second on a key; the relay keeps far away from that.
MOST_UNITS = 200
# The stories have a few shares a second at most, so a key that takes more than this is written for nothing.
MOST_UNITS_HERE = 25
# What a process that met no trouble writes at most, though others race it: the entry, two gates, notes of sources. Each
# race that it loses costs a moment in the gate that is given back.
MOST_WRITES = {"webhook": 16, "worker": 14, "callback": 0, "replay": 0}
# Of a share in fair weather, on average: its claim, its place in the gate and its record, or a moment in a line.
MEAN_WRITES = 4.5
# Messages that a process sends to one queue: its job, and spare ones that wake in its turn, one for each race it loses.
MOST_SENDS = 4
# A gate does not grow with its channel's limit: 1 KB at most, and half of it for the few signals of a story.
GATE_BYTES = 480


@dataclass
class Capacity:
    """Counts what processes cost, and judges a schedule that has ended. `shares`: how many BigPanda may send."""

    dynamodb: SimulatedDynamoDb
    retries: SimulatedSqs
    weather: Weather
    shares: int
    problems: list[str] = field(default_factory=list)
    _writes: Counter[str] = field(default_factory=Counter)
    _processes: Counter[str] = field(default_factory=Counter)

    def ended(self, process: Process) -> None:
        """Count what a process cost that ended by itself, and met no trouble."""
        if process.troubles or process.is_dead:
            return
        kind = process.name.partition(" ")[0]
        self._writes[kind] += process.writes
        self._processes[kind] += 1
        if process.writes > MOST_WRITES.get(kind, process.writes):
            self.problems.append(f"capacity: {process.name} wrote {process.writes} times to the table")
        if kind in MOST_WRITES and max(process.sends.values(), default=0) > MOST_SENDS:
            self.problems.append(f"capacity: {process.name} sent {dict(process.sends)}")

    def at_the_end(self) -> Iterator[str]:
        """What is wrong with it."""
        yield from self.problems
        most = MOST_UNITS_HERE if self._is_fair() else MOST_UNITS
        for (key, _), units in self.dynamodb.units.items():
            if units > most:
                yield f"capacity: {key} took {units} write units in a second"
        yield from self._criticals_last()
        for key, item in self.dynamodb.items.items():
            if key.startswith("gate/") and size(item) > GATE_BYTES:
                yield f"capacity: {key} has {size(item)} bytes"
        # A message whose answer is lost is sent once more.
        is_sure = not any(spell.service == "sqs" for spell in self.weather.spells)
        if is_sure and self.retries.most > 2 * self.shares + 6:
            yield f"capacity: {self.retries.most} messages on the retry queue, of {self.shares} shares"
        if self._is_fair() and self._processes["webhook"] >= 3:
            mean = self._writes["webhook"] / self._processes["webhook"]
            if mean > MEAN_WRITES:
                yield f"capacity: a share costs {mean:.1f} writes"

    def _criticals_last(self) -> Iterator[str]:
        """The sweeper replaces the messages of a channel's criticals first."""
        swept: dict[tuple[str, str], str] = defaultdict(str)
        for run, channel, is_critical in self.retries.swept:
            swept[run, channel] += "c" if is_critical else "o"
        for (run, channel), kinds in swept.items():
            if "oc" in kinds:
                yield f"priority: {run} replaced a critical's message of {channel} after another one's"

    def _is_fair(self) -> bool:
        return not self.weather.crashes and not self.weather.spells
