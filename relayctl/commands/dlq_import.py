"""relayctl dlq import: exported jobs back on the dead-letter queue."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from relay.foreign_text import printable
from relay.jobs.queue import Queue
from relayctl import audit, terminal
from relayctl.audit import Audit
from relayctl.dead_letter_import import Checked, Import, check
from relayctl.progress import counting, progress
from relayctl.stack import Stack, on_stack

MAX_PROBLEM = 200


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
    if checked.problems:
        named = [f"line {number}: {printable(problem, MAX_PROBLEM)}" for number, problem in checked.problems]
        more = [f"and {checked.bad - len(named)} more"] if checked.bad > len(named) else []
        raise click.UsageError("\n".join([f"{path}: nothing was sent", *named, *more]))
    return checked


def _document(path: Path, checked: Checked, doing: Import, document: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "file": str(path),
        "lines": checked.lines,
        **checked.sums(),
        "sent": doing.sent,
        "next_line": doing.next_line if doing.sent < checked.chosen else None,
        "problem": doing.problem,
        "audit": document,
    }


def _print_report(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document))
        return
    for title in ("channel", "kind", "reason"):
        counts = ", ".join(f"{name} {count}" for name, count in sorted(document[f"by_{title}"].items()))
        terminal.show_line(printable(f"by {title:8} {counts}"), indent=12)
    if document["problem"]:
        terminal.say(f"line {document['next_line']}: {document['problem']}")
    click.echo(f"{document['sent']} of {document['lines']} lines are in the dead-letter queue")
    if document["next_line"]:
        terminal.show_line(f"to go on: the same command with --from-line {document['next_line']}")
    audit.say(document["audit"])
