"""relayctl channel set with AWS in memory: refusals, rotation, verification, concurrent writers and output."""

from typing import Any

import pytest

from relay.http.session import HttpAnswer
from tests.integration.relayctl_cloud import Operator

CANARY = "canary-6b2e"
TRIGGER = f"https://acme.xmatters.com/api/integration/1/functions/f1/triggers?apiKey={CANARY}"
SECRET = "team/relay/payments"


def set_(operator: Operator, *options: str, code: int = 0) -> Any:
    return operator.run("channel", "set", "payments", *options, code=code)


def make(operator: Operator, *options: str) -> None:
    set_(
        operator,
        "--trigger-url",
        TRIGGER,
        "--recipient",
        "jdoe",
        "--set",
        f"inbound.token={CANARY}-old-inbound-token",
        *options,
    )
    operator.requested.clear()
    operator.clock.slept.clear()


class TestRotation:
    @pytest.mark.parametrize(("key", "endpoint"), [("inbound.token", "inbound"), ("xmatters.callback", "callback")])
    def test_unset_of_the_only_credential_of_an_endpoint_is_refused_with_the_rotate_command(
        self, operator: Operator, key: str, endpoint: str
    ) -> None:
        make(operator, "--set", "bigpanda.api_key=k")
        before = operator.secret_text("payments")
        done = set_(operator, "--unset", key, code=2)
        assert f"relayctl channel rotate payments {endpoint}" in " ".join(done.stderr.split())
        assert operator.secret_text("payments") == before


class TestVerification:
    def test_probe_calls_each_endpoint_at_its_url(self, operator: Operator) -> None:
        make(operator)
        set_(operator, "--set", "bigpanda.api_key=k", "--set", "inbound.token=new-token-of-24-characters")
        assert [each.url.split("/v1/")[1] for each in operator.requested] == ["bigpanda/payments", "xmatters/payments"]
        assert operator.requested[0].headers["Authorization"] == "Bearer new-token-of-24-characters"

    def test_unverified_credential_is_exit_code_1_and_printed(self, operator: Operator) -> None:
        operator.endpoint = lambda _: HttpAnswer(401, {}, b"")
        done = set_(operator, "--trigger-url", TRIGGER, "--recipient", "jdoe", code=1)
        assert "warning: stored, not verified: BigPanda's credential is not accepted yet (HTTP 401)" in done.stderr
        assert f"Bearer {operator.secret('payments')['inbound']['token']}" in done.stdout

    @pytest.mark.parametrize(
        "verb",
        [
            ["set", "other", "--trigger-url", TRIGGER, "--recipient", "jdoe"],
            ["rotate", "payments", "inbound"],
            ["revoke", "payments", "--endpoint", "inbound", "--yes"],
        ],
        ids=lambda verb: verb[0],
    )
    def test_ctrl_c_during_the_probe_still_prints_the_stored_header(self, operator: Operator, verb: list[str]) -> None:
        def interrupted() -> None:
            operator.on_pause = lambda: None
            raise KeyboardInterrupt

        make(operator)
        operator.on_pause = interrupted
        done = operator.run("channel", *verb)
        assert f"Bearer {operator.secret(verb[1])['inbound']['token']}" in done.stdout
        assert (done.exit_code, "not verified" in done.stderr or "(interrupted)" in done.stderr) == (1, True)


class TestConcurrentWriters:
    @staticmethod
    def meanwhile(operator: Operator, *options: str) -> None:
        """Let another operator run `channel set` between read and write of the next `channel set`."""

        def other() -> None:
            operator.on_put = lambda: None
            set_(operator, *options)

        operator.on_put = other

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
        self.meanwhile(operator, "--set", "policy.max_per_minute=30")
        done = operator.run("channel", *verb)
        assert (done.exit_code, "changed meanwhile by another operator" in done.stderr) == (1, True)
        kept = operator.secret("payments")
        assert (kept["policy"], kept["inbound"]) == ({"max_per_minute": 30}, {"token": f"{CANARY}-old-inbound-token"})
        stages = operator.secrets.describe_secret(SecretId=SECRET)["VersionIdsToStages"].values()
        assert {stage for each in stages for stage in each} == {"AWSCURRENT", "AWSPREVIOUS"}

    def test_second_of_two_concurrent_creators_fails(self, operator: Operator) -> None:
        new = ["--trigger-url", TRIGGER, "--recipient", "jdoe"]
        event = "before-call.secretsmanager.CreateSecret"

        def other(**_: Any) -> None:
            if operator.hooks.pop(event, None):
                set_(operator, *new, "--set", "inbound.token=first-token-of-24-characters")

        operator.hooks[event] = other
        done = set_(operator, *new, "--set", "inbound.token=second-token-of-24-characters", code=1)
        assert "changed meanwhile by another operator" in done.stderr
        assert operator.secret("payments")["inbound"] == {"token": "first-token-of-24-characters"}


@pytest.mark.parametrize(
    "verb",
    [
        ["set", "noc", "--set", "policy.max_per_minute=30"],
        ["pause", "noc", "--until", "2027-01-15T12:00:00Z", "--keep"],
        ["rotate", "noc", "inbound"],
    ],
    ids=["set", "pause", "rotate"],
)
def test_key_of_a_newer_version_is_named_and_the_channel_stays_as_it_is(operator: Operator, verb: list[str]) -> None:
    operator.keep("noc", policy={"newer": 1})
    before = operator.secret_text("noc")
    done = operator.run("channel", *verb)
    assert (done.exit_code, "unknown key newer" in done.stderr) == (2, True), done.output
    assert operator.secret_text("noc") == before
