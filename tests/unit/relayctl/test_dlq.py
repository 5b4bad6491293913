"""Messages of the dead-letter queue: a line of the list, the whole text, and lines of an exported file."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from relay.failures import QueueError
from relay.jobs.job import Job
from relay.jobs.queue import UnreadableMessage, envelope_of
from relayctl import moments, terminal
from relayctl.dlq import group
from relayctl.dlq.file import line_of, read_line
from relayctl.dlq.queue import HeldMessage
from tests.samples import body, job

NOW = datetime(2027, 1, 15, 12, 0, 0, tzinfo=UTC)
STEERING = "\x1b[2J\x1b]0;owned\x07\r\n\x08\x9b31m\u202e[red]:bomb:"


def held(job: Job) -> HeldMessage:
    """Return a message that relayctl received."""
    return HeldMessage("m1", "receipt", 0.0, envelope_of(job), job)


def printed(one: HeldMessage) -> str:
    """Return the line of a message in `dlq list`."""
    with CliRunner().isolation() as (out, _, _):
        group.show(group.document(one), NOW.timestamp())
        return out.getvalue().decode()


def whole(shown: HeldMessage) -> str:
    """Return the text of a message with its body."""
    with CliRunner().isolation() as (out, _, _):
        document = group.document(shown, with_body=True)
        terminal.members(document, body=document.pop("body"))
        return out.getvalue().decode()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("0s", 0), ("90s", 90), ("90m", 5400), ("12h", 43_200), ("7d", 604_800)),
        *((text, 7200) for text in ("2027-01-15T10:00:00Z", "2027-01-15T11:00:00+01:00", "20270115T100000Z")),
        *((text, None) for text in ("", "7", "7w", "-7d", "1.5h", "yesterday", "2027-13-01", "9999999s", "٣d")),
    ],
)
def test_age_counts_back_from_now_and_a_time_is_iso_8601(text: str, seconds: int | None) -> None:
    try:
        assert moments.parse(text, NOW, -1) == NOW.timestamp() - (seconds or 0)
    except (ValueError, OverflowError):
        assert seconds is None


class TestLine:
    def test_job_is_one_line_with_its_age_ids_reason_and_title(self) -> None:
        one = job(
            channel="payments",
            incident_id="65a1b2c3d4e5f60718293a4b",
            reason="upstream",
            http_status=503,
            attempts=6,
            received_at="2027-01-15T09:59:00.000Z",
            body=body(description="Disk full on db-1"),
        )
        assert printed(held(one)) == (
            f"   2h  {one.delivery_id[:8]}  payments 65a1b2c3d4e5f60718293a4b: critical, "
            'upstream 503 after 6 attempts, "Disk full on db-1"\n'
        )

    @given(st.text())
    def test_any_incident_id_is_printed_in_one_line(self, incident_id: str) -> None:
        assert printed(held(job(incident_id=incident_id))).removesuffix("\n").isprintable()


class TestText:
    @pytest.mark.parametrize("body", [STEERING.encode(), b"\xff\x1b[2J", json.dumps({"t": "\x9b2J"}).encode()])
    def test_text_prints_no_control_character_of_a_job(self, body: bytes) -> None:
        dangerous = job(incident_id=STEERING, status=STEERING, recipients=(STEERING,), response_excerpt=STEERING)
        for each in (dangerous, job(body=body)):
            text = whole(held(each))
            assert all(character.isprintable() for character in text.replace("\n", ""))

    def test_body_line_cannot_imitate_a_label(self) -> None:
        forged = "message id        m2\nincident id       i2"
        shown = job(body=f"no JSON\n\n{forged}".encode(), incident_id=f"i1\n{forged}", status=f"ok\r{forged}")
        lines = whole(held(shown)).splitlines()
        assert [line[:10] for line in lines if line.startswith(("message id", "incident id"))] == [
            "message id",
            "incident i",
        ]
        assert all(line.startswith("  ") for line in lines[lines.index("body") + 1 :] if line)


def written(one: Job) -> bytes:
    return line_of("m1", one, envelope_of(one)).encode()


def changed(**members: Any) -> bytes:
    """Return a line with these members changed; None removes a member."""
    document = json.loads(written(job())) | members
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def with_envelope(**members: Any) -> bytes:
    """Return a line with these members of its envelope changed, and with the attributes of the unchanged envelope."""
    return changed(envelope=json.dumps(json.loads(envelope_of(job())) | members))


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
def test_invalid_line_is_refused_with_its_problem(text: bytes, problem: str) -> None:
    with pytest.raises((UnreadableMessage, QueueError), match=problem):
        read_line(text, NOW.timestamp())
