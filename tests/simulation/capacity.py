"""Costs of a schedule: writes to the table, by key and by process, and messages on the queues."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from relay.ledger.rate_limit_and_circuit import Gate
from tests.fake_dynamodb import size
from tests.simulation.played import NEEDED, Played
from tests.simulation.services import SimulatedDynamoDb
from tests.simulation.story import NOC
from tests.simulation.world import Process

# Far below the 1,000 write units a second that DynamoDB takes on one key.
MOST_UNITS = 200
# The stories have only a few shares a second: a key that takes more units than this has needless writes.
MOST_UNITS_HERE = 25
# The most writes of a process without trouble that lost one race: the entry, two gates, notes of sources. A reconcile
# run counts each page of BigPanda's list against the rate limit, and renews its lease while BigPanda is slow.
MOST_WRITES = {"webhook": 16, "worker": 14, "callback": 0, "replay": 0, "reconcile": 45}
# A further lost race costs the entry, the job, and slots in two gates, which are given back.
RACE_WRITES = 6
# Average of a share in fair weather that lost no race: its claim, its count in the gate and its record, or its slot.
# MOST_WRITES bounds the writes of a share that lost one.
MEAN_WRITES = 4.5
# The most messages of a process to one queue: its job, and a second job for a slot after each lost race. A process with
# more incidents may put a job of each back.
MOST_SENDS = 4
# A gate's size does not depend on its channel's limit: 1 KB at most, and half of that for the few signals of a story.
GATE_BYTES = 480


@dataclass
class Capacity(Played):
    """Counter of the processes' costs, and judge of a finished schedule.

    Attributes:
        _writes: number of writes by kind of process; processes that lost a race are left out.
        _processes: number of those processes by kind.
    """

    dynamodb: SimulatedDynamoDb
    _problems: list[str] = field(default_factory=list)
    _writes: Counter[str] = field(default_factory=Counter)
    _processes: Counter[str] = field(default_factory=Counter)

    def ended(self, process: Process) -> None:
        """Count the writes and messages of an ended process, unless the process died or met a failing service.

        A recovery is not counted: it wakes many incidents, as a run of the sweeper does.
        """
        if process.troubles or process.is_dead or process.works == "recovery":
            return
        kind = process.name.partition(" ")[0]
        if not process.lost_races:
            self._writes[kind] += process.writes
            self._processes[kind] += 1
        most = MOST_WRITES.get(kind, process.writes) + RACE_WRITES * max(0, process.lost_races - 1)
        if process.writes > most:
            self._problems.append(f"capacity: {process.name} wrote {process.writes} times to the table")
        if kind in MOST_WRITES and max(process.sends.values(), default=0) > max(MOST_SENDS, len(process.incidents)):
            self._problems.append(f"capacity: {process.name} sent {dict(process.sends)}")

    def problems(self) -> Iterator[str]:
        """Yield the problems of the finished schedule."""
        retries, shares = self.queues[0], len(self.story.posts) + len(self.story.answers)
        yield from self._problems
        yield from self._counted_without_signal()
        most = MOST_UNITS_HERE if self._is_fair() else MOST_UNITS
        for (key, _), units in self.dynamodb.units.items():
            if units > most:
                yield f"capacity: {key} took {units} write units in a second"
        yield from self._criticals_last()
        for key in self.dynamodb.forgotten():
            yield f"newer: {key} has lost a member that a newer version wrote"
        for key, item in self.dynamodb.items.items():
            if key.startswith("gate/") and size(item) > GATE_BYTES:
                yield f"capacity: {key} has {size(item)} bytes"
        # A message whose answer is lost is sent again. A job that is put back is on the queue twice until its old
        # message is deleted. So is each copy of it.
        if not self.spells("sqs") and retries.most > 2 * (shares + retries.doubled) + 6:
            yield f"capacity: {retries.most} messages on the retry queue, of {shares} shares"
        if self._is_fair() and self._processes["webhook"] >= 3:
            mean = self._writes["webhook"] / self._processes["webhook"]
            if mean > MEAN_WRITES:
                yield f"capacity: a share costs {mean:.1f} writes"

    def _counted_without_signal(self) -> Iterator[str]:
        """Check that a channel's rate limit counts only signals that were sent: a sender that waits takes no place.

        A signal that failed for want of a token counts as sent.
        """
        # A ticket stays counted if its sender dies, or can't write to the table.
        if not self.is_steady(*NEEDED) or self.phones.killed:
            return
        for key, item in self.dynamodb.items.items():
            place, _, channel = key.partition("/")
            if place != "gate" or "/" in channel:
                continue
            counts = Gate.of({name: float(value["N"]) for name, value in item.items() if "N" in value}).counts
            first = min(counts, default=0) - self.cloud.clock_margin
            sent = sum(post.channel == channel and post.began >= first for post in self.phones.posts)
            sent += sum(channel == NOC and at >= first for at in self.phones.refused_tokens)
            if sum(counts.values()) > sent:
                yield f"capacity: {key} counts {sum(counts.values())} signals, and {sent} were sent"

    def _criticals_last(self) -> Iterator[str]:
        """Check that the sweeper replaces the messages of a channel's criticals first, as the index has them."""
        if self.cloud.index_lag:
            return
        swept: dict[tuple[str, str], str] = defaultdict(str)
        for run, channel, is_critical in self.queues[0].swept:
            swept[run, channel] += "c" if is_critical else "o"
        for (run, channel), kinds in swept.items():
            if "oc" in kinds:
                yield f"priority: {run} replaced a critical's message of {channel} after another one's"

    def _is_fair(self) -> bool:
        return not self.weather.crashes and not self.weather.spells
