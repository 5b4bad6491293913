"""Callbacks of xMatters, in every shape that is known."""

import json
from typing import Any

import pytest

from relay.failures import BadRequest
from relay.incidents.callback import Callback, Kind, ResponseMeanings, parse_callback

UUID = "10f3cb42-0b4d-4ce0-9c33-1c2c8a4c1a5b"
FLOW = {
    "relay": 1,
    "kind": "response",
    "incident_id": "i1",
    "environment_id": "e1",
    "event": {"id": UUID.upper(), "number": "408005"},
    "person": {"target": "jdoe", "first_name": "Jane", "last_name": "Doe", "email": "jane@acme.example"},
    "device": "Work Phone",
    "response": "Acknowledge",
    "note": "on it",
    "at": "2026-03-04T02:58:14.301+0000",
}
FIXED = {
    "xmatters_callback_type": "response",
    "eventIdentifier": "408005",
    "date": "2026-03-04 02:58:14.301",
    "recipient": "jdoe",
    "device": "Work Phone",
    "response": "Acknowledge",
    "annotation": "on it",
}


def parsed(document: Any) -> Callback:
    return parse_callback(json.dumps(document).encode())


def problem(document: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parsed(document)
    return caught.value


class TestFlow:
    def test_callback_of_our_workflow_is_read_in_full(self) -> None:
        assert parsed(FLOW) == Callback(
            kind=Kind.RESPONSE,
            incident_id="i1",
            environment_id="e1",
            page_id=UUID,
            page_number="408005",
            target="jdoe",
            name="Jane Doe",
            email="jane@acme.example",
            device="Work Phone",
            text="Acknowledge",
            note="on it",
            group=None,
            reason=None,
            at="2026-03-04T02:58:14.301+0000",
        )
        assert parsed(FLOW | {"device": {"name": "Work Phone"}}) == parsed(FLOW)

    @pytest.mark.parametrize("kind", list(Kind))
    def test_each_kind_of_callback_is_read_by_its_name(self, kind: Kind) -> None:
        assert parsed({"relay": 1, "kind": kind.upper(), "incident_id": "i1"}).kind == kind

    @pytest.mark.parametrize("version", [2, "1", 0])
    def test_callback_of_another_version_is_refused(self, version: Any) -> None:
        assert problem(FLOW | {"relay": version}).field == "relay"


class TestFixedJson:
    @pytest.mark.parametrize(
        "properties",
        [
            pytest.param([{"incident_id": "i1"}, {"Severity": "high"}], id="objects of one key"),
            pytest.param({"incident_id": "i1"}, id="an object"),
            pytest.param([{"incident_id#en": "i1"}], id="with a language"),
            pytest.param([None, "x", {"Incident ID": "i1"}], id="odd members, odd spelling"),
        ],
    )
    def test_incident_id_is_found_in_callback_properties_of_any_shape(self, properties: Any) -> None:
        found = parsed(FIXED | {"eventProperties": properties})
        assert (found.incident_id, found.kind, found.page_number) == ("i1", Kind.RESPONSE, "408005")
        assert (found.target, found.device, found.text, found.note) == ("jdoe", "Work Phone", "Acknowledge", "on it")

    def test_incident_id_is_found_outside_of_the_properties(self) -> None:
        assert parsed(FIXED | {"incidentId": 17}).incident_id == "17"

    @pytest.mark.parametrize(
        ("members", "kind"),
        [
            ({"deliveryStatus": "Delivered", "message": "m"}, Kind.DELIVERY),
            ({"response": "Escalate"}, Kind.RESPONSE),
            ({"comment": "c", "author": {"firstName": "Jane"}}, Kind.ANNOTATION),
            ({"status": "terminated_external", "username": "jdoe"}, Kind.STATUS),
            ({"group": "Ops", "reason": "nobody on call"}, Kind.ESCALATION),
            ({"recipient": "jdoe", "reason": "no device"}, Kind.FAILURE),
        ],
    )
    def test_kind_of_a_callback_without_a_type_is_told_by_its_members(
        self, members: dict[str, Any], kind: Kind
    ) -> None:
        assert parsed({"eventIdentifier": "1", "incident_id": "i1"} | members).kind == kind


class TestRefused:
    @pytest.mark.parametrize(
        ("document", "field"),
        [
            ([], "body"),
            ({"incident_id": "i1"}, "body"),
            ({"kind": "weather", "incident_id": "i1"}, "kind"),
            (FIXED, "incident_id"),
            (FIXED | {"incident_id": {"id": "i1"}}, "incident_id"),
            (FIXED | {"incident_id": "i" * 513}, "incident_id"),
        ],
        ids=["no object", "nothing known", "unknown kind", "no incident", "odd incident", "long"],
    )
    def test_invalid_callback_is_refused_with_its_field(self, document: Any, field: str) -> None:
        found = problem(document)
        assert (found.field, found.status) == (field, 400)

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
    def test_callback_that_is_not_json_is_refused(self, body: bytes) -> None:
        with pytest.raises(BadRequest, match="JSON"):
            parse_callback(body)


@pytest.mark.parametrize(
    ("said", "acknowledges", "escalates"),
    [
        ("Acknowledge", True, False),
        (" ACK ", True, False),
        ("Escalate", False, True),
        ("", False, False),
    ],
)
def test_usual_texts_of_responses_alone_acknowledge_or_escalate(said: str, acknowledges: bool, escalates: bool) -> None:
    found = parsed(FLOW | {"response": said})
    assert ResponseMeanings().is_acknowledgement(found) is acknowledges
    assert ResponseMeanings().is_escalation(found) is escalates
    note = found._replace(kind=Kind.ANNOTATION)
    assert (ResponseMeanings().is_acknowledgement(note), ResponseMeanings().is_escalation(note)) == (False, False)
    assert (found.response, note.response) == (said.strip().lower(), "")


def test_same_answer_to_the_same_page_at_another_time_is_another_callback() -> None:
    later = parsed(FLOW | {"at": "2026-03-04T04:58:14.301+0000"})
    assert (later.digest == parsed(FLOW).digest, parsed(FLOW).digest == parsed(dict(FLOW)).digest) == (False, True)
