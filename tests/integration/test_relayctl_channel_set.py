"""relayctl channel set: what it refuses, rotates, waits for, compares and prints, against an account in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from relay.errors import NoAnswer, Reason
from relay.http.session import Answer
from tests.integration.relayctl_cloud import Knocked, Operator, account

CANARY = "canary-6b2e"
TRIGGER = f"https://acme.xmatters.com/api/integration/1/functions/f1/triggers?apiKey={CANARY}"
SECRET = "team/relay/payments"
TO_OPS = {"when": {"status": "warning"}, "recipients": ["Ops"]}
UNREACHABLE = NoAnswer(Reason.UNREACHABLE, "NameResolutionError")


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    with account(monkeypatch) as its_operator:
        yield its_operator


def set_(operator: Operator, *options: str, code: int = 0) -> Any:
    done = operator.run("channel", "set", "payments", *options)
    assert done.exit_code == code, done.output
    return done


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
    operator.knocked.clear()
    operator.clock.slept.clear()


def answering(status: int) -> Any:
    return lambda _: Answer(status, {}, b"")


class TestNotifiesNobody:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ([], "xmatters.recipients: nobody would be notified"),
            (["--set", 'policy.routes=[{"when":{},"recipients":[]}]'], "policy.routes.0.when: must not be empty"),
            (
                ["--recipient", "jdoe", "--set", 'policy.routes=[{"when":{"status":"critical"},"recipients":[]}]'],
                "policy.routes.0.recipients: must not be empty",
            ),
            (
                ["--recipient", "jdoe", "--trigger-url", f"https://acme.xmatters.com/?apiKey={CANARY}"],
                "xmatters.trigger_url: its path is not that of an xMatters trigger",
            ),
        ],
    )
    def test_a_channel_that_may_notify_nobody_is_refused_and_nothing_is_stored(
        self, operator: Operator, options: list[str], words: str
    ) -> None:
        done = set_(operator, "--trigger-url", TRIGGER, *options, code=2)
        assert words in done.stderr
        assert done.stdout == ""
        assert CANARY not in done.output
        assert operator.secrets.list_secrets()["SecretList"] == []

    @pytest.mark.parametrize(
        ("flag", "kept"),
        [("--recipients-in-workflow", "workflow"), ("--recipients-in-url", "url")],
    )
    def test_the_operator_may_vouch_that_recipients_are_elsewhere(
        self, operator: Operator, flag: str, kept: str
    ) -> None:
        set_(operator, "--trigger-url", TRIGGER, flag)
        assert operator.secret("payments")["xmatters"]["recipients_in"] == kept
        set_(operator, "--set", "policy.max_per_minute=30")
        done = set_(operator, "--unset", "xmatters.recipients_in", code=2)
        assert "--recipients-in-workflow or --recipients-in-url" in done.stderr

    def test_the_operator_may_vouch_for_another_path(self, operator: Operator) -> None:
        url = "https://acme.xmatters.com/agent/7?apiKey=k"
        set_(operator, "--trigger-url", url, "--recipient", "jdoe", "--any-trigger-path")
        assert operator.secret("payments")["xmatters"]["any_trigger_path"] is True

    @pytest.mark.parametrize(
        ("options", "is_warned"), [(["--recipients-in-url"], False), (["--recipient", "jdoe"], False), ([], True)]
    )
    def test_a_critical_that_no_route_takes_is_warned_of(
        self, operator: Operator, options: list[str], is_warned: bool
    ) -> None:
        routes = f"policy.routes={json.dumps([TO_OPS])}"
        done = set_(operator, "--trigger-url", TRIGGER, "--set", routes, *options)
        assert ("warning: a critical incident that no route takes notifies nobody" in done.stderr) is is_warned


class TestRotation:
    def test_second_rotation_is_refused_while_the_first_old_token_works(self, operator: Operator) -> None:
        make(operator)
        set_(operator, "--set", "inbound.token=second-token-of-24-characters")
        done = set_(operator, "--set", "inbound.token=third-token-of-24-characters", code=2)
        assert "inbound: the credential before the last change works until 2027-01-16T08:00:05" in done.stderr
        assert operator.secret("payments")["inbound"]["token"] == "second-token-of-24-characters"
        set_(operator, "--set", "inbound.token=third-token-of-24-characters", "--no-overlap")
        assert operator.secret("payments")["inbound"] == {"token": "third-token-of-24-characters"}

    def test_the_old_token_is_kept_for_24_hours(self, operator: Operator) -> None:
        make(operator)
        done = set_(operator, "--set", f"inbound.token={CANARY}-new-inbound-token")
        assert operator.secret("payments")["inbound"] == {
            "token": f"{CANARY}-new-inbound-token",
            "previous": {"token": f"{CANARY}-old-inbound-token", "expires_at": "2027-01-16T08:00:05+00:00"},
        }
        assert "BigPanda's old credential works until 2027-01-16T08:00:05+00:00" in done.stderr

    def test_the_old_callback_token_is_kept_too(self, operator: Operator) -> None:
        make(operator, "--set", "bigpanda.api_key=k", "--set", "xmatters.callback.token=back-token-of-24-characters")
        set_(operator, "--unset", "xmatters.callback")
        callback = operator.secret("payments")["xmatters"]["callback"]
        assert callback["previous"]["token"] == "back-token-of-24-characters"
        assert callback["token"] != "back-token-of-24-characters"

    def test_no_overlap_cuts_the_old_one_at_once(self, operator: Operator) -> None:
        make(operator)
        set_(operator, "--set", "inbound.token=new-token-of-24-characters", "--no-overlap")
        assert operator.secret("payments")["inbound"] == {"token": "new-token-of-24-characters"}

    def test_no_overlap_alone_ends_an_overlap(self, operator: Operator) -> None:
        make(operator)
        set_(operator, "--set", "inbound.token=new-token-of-24-characters")
        set_(operator, "--no-overlap")
        assert operator.secret("payments")["inbound"] == {"token": "new-token-of-24-characters"}

    def test_another_change_keeps_no_credential(self, operator: Operator) -> None:
        make(operator)
        set_(operator, "--set", "policy.max_per_minute=30")
        assert "previous" not in operator.secret("payments")["inbound"]


class TestProbe:
    def test_what_to_paste_comes_once_the_door_takes_the_new_credential(self, operator: Operator) -> None:
        answers = [401, 503, 400]
        operator.door = lambda _: Answer(answers.pop(0), {}, b"")
        done = set_(operator, "--trigger-url", TRIGGER, "--recipient", "jdoe")
        token = operator.secret("payments")["inbound"]["token"]
        assert [each.headers["Authorization"] for each in operator.knocked] == [f"Bearer {token}"] * 3
        assert {each.body for each in operator.knocked} == {b""}
        assert {each.headers["User-Agent"] for each in operator.knocked} == {"relayctl"}
        assert done.stdout.startswith("Now paste into BigPanda's webhook integration:")
        assert done.stderr.splitlines()[-1] == "channel payments: the relay takes it"

    def test_both_doors_are_asked_each_at_its_url(self, operator: Operator) -> None:
        make(operator)
        set_(operator, "--set", "bigpanda.api_key=k", "--set", "inbound.token=new-token-of-24-characters")
        assert [each.url.split("/v1/")[1] for each in operator.knocked] == ["bigpanda/payments", "xmatters/payments"]

    def test_a_change_of_anything_else_asks_no_door(self, operator: Operator) -> None:
        make(operator)
        set_(operator, "--set", "policy.max_per_minute=30")
        assert (operator.knocked, operator.clock.slept) == ([], [])

    @pytest.mark.parametrize("status", [401, 503])
    def test_a_door_that_stays_shut_is_exit_code_1_with_what_to_paste(self, operator: Operator, status: int) -> None:
        operator.door = answering(status)
        done = set_(operator, "--trigger-url", TRIGGER, "--recipient", "jdoe", code=1)
        assert f"warning: stored, not verified: BigPanda's credential was not taken yet (HTTP {status})" in done.stderr
        assert f"Bearer {operator.secret('payments')['inbound']['token']}" in done.stdout

    def test_an_api_that_can_not_be_reached_is_exit_code_1_too(self, operator: Operator) -> None:
        def unreachable(_: Knocked) -> Answer:
            raise UNREACHABLE

        operator.door = unreachable
        options = ("--trigger-url", TRIGGER, "--recipient", "jdoe")
        document = operator.run_json("channel", "set", "payments", *options, code=1)
        assert document["verified"] is False
        assert document["header"]["value"] == f"Bearer {operator.secret('payments')['inbound']['token']}"

    def test_ctrl_c_while_waiting_loses_nothing(self, operator: Operator) -> None:
        def interrupt(_: Knocked) -> Answer:
            raise KeyboardInterrupt

        operator.door = interrupt
        done = set_(operator, "--trigger-url", TRIGGER, "--recipient", "jdoe", code=1)
        assert "stored, not verified" in done.stderr
        assert f"Bearer {operator.secret('payments')['inbound']['token']}" in done.stdout

    def test_in_a_local_cloud_the_first_knock_does_not_wait(self, operator: Operator) -> None:
        operator.parameters["Profile"] = "local"
        set_(operator, "--trigger-url", TRIGGER, "--recipient", "jdoe")
        assert operator.clock.slept == [0.0]


class TestConcurrentWriters:
    @staticmethod
    def meanwhile(operator: Operator, *options: str) -> None:
        """Let another operator run `channel set` between the read and the write of the next one."""

        def other() -> None:
            operator.on_put = lambda: None
            set_(operator, *options)

        operator.on_put = other

    def test_second_writer_is_told_that_the_channel_changed(self, operator: Operator) -> None:
        make(operator)
        self.meanwhile(operator, "--set", "policy.max_per_minute=30")
        done = set_(operator, "--set", "policy.preset=oncall", code=1)
        assert done.stdout == ""
        assert done.stderr == (
            "Error: channel payments: changed meanwhile by somebody else; nothing was stored; run the command again\n"
        )
        assert operator.secret("payments")["policy"] == {"max_per_minute": 30}
        set_(operator, "--set", "policy.preset=oncall")
        assert operator.secret("payments")["policy"] == {"max_per_minute": 30, "preset": "oncall"}

    def test_no_label_of_either_writer_stays(self, operator: Operator) -> None:
        make(operator)
        self.meanwhile(operator, "--set", "policy.max_per_minute=30")
        set_(operator, "--set", "policy.preset=oncall", code=1)
        stages = operator.secrets.describe_secret(SecretId=SECRET)["VersionIdsToStages"].values()
        assert {stage for each in stages for stage in each} == {"AWSCURRENT", "AWSPREVIOUS"}

    def test_of_two_that_make_a_channel_the_second_is_told(self, operator: Operator) -> None:
        new = ["--trigger-url", TRIGGER, "--recipient", "jdoe"]
        operator.refused = {}
        original = operator.session

        def session(**names: Any) -> Any:
            made: Any = original(**names)

            def other(**_: Any) -> None:
                made.events.unregister("before-call.secretsmanager.CreateSecret", other)
                set_(operator, *new, "--set", "inbound.token=first-token-of-24-characters")

            if operator.session is session:
                operator.session = original  # type: ignore[method-assign]
                made.events.register("before-call.secretsmanager.CreateSecret", other)
            return made

        operator.session = session  # type: ignore[method-assign]
        done = set_(operator, *new, "--set", "inbound.token=second-token-of-24-characters", code=1)
        assert "changed meanwhile by somebody else" in done.stderr
        assert operator.secret("payments")["inbound"] == {"token": "first-token-of-24-characters"}

    def test_of_two_that_restore_a_removed_channel_one_wins(self, operator: Operator) -> None:
        make(operator)
        assert operator.run("channel", "remove", "payments", "--yes").exit_code == 0
        new = ["--trigger-url", TRIGGER, "--recipient", "jdoe", "--set"]
        self.meanwhile(operator, "--set", "policy.max_per_minute=30")
        done = set_(operator, *new, "inbound.token=second-token-of-24-characters", code=1)
        assert "changed meanwhile" in done.stderr
        assert operator.secret("payments")["policy"] == {"max_per_minute": 30}

    def test_failed_change_does_not_bring_a_removed_channel_back(self, operator: Operator) -> None:
        make(operator)
        assert operator.run("channel", "remove", "payments", "--yes").exit_code == 0

        def fail() -> None:
            raise ClientError({"Error": {"Code": "InternalServiceError", "Message": "no"}}, "PutSecretValue")

        operator.on_put = fail
        done = set_(operator, "--trigger-url", TRIGGER, "--recipient", "jdoe", code=1)
        assert "AWS refused" in done.stderr
        assert "DeletedDate" in operator.secrets.describe_secret(SecretId=SECRET)

    def test_a_channel_removed_meanwhile_is_not_written(self, operator: Operator) -> None:
        make(operator)

        def remove() -> None:
            operator.on_put = lambda: None
            operator.secrets.delete_secret(SecretId=SECRET)

        operator.on_put = remove
        assert "changed meanwhile" in set_(operator, "--set", "policy.max_per_minute=30", code=1).stderr

    def test_the_double_refuses_to_move_a_label_from_a_version_without_it_as_aws_does(self, operator: Operator) -> None:
        """The compare-and-set stands on this refusal. AWS documents it, and moto and MiniStack do the same."""
        make(operator)
        before = operator.secrets.get_secret_value(SecretId=SECRET)["VersionId"]
        set_(operator, "--set", "policy.max_per_minute=30")
        newest = operator.secrets.put_secret_value(SecretId=SECRET, SecretString="{}", VersionStages=["other"])
        with pytest.raises(ClientError, match="InvalidParameterException"):
            operator.secrets.update_secret_version_stage(
                SecretId=SECRET,
                VersionStage="AWSCURRENT",
                MoveToVersionId=newest["VersionId"],
                RemoveFromVersionId=before,
            )


class TestPrinted:
    def test_credentials_are_printed_only_when_they_changed(self, operator: Operator) -> None:
        make(operator)
        done = set_(operator, "--set", "policy.max_per_minute=30", "--set", 'xmatters.recipients=["a", "b"]')
        assert done.stdout.splitlines() == [
            "policy.max_per_minute: (not set) → 30",
            'xmatters.recipients: ["jdoe"] → ["a", "b"]',
        ]
        assert CANARY not in done.output

    def test_changed_credentials_are_masked_in_the_list_of_changes(self, operator: Operator) -> None:
        make(operator)
        done = set_(operator, "--set", f"inbound.token={CANARY}-new-inbound-token")
        assert done.stdout.splitlines() == [
            "inbound.previous.expires_at: (not set) → 2027-01-16T08:00:05+00:00",
            "inbound.previous.token: (not set) → ***",
            "inbound.token: *** → ***",
            "Now paste into BigPanda's webhook integration:",
            "  Callback URL   https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/v1/bigpanda/payments",
            "  Header name    Authorization",
            f"  Header value   Bearer {CANARY}-new-inbound-token",
        ]

    def test_the_trigger_urls_key_is_masked(self, operator: Operator) -> None:
        make(operator)
        done = set_(operator, "--trigger-url", TRIGGER.replace(CANARY, f"{CANARY}-2"))
        url = TRIGGER.partition("?")[0]
        assert done.stdout == f"xmatters.trigger_url: {url}?*** → {url}?***\n"

    def test_settings_that_are_no_secrets_are_shown(self, operator: Operator) -> None:
        make(operator, "--set", "bigpanda.api_key=k")
        done = set_(
            operator, "--set", "bigpanda.reconcile=false", "--set", "bigpanda.reconcile_query=a", "--any-trigger-path"
        )
        assert done.stdout.splitlines() == [
            "bigpanda.reconcile: (not set) → false",
            "bigpanda.reconcile_query: (not set) → a",
            "xmatters.any_trigger_path: (not set) → true",
        ]

    def test_nothing_changed_stores_nothing(self, operator: Operator) -> None:
        make(operator)
        before = operator.secrets.describe_secret(SecretId=SECRET)["VersionIdsToStages"]
        done = set_(operator, "--recipient", "jdoe")
        assert done.stdout == "nothing changed\n"
        assert operator.secrets.describe_secret(SecretId=SECRET)["VersionIdsToStages"] == before

    def test_reveal_prints_them_without_a_change(self, operator: Operator) -> None:
        make(operator)
        done = set_(operator, "--reveal")
        assert f"  Header value   Bearer {CANARY}-old-inbound-token" in done.stdout.splitlines()
        assert operator.knocked == []

    def test_programs_get_no_value_that_did_not_change(self, operator: Operator) -> None:
        make(operator)
        document = operator.run_json("channel", "set", "payments", "--set", "policy.max_per_minute=30")
        assert document["header"] == {"name": "Authorization"}
        assert document["changes"] == [{"key": "policy.max_per_minute", "old": None, "new": 30}]
        assert "verified" not in document
        revealed = operator.run_json("channel", "set", "payments", "--reveal")
        assert revealed["header"]["value"] == f"Bearer {CANARY}-old-inbound-token"

    @pytest.mark.parametrize(
        ("key", "content", "words"),
        [
            ("policy.routes", '[\n  {"when": }\n]', "is not JSON: Expecting value (line 2)"),
            ("xmatters.callback", f'{{"token": "{CANARY}"', "is not JSON: Expecting ',' delimiter (line 1)"),
            ("policy.max_per_minute", CANARY, "is not JSON: Expecting value (line 1)"),
        ],
    )
    def test_a_broken_file_is_named_by_its_error_and_line(
        self, operator: Operator, tmp_path: Path, key: str, content: str, words: str
    ) -> None:
        make(operator)
        (tmp_path / "value").write_text(content)
        done = set_(operator, "--set", f"{key}=@{tmp_path}/value", code=2)
        assert f"--set {key}: the file that @ names {words}" in done.stderr
        assert CANARY not in done.output

    @pytest.mark.parametrize("key", ["inbound.token", "policy.properties.team", "bigpanda.api_key"])
    def test_a_file_for_a_key_that_holds_text_need_not_be_json(
        self, operator: Operator, tmp_path: Path, key: str
    ) -> None:
        make(operator, "--set", "bigpanda.api_key=k")
        (tmp_path / "value").write_text("{text-of-24-characters-or-more\n")
        set_(operator, "--set", f"{key}=@{tmp_path}/value")
        assert "{text" in operator.secret_text("payments")

    def test_a_missing_file_is_said_to_be_missing(self, operator: Operator) -> None:
        make(operator)
        done = set_(operator, "--set", "policy.routes=@/no/such/file", code=2)
        assert "--set policy.routes: can't read the file that @ names: No such file" in done.stderr

    @pytest.mark.parametrize(
        ("option", "words"),
        [
            (
                ["--set", "policy.max_per_minit=3"],
                "policy: unknown key max_per_minit; did you mean policy.max_per_minute?",
            ),
            (["--set", "polcy.routes=[]"], "unknown key polcy; did you mean policy.routes?"),
            (
                ["--unset", "xmatters.recipient"],
                "the channel has no such key; did you mean xmatters.recipients?",
            ),
        ],
    )
    def test_an_unknown_key_suggests_the_nearest_one(self, operator: Operator, option: list[str], words: str) -> None:
        make(operator)
        assert words in set_(operator, *option, code=2).stderr

    def test_at_80_columns_nothing_breaks_within_a_word(
        self, operator: Operator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        operator.outputs["ReconcileFunction"] = "reconcile"
        routes = json.dumps([{"when": {"status": "warning"}, "recipients": [f"Team {n}" for n in range(20)]}])
        options = ["--trigger-url", TRIGGER, "--set", f"policy.routes={routes}", "--set", "bigpanda.api_key=k"]
        made = set_(operator, *options)
        changed = set_(operator, "--set", f"policy.routes={routes.replace('Team', 'Crew')}")
        for done in (made, changed):
            lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
            assert [line for line in lines if len(line) > 80 and " " in line.strip()] == []
        words = changed.stdout.split()
        assert [sum(each in word for word in words) for each in ("policy.routes:", '"Team', '"Crew')] == [1, 20, 20]
