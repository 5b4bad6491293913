import base64
import json
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.incidents.share import parse_share
from relay.jobs.envelope import (
    MAX_BODY_BYTES,
    MAX_ENVELOPE_BYTES,
    Job,
    UnreadableMessage,
    fits,
    legal_text,
    reduced_body,
    seconds_of,
    timestamp,
)
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
        rounds=st.integers(0, 99),
        healed=st.integers(0, 9),
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
        envelope = job.to_json()
        assert Job.from_json(envelope) == job
        assert envelope.isascii()
        assert envelope.isprintable()

    # SQS refuses control characters, so `Job.to_json` escapes all that is not ASCII.
    @pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1b", "\x7f", "\x85", "\ud800", "\ufffe", "\uffff", "😀"])
    def test_control_character_does_not_lose_the_dead_letter(self, character: str) -> None:
        job = samples.job(incident_id=character, body=character.encode("utf-8", "surrogatepass"))
        assert job.to_json().isascii()
        assert job.to_json().isprintable()
        assert Job.from_json(job.to_json()) == job
        assert all(legal_text(value) == value for value in job.attributes().values())

    def test_envelope_holds_the_members_of_the_contract(self) -> None:
        assert set(json.loads(samples.job().to_json())) >= {
            *("schema", "kind", "delivery_id", "channel", "incident_id", "version", "transition", "status"),
            *("recipients", "body", "received_at", "first_failed_at", "last_failed_at", "attempts", "reason"),
            *("http_status", "response_excerpt", "not_before", "correlation_id", "replays"),
        }

    def test_envelope_of_a_job_that_never_failed_is_read_back(self) -> None:
        job = samples.job(first_failed_at=None, last_failed_at=None, attempts=0, reason="in_flight", http_status=None)
        assert Job.from_json(job.to_json()) == job

    def test_attributes_of_a_job_are_channel_incident_reason_kind_and_schema(self) -> None:
        assert samples.job().attributes() == {
            "channel": "noc",
            "incident_id": "i1",
            "reason": "upstream",
            "kind": "signal",
            "schema": "1",
        }

    def test_envelope_of_the_largest_body_is_read_back(self) -> None:
        job = samples.job(body=b" " * MAX_BODY_BYTES)
        assert Job.from_json(job.to_json()) == job


MEMBERS = json.loads(samples.job().to_json())
# Members that every job needs; all others have a default.
FIRST = {
    *("schema", "kind", "delivery_id", "channel", "incident_id", "body", "received_at", "reason", "correlation_id"),
    *("version", "recipients"),
}


def without(name: str) -> str:
    return json.dumps({member: value for member, value in MEMBERS.items() if member != name})


class TestUnreadable:
    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"x"', "{}", "[" * 100_000, '{"schema": 2}'])
    def test_text_that_is_no_envelope_is_refused(self, text: str) -> None:
        with pytest.raises(UnreadableMessage):
            Job.from_json(text)

    def test_envelope_of_another_schema_is_refused_with_its_number(self) -> None:
        with pytest.raises(UnreadableMessage, match="its schema is 2, and this version reads 1"):
            Job.from_json(json.dumps({"schema": 2}))

    @pytest.mark.parametrize("name", sorted(FIRST))
    def test_envelope_without_a_required_member_is_refused_with_its_name(self, name: str) -> None:
        with pytest.raises(UnreadableMessage, match=name):
            Job.from_json(without(name))

    @pytest.mark.parametrize("name", sorted(MEMBERS.keys() - FIRST))
    def test_missing_optional_member_has_its_default(self, name: str) -> None:
        expected = samples.job()._replace(**{name: Job._field_defaults[name]})
        assert Job.from_json(without(name)) == expected

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
            ("recipients", None),
            ("recipients", 7),
            ("incident_id", 7),
            ("attempts", "3"),
            ("rounds", "3"),
            ("healed", "3"),
            ("received_at", "yesterday"),
            ("received_at", None),
            ("not_before", "tomorrow"),
            ("not_before", 1_800_000_000),
            ("first_failed_at", "yesterday"),
            ("dead_lettered_at", "yesterday"),
            ("revived_at", "yesterday"),
            ("ledger_down_since", "yesterday"),
        ],
    )
    def test_envelope_with_an_invalid_member_is_refused(self, name: str, value: Any) -> None:
        with pytest.raises(UnreadableMessage):
            Job.from_json(json.dumps(json.loads(samples.job().to_json()) | {name: value}))


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


def envelope(document: dict[str, Any] | bytes) -> str:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    share = parse_share(body)
    job = samples.job(incident_id=share.incident_id, status=share.status, body=reduced_body(share), body_reduced=True)
    return job.to_json()


def noise(size: int) -> str:
    return base64.b85encode(random.Random(size).randbytes(size)).decode()[:size]


def astral_noise(size: int) -> str:
    return "".join(map(chr, random.Random(size).choices(range(0x10000, 0x10FFFF), k=size)))


def alert(number: int) -> dict[str, Any]:
    return {"id": noise(24 + number % 7), "status": "critical", "description": noise(2048), "tags": noise(9000)}


class TestReducedBody:
    @pytest.mark.parametrize(
        "document",
        [
            {"incident": {"id": "i1", "alerts": [alert(number) for number in range(300)]}},
            {"id": "i1", "alerts": [{"id": noise(50_000), "status": noise(5000)} for _ in range(70)]},
            {"id": "i1", "alerts": [f"{number}" for number in range(400_000)]},
            {"id": "x" * 512, "status": noise(3_000_000), "severity": noise(900_000)},
            {"id": "i1", **{f"{number}-{noise(3000)}": noise(3000) for number in range(600)}},
            {"id": "i1", noise(3_900_000): 1},
            {"id": "i1", "deep": {"deep": noise(3_900_000)}},
            {astral_noise(200 + n): astral_noise(1100 + n) for n in range(120)} | {"id": 1},
            b'{"id": "i1", "number": 1e999, "other": -1e999, "big": ' + b"9" * 4000 + b"}",
        ],
        ids=["alerts", "long alerts", "ids", "words", "members", "name", "nested", "astral", "numbers"],
    )
    def test_envelope_of_a_reduced_body_always_fits(self, document: dict[str, Any] | bytes) -> None:
        text = envelope(document)
        assert fits(text)
        left = json.loads(Job.from_json(text).body)
        assert parse_share(json.dumps(left).encode()).incident_id

    def test_reduced_body_keeps_the_state_of_the_incident_and_says_that_it_was_cut(self) -> None:
        alerts = [{"id": "a1", "status": "Critical", "description": "long"}, {"id": "a2"}]
        share = samples.share(severity="critical", active=True, alerts=alerts, tags={"x": 1}, links=[1])
        left = json.loads(reduced_body(share))
        assert left == {
            "incident": {
                "id": "i1",
                "status": "critical",
                "changedOn": 1_800_000_000,
                "severity": "critical",
                "active": True,
                "tags": {"x": 1},
                "links": [1],
                "alerts": [{"id": "a1", "status": "critical"}, {"id": "a2", "status": "unknown"}],
                "relay_note": "cut to fit: alerts are here by id and status alone",
            }
        }
        assert parse_share(reduced_body(share)).version == share.version

    def test_reduced_body_keeps_the_status_behind_many_other_members(self) -> None:
        others = {f"field-{number}": "x" * 50 for number in range(200)}
        share = parse_share(json.dumps({"incident": {"id": "i1", **others, "status": "critical"}}).encode())
        assert parse_share(reduced_body(share)).status == "critical"

    def test_reduced_bare_body_stays_bare(self) -> None:
        left = json.loads(reduced_body(parse_share(b'{"incident_id": 7, "event": "incident#new"}')))
        assert (left["id"], left["incident_id"], left["event"]) == ("7", 7, "incident#new")

    def test_reduced_body_keeps_an_incident_id_beside_the_incident(self) -> None:
        left = json.loads(reduced_body(parse_share(b'{"incident": {"status": "ok"}, "id": 7}')))
        assert left["incident"]["id"] == "7"

    @given(st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT))
    def test_reduced_body_of_any_members_is_strict_json(self, members: dict[str, Any]) -> None:
        # Another spelling of `id` may come first, and hold no id.
        others = {name: value for name, value in members.items() if not name.lower().startswith(("id", "incident"))}
        share = parse_share(json.dumps(others | {"id": "i1"}).replace("Infinity", "1e999").encode())
        left = parse_share(reduced_body(share))
        assert left.incident_id == share.incident_id


def test_envelope_fits_up_to_a_limit_that_leaves_room_for_attributes() -> None:
    assert fits("x" * MAX_ENVELOPE_BYTES)
    assert not fits("x" * (MAX_ENVELOPE_BYTES + 1))
    job = samples.job(channel="c" * 48, incident_id="\U0010ffff" * 512)
    attributes = sum(len((name + value + "String").encode()) for name, value in job.attributes().items())
    assert attributes + MAX_ENVELOPE_BYTES <= 1024 * 1024


def test_timestamps_are_utc_with_milliseconds_and_read_back() -> None:
    assert timestamp(1_795_564_860.1249) == "2026-11-25T00:01:00.124Z"
    assert seconds_of("2026-11-25T00:01:00.124Z") == 1_795_564_860.124
    with pytest.raises(ValueError, match="yesterday"):
        seconds_of("yesterday")


def test_two_copies_of_a_share_are_stored_under_two_names() -> None:
    first = samples.job(received_at="2027-01-15T08:00:00.000Z")
    assert first.delivery_id == first._replace(received_at="2027-01-15T08:00:00.009Z").delivery_id
    assert first.stored_name != first._replace(received_at="2027-01-15T08:00:00.009Z").stored_name
