"""Operators' work on the dead-letter queue, with relayctl's own code: drop, export, import."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from relay.failures import QueueError
from relay.ledger.table import Ledger, Table
from relayctl.dlq.file import line_of, read_line, send
from relayctl.dlq.queue import DeadLetters, HeldMessage
from relayctl.dlq.replay_and_drop import Drop
from tests.simulation.services import SimulatedDynamoDb, SimulatedSqs, queue_of
from tests.simulation.world import World

DEEDS = ("drop", "export", "export and drop", "import")


@dataclass
class DeadLetterDeeds:
    """Operators who drop, export and import dead letters.

    Attributes:
        file: the last export: lines of a file.
    """

    world: World
    queue: SimulatedSqs
    dynamodb: SimulatedDynamoDb
    random: Random
    file: list[str] = field(default_factory=list)

    def do(self, deed: str) -> None:
        """Do a deed of DEEDS, in a process of its own. Errors of AWS end it, as they end relayctl."""
        try:
            if deed == "import":
                self._import()
                return
            with self._held() as (reader, chosen):
                if deed.startswith("export"):
                    self.file = [line_of(each.message_id, each.job, each.envelope) for each in chosen if each.job]
                if deed.endswith("drop"):
                    self._drop(reader, chosen)
        except (ClientError, BotoCoreError, QueueError) as error:
            self.world.say(f"relayctl fails: {type(error).__name__}")

    @contextmanager
    def _held(self) -> Iterator[tuple[DeadLetters, Sequence[HeldMessage]]]:
        """Yield a reader of the queue, and the messages that match the operator's filter: all, or about half."""
        client: Any = self.queue
        reader, share = DeadLetters(client, "dead-letters", lambda: self.world.now), self.random.choice([0.5, 1.0, 1.0])
        with reader.holding():
            found = list(reader.scan())
            yield reader, [each for each in found if self.random.random() < share]

    def _drop(self, reader: DeadLetters, chosen: Sequence[HeldMessage]) -> None:
        client: Any = self.dynamodb
        drop = Drop(chosen)
        ledger = Ledger(Table(client, "ledger", lambda: self.world.now))
        for _ in drop.delete(reader, ledger, self.world.now, lambda: False):
            pass
        why, counts = drop.unrecorded, drop.counts()
        assert counts.pop("unknown") == 0
        self.world.say(f"dropped: {counts}{f', not recorded: {why}' if why else ''}")

    def _import(self) -> None:
        messages = [read_line(each.encode(), self.world.now) for each in self.file]
        *_, (sent, problem) = [(0, None), *send(queue_of(self.queue), messages, lambda: False)]
        self.world.say(f"imported: {sent} of {len(self.file)} {problem or ''}")
