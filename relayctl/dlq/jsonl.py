"""File of exported dead-lettered jobs: JSON Lines, one message a line.

A line has the message's envelope as text, byte for byte as it was on the queue, its message attributes and its id. The
envelope's body is a share, so a line may hold texts of an incident.
"""

import json
from collections.abc import Iterator
from typing import IO, NamedTuple

from relay.failures import QueueError
from relay.jobs.job import Job
from relay.jobs.queue import Message, UnreadableMessage, attributes_of, check_message, read_envelope

# Twice SQS's limit, since each quote of an envelope is escaped, and room for the attributes.
MAX_LINE_BYTES = 3 * 1024 * 1024
_MEMBERS = {"message_id", "attributes", "envelope"}


class BadLineError(ValueError):
    """A line that is no exported message. The error's message says what is wrong."""


class Line(NamedTuple):
    """A line of a file with exported dead-lettered jobs, as it is read for the import.

    Attributes:
        number: Number of the line, from 1.
        job: The job, without its body.
        message: The message to send to the queue.
    """

    number: int
    job: Job
    message: Message


def line_of(message_id: str, job: Job, envelope: str) -> str:
    """Return the line of a message, with its line break.

    The relay writes envelopes in printable ASCII. If another program wrote other characters into the envelope, the line
    has the envelope as JSON in ASCII, with these characters escaped.
    """
    if not (envelope.isascii() and envelope.isprintable()):
        envelope = json.dumps(json.loads(envelope), separators=(",", ":"))
    members = {"message_id": message_id, "attributes": attributes_of(job), "envelope": envelope}
    return json.dumps(members, separators=(",", ":")) + "\n"


def raw_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers and texts of a file's lines from its start, each text cut to MAX_LINE_BYTES + 1 bytes."""
    file.seek(0)
    number = 0
    while text := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        yield number, text
        while len(text) > MAX_LINE_BYTES and not text.endswith(b"\n"):
            text = file.readline(MAX_LINE_BYTES + 1)
            if not text:
                return


def read_line(number: int, text: bytes) -> Line:
    """Read a line. Raises BadLineError for anything that `line_of` does not write."""
    if len(text) > MAX_LINE_BYTES:
        raise BadLineError("it is longer than any exported message")
    try:
        members = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadLineError("it is not JSON; the file may be cut off") from error
    if not isinstance(members, dict) or members.keys() != _MEMBERS or not isinstance(members["envelope"], str):
        raise BadLineError(f"it has not the members {', '.join(sorted(_MEMBERS))}")
    try:
        job = read_envelope(members["envelope"])
        if members["attributes"] != attributes_of(job):
            raise BadLineError("its attributes are not those of its envelope")
        message = Message(members["envelope"], attributes_of(job))
        check_message(message.envelope, message.attributes)
    except (UnreadableMessage, QueueError) as error:
        raise BadLineError(str(error)) from error
    return Line(number, job.with_body(b""), message)
