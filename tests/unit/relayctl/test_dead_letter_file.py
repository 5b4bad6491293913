"""File of exported messages: written lines are read back, and other lines are refused."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.jobs.envelope import attributes_of, envelope_of
from relay.jobs.job import Job
from relayctl.dlq.jsonl import MAX_LINE_BYTES, BadLineError, line_of, raw_lines, read_line
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


class TestLine:
    def test_line_has_envelope_attributes_and_message_id(self) -> None:
        document = json.loads(written(job()))
        assert document == {"message_id": "m1", "attributes": attributes_of(job()), "envelope": envelope_of(job())}
        assert written(job()).count(b"\n") == 1

    @given(st.text(), st.binary(max_size=200))
    def test_envelope_is_read_back_byte_for_byte(self, incident_id: str, body: bytes) -> None:
        one = job(incident_id=incident_id, body=body)
        line = read_line(7, written(one))
        assert (line.number, line.message.envelope, line.message.attributes) == (
            7,
            envelope_of(one),
            attributes_of(one),
        )
        assert line.job == one.with_body(b"")

    def test_envelope_of_another_program_is_escaped_and_stays_the_same_job(self) -> None:
        one = job(incident_id="Überlast")
        foreign = json.dumps(json.loads(envelope_of(one)) | {"newer": 1}, ensure_ascii=False, indent=1) + "\n"
        line = read_line(1, line_of("m1", one, foreign).encode())
        assert line.job == one.with_body(b"")
        assert json.loads(line.message.envelope)["newer"] == 1


class TestInvalidLine:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (b"", "not JSON"),
            (b"\n", "not JSON"),
            (b"\xff\n", "not JSON"),
            (b"[" * 200_000, "not JSON"),
            (written(job())[:-20], "cut off"),
            (b"{}", "has not the members"),
            (b"[]", "has not the members"),
            (changed(envelope=None), "has not the members"),
            (changed(envelope=7), "has not the members"),
            (changed(more=1), "has not the members"),
            (changed(envelope="hello"), "not an envelope of the relay"),
            (changed(envelope="{}"), "not an envelope of the relay"),
            (with_envelope(schema=2), "its schema is 2"),
            (with_envelope(channel="../x"), "no channel's name"),
            (with_envelope(body="!"), "can't be read"),
            (with_envelope(received_at="soon"), "can't be read"),
            (with_envelope(channel="payments"), "attributes are not those"),
            (changed(attributes={}), "attributes are not those"),
            (changed(attributes=None), "has not the members"),
            (changed(envelope=envelope_of(job()) + "\n"), "characters that SQS refuses"),
            (b" " * (MAX_LINE_BYTES + 1), "longer than any"),
        ],
    )
    def test_invalid_line_is_refused_with_its_problem(self, text: bytes, problem: str) -> None:
        with pytest.raises(BadLineError, match=problem):
            read_line(1, text)

    def test_message_that_is_too_large_for_sqs_is_refused(self) -> None:
        line = with_envelope(response_excerpt="x" * 1_100_000)
        with pytest.raises(BadLineError, match="SQS takes"):
            read_line(1, line)


class TestRawLines:
    def test_lines_are_numbered_from_one_at_each_reading(self) -> None:
        file = io.BytesIO(b"a\nb\n\nc")
        for _ in range(2):
            assert list(raw_lines(file)) == [(1, b"a\n"), (2, b"b\n"), (3, b"\n"), (4, b"c")]

    def test_line_without_end_is_cut_and_the_next_line_has_its_number(self) -> None:
        file = io.BytesIO(b"x" * (3 * MAX_LINE_BYTES) + b"\ny\n")
        (_, long), second = raw_lines(file)
        assert (len(long), second) == (MAX_LINE_BYTES + 1, (2, b"y\n"))
