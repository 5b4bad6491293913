import json
from typing import Any

import pytest

from relay.errors import ChannelUnreadable
from tests import samples
from tests.fakes import FakeSession, Relay, Step


def room(*steps: Step) -> Relay:
    return Relay(FakeSession(*steps or (samples.accepted("r7"),)))


def replayed(relay: Relay, **changes: Any) -> dict[str, Any]:
    return relay.worker.replay(samples.job(**changes).to_json())


def test_a_job_that_is_accepted_is_delivered() -> None:
    assert replayed(room()) == {"outcome": "delivered", "request_id": "r7", "attempts": 1}


def test_a_job_that_fails_again_says_why_and_how_often_xmatters_was_asked() -> None:
    assert replayed(room(samples.refused(503, b"down"))) == {
        "outcome": "unsafe",
        "reason": "upstream",
        "attempts": 3,
        "http_status": 503,
        "response_excerpt": "down",
        "detail": "HTTP 503",
    }


def test_the_result_is_plain_json() -> None:
    assert json.loads(json.dumps(replayed(room(samples.refused(503))))) == replayed(room(samples.refused(503)))


@pytest.mark.parametrize("envelope", ["", "{}", "not json", json.dumps({"schema": 2}), None, 7, {}])
def test_what_is_no_job_is_told_so_and_sends_nothing(envelope: Any) -> None:
    relay = room()
    result = relay.worker.replay(envelope)
    assert (result["outcome"], result["reason"]) == ("unsafe", "internal")
    assert result["detail"].startswith("unreadable: ")
    assert relay.session.calls == []


def test_a_job_of_a_kind_to_come_is_left_alone() -> None:
    relay = room()
    result = replayed(relay, kind="followup")
    assert (result["outcome"], result["reason"]) == ("unsafe", "internal")
    assert result["detail"] == "this version does not know jobs of kind followup"
    assert relay.session.calls == []


def test_one_jobs_crash_is_its_result_and_not_the_end_of_the_others() -> None:
    relay = room(ZeroDivisionError("canary-words"), samples.accepted())
    assert replayed(relay) == {
        "outcome": "unsafe",
        "reason": "internal",
        "attempts": 1,
        "detail": "ZeroDivisionError",
        "may_have_rung": True,
    }
    assert replayed(relay)["outcome"] == "delivered"
    assert "canary-words" not in relay.recorder.written()


def test_a_channel_that_can_not_be_read_is_told_without_its_secret() -> None:
    relay = room()
    relay.secrets.texts["noc"] = json.dumps({"inbound": {"token": "canary-token"}})
    result = replayed(relay)
    assert (result["reason"], result["attempts"]) == ("internal", 0)
    assert "xmatters" in result["detail"]
    assert "canary-token" not in json.dumps(result) + relay.recorder.written()
    relay.clock.now += 10
    relay.secrets.texts["noc"] = ChannelUnreadable("down")
    assert replayed(relay)["detail"] == "ChannelUnreadable: down"


def test_a_job_is_one_log_line_and_counted() -> None:
    relay = room(samples.refused(404))
    replayed(relay, replays=2)
    [line] = relay.recorder.lines()
    expected = {
        "message": "job",
        "channel": "noc",
        "incident_id": "i1",
        "outcome": "unsafe",
        "reason": "refused",
        "kind": "signal",
        "replays": 2,
        "received_at": "2027-01-15T08:00:00.000Z",
        "delivery_id": "d" * 32,
        "correlation_id": "request-1",
        "http_status": 404,
    }
    assert {name: line[name] for name in expected} == expected
    assert relay.recorder.metrics() == {"replay_failed": 1, "reason_refused": 1}


def test_a_job_has_twenty_seconds_of_its_own() -> None:
    relay = room(samples.refused(429, retry_after="15"), samples.accepted())
    assert replayed(relay)["outcome"] == "delivered"
    assert relay.clock.slept == [15]
