"""File of exported messages: written lines are read back, and other lines are refused."""

import json
from typing import Any

import pytest

from relay.failures import QueueError
from relay.jobs.job import Job
from relay.jobs.queue import UnreadableMessage, envelope_of
from relayctl.dlq.file import line_of, read_line
from tests.samples import job


def written(one: Job) -> bytes:
    return line_of("m1", one, envelope_of(one)).encode()


def changed(**members: Any) -> bytes:
    """Return a line with these members changed; None removes a member."""
    document = json.loads(written(job())) | members
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def with_envelope(**members: Any) -> bytes:
    """Return a line with these members of its envelope changed, and with the attributes of the unchanged envelope."""
    return changed(envelope=json.dumps(json.loads(envelope_of(job())) | members))


class TestInvalidLine:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (b"\xff\n", "no line of an export"),
            (b"[" * 200_000, "no line of an export"),
            (b"[]", "no line of an export"),
            (changed(envelope=7), "not an envelope of the relay"),
            (changed(envelope="hello"), "not an envelope of the relay"),
            (with_envelope(schema=2), "its schema is 2"),
            (with_envelope(channel="../x"), "no channel's name"),
            (with_envelope(received_at="soon"), "can't be read"),
            (changed(envelope=envelope_of(job()) + "\n"), "characters that SQS refuses"),
            (with_envelope(response_excerpt="x" * 1_100_000), "SQS takes"),
        ],
    )
    def test_invalid_line_is_refused_with_its_problem(self, text: bytes, problem: str) -> None:
        with pytest.raises((UnreadableMessage, QueueError), match=problem):
            read_line(text)
