"""relayctl channel set, show, list and remove with AWS in memory: output, refusals, concurrent writers."""

import json
import re
from datetime import datetime
from typing import Any

import pytest

from relay.channels.token import PATTERN, fits
from relay.failures import Reason, SendError
from relay.http.session import HttpAnswer
from tests.fakes import interrupted, once
from tests.integration.relayctl_cloud import Operator
from tests.samples import job

CANARY = "canary-51d0"
TRIGGER = "https://acme.xmatters.com/api/integration/1/functions/f1/triggers"
# Without the recipient in the URL, the channel may notify nobody.
URL = f"{TRIGGER}?apiKey={CANARY}&recipients=Ops"
KEY = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d-0000-4000-8000-000000000000"
CALLBACK = "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/v1/bigpanda/payments"
FROM_XMATTERS = "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/v1/xmatters/payments"
LOGIN = ("--username", "relay", "--password", f"{CANARY}-password")


def made(operator: Operator, *options: str) -> Any:
    return operator.run_json("channel", "set", "payments", "--trigger-url", URL, *options)


class TestSetANewChannel:
    def test_set_prints_callback_url_and_header_with_the_stored_token(self, operator: Operator) -> None:
        pasted = made(operator)
        token = operator.secret("payments")["inbound"]["token"]
        assert pasted == {
            "channel": "payments",
            "callback_url": CALLBACK,
            "header": {"name": "Authorization", "value": f"Bearer {token}"},
            "changes": [
                {"key": "inbound.token", "old": None, "new": "***"},
                {"key": "xmatters.auth.type", "old": None, "new": "url"},
                {"key": "xmatters.trigger_url", "old": None, "new": f"{TRIGGER}?***"},
            ],
            "verified": True,
        }
        assert re.fullmatch(PATTERN, token)
        assert fits(token, "payments", "inbound")

    def test_new_secret_has_the_kms_key_and_the_tags_of_the_stack(self, operator: Operator) -> None:
        operator.parameters["KmsKeyArn"] = KEY
        operator.tags = {"cost-center": "4711", "aws:cloudformation:stack-name": "relay"}
        made(operator)
        secret = operator.secrets.describe_secret(SecretId="team/relay/payments")
        assert (secret["KmsKeyId"], secret["Tags"]) == (KEY, [{"Key": "cost-center", "Value": "4711"}])

    def test_set_without_json_prints_both_urls_and_headers(self, operator: Operator) -> None:
        done = operator.run("channel", "set", "payments", "--trigger-url", URL, "--set", f"bigpanda.api_key={CANARY}")
        secret = operator.secret("payments")
        assert done.stdout.splitlines() == [
            "Now paste into BigPanda's webhook integration:",
            f"  Callback URL   {CALLBACK}",
            "  Header name    Authorization",
            f"  Header value   Bearer {secret['inbound']['token']}",
            "Now paste into xMatters' workflow (docs/xmatters):",
            f"  Callback URL   {FROM_XMATTERS}",
            "  Header name    Authorization",
            f"  Header value   Bearer {secret['xmatters']['callback']['token']}",
        ]
        assert secret["bigpanda"] == {"api_key": CANARY}
        assert fits(secret["xmatters"]["callback"]["token"], "payments", "callback"), "it is valid at no other endpoint"
        assert done.stderr.splitlines()[2:] == [
            "channel payments: made",
            "channel payments: waiting until the relay accepts the new credential, for up to 90 s …",
            "channel payments: the relay accepts it",
        ]
        assert CANARY not in done.output


def test_set_changes_only_the_given_keys(operator: Operator) -> None:
    made(operator, "--auth", "basic", *LOGIN, "--recipient", "jdoe")
    secret = operator.secret("payments")
    done = operator.run("channel", "set", "payments", "--set", "policy.max_per_minute=30", "--json")
    assert json.loads(done.stdout) == {
        "channel": "payments",
        "callback_url": CALLBACK,
        "header": {"name": "Authorization"},
        "changes": [{"key": "policy.max_per_minute", "old": None, "new": 30}],
    }
    assert "channel payments: changed; functions read it within 300 s" in done.stderr
    assert operator.secret("payments") == {**secret, "policy": {"max_per_minute": 30}}
    operator.run("channel", "set", "payments", "--unset", "policy", code=0)
    assert operator.secret("payments") == secret


class TestShowAndList:
    def test_show_masks_every_credential(self, operator: Operator) -> None:
        made(operator, "--auth", "oauth", "--client-id", "client-1", *LOGIN, "--set", f"bigpanda.api_key={CANARY}")
        shown = operator.run_json("channel", "show", "payments")
        auth = {"type": "oauth", "client_id": "client-1", "username": "relay", "password": "***"}
        assert shown["secret"] == {
            "xmatters": {"trigger_url": f"{TRIGGER}?***", "auth": auth, "callback": {"token": "***"}},
            "inbound": {"token": "***"},
            "bigpanda": {"api_key": "***"},
        }
        done = operator.run("channel", "show", "payments")
        assert done.stdout.splitlines()[:5] == [
            "channel               payments",
            f"callback url          {CALLBACK}",
            f"xmatters callback url {FROM_XMATTERS}",
            "mode                  live",
            "credentials           endpoint inbound, credential current, kind token",
        ]
        assert CANARY not in done.output

    def test_removed_channel_that_secrets_manager_still_lists_is_left_out(self, operator: Operator) -> None:
        operator.keep("kept", "removed")
        operator.listing = operator.secrets.list_secrets()
        operator.run("channel", "remove", "removed", "--yes", code=0)
        assert [each["channel"] for each in operator.run_json("channel", "list")["channels"]] == ["kept"]

    def test_list_sorts_channels_and_skips_other_secrets(self, operator: Operator) -> None:
        for name in ("b", "a"):
            operator.run("channel", "set", name, "--trigger-url", URL, code=0)
        for other in ("team/relay2/c", "team/relay/Not A Channel", "team/relay/d/e", "other"):
            operator.secrets.create_secret(Name=other, SecretString=CANARY)
        listed = operator.run_json("channel", "list")["channels"]
        assert [each["channel"] for each in listed] == ["a", "b"]
        assert all(datetime.fromisoformat(each["secret_changed_at"]).tzinfo for each in listed)
        shown = operator.run("channel", "list").stdout.splitlines()
        assert [line.split(":")[0].split() for line in shown] == [["ok", "a"], ["ok", "b"]]
        assert all("last share not known, changed " in line for line in shown)


@pytest.mark.parametrize(
    ("verb", "mark"), [(["resume"], "payments/settings"), (["remove", "--yes"], "payments")], ids=["resume", "remove"]
)
def test_verb_that_is_run_again_writes_the_mark_that_an_earlier_call_could_not_write(
    operator: Operator, verb: list[str], mark: str
) -> None:
    made(operator)
    operator.run("channel", "pause", "payments", "--until", "2027-01-15T10:00:00Z", "--keep", code=0)
    before = operator.marks()
    operator.refused = {"UpdateItem": "ThrottlingException"}
    for _ in range(2):
        assert "run the command again" in operator.run("channel", *verb, "payments", code=1).stderr
    operator.refused = {}
    assert operator.marks() == before
    operator.run("channel", *verb, "payments", code=3)
    assert operator.marks().get(mark) not in {None, before.get(mark)}


class TestRemove:
    def test_removed_channel_is_unknown_and_can_be_set_again(self, operator: Operator) -> None:
        made(operator, "--recipient", "jdoe", "--set", "inbound.token=old-token-of-24-characters")
        removed = {"channel": "payments", "removed": True, "drained": False, "owed": None}
        assert operator.run_json("channel", "remove", "payments", "--yes") == removed
        assert operator.run_json("channel", "list", code=3)["channels"] == []
        marks = operator.marks()
        again = operator.run("channel", "set", "payments", "--trigger-url", URL, code=0)
        assert "channel payments: made" in again.stderr
        assert operator.marks() != marks, "a function may have read the settings from before the removal"
        secret = operator.secret("payments")
        assert secret["xmatters"] == {"trigger_url": URL, "auth": {"type": "url"}}
        assert secret["inbound"]["token"] != "old-token-of-24-characters"

    def test_removed_channel_that_set_restores_without_storing_its_settings_is_said_to_work_again(
        self, operator: Operator
    ) -> None:
        made(operator)
        operator.run("channel", "remove", "payments", "--yes", code=0)
        operator.refused = {"PutSecretValue": "AccessDeniedException"}
        done = set_(operator, "--trigger-url", URL, code=1)
        assert "warning: channel payments works again" in done.stderr
        assert "to refuse them, type: relayctl channel remove payments" in done.stderr
        operator.refused = {}
        operator.run("channel", "remove", "payments", "--yes", code=0)

    def test_remove_is_refused_while_states_are_owed_and_says_what_helps(self, operator: Operator) -> None:
        made(operator)
        operator.owe("payments", "i1", 60)
        operator.owe("payments", "i2", 60, is_critical=False, reason="paused")
        operator.put(job(channel="payments", incident_id="i3"), job(channel="other"))
        done = operator.run("channel", "remove", "payments", "--yes")
        assert (done.exit_code, done.stdout) == (1, "")
        said = " ".join(done.stderr.split())
        assert "1 critical, 1 other owed; 1 dead-lettered, so it was not removed" in said
        for way in (
            "incident list --owed --channel payments",
            "channel resume payments",
            "dlq replay --channel payments --yes",
            "--drain",
            "--drop-owed",
        ):
            assert way in said
        operator.run("channel", "show", "payments", code=0)


def set_(operator: Operator, *options: str, code: int = 0) -> Any:
    return operator.run("channel", "set", "payments", *options, code=code)


def make(operator: Operator, *options: str) -> None:
    made(operator, "--recipient", "jdoe", "--set", f"inbound.token={CANARY}-old-inbound-token", *options)
    operator.requested.clear()
    operator.clock.slept.clear()


class TestVerification:
    @pytest.mark.parametrize(
        ("answers", "said", "seconds"),
        [
            ([401, 503, 404, 400], "the relay accepts it", 20),
            ([401], "warning: stored, not verified: BigPanda's credential is not accepted yet (HTTP 401)", 90),
            ([200], "not accepted yet (HTTP 200)", 90),
            ([0], "not accepted yet (no answer: unreachable: NameResolutionError)", 90),
        ],
    )
    def test_new_credential_is_tried_for_90_seconds_and_printed_in_any_case(
        self, operator: Operator, answers: list[int], said: str, seconds: float
    ) -> None:
        unreachable = SendError(Reason.UNREACHABLE, "NameResolutionError")
        operator.endpoint = [HttpAnswer(status, {}, b"") if status else unreachable for status in answers]
        done = set_(operator, "--trigger-url", URL, code=int("accepts" not in said))
        assert said in done.stderr
        assert sum(operator.clock.slept) == seconds
        assert f"Bearer {operator.secret('payments')['inbound']['token']}" in done.stdout

    def test_endpoint_that_accepts_its_credential_is_not_called_again(self, operator: Operator) -> None:
        make(operator)
        operator.endpoint = [HttpAnswer(status, {}, b"") for status in (400, 401, 401, 400)]
        set_(operator, "--set", "bigpanda.api_key=k", "--set", "inbound.token=new-token-of-24-characters")
        assert [each.split("/v1/")[1].split("/")[0] for each in operator.requested] == ["bigpanda", *["xmatters"] * 3]

    @pytest.mark.parametrize(
        "verb",
        [
            ["set", "other", "--trigger-url", URL],
            ["rotate", "payments", "inbound"],
            ["revoke", "payments", "--endpoint", "inbound", "--yes"],
        ],
        ids=lambda verb: verb[0],
    )
    def test_ctrl_c_during_the_probe_still_prints_the_stored_header(self, operator: Operator, verb: list[str]) -> None:
        make(operator)
        operator.on_pause = once(interrupted)
        done = operator.run("channel", *verb)
        assert f"Bearer {operator.secret(verb[1])['inbound']['token']}" in done.stdout
        assert (done.exit_code, "not verified" in done.stderr or "(interrupted)" in done.stderr) == (130, True)


class TestConcurrentWriters:
    @pytest.mark.parametrize(
        "verb",
        [
            ["set", "payments", "--set", "policy.preset=oncall"],
            ["rotate", "payments", "inbound"],
            ["undo", "payments", "--yes"],
        ],
        ids=lambda verb: verb[0],
    )
    def test_verb_of_the_second_writer_stores_nothing_and_leaves_only_the_labels_of_aws(
        self, operator: Operator, verb: list[str]
    ) -> None:
        make(operator)
        set_(operator, "--set", "policy.max_per_minute=7")
        operator.on_put = once(lambda: set_(operator, "--set", "policy.max_per_minute=30"))
        done = operator.run("channel", *verb)
        assert (done.exit_code, "changed meanwhile by another operator" in done.stderr) == (1, True)
        kept = operator.secret("payments")
        assert (kept["policy"], kept["inbound"]) == ({"max_per_minute": 30}, {"token": f"{CANARY}-old-inbound-token"})
        stages = operator.secrets.describe_secret(SecretId="team/relay/payments")["VersionIdsToStages"].values()
        assert {stage for each in stages for stage in each} == {"AWSCURRENT", "AWSPREVIOUS"}

    def test_second_of_two_concurrent_creators_fails(self, operator: Operator) -> None:
        new = ["--trigger-url", URL]
        event = "before-call.secretsmanager.CreateSecret"

        def other(**_: Any) -> None:
            if operator.hooks.pop(event, None):
                set_(operator, *new, "--set", "inbound.token=first-token-of-24-characters")

        operator.hooks[event] = other
        done = set_(operator, *new, "--set", "inbound.token=second-token-of-24-characters", code=1)
        assert "changed meanwhile by another operator" in done.stderr
        assert operator.secret("payments")["inbound"] == {"token": "first-token-of-24-characters"}
