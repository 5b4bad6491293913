"""Watch over recipients: people are told by name of recipients whom xMatters would not notify.

The relay is the real one, over fakes of xMatters and AWS.
"""

import json
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import Call, FakeSecrets, FakeSession, Relay, new_relay
from tests.unit.paging_tenant import REST

NOTICE = "arn:aws:sns:eu-central-1:000000000000:notices"
HOUR_RUNS = 60
# An absence that is on at the clock's time, 15 January 2027.
ABSENCE = {"start": "2027-01-01T00:00:00.000Z", "end": "2027-02-01T00:00:00.000+0000"}


class Company:
    """xMatters' people and groups: each name with its status, devices, people on call, and absences."""

    def __init__(self) -> None:
        self.status: dict[str, str] = {"jdoe": "ACTIVE", "anna": "ACTIVE", "Ops": "ACTIVE"}
        self.devices: dict[str, list[dict[str, str]]] = {}
        self.on_call: dict[str, int] = {"Ops": 1}
        self.absences: list[dict[str, Any]] = []
        self.failing = ""
        self.asked: list[str] = []

    def __call__(self, call: Call) -> HttpAnswer:
        parts = urlsplit(call.url)
        path = unquote(parts.path).removeprefix("/api/xm/1/")
        self.asked.append(path)
        if self.failing and self.failing in path:
            return samples.refused(503)
        kind, _, name = path.partition("/")
        name, _, rest = name.partition("/")
        name = name.removeprefix("id-")
        if path == "temporary-absences":
            members = parse_qs(parts.query)["member"][0].split(",")
            return listed(*(each for each in self.absences if each["member"]["id"] in members))
        if kind == "on-call":
            return listed(
                *({"group": {"id": f"id-{each}"}, "members": on_shift(n)} for each, n in self.on_call.items() if n)
            )
        if rest:
            return listed(*self.devices.get(name, [{"status": "ACTIVE"}]))
        is_here = name in self.status and (kind == "groups") == name[0].isupper()
        if kind not in {"people", "groups"} or not is_here:
            missing = json.dumps({"code": 404, "reason": "Not Found", "message": "unknown"})
            return HttpAnswer(200, {}, b'{"data": []}') if kind == "events" else HttpAnswer(404, {}, missing.encode())
        document = {"id": f"id-{name}", "targetName": name, "status": self.status[name]}
        return HttpAnswer(200, {}, json.dumps(document).encode())


def listed(*items: Any) -> HttpAnswer:
    return HttpAnswer(200, {}, json.dumps({"data": items, "total": len(items)}).encode())


def on_shift(count: int) -> dict[str, Any]:
    return {"data": [{"member": {"id": f"p{each}"}} for each in range(count)], "total": count}


def watched(company: Company, *recipients: str, **parts: Any) -> Relay:
    document = samples.secret(policy={"unanswered_recipients": parts.pop("unanswered", [])})
    document["xmatters"] |= {"rest": REST, "recipients": list(recipients)} | parts
    secrets = FakeSecrets(noc=json.dumps(document))
    return new_relay(secrets=secrets, notice_topic_arn=NOTICE, rest=FakeSession(company))


def runs(relay: Relay, count: int = 5) -> None:
    for _ in range(count):
        relay.sweep()


def messages(relay: Relay) -> list[str]:
    """Return the lines about recipients, without those that are the same in each message, of all messages."""
    texts = (json.loads(each["Message"])["default"] for each in relay.sns.published)
    return [line for text in texts for line in text.splitlines() if line.startswith("- ")]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"status": {"jdoe": "INACTIVE", "Ops": "ACTIVE"}}, ['- "jdoe": user, inactive']),
        ({"status": {"jdoe": "INACTIVE", "Ops": "ACTIVE"}, "devices": {"jdoe": []}}, ['- "jdoe": user, inactive']),
        ({"status": {"Ops": "ACTIVE"}}, ['- "jdoe": no user and no group of that name']),
        ({"status": {"jdoe": "ACTIVE", "Ops": "INACTIVE"}}, ['- "Ops": group, inactive']),
        ({"on_call": {}}, ['- "Ops": group, nobody is on call']),
        ({"devices": {"jdoe": []}}, ['- "jdoe": without an active device']),
        ({"devices": {"jdoe": [{"status": "INACTIVE"}]}}, ['- "jdoe": without an active device']),
        ({"devices": {"jdoe": [{"status": "INACTIVE"}, {"status": "ACTIVE"}]}}, []),
        ({"absences": [{}]}, ['- "jdoe": absent, without a replacement']),
        ({"absences": [{"includeDirectNotifications": False}]}, []),
        ({"absences": [{"group": {"id": "g"}}]}, []),
        ({"absences": [{"replacement": {"id": "id-anna"}}]}, []),
        ({"absences": [{"end": "2027-01-02T00:00:00Z"}]}, []),
        ({"absences": [{"start": "2027-01-31T00:00:00Z"}]}, []),
        ({"absences": [{"start": "soon"}]}, []),
        ({"failing": "devices", "absences": [{}]}, ['- "jdoe": absent, without a replacement']),
        ({"failing": "absences", "on_call": {}}, ['- "Ops": group, nobody is on call']),
        ({"failing": "absences", "devices": {"jdoe": []}}, ['- "jdoe": without an active device']),
        ({"failing": "people"}, []),
    ],
)
def test_people_are_told_of_recipients_whom_xmatters_would_not_notify(change: dict[str, Any], told: list[str]) -> None:
    company = Company()
    for name, value in change.items():
        absences = name == "absences"
        setattr(
            company, name, [ABSENCE | {"member": {"id": "id-jdoe"}} | each for each in value] if absences else value
        )
    relay = watched(company, "jdoe|Work Phone", "Ops")
    runs(relay)
    assert [line.replace("|Work Phone", "") for line in messages(relay)] == told
    assert {each["TopicArn"] for each in relay.sns.published} <= {NOTICE}


def test_message_names_the_channel_and_recipients_of_routes_and_of_the_unanswered() -> None:
    company = Company()
    relay = watched(company, "jdoe", unanswered=["Boss"])
    runs(relay)
    [message] = relay.sns.published
    assert message["Subject"] == "Channel noc: xMatters would not notify 1 recipient(s)"
    assert messages(relay) == ['- "Boss": no user and no group of that name']


def test_people_are_told_once_until_another_recipient_is_found() -> None:
    company = Company()
    company.on_call = {}
    relay = watched(company, "Ops", "jdoe")
    runs(relay, 30 * HOUR_RUNS)
    assert len(messages(relay)) == 1
    company.status["jdoe"] = "INACTIVE"
    runs(relay, 2 * HOUR_RUNS)
    assert messages(relay)[1:] == ['- "Ops": group, nobody is on call', '- "jdoe": user, inactive']


@pytest.mark.parametrize("status", [401, 429, 503])
def test_people_are_not_told_again_because_a_check_had_no_answer(status: int) -> None:
    company = Company()
    company.on_call, company.status["jdoe"] = {}, "INACTIVE"
    relay = watched(company, "Ops", "jdoe")
    runs(relay, 25 * HOUR_RUNS)
    relay.rest.steps = [samples.refused(status)]
    runs(relay, 2 * HOUR_RUNS)
    relay.rest.steps = [company]
    runs(relay, 2 * HOUR_RUNS)
    assert [each["Subject"] for each in relay.sns.published if "would not notify" in each["Subject"]] == [
        "Channel noc: xMatters would not notify 2 recipient(s)"
    ]


def test_check_has_few_recipients_and_all_have_their_turn() -> None:
    company = Company()
    names = [f"user{number:02}" for number in range(25)]
    relay = watched(company, *names)
    for expected in (10, 20, 30):
        runs(relay, HOUR_RUNS)
        assert len([path for path in company.asked if path.startswith("people/")]) == expected
    runs(relay, 30 * HOUR_RUNS)
    assert sorted(set(messages(relay))) == [f'- "{name}": no user and no group of that name' for name in names]
    assert len(messages(relay)) < 40
