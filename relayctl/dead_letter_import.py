"""Import of exported messages to the dead-letter queue: checks a whole file, then sends it in batches.

Memory use is bounded for a file of any length: a batch of lines, and counts. So the file is read twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from relay.jobs.queue import MAX_BATCH, MAX_MESSAGE_BYTES, Queue
from relayctl.dead_letter_file import BadLineError, Line, raw_lines, read_line

# Invalid lines that are kept with their problems.
MAX_PROBLEMS = 20


@dataclass
class Checked:
    """Result of checking a file.

    Attributes:
        lines: Number of lines.
        chosen: Number of lines to send.
        bad: Number of invalid lines.
        problems: Numbers of the first invalid lines, each with the error.
        by_channel: Number of jobs to send by channel.
        by_kind: Number of jobs to send by kind.
        by_reason: Number of jobs to send by reason.
    """

    lines: int = 0
    chosen: int = 0
    bad: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    by_channel: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        """Add one line to the counts of the jobs to send."""
        self.chosen += 1
        self.by_channel[line.job.channel] += 1
        self.by_kind[line.job.kind] += 1
        self.by_reason[line.job.stamps.reason] += 1

    def sums(self) -> dict[str, Any]:
        """Return the counts of the jobs to send, as a JSON object for programs."""
        return {
            "by_channel": dict(self.by_channel),
            "by_kind": dict(self.by_kind),
            "by_reason": dict(self.by_reason),
        }


def check(file: IO[bytes], from_line: int, stopping: Callable[[int], bool]) -> Checked:
    """Check all lines of a file, until `stopping` returns True; it is called with the number of checked lines.

    Lines before `from_line` are checked, too, and not counted as lines to send.
    """
    checked = Checked()
    for number, text in raw_lines(file):
        checked.lines = number
        try:
            line = read_line(number, text)
        except BadLineError as error:
            checked.bad += 1
            if len(checked.problems) < MAX_PROBLEMS:
                checked.problems.append((number, str(error)))
        else:
            if number >= from_line:
                checked.add(line)
        if stopping(number):
            break
    return checked


@dataclass
class Import:
    """Progress of sending a file's lines, in their order.

    Attributes:
        next_line: Number of the first line that is not known to be on the queue.
        sent: Number of lines that were sent and are on the queue, counted up to the first refused line.
        problem: Error that ended the import; None if there was none.
    """

    next_line: int
    sent: int = 0
    problem: str | None = None

    def run(self, file: IO[bytes], queue: Queue, stopping: Callable[[], bool]) -> Iterator[None]:
        """Send the lines from `next_line` on, until `stopping` returns True; yield after each batch.

        The import ends after the first batch in which the queue refuses a message. Later lines of this batch may be on
        the queue already. If the operator goes on with the import, they are sent again. A second copy of a job does no
        harm: the ledger prevents a second page.
        """
        first = self.next_line
        try:
            for batch in _batches(read_line(*each) for each in raw_lines(file) if each[0] >= first):
                if stopping():
                    return
                problems = queue.send_batch([line.message for line in batch])
                refused = next((place for place, problem in enumerate(problems) if problem), len(batch))
                self.sent += refused
                self.next_line += refused
                if refused < len(batch):
                    self.problem = problems[refused]
                    return
                yield
        except BadLineError as error:
            self.problem = f"the file was changed meanwhile: {error}"


def _batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Split lines into batches that fit into one call to SQS."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == MAX_BATCH or size + line.message.size > MAX_MESSAGE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += line.message.size
    if batch:
        yield batch
