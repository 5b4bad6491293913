"""relayctl dlq import: exported jobs back on the dead-letter queue.

Memory use is bounded for a file of any length: a batch of lines, and counts. So the file is read twice.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import click

from relay.foreign_text import printable
from relay.jobs.queue import MAX_BATCH, MAX_MESSAGE_BYTES, Queue
from relayctl import audit, terminal
from relayctl.audit import Audit
from relayctl.dlq.jsonl import BadLineError, Line, raw_lines, read_line
from relayctl.progress import counting, progress
from relayctl.stack.deployed import Stack, on_stack

# Invalid lines that are kept with their problems, and characters of a problem.
MAX_PROBLEMS = 20
MAX_PROBLEM = 200
_SUMS = ("by_channel", "by_kind", "by_reason")


@dataclass
class Checked:
    """Result of checking a file.

    Attributes:
        lines: Number of lines.
        chosen: Number of lines to send.
        bad: Number of invalid lines.
        problems: The first invalid lines, each with its number and the error.
        sums: Numbers of jobs to send by channel, by kind and by reason.
    """

    lines: int = 0
    chosen: int = 0
    bad: int = 0
    problems: list[str] = field(default_factory=list)
    sums: Mapping[str, Counter[str]] = field(default_factory=lambda: {each: Counter() for each in _SUMS})

    def add(self, number: int, text: bytes, *, is_chosen: bool) -> None:
        """Check a line, and count it; `is_chosen` is False for a line that is not to be sent."""
        self.lines = number
        try:
            job = read_line(number, text).job
        except BadLineError as error:
            self.bad += 1
            if len(self.problems) < MAX_PROBLEMS:
                self.problems.append(f"line {number}: {printable(str(error), MAX_PROBLEM)}")
            return
        if is_chosen:
            self.chosen += 1
            for each, name in zip(_SUMS, (job.channel, job.kind, job.stamps.reason), strict=True):
                self.sums[each][name] += 1


def check(file: IO[bytes], from_line: int, stopping: Callable[[int], bool]) -> Checked:
    """Check all lines of a file, until `stopping` returns True; it is called with the number of checked lines.

    Lines before `from_line` are checked, too, and not counted as lines to send.
    """
    checked = Checked()
    for number, text in raw_lines(file):
        checked.add(number, text, is_chosen=number >= from_line)
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


@click.command("import")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--from-line", type=click.IntRange(1), default=1, metavar="N", help="Begin with line N of the file.")
@on_stack
def import_(stack: Stack, path: Path, from_line: int, as_json: bool) -> None:
    """Put the jobs of an exported FILE back on the dead-letter queue. Nothing is replayed.

    All lines are checked before the first job is sent. A file may be imported twice: each job is then on the queue
    twice, and a replay rings once for it. Ctrl-C stops after the current batch, and the command says how many lines
    are in and with which line to go on.

    An import prints an audit line on stderr: one line of JSON.

    Exit codes: 0 all lines are in, 1 some are not, 2 usage or an invalid line, 3 no line, 130 interrupted.

    \b
    Example:
      relayctl dlq import dead.jsonl
      relayctl dlq import dead.jsonl --from-line 4001
    """
    with _opened(path) as file, terminal.stop_on_interrupt() as stop:
        checked = _check(stack, path, file, from_line, stop)
        if not checked.chosen:
            if as_json:
                click.echo(json.dumps(_document(path, checked, Import(from_line), None)))
            terminal.nothing(f"nothing to import: lines in the file: {checked.lines}")
        queue = Queue(stack.sqs, stack.output("DeadLetterQueueUrl"))
        changed = Audit.begin(stack, "dlq import", file=path.name, from_line=from_line)
        doing = Import(from_line)
        try:
            with progress("importing", checked.chosen, stack.effects.clock) as show:
                for _ in doing.run(file, queue, stop.is_set):
                    show(doing.sent, "")
        finally:
            left = {"lines": checked.lines, "sent": doing.sent, "left": max(0, checked.chosen - doing.sent)}
            document = _document(path, checked, doing, changed.document(left))
            _print_report(document, as_json=as_json)
    if doing.problem:
        click.get_current_context().exit(1)
    if doing.sent < checked.chosen:
        click.get_current_context().exit(terminal.INTERRUPTED)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open the file, which is read twice. Raises UsageError."""
    if path.exists() and not path.is_file():
        raise click.UsageError(f"{path}: not a regular file, and it is read twice")
    try:
        file = path.open("rb")
    except OSError as error:
        raise click.UsageError(f"{path}: cannot read: {error.strerror or 'failed'}") from error
    with file:
        yield file


def _check(stack: Stack, path: Path, file: IO[bytes], from_line: int, stop: threading.Event) -> Checked:
    """Return the result of checking all lines. Raises UsageError for invalid lines, KeyboardInterrupt after Ctrl-C."""
    with counting("checking", "lines", stack.effects.clock) as show:
        checked = check(file, from_line, lambda lines: (show(lines), stop.is_set())[1])
    if stop.is_set():
        terminal.say("no line is in")
        raise KeyboardInterrupt
    if checked.bad:
        more = [f"and {checked.bad - MAX_PROBLEMS} more"] if checked.bad > MAX_PROBLEMS else []
        raise click.UsageError("\n".join([f"{path}: nothing was sent", *checked.problems, *more]))
    return checked


def _document(path: Path, checked: Checked, doing: Import, document: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "file": str(path),
        "lines": checked.lines,
        **{name: dict(counts) for name, counts in checked.sums.items()},
        "sent": doing.sent,
        "next_line": doing.next_line if doing.sent < checked.chosen else None,
        "problem": doing.problem,
        "audit": document,
    }


def _print_report(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document))
        return
    for each in _SUMS:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(document[each].items()))
        terminal.show_line(printable(f"by {each.removeprefix('by_'):8} {counts}"), indent=12)
    if document["problem"]:
        terminal.say(f"line {document['next_line']}: {document['problem']}")
    click.echo(f"{document['sent']} of {document['lines']} lines are in the dead-letter queue")
    if document["next_line"]:
        terminal.show_line(f"to go on: the same command with --from-line {document['next_line']}")
    audit.say(document["audit"])
