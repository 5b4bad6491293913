"""Callback function: callbacks are authenticated by credentials of their own, queued, and only then answered."""

import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.channels.authentication import Reply, Request
from tests import samples
from tests.fakes import Relay
from tests.fakes import new_relay as plain_relay

OPEN = {"authorization": f"Bearer {samples.CALLBACK_TOKEN}", "content-type": "application/json"}
ANSWER = {"relay": 1, "kind": "response", "incident_id": "i1", "person": {"target": "jdoe"}, "response": "Acknowledge"}
DOWN = EndpointConnectionError(endpoint_url="https://sqs")


def new_relay(*, has_bigpanda: bool = True, **members: Any) -> Relay:
    access = {"api_key": "BPU1", **members} if has_bigpanda else None
    return plain_relay(xmatters=samples.CALLBACK, access=access)


def request(document: Any = None, **changes: Any) -> Request:
    content = json.dumps(ANSWER if document is None else document).encode()
    return samples.request(content, **{"headers": OPEN} | changes)


def answered(relay: Relay, request_: Request) -> Reply:
    return relay.callbacks.serve(request_)


class TestAnswers:
    def test_callback_is_queued_as_it_came_and_answered_200(self) -> None:
        relay = new_relay()
        answer = answered(relay, request())
        [job] = relay.chores.jobs()
        assert (answer.status, answer.document) == (
            200,
            {
                "outcome": "queued",
                "incident_id": "i1",
                "channel": "noc",
                "transition": "response",
                "delivery_id": job.delivery_id,
                "queue": "retry",
            },
        )
        assert (job.kind, job.incident_id, json.loads(job.body)) == ("writeback", "i1", ANSWER)
        assert relay.chores.delays() == [0]

    @pytest.mark.parametrize(("response", "outcome"), [("Acknowledge", "queued"), ("Escalate", "unchanged")])
    def test_channel_without_a_bigpanda_key_queues_acknowledgements_alone(self, response: str, outcome: str) -> None:
        relay = new_relay(has_bigpanda=False)
        assert answered(relay, request(ANSWER | {"response": response})).document["outcome"] == outcome

    def test_response_is_not_queued_if_the_channel_wants_no_comments_about_responses(self) -> None:
        said = request(ANSWER | {"response": "Escalate"})
        assert answered(new_relay(comments=["status"]), said).document["outcome"] == "unchanged"

    @pytest.mark.parametrize("has_bigpanda", [True, False])
    def test_delivery_that_is_neither_written_nor_awaited_is_not_queued(self, has_bigpanda: bool) -> None:
        relay = new_relay(has_bigpanda=has_bigpanda)
        said = ANSWER | {"kind": "delivery", "deliverystatus": "DELIVERED"}
        assert answered(relay, request(said)).document["outcome"] == "unchanged"


class TestQueues:
    def test_callback_that_the_chore_queue_refuses_is_dead_lettered(self) -> None:
        relay = new_relay()
        relay.chores.failure = DOWN
        answer = answered(relay, request())
        assert (answer.status, answer.document["queue"]) == (200, "dead_letter")
        [job] = relay.dead_letters.jobs()
        assert job.dead_lettered_at is not None

    def test_callback_that_no_queue_takes_is_answered_503_and_logged_as_last_copy(self) -> None:
        relay = new_relay()
        relay.chores.failure = relay.dead_letters.failure = DOWN
        answer = answered(relay, request())
        assert (answer.status, answer.document["outcome"]) == (503, "unsafe")
        [line] = [line for line in relay.recorder.lines() if "last_copy" in line]
        assert json.loads(line["last_copy"])["incident_id"] == "i1"
        assert relay.recorder.metrics()["unsafe"] == 1


@pytest.mark.parametrize("headers", [samples.OPEN, {}, {"authorization": "Bearer x"}], ids=["bigpanda", "no", "bad"])
def test_callback_with_other_credentials_is_answered_401(headers: dict[str, str]) -> None:
    relay = new_relay()
    answer = answered(relay, request(headers=headers))
    assert (answer.status, answer.document["error"], relay.chores.jobs()) == (401, "unauthorized", [])


class TestRefused:
    def test_invalid_callback_is_answered_400_with_the_missing_field(self) -> None:
        relay = new_relay()
        answer = answered(relay, request({"response": "Acknowledge"}))
        assert answer.status == 400
        assert "incident_id" in answer.document["detail"]
        assert relay.recorder.metrics()["rejected_request"] == 1

    def test_callback_is_logged_with_who_answered_what_and_without_notes_and_credentials(self) -> None:
        relay = new_relay()
        answered(relay, request(ANSWER | {"note": "canary-note"}))
        [line] = relay.recorder.lines("callback")
        assert (line["channel"], line["incident_id"], line["transition"]) == ("noc", "i1", "response")
        assert (line["person"], line["answer"]) == ("jdoe", "Acknowledge")
        assert not {"canary-note", samples.CALLBACK_TOKEN} & set(relay.recorder.written().split('"'))
