"""relayctl channel rotate and revoke, the marks of other verbs, and last uses in channel show; AWS in memory."""

import json
from typing import Any

import pytest
from click.testing import Result

from relay.channels.token import fits
from relay.deadline import Deadline
from relay.ledger.credentials import Uses, use_key
from relay.ledger.table import Table
from sandbox.server.in_process import Box
from tests import samples
from tests.integration.live import site
from tests.integration.relayctl_cloud import Operator
from tests.integration.test_relayctl_channel_test import answering

CANARY = "canary-31c7"
OLD, BACK = f"{CANARY}-inbound-token-of-24", f"{CANARY}-callback-token-of-24"
PREVIOUS = {"token": f"{CANARY}-previous-token-of-24", "expires_at": "2030-01-31T12:00:00Z"}
BASIC = {"type": "basic", "username": "asker", "password": f"{CANARY}-rest"}


def keep(operator: Operator, xmatters: Any = None, **members: Any) -> None:
    """Store the channel `payments` with credentials for both endpoints."""
    channel = {"recipients": ["Ops"], "callback": {"token": BACK}} | (xmatters or {})
    operator.keep("payments", xmatters=channel, **{"inbound": {"token": OLD}} | members)


def rotate(operator: Operator, *arguments: str, code: int = 0) -> Result:
    """Rotate a credential of the channel; standard input has a new one."""
    return operator.run("channel", "rotate", "payments", *arguments, typed=f"{CANARY}-new", code=code)


def use(operator: Operator, age: str, *, ago: float = 0.0) -> None:
    """Record a use of BigPanda's current or previous token, `ago` seconds ago."""
    channel = samples.parsed(operator.secret("payments"))
    [fingerprint] = [each[2] for each in channel.fingerprints("inbound") if each[0] == age]
    table, at = Table(operator.dynamodb, operator.table, operator.clock), operator.clock.now - ago
    Uses(table, lambda: at).record(use_key("payments", "inbound", fingerprint), Deadline(5, operator.clock))


@pytest.mark.parametrize(
    ("kind", "old", "options", "until"),
    [
        ("inbound", OLD, [], "2027-01-16T08:00:00+00:00"),
        ("callback", BACK, ["--overlap", "7d"], "2027-01-22T08:00:00+00:00"),
    ],
)
def test_rotate_keeps_the_old_token_as_previous_and_prints_the_new_one_once(
    operator: Operator, kind: Any, old: str, options: list[str], until: str
) -> None:
    keep(operator)
    done = rotate(operator, kind, *options)
    secret = operator.secret("payments")
    secret = secret if kind == "inbound" else secret["xmatters"]
    assert fits(secret[kind]["token"], "payments", kind)
    assert secret[kind]["previous"] == {"token": old, "expires_at": until}
    assert done.stdout.count(secret[kind]["token"]) == 1
    assert CANARY not in done.output
    assert f"works until {until}; to end it earlier: relayctl channel rotate payments {kind}" in (done.stderr)
    assert "The old one: no use known" in done.stdout
    assert operator.marks() == {}


class TestRetire:
    def test_retire_removes_the_unused_old_token_and_marks_the_channel(self, operator: Operator) -> None:
        keep(operator, inbound={"token": OLD, "previous": PREVIOUS})
        use(operator, "current")
        use(operator, "previous", ago=7200)
        document = operator.run_json("channel", "rotate", "payments", "inbound", "--retire")
        assert operator.secret("payments")["inbound"] == {"token": OLD}
        assert operator.marks().keys() == {"payments"}
        assert document == {
            "channel": "payments",
            "kind": "inbound",
            "retired": True,
            "used_at": "2027-01-15T06:00:00Z",
            "in_force_at": "2027-01-15T08:00:15+00:00",
        }
        assert operator.requested == [], "no new credential is made"

    def test_retire_is_refused_while_the_old_token_may_have_been_used_in_the_last_hour(
        self, operator: Operator
    ) -> None:
        keep(operator, inbound={"token": OLD, "previous": PREVIOUS})
        use(operator, "current")
        use(operator, "previous", ago=3600)
        done = rotate(operator, "inbound", "--retire", code=1)
        assert "not retired: BigPanda used the old credential at" in done.stderr
        assert "--now retires it all the same" in done.stderr
        assert (operator.secret("payments")["inbound"]["previous"], operator.marks()) == (PREVIOUS, {})


@pytest.mark.usefixtures("local")
class TestOutward:
    def test_new_password_of_the_rest_api_is_checked_and_stored(self, operator: Operator, box: Box) -> None:
        box.events.declare(BASIC | {"password": f"{CANARY}-new"})
        keep(operator, {"rest": {"base_url": box.xmatters_url, "auth": BASIC}})
        done = rotate(operator, "rest", "--password", "-")
        assert operator.secret("payments")["xmatters"]["rest"]["auth"]["password"] == f"{CANARY}-new"
        assert "check xMatters REST API, detail 127.0.0.1 lets the channel's user read pages, state ok" in done.stdout
        assert "key xmatters.rest.auth.password, old ***, new ***" in done.stdout
        assert "relayctl channel undo payments goes back to it" in done.stderr
        assert CANARY not in done.output
        operator.run("channel", "undo", "payments", "--yes", code=0)
        assert operator.secret("payments")["xmatters"]["rest"]["auth"] == BASIC

    @pytest.mark.parametrize("kind", ["rest", "trigger"])
    def test_password_that_xmatters_rejects_is_refused(self, operator: Operator, box: Box, kind: str) -> None:
        box.events.declare(BASIC)
        trigger = {"trigger_url": f"{box.xmatters_url}/api/integration/1/functions/f1/triggers", "auth": BASIC}
        keep(operator, trigger | {"rest": {"base_url": box.xmatters_url, "auth": BASIC}})
        before = operator.secret_text("payments")
        done = rotate(operator, kind, "--password", "-", code=1)
        assert "nothing was stored. relayctl channel set does not ask the vendor" in done.stderr
        assert (CANARY in done.output, operator.secret_text("payments")) == (False, before)
        assert box.attempts() == [], "no signal is sent"

    @pytest.mark.parametrize(("status", "code"), [(200, 0), (401, 1), (503, 0)])
    def test_key_that_bigpanda_rejects_is_refused(self, operator: Operator, status: int, code: int) -> None:
        with site(answering(status, {"items": [], "total": 0})) as bigpanda:
            access = {"api_key": f"{CANARY}-old", "base_url": bigpanda.url, "environment_id": "e1"}
            keep(operator, bigpanda=access)
            done = rotate(operator, "bigpanda", "--api-key", "-", code=code)
        stored = operator.secret("payments")["bigpanda"]["api_key"]
        assert stored == f"{CANARY}-{'old' if code else 'new'}"
        assert bigpanda.received[0].headers["authorization"] == f"Bearer {CANARY}-new"
        assert CANARY not in done.output


class TestRevoke:
    def test_revoke_replaces_all_credentials_of_an_endpoint_and_marks_the_channel_twice(
        self, operator: Operator
    ) -> None:
        keep(operator, inbound={"token": OLD, "previous": PREVIOUS})
        seen = list[dict[str, str]]()
        operator.on_pause = lambda: seen.append(operator.marks())
        document = operator.run_json("channel", "revoke", "payments", "--endpoint", "inbound", "--yes")
        secret = operator.secret("payments")
        assert secret["inbound"].keys() == {"token"}
        assert fits(secret["inbound"]["token"], "payments", "inbound")
        assert secret["xmatters"]["callback"] == {"token": BACK}, "the other endpoint goes on"
        [credential] = document.pop("credentials")
        assert credential["header"]["value"] == f"Bearer {secret['inbound']['token']}"
        assert CANARY not in json.dumps(document)
        assert [each.keys() for each in (seen[0], operator.marks())] == [{"payments"}, {"payments"}]
        assert seen[0] != operator.marks(), "a function may have read the old version after the first mark"
        assert document["in_force_at"] == "2027-01-15T08:00:15+00:00"
        assert (document["revoked"], document["verified"]) == (["inbound"], True)

    def test_new_credential_and_the_next_command_are_printed_if_the_mark_cannot_be_written(
        self, operator: Operator
    ) -> None:
        keep(operator)
        operator.dynamodb.delete_table(TableName=operator.table)
        done = operator.run("channel", "revoke", "payments", "--endpoint", "inbound", "--yes", code=1)
        assert operator.secret("payments")["inbound"]["token"] in done.stdout
        assert "warning: stored, but running functions may work with the settings before for 300 s more" in done.stderr
        assert "type: relayctl channel rotate payments inbound --retire --now" in done.stderr
        # A second `revoke` would make one more credential.
        assert "run the command again" not in done.stderr


def test_show_prints_the_last_use_of_each_credential(operator: Operator) -> None:
    keep(operator, inbound={"token": OLD, "previous": PREVIOUS})
    use(operator, "previous")
    shown = operator.run_json("channel", "show", "payments")
    assert shown["credentials"] == [
        {"endpoint": "inbound", "credential": "current", "kind": "token", "used_at": None},
        {"endpoint": "inbound", "credential": "previous", "kind": "token", "used_at": "2027-01-15T08:00:00Z"},
        {"endpoint": "callback", "credential": "current", "kind": "token", "used_at": None},
    ]
    said = operator.run("channel", "show", "payments").stdout
    assert "endpoint inbound, credential previous, kind token, used at 2027-01-15T08:00:00Z" in said
