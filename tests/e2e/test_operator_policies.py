"""The operators' policies: each is sufficient and minimal, as the local cloud checks IAM policies like AWS."""

import copy
import json
import re
import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from relay.delivery.task import entry_key_of
from relay.incidents.share import State, parse_share
from relay.jobs.job import seconds_of
from relay.ledger.entry import Entry
from relay.ledger.table import Ledger
from relayctl.__main__ import main
from relayctl.stack.policy import template
from sandbox import local
from sandbox.environment import REGION, aws_environment
from tests.e2e.relayctl_operator import Operator

URL = "http://127.0.0.1:9/api/integration/1/functions/f1/triggers?apiKey=k&recipients=Ops"

# Actions of the policy `replay` that only `dlq drop` needs.
ONLY_FOR_DROP = {"dynamodb:GetItem", "dynamodb:UpdateItem"}
SETTINGS = "xmatters: {trigger_url: {secret: stored}, auth: {type: url}}\npolicy: {max_per_minute: 60}\n"


def give_up(operator: Operator) -> tuple[Ledger, str]:
    """Record in the ledger that the first job of the dead-letter queue was given up; return the ledger and the key."""
    job = operator.visible()[0]
    ledger, name = Ledger(operator.channel.ledger()), entry_key_of(job)
    state = State.of(parse_share(job.body), seconds_of(job.received_at))
    entry = Entry().owing(state).dead_lettering(state, seconds_of(job.received_at), "refused", plan=1)
    assert ledger.write(name, ledger.read(name), entry)
    return ledger, name


class Person:
    """An operator with an access key and one policy."""

    def __init__(self, cloud: local.Local, policy: str) -> None:
        self._cloud = cloud
        self._iam = boto3.client("iam", region_name=REGION, endpoint_url=cloud.aws_endpoint_url)
        self._document: dict[str, Any] = printed(cloud, policy)
        self.name = f"operator-{uuid.uuid4().hex[:8]}"
        self._iam.create_user(UserName=self.name)
        key = self._iam.create_access_key(UserName=self.name)["AccessKey"]
        self._key = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        self.may_do_all()

    def may_do_all(self) -> None:
        """Attach the operator's policy with all its actions."""
        self._put(self._document)

    def may_not(self, action: str) -> None:
        """Attach the operator's policy without this one action."""
        smaller = copy.deepcopy(self._document)
        for statement in smaller["Statement"]:
            statement["Action"] = [each for each in _actions(statement) if each != action]
        smaller["Statement"] = [statement for statement in smaller["Statement"] if statement["Action"]]
        self._put(smaller)

    def run(self, *arguments: str) -> Result:
        """Run relayctl with the operator's access key."""
        environment = self._key | {"AWS_ENDPOINT_URL": self._cloud.aws_endpoint_url}
        return CliRunner(env=environment).invoke(main, arguments, catch_exceptions=False)

    def _put(self, document: dict[str, Any]) -> None:
        document = copy.deepcopy(document)
        for statement in document["Statement"]:
            for action in ("sqs:ChangeMessageVisibility", "sqs:SendMessage", "sqs:DeleteMessage"):
                if action in _actions(statement):
                    # On AWS this action also covers the batch call; the local cloud has separate actions.
                    statement["Action"] = [*_actions(statement), f"{action}Batch"]
            if "lambda:GetFunctionRecursionConfig" in _actions(statement):
                # The local cloud checks the call as this action.
                statement["Action"] = [*_actions(statement), "lambda:GetFunction"]
            if "logs:FilterLogEvents" in _actions(statement):
                # AWS asks for the ARN with `:*`; the local cloud leaves that out.
                statement["Resource"] = [each.removesuffix(":*") for each in statement["Resource"]]
        self._iam.put_user_policy(UserName=self.name, PolicyName="relay", PolicyDocument=json.dumps(document))

    def is_denied(self, *arguments: str) -> None:
        """Run relayctl with the whole policy, and assert that AWS denies it, without a traceback."""
        self.may_do_all()
        done = self.run(*arguments)
        assert (done.exit_code, done.stdout) == (1, ""), arguments
        assert "AccessDenied" in done.stderr
        *notes, error = done.stderr.splitlines()
        assert error.startswith("Error: ")
        assert all(each.startswith("not known: ") for each in notes)


def _actions(statement: dict[str, Any]) -> list[str]:
    found: str | list[str] = statement["Action"]
    return [found] if isinstance(found, str) else found


def printed(cloud: local.Local, policy: str) -> dict[str, Any]:
    """Return a policy, as `relayctl policy` prints it for the stack with all its statements."""
    environment = aws_environment(cloud.aws_endpoint_url)
    done = CliRunner(env=environment).invoke(main, ["policy", policy, "--secrets"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def actions(policy: str) -> list[str]:
    """Return the actions that a policy allows for a stack without a customer KMS key."""
    statements = template(policy)["Statement"]
    return [action for each in statements if each["Resource"] != "${KmsKeyArn}" for action in _actions(each)]


@pytest.fixture(scope="module")
def replayer(cloud: local.Local) -> Person:
    return Person(cloud, "replay")


@pytest.fixture(scope="module")
def importer(cloud: local.Local) -> Person:
    return Person(cloud, "import")


@pytest.fixture(scope="module")
def keeper(cloud: local.Local) -> Person:
    return Person(cloud, "channels")


@pytest.fixture(scope="module")
def looker(cloud: local.Local) -> Person:
    return Person(cloud, "doctor")


@pytest.fixture(scope="module")
def folder(keeper: Person, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make the channel policy-2 with an older version, and a removed one, policy-4; return a folder of settings."""
    keeper.may_do_all()
    for verb in (
        ["set", "policy-2", "--trigger-url", URL],
        ["set", "policy-4", "--trigger-url", URL],
        ["set", "policy-2", "--set", "policy.max_per_minute=30"],
        ["set", "policy-2", "--set", "policy.max_per_minute=60"],
        ["remove", "policy-4", "--yes", "--drop-owed"],
    ):
        done = keeper.run("channel", *verb)
        assert done.exit_code == 0, done.output
    folder = tmp_path_factory.mktemp("settings")
    (folder / "policy-2.yaml").write_text(SETTINGS)
    return str(folder)


class TestReplayPolicy:
    def test_replay_policy_is_enough_for_every_dlq_verb(self, operator: Operator, replayer: Person) -> None:
        replayer.may_do_all()
        operator.jobs(2)
        operator.script({"kind": "status", "status": 400})
        for verb in (["list"], ["show", operator.visible()[0].delivery_id], ["replay"]):
            done = replayer.run("dlq", *verb)
            assert done.exit_code == 0, done.output
        done = replayer.run("dlq", "replay", "--yes")
        assert done.stdout.splitlines()[-1] == "1 delivered, 1 dead-lettered again (refused 1), 0 left"
        assert [job.stamps.replays for job in operator.visible()] == [1]

    def test_replay_policy_is_enough_for_export_and_drop(
        self, operator: Operator, replayer: Person, tmp_path: Path
    ) -> None:
        replayer.may_do_all()
        operator.jobs(2)
        done = replayer.run("dlq", "export", str(tmp_path / "jobs.jsonl"))
        assert done.exit_code == 0, done.output
        ledger, name = give_up(operator)
        done = replayer.run("dlq", "drop", "--all", "--reason", "a test", "--yes")
        assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "2 dropped"), done.output
        assert operator.visible() == []
        assert ledger.read(name).debt.row is None

    def test_replay_policy_does_not_allow_an_import(self, operator: Operator, replayer: Person, tmp_path: Path) -> None:
        replayer.may_do_all()
        operator.jobs(1)
        assert replayer.run("dlq", "export", str(tmp_path / "jobs.jsonl")).exit_code == 0
        done = replayer.run("dlq", "import", str(tmp_path / "jobs.jsonl"))
        assert done.exit_code == 1
        assert "AccessDenied" in done.stderr
        assert len(operator.visible()) == 1

    @pytest.mark.parametrize("action", sorted(ONLY_FOR_DROP))
    def test_drop_that_may_not_write_the_ledger_says_so(
        self, operator: Operator, replayer: Person, action: str
    ) -> None:
        replayer.may_not(action)
        operator.jobs(1)
        give_up(operator)
        done = replayer.run("dlq", "drop", "--all", "--reason", "a test", "--yes")
        assert (done.exit_code, "the ledger could not be written" in done.stderr) == (0, True), done.output

    @pytest.mark.parametrize("action", [each for each in actions("replay") if each not in ONLY_FOR_DROP])
    def test_every_action_of_the_replay_policy_is_needed(
        self, operator: Operator, replayer: Person, action: str
    ) -> None:
        replayer.may_not(action)
        operator.jobs(2)
        done = replayer.run("dlq", "replay", "--limit", "1", "--yes")
        assert done.exit_code == 1
        assert "AccessDenied" in done.output
        assert len(done.stdout.splitlines()) in {0, 7, 8}, "either nothing was done, or it is told what was"

    def test_replay_policy_gives_no_access_to_channels(self, replayer: Person) -> None:
        for verb in (["show", local.CHANNEL], ["list"], ["remove", local.CHANNEL, "--yes"]):
            replayer.is_denied("channel", *verb)

    def test_replay_policy_names_no_secret_and_no_other_stack(self, cloud: local.Local) -> None:
        policy = printed(cloud, "replay")
        assert [action for action in actions("replay") if "secret" in action or "*" in action] == []
        assert all("bigpanda-xmatters-relay" in each["Resource"] for each in policy["Statement"])


class TestImportPolicy:
    @pytest.fixture
    def file(self, operator: Operator, replayer: Person, tmp_path: Path) -> str:
        """Export file with two jobs, which are also still on the dead-letter queue."""
        replayer.may_do_all()
        operator.jobs(2)
        assert replayer.run("dlq", "export", str(tmp_path / "jobs.jsonl")).exit_code == 0
        return str(tmp_path / "jobs.jsonl")

    def test_import_policy_is_enough_for_an_import(self, operator: Operator, importer: Person, file: str) -> None:
        importer.may_do_all()
        done = importer.run("dlq", "import", file)
        assert done.exit_code == 0, done.output
        assert len(operator.visible()) == 4

    @pytest.mark.parametrize("action", actions("import"))
    def test_every_action_of_the_import_policy_is_needed(self, importer: Person, file: str, action: str) -> None:
        importer.may_not(action)
        done = importer.run("dlq", "import", file)
        assert done.exit_code == 1
        assert "AccessDenied" in done.stderr

    def test_import_policy_gives_no_access_to_incidents(self, operator: Operator, importer: Person) -> None:
        operator.jobs(1)
        for verb in (["list"], ["replay", "--yes"], ["drop", "--all", "--reason", "x", "--yes"]):
            importer.is_denied("dlq", *verb)
        assert len(operator.visible()) == 1


class TestChannelsPolicy:
    def test_channels_policy_is_enough_for_every_channel_verb(self, keeper: Person, tmp_path: Path) -> None:
        keeper.may_do_all()
        for verb in (
            ["set", "policy-1", "--trigger-url", URL],
            ["set", "policy-1", "--recipient", "jdoe"],
            ["revoke", "policy-1", "--endpoint", "inbound", "--yes"],
            ["rotate", "policy-1", "inbound"],
            ["rotate", "policy-1", "inbound", "--retire", "--now"],
            ["show", "policy-1"],
            ["list"],
            ["test", "policy-1"],
            ["export", str(tmp_path), "--channel", "policy-1"],
            ["plan", str(tmp_path)],
            ["set", "policy-1", "--set", "policy.max_per_minute=30"],
            ["apply", str(tmp_path), "--yes"],
            ["undo", "policy-1", "--yes"],
            ["remove", "policy-1", "--yes", "--drop-owed"],
            ["set", "policy-1", "--trigger-url", URL],
        ):
            done = keeper.run("channel", *verb)
            assert done.exit_code == 0, done.output

    @pytest.mark.parametrize(
        ("action", "verb"),
        [
            ("cloudformation:DescribeStacks", ["list"]),
            ("secretsmanager:GetSecretValue", ["show", "policy-2"]),
            ("secretsmanager:CreateSecret", ["set", "policy-3", "--trigger-url", URL]),
            ("secretsmanager:PutSecretValue", ["set", "policy-2", "--recipient", "jdoe"]),
            ("secretsmanager:UpdateSecretVersionStage", ["set", "policy-2", "--recipient", "jdoe"]),
            ("secretsmanager:DeleteSecret", ["remove", "policy-2", "--yes", "--drop-owed"]),
            ("sqs:GetQueueAttributes", ["remove", "policy-2", "--yes"]),
            ("secretsmanager:DescribeSecret", ["set", "policy-4", "--trigger-url", URL]),
            ("secretsmanager:RestoreSecret", ["set", "policy-4", "--trigger-url", URL]),
            ("secretsmanager:ListSecrets", ["list"]),
            ("secretsmanager:ListSecrets", ["plan", "DIR"]),
            ("secretsmanager:GetSecretValue", ["plan", "DIR"]),
            ("secretsmanager:GetSecretValue", ["export", "DIR", "--channel", "policy-2", "--overwrite"]),
            ("secretsmanager:PutSecretValue", ["undo", "policy-2", "--yes", "--json"]),
        ],
    )
    def test_every_action_of_the_channels_policy_is_needed(
        self, keeper: Person, folder: str, action: str, verb: list[str]
    ) -> None:
        assert action in actions("channels")
        keeper.may_not(action)
        done = keeper.run("channel", *(folder if each == "DIR" else each for each in verb))
        assert (done.exit_code, done.stdout) == (1, "")
        assert "AccessDenied" in done.stderr

    def test_channels_policy_gives_no_access_to_incidents(self, keeper: Person) -> None:
        for verb in ("list", "replay"):
            keeper.is_denied("dlq", verb)


class TestFallbackPolicy:
    def test_fallback_policy_is_enough_for_a_test_and_each_action_is_needed(self, cloud: local.Local) -> None:
        tester = Person(cloud, "fallback")
        test = ("fallback", "test", "--yes", "--json")
        document = json.loads(tester.run(*test).stdout)
        assert [each["state"] for each in document["checks"]] == ["warning"] * 3, document
        for action in actions("fallback"):
            tester.may_not(action)
            done = tester.run(*test)
            assert (done.exit_code, "AccessDenied" in done.stderr) == (1, True), action


class TestDoctorPolicy:
    def test_doctor_policy_is_enough_for_plan_and_export(self, looker: Person, tmp_path: Path) -> None:
        looker.may_do_all()
        for verb in ("export", "plan"):
            done = looker.run("channel", verb, str(tmp_path), "--channel", local.CHANNEL)
            assert done.exit_code == 0, done.output

    def test_doctor_policy_is_enough_for_every_check_of_doctor(self, operator: Operator, looker: Person) -> None:
        looker.may_do_all()
        done = looker.run("doctor", "--json")
        document = json.loads(done.stdout)
        assert "AccessDenied" not in done.output
        assert [each["check"] for each in document["checks"] if each["state"] == "failed"] == []
        assert local.CHANNEL in {each["channel"] for each in document["channels"]}
        assert looker.run("channel", "test", local.CHANNEL).exit_code in {0, 1}

    # The local cloud does not know GetAccountSettings, so it cannot refuse the call.
    @pytest.mark.parametrize("action", [each for each in actions("doctor") if each != "lambda:GetAccountSettings"])
    def test_every_action_of_the_doctor_policy_is_needed(self, operator: Operator, looker: Person, action: str) -> None:
        looker.may_not(action)
        done = looker.run("doctor", "--json")
        if action == "dynamodb:GetItem":
            assert re.search("missed shares.*not known.*AccessDenied", done.output)
            return
        # SNS uses another error code.
        assert re.search("(AWS|DynamoDB) refused.*(AccessDenied|AuthorizationError)", done.output)
        if action in {"sns:ListSubscriptionsByTopic", "secretsmanager:GetSecretValue"}:
            # Other tests' channels may fail.
            assert "failed" not in {each["state"] for each in json.loads(done.stdout)["checks"]}
        else:
            assert done.exit_code == 1

    def test_doctor_policy_changes_nothing_and_gives_no_access_to_incidents(
        self, operator: Operator, looker: Person
    ) -> None:
        operator.jobs(1)
        for verb in (
            ["channel", "set", local.CHANNEL, "--recipient", "x"],
            ["dlq", "list"],
            ["dlq", "replay", "--yes"],
        ):
            looker.is_denied(*verb)
