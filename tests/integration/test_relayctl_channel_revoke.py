"""relayctl channel revoke, the revocation marks of other verbs, and last uses in channel show; AWS in memory."""

import json
from typing import Any

import pytest
from click.testing import Result

from relay.channels.cache import MARKS_SECONDS
from relay.channels.token import fits
from relay.deadline import Deadline
from relay.ledger.credentials import Uses
from relay.ledger.table import Table
from relayctl.channel.propagation import SETTLE_SECONDS
from tests import samples
from tests.integration.relayctl_cloud import Operator

OLD, BACK = "old-token-of-24-characters", "back-token-of-24-characters"
PREVIOUS = {"token": "previous-token-of-24-characters", "expires_at": "2030-01-31T12:00:00Z"}


def keep(operator: Operator, **inbound: Any) -> None:
    """Store a channel with credentials for both endpoints."""
    document = samples.secret(inbound=inbound or {"token": OLD, "previous": PREVIOUS})
    document["xmatters"] |= {"recipients": ["Ops"], "callback": {"token": BACK}}
    operator.secrets.create_secret(Name="team/relay/payments", SecretString=json.dumps(document))


def revoke(operator: Operator, *options: str, code: int = 0) -> Result:
    return operator.run("channel", "revoke", "payments", *options, code=code)


class TestRevoke:
    def test_revoke_replaces_current_and_previous_credential_and_prints_the_new_one_once(
        self, operator: Operator
    ) -> None:
        keep(operator)
        done = revoke(operator, "--endpoint", "inbound", "--yes")
        secret = operator.secret("payments")
        assert secret["inbound"].keys() == {"token"}
        assert fits(secret["inbound"]["token"], "payments", "inbound")
        assert done.output.count(secret["inbound"]["token"]) == 1
        assert [each for each in (OLD, PREVIOUS["token"], BACK) if each in done.output] == []
        assert secret["xmatters"]["callback"] == {"token": BACK}, "the other endpoint goes on"

    def test_revoke_marks_the_channel_twice_and_prints_when_it_is_in_force(self, operator: Operator) -> None:
        keep(operator)
        began, seen = operator.clock.now, list[dict[str, str]]()
        operator.on_pause = lambda: seen.append(operator.marks())
        document = operator.run_json("channel", "revoke", "payments", "--endpoint", "inbound", "--yes")
        assert [each.keys() for each in (seen[0], operator.marks())] == [{"payments"}, {"payments"}]
        assert seen[0] != operator.marks(), "a function may have read the old version after the first mark"
        assert document["in_force_at"] == "2027-01-15T08:00:15+00:00"
        assert began + SETTLE_SECONDS + MARKS_SECONDS == 1_800_000_015
        assert (document["revoked"], document["verified"]) == (["inbound"], True)
        [credential] = document["credentials"]
        assert credential["header"]["value"] == f"Bearer {operator.secret('payments')['inbound']['token']}"

    def test_new_credential_and_the_next_command_are_printed_if_the_mark_cannot_be_written(
        self, operator: Operator
    ) -> None:
        keep(operator)
        operator.dynamodb.delete_table(TableName=operator.table)
        done = revoke(operator, "--endpoint", "inbound", "--yes", code=1)
        assert operator.secret("payments")["inbound"]["token"] in done.stdout
        assert "warning: stored, but running functions may work with the settings before for 300 s more" in done.stderr
        assert "type: relayctl channel rotate payments inbound --retire --now" in done.stderr
        # A second `revoke` would make one more credential.
        assert "run the command again" not in done.stderr


class TestMarksOfOtherVerbs:
    def test_remove_marks_the_channel_as_revoked(self, operator: Operator) -> None:
        keep(operator)
        operator.run_json("channel", "remove", "payments", "--yes")
        assert operator.marks().keys() == {"payments"}

    @pytest.mark.parametrize(
        ("key", "token", "words"),
        [
            ("inbound.token", "twenty-three-characters", "inbound.token: a token has at least 24 characters"),
            ("xmatters.callback.token", "twenty-three-characters", "callback.token: a token has at least 24"),
            ("inbound.token", "bpr_" + "a" * 38, "was not made for this channel and endpoint, or was cut; make a new"),
            ("inbound.token", BACK, "xmatters.callback.token: is also valid at BigPanda's endpoint"),
        ],
    )
    def test_new_token_that_is_not_safe_is_refused_while_a_stored_one_stays_valid(
        self, operator: Operator, key: str, token: str, words: str
    ) -> None:
        keep(operator, token="short")
        operator.run_json("channel", "set", "payments", "--set", "policy.max_per_minute=30")
        done = operator.run("channel", "set", "payments", "--set", f"{key}={token}")
        assert (done.exit_code, words in done.stderr, token in done.output) == (2, True, False)


class TestLastUses:
    def test_show_prints_the_last_use_of_each_credential(self, operator: Operator) -> None:
        keep(operator)
        channel = samples.parsed(operator.secret("payments"))
        table = Table(operator.dynamodb, operator.table, operator.clock)
        [(_, _, _), (age, _, fingerprint)] = channel.fingerprints("inbound")
        assert age == "previous"
        Uses(table, operator.clock, "inbound").record("payments", fingerprint, Deadline(5, operator.clock))
        shown = operator.run_json("channel", "show", "payments")
        assert shown["credentials"] == [
            {"endpoint": "inbound", "credential": "current", "kind": "token", "used_at": None},
            {"endpoint": "inbound", "credential": "previous", "kind": "token", "used_at": "2027-01-15T08:00:00Z"},
            {"endpoint": "callback", "credential": "current", "kind": "token", "used_at": None},
        ]
        lines = operator.run("channel", "show", "payments").stdout.splitlines()
        assert "last use       inbound previous token: 2027-01-15T08:00:00Z" in lines
