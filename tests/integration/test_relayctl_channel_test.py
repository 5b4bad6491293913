"""relayctl channel test, and the recipient checks of channel set, against the sandbox over real sockets."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import Result

from relay.http.session import HttpAnswer
from sandbox.server.in_process import Box
from tests.integration.live import Script, Site, site
from tests.integration.relayctl_cloud import Operator

CANARY = "canary-77a1"
BASIC = {"type": "basic", "username": "asker", "password": f"{CANARY}-rest"}
PEOPLE = [{"name": "jdoe"}, {"name": "gone", "status": "INACTIVE"}]
GROUPS: list[dict[str, Any]] = [{"name": "Ops", "members": [{"name": "jdoe"}]}, {"name": "Asleep"}]
KEY = {"api_key": f"{CANARY}-bp"}
CANARIES = {"canary": True}
ROUTES = [{"when": {"status": "warning"}, "recipients": ["Asleep", "jdoe|Phone"]}]


pytestmark = pytest.mark.usefixtures("local")


@pytest.fixture
def tenant(box: Box) -> Iterator[Box]:
    """Fake xMatters with some people and groups."""
    box.events.declare(BASIC)
    box.xmatters.people.declare({"people": PEOPLE, "groups": GROUPS})
    yield box
    box.xmatters.people.declare({})


def keep(operator: Operator, box: Box, *recipients: str, rest: bool = True, **members: Any) -> None:
    """Store the channel `payments` directly, so that `channel set` does not check it."""
    xmatters: dict[str, Any] = {
        "trigger_url": f"{box.xmatters_url}/api/integration/1/functions/f1/triggers?apiKey={CANARY}-url",
        "auth": {"type": "url"},
        "recipients": list(recipients),
        "callback": {"token": f"{CANARY}-callback-token"},
    }
    if rest:
        xmatters["rest"] = {"base_url": box.xmatters_url, "auth": BASIC}
    policy = {"allowed_recipients": []} | members.pop("policy", {})
    inbound = {"token": f"{CANARY}-inbound-token"}
    operator.store("payments", {"inbound": inbound, "xmatters": xmatters, "policy": policy, **members})


def examined(operator: Operator, *options: str, code: int = 0) -> dict[str, tuple[str, str]]:
    """Run `channel test`; return state and detail of each check by name. Fail if the output has a secret."""
    document = operator.run_json("channel", "test", "payments", *options, code=code)
    assert CANARY not in json.dumps(document)
    states = [each["state"] for each in document["checks"]]
    assert (document["failed"], document["warnings"]) == (states.count("failed"), states.count("warning"))
    return {each["check"]: (each["state"], each["detail"]) for each in document["checks"]}


def answering(status: int, document: Any) -> Script:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return lambda _: (status, {}, content)


class TestChecks:
    def test_all_checks_of_a_working_channel_are_ok(self, operator: Operator, tenant: Box) -> None:
        with site(answering(200, {"items": [], "total": 0})) as bigpanda:
            access = {"api_key": f"{CANARY}-bp", "base_url": bigpanda.url, "environment_id": "e1"}
            keep(operator, tenant, "Ops", "jdoe", bigpanda=access)
            found = examined(operator)
            done = operator.run("channel", "test", "payments")
        assert {state for state, _ in found.values()} == {"ok"}
        assert list(found) == [
            *("secret", "xMatters REST API", "recipient Ops", "recipient jdoe", "BigPanda API", "receipt")
        ]
        assert (done.exit_code, done.stderr) == (0, "channel payments: 0 failed, 0 warnings\n")
        assert done.stdout.splitlines() == [f"ok       {what}: {detail}" for what, (_, detail) in found.items()]
        asked = bigpanda.received[0]
        assert asked.target == "/resources/v2.0/environments/e1/incidents?page_size=1"
        assert (asked.method, asked.headers["authorization"]) == ("GET", f"Bearer {CANARY}-bp")
        assert tenant.attempts() == [], "no signal is sent"

    def test_each_recipient_of_channel_and_routes_is_checked(self, operator: Operator, tenant: Box) -> None:
        keep(operator, tenant, "Ops", "nope", "gone", policy={"routes": ROUTES})
        found = examined(operator, code=1)
        assert {what: each for what, each in found.items() if what.startswith("recipient")} == {
            "recipient Ops": ("ok", "group, active, 1 on call now"),
            "recipient nope": ("failed", "no user and no group of that name"),
            "recipient gone": ("failed", "user, inactive"),
            "recipient Asleep": ("warning", "group, nobody is on call"),
            "recipient jdoe|Phone": ("ok", "user, active"),
        }

    @pytest.mark.parametrize(
        ("stored", "check", "state", "words"),
        [
            (
                {"policy": {"answered_within_seconds": 900}},
                "receipt",
                "ok",
                "are proven: signal, page, notified, answered",
            ),
            (
                {"rest": False, "policy": {"notified_within_seconds": 300}},
                *("receipt", "ok", "are proven: signal, notified; page needs xmatters.rest"),
            ),
            (
                {"rest": False},
                "receipt",
                "warning",
                "are proven: signal; page needs xmatters.rest; notified needs policy.",
            ),
            (
                {"policy": CANARIES, "NoticeTopicArn": "arn:notices"},
                "canary",
                "ok",
                "every 50 minutes an incident rings Ops",
            ),
            ({"policy": CANARIES}, "canary", "warning", "off: the stack has neither NoticeTopicArn nor AlarmTopicArn"),
            (
                {"policy": CANARIES | {"mode": "shadow"}, "AlarmTopicArn": "arn:wakes"},
                *("canary", "warning", "off: the channel is paused"),
            ),
            (
                {"policy": CANARIES, "AlarmTopicArn": "arn:wakes", "WebAclArn": "arn:acl"},
                *("canary", "warning", "fails with HTTP 403"),
            ),
            (
                {"bigpanda": KEY | {"base_url": "https://other.example"}},
                *("secret", "failed", "bigpanda.base_url: its host is not among the stack's BigPandaHosts"),
            ),
            ({"bigpanda": KEY}, "BigPanda API", "warning", "not checked: bigpanda.environments names no environment"),
            ({"bigpanda": KEY}, "missed shares", "warning", "off: bigpanda.environments names no environment to list"),
        ],
    )
    def test_setting_decides_the_state_of_its_check_and_no_vendor_is_called_for_it(
        self, operator: Operator, tenant: Box, stored: dict[str, Any], check: str, state: str, words: str
    ) -> None:
        operator.parameters |= {name: stored[name] for name in stored if name[0].isupper()}
        keep(operator, tenant, "Ops", **{name: stored[name] for name in stored if name[0].islower()})
        found = examined(operator, code=int(state == "failed"))
        assert (found[check][0], words in found[check][1]) == (state, True), found[check]
        assert tenant.bigpanda.calls.all() == []

    def test_channel_that_notifies_nobody_fails_the_settings_check(self, operator: Operator, tenant: Box) -> None:
        keep(operator, tenant, policy={"routes": [{"when": {}, "recipients": []}]})
        done = operator.run("channel", "test", "payments", code=1)
        assert [line for line in done.stdout.splitlines() if line.startswith("failed")] == [
            "failed   settings: policy.routes.0.when: must not be empty",
            "failed   settings: policy.routes.0.recipients: must not be empty",
            "failed   settings: xmatters.recipients: nobody would be notified: "
            "neither channel, route nor URL names any",
        ]

    @pytest.mark.parametrize(
        ("status", "state", "words"),
        [(401, "failed", "credentials: HTTP 401"), (429, "warning", "not known now: rate_limited: HTTP 429")],
    )
    def test_recipients_are_not_checked_if_the_rest_api_fails(
        self, operator: Operator, tenant: Box, status: int, state: str, words: str
    ) -> None:
        keep(operator, tenant, "jdoe")
        tenant.script([{"kind": "status", "status": status, "on": "events"}])
        found = examined(operator, code=int(state == "failed"))
        assert (found["xMatters REST API"][0], words in found["xMatters REST API"][1]) == (state, True)
        assert found["recipients"] == ("warning", "not checked: the REST API could not be used")
        assert tenant.directory.calls.all() == []

    @pytest.mark.parametrize(
        ("status", "document", "state", "words"),
        [
            (401, {"errors": [f"{CANARY}-bp"]}, "failed", "credentials: HTTP 401"),
            (404, b"nothing here", "warning", "not known now: upstream: HTTP 404"),
            (429, {"errors": ["slow down"]}, "warning", "not known now: rate_limited"),
        ],
    )
    def test_answer_of_bigpanda_decides_the_state_of_its_check(
        self, operator: Operator, tenant: Box, status: int, document: Any, state: str, words: str
    ) -> None:
        with site(answering(status, document)) as bigpanda:
            access = {"api_key": f"{CANARY}-bp", "base_url": bigpanda.url, "environment_id": "e1"}
            keep(operator, tenant, "jdoe", bigpanda=access)
            found = examined(operator, code=int(state == "failed"))
        assert found["BigPanda API"][0] == state
        assert words in found["BigPanda API"][1]
        assert len(bigpanda.received) == 1


def relay(*answers: tuple[int, Any]) -> Script:
    """Return an API of the stack that answers shares with the given answers, in order."""
    scripts = [answering(*each) for each in answers]

    def answer(asked: Any) -> Any:
        return scripts.pop(0)(asked)

    return answer


DELIVERED = (200, {"outcome": "delivered", "request_id": "r-1", "delivery_id": "d-1"})
UNCHANGED = (200, {"outcome": "unchanged", "transition": "touched"})


def rung(operator: Operator, api: Site, *options: str) -> Result:
    operator.outputs["BigPandaWebhookUrl"] = f"{api.url}/v1/bigpanda/{{channel}}"
    return operator.run("channel", "test", "payments", "--ring", *options)


class TestRing:
    @pytest.fixture(autouse=True)
    def _channel(self, operator: Operator, tenant: Box) -> None:
        keep(operator, tenant, "jdoe", rest=False)

    def test_ring_shares_a_test_incident_and_its_resolve(self, operator: Operator) -> None:
        with site(relay(DELIVERED, DELIVERED)) as api:
            done = rung(operator, api, "--yes")
        assert done.exit_code == 0
        first, second = done.stdout.splitlines()[-2:]
        assert first.startswith("ok       test incident relayctl-test-")
        assert "delivered: HTTP 200, outcome delivered, request_id r-1" in first
        assert second.startswith("ok       its end: HTTP 200")
        assert CANARY not in done.output
        shared, ended = (json.loads(each.body)["incident"] for each in api.received)
        assert {each.target for each in api.received} == {"/v1/bigpanda/payments"}
        assert {each.headers["authorization"] for each in api.received} == {f"Bearer {CANARY}-inbound-token"}
        assert (shared["status"], shared["active"], shared["resolved"]) == ("warning", True, False)
        assert (ended["status"], ended["active"], ended["resolved"]) == ("ok", False, True)
        assert shared["id"] == ended["id"]
        assert shared["changedOn"] < ended["changedOn"]
        assert "TEST" in shared["alerts"][0]["description"]

    @pytest.mark.parametrize(
        ("answer", "words", "shares"),
        [
            ((202, {"outcome": "queued", "reason": "upstream", "queue": "retry"}), "reason upstream, queue retry", 2),
            ((502, b"<html>"), "HTTP 502", 2),
            ((401, {"error": "unauthorized"}), "error unauthorized", 1),
        ],
    )
    def test_undelivered_test_incident_is_exit_code_1(
        self, operator: Operator, answer: tuple[int, Any], words: str, shares: int
    ) -> None:
        with site(relay(answer, UNCHANGED)) as api:
            done = rung(operator, api, "--yes")
        assert done.exit_code == 1
        [line] = [each for each in done.stdout.splitlines() if "test incident" in each]
        assert line.startswith("failed")
        assert "not delivered" in line
        assert words in line
        assert len(api.received) == shares, "a share that may be delivered later is resolved, a refused one is not"

    @pytest.mark.parametrize(
        ("answers", "words"),
        [
            ([KeyboardInterrupt(), HttpAnswer(200, {}, b"{}")], "ok       its end: HTTP 200"),
            ([HttpAnswer(200, {}, b"{}"), KeyboardInterrupt()], "failed   its end: interrupted; the page of {} may"),
        ],
        ids=["test incident", "its end"],
    )
    def test_ctrl_c_shares_the_end_all_the_same_or_names_the_page(
        self, operator: Operator, answers: list[HttpAnswer | BaseException], words: str
    ) -> None:
        operator.endpoint = answers
        done = operator.run("channel", "test", "payments", "--ring", "--yes", code=130)
        first, second = done.stdout.splitlines()[-2:]
        incident = first.partition("test incident ")[2].partition(":")[0]
        assert second.startswith(words.format(incident))
        assert len(operator.requested) == 2


def test_channel_set_warns_of_recipients_that_would_not_be_notified(operator: Operator, tenant: Box) -> None:
    keep(operator, tenant, "Ops", "nope")
    done = operator.run("channel", "set", "payments", "--set", f"policy.routes={json.dumps(ROUTES)}", code=0)
    assert [line for line in done.stderr.splitlines() if line.startswith("warning")] == [
        "warning: recipient Asleep: group, nobody is on call",
        "warning: recipient nope: no user and no group of that name",
    ]
    assert operator.secret("payments")["policy"]["routes"] == ROUTES
