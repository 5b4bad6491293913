import base64
import json
import zlib
from copy import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.jobs.envelope import (
    MAX_BODY_BYTES,
    MAX_ENVELOPE_BYTES,
    UnreadableMessage,
    attributes_of,
    envelope_of,
    fits,
    legal_text,
    read_envelope,
)
from relay.jobs.job import Job, Stamps, timestamp
from tests import samples

TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
MOMENT = st.none() | st.floats(0, 1e10).map(timestamp)
VERSION = st.none() | st.tuples(*[st.floats(0, 1e11)] * 2)


class TestEnvelope:
    @given(
        incident_id=TEXT,
        status=st.none() | TEXT,
        version=VERSION,
        recipients=st.lists(TEXT, max_size=4).map(tuple),
        body=st.binary(max_size=200),
        excerpt=TEXT,
        attempts=st.integers(0, 99),
        plan=st.integers(0, 999),
        bell=st.booleans(),
        first_failed_at=MOMENT,
        not_before=MOMENT,
        dead_lettered_at=MOMENT,
        revived_at=MOMENT,
        ledger_down_since=MOMENT,
        accepted=st.booleans(),
        digest=st.none() | st.just("0" * 64),
        http_status=st.none() | st.integers(100, 599),
    )
    def test_job_is_read_as_it_was_written_and_is_printable_ascii(
        self, incident_id: str, excerpt: str, **changes: Any
    ) -> None:
        job = samples.job(incident_id=incident_id, response_excerpt=excerpt, **changes)
        envelope = envelope_of(job)
        assert read_envelope(envelope) == job
        assert envelope.isascii()
        assert envelope.isprintable()

    # SQS refuses control characters, so `envelope_of` escapes all that is not ASCII.
    @pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1b", "\x7f", "\x85", "\ud800", "\ufffe", "\uffff", "😀"])
    def test_control_character_does_not_lose_the_dead_letter(self, character: str) -> None:
        job = samples.job(incident_id=character, body=character.encode("utf-8", "surrogatepass"))
        assert envelope_of(job).isascii()
        assert envelope_of(job).isprintable()
        assert read_envelope(envelope_of(job)) == job
        assert all(legal_text(value) == value for value in attributes_of(job).values())

    def test_envelope_holds_the_members_of_the_contract(self) -> None:
        envelope = json.loads(envelope_of(samples.job()))
        assert envelope.keys() - {"schema", "stamps"} == {
            *("kind", "channel", "url_recipients", "incident_id", "received_at", "body", "version", "digest", "plan"),
            *("flags", "ledger_down_since", "attempts", "not_before", "dead_lettered_at", "revived_at"),
        }
        assert envelope["stamps"].keys() == {
            *("reason", "correlation_id", "status", "transition", "recipients", "first_failed_at", "last_failed_at"),
            *("http_status", "response_excerpt", "replays"),
        }

    def test_envelope_of_a_job_that_never_failed_is_read_back(self) -> None:
        job = samples.job(first_failed_at=None, last_failed_at=None, attempts=0, reason="in_flight", http_status=None)
        assert read_envelope(envelope_of(job)) == job

    def test_attributes_of_a_job_are_channel_incident_reason_kind_and_schema(self) -> None:
        assert attributes_of(samples.job()) == {
            "channel": "noc",
            "incident_id": "i1",
            "reason": "upstream",
            "kind": "signal",
            "schema": "1",
        }

    def test_envelope_of_the_largest_body_is_read_back(self) -> None:
        job = samples.job(body=b" " * MAX_BODY_BYTES)
        assert read_envelope(envelope_of(job)) == job


MEMBERS = json.loads(envelope_of(samples.job()))
# Members that every job needs; all others have a default.
FIRST = {"schema", "kind", "channel", "url_recipients", "incident_id", "received_at", "body"}


def without(name: str) -> str:
    return json.dumps({member: value for member, value in MEMBERS.items() if member != name})


class TestUnreadable:
    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"x"', "{}", "[" * 100_000, '{"schema": 2}'])
    def test_text_that_is_no_envelope_is_refused(self, text: str) -> None:
        with pytest.raises(UnreadableMessage):
            read_envelope(text)

    def test_envelope_of_another_schema_is_refused_with_its_number(self) -> None:
        with pytest.raises(UnreadableMessage, match="its schema is 2, and this version reads 1"):
            read_envelope(json.dumps({"schema": 2}))

    @pytest.mark.parametrize("name", sorted(FIRST))
    def test_envelope_without_a_required_member_is_refused_with_its_name(self, name: str) -> None:
        with pytest.raises(UnreadableMessage, match=name):
            read_envelope(without(name))

    @pytest.mark.parametrize("name", sorted(MEMBERS.keys() - FIRST))
    def test_missing_optional_member_has_its_default(self, name: str) -> None:
        assert read_envelope(without(name)) == replace(samples.job(), **{name: Job._field_defaults[name]})

    @pytest.mark.parametrize("name", Stamps._fields)
    def test_missing_stamp_has_its_default(self, name: str) -> None:
        stamps = {stamp: value for stamp, value in MEMBERS["stamps"].items() if stamp != name}
        read = read_envelope(json.dumps({**MEMBERS, "stamps": stamps}))
        assert read.stamps == replace(samples.job().stamps, **{name: Stamps._field_defaults[name]})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("body", "not base64!"),
            ("body", base64.b64encode(b"not zlib").decode()),
            ("body", base64.b64encode(zlib.compress(b"cut off")[:-4]).decode()),
            ("body", base64.b64encode(zlib.compress(b" " * (MAX_BODY_BYTES + 1))).decode()),
            ("body", None),
            ("version", [1]),
            ("version", ["a", "b"]),
            ("version", 7),
            ("url_recipients", None),
            ("url_recipients", 7),
            ("flags", 7),
            ("stamps", 7),
            ("stamps", {"reason": 7}),
            ("stamps", {"recipients": 7}),
            ("stamps", {"first_failed_at": "yesterday"}),
            ("incident_id", 7),
            ("attempts", "3"),
            ("plan", "3"),
            ("received_at", "yesterday"),
            ("received_at", None),
            ("not_before", "tomorrow"),
            ("not_before", 1_800_000_000),
            ("dead_lettered_at", "yesterday"),
            ("revived_at", "yesterday"),
            ("ledger_down_since", "yesterday"),
        ],
    )
    def test_envelope_with_an_invalid_member_is_refused(self, name: str, value: Any) -> None:
        with pytest.raises(UnreadableMessage):
            read_envelope(json.dumps(json.loads(envelope_of(samples.job())) | {name: value}))


class TestLegalText:
    @given(TEXT)
    def test_characters_that_sqs_refuses_are_replaced_and_others_stay(self, text: str) -> None:
        legal = legal_text(text)
        assert legal
        for character in legal:
            code = ord(character)
            assert code in {0x9, 0xA, 0xD} or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code > 0xFFFF
        assert legal_text(legal) == legal

    def test_legal_text_keeps_a_plain_text_and_fills_an_empty_one(self) -> None:
        assert legal_text("66b0/é 😀\t") == "66b0/é 😀\t"
        assert legal_text("") == "-"
        assert legal_text("a\x00b") == "a\ufffdb"
        assert len(legal_text("x" * 5000)) == 1024


def test_envelope_fits_up_to_a_limit_that_leaves_room_for_attributes() -> None:
    assert fits("x" * MAX_ENVELOPE_BYTES)
    assert not fits("x" * (MAX_ENVELOPE_BYTES + 1))
    job = samples.job(channel="c" * 48, incident_id="\U0010ffff" * 512)
    attributes = sum(len((name + value + "String").encode()) for name, value in attributes_of(job).items())
    assert attributes + MAX_ENVELOPE_BYTES <= 1024 * 1024
