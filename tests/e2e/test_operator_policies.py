"""The policies for operators allow what they are for and nothing else: the local cloud checks them as AWS would."""

import copy
import json
import re
import uuid
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from relayctl import iam_policies
from relayctl.__main__ import main
from sandbox import local
from sandbox.environment import REGION, aws_environment
from tests.e2e.relayctl_operator import Operator

URL = "http://127.0.0.1:9/api/integration/1/functions/f1/triggers?apiKey=k&recipients=Ops"


class Person:
    """Somebody with an access key and one policy."""

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
        """Give them the very policy."""
        self._put(self._document)

    def may_not(self, action: str) -> None:
        """Give them the policy without this action."""
        smaller = copy.deepcopy(self._document)
        for statement in smaller["Statement"]:
            statement["Action"] = [each for each in _actions(statement) if each != action]
        smaller["Statement"] = [statement for statement in smaller["Statement"] if statement["Action"]]
        self._put(smaller)

    def run(self, *arguments: str) -> Result:
        """Run relayctl with their key."""
        environment = self._key | {"AWS_ENDPOINT_URL": self._cloud.aws_endpoint_url}
        return CliRunner(env=environment).invoke(main, arguments, catch_exceptions=False)

    def _put(self, document: dict[str, Any]) -> None:
        document = copy.deepcopy(document)
        for statement in document["Statement"]:
            for action in ("sqs:ChangeMessageVisibility", "sqs:SendMessage", "sqs:DeleteMessage"):
                if action in _actions(statement):
                    # On AWS this one action stands for the call in batches too; the local cloud tells them apart.
                    statement["Action"] = [*_actions(statement), f"{action}Batch"]
            if "lambda:GetFunctionRecursionConfig" in _actions(statement):
                # The local cloud takes the call for this one.
                statement["Action"] = [*_actions(statement), "lambda:GetFunction"]
        self._iam.put_user_policy(UserName=self.name, PolicyName="relay", PolicyDocument=json.dumps(document))


def _actions(statement: dict[str, Any]) -> list[str]:
    found: str | list[str] = statement["Action"]
    return [found] if isinstance(found, str) else found


def printed(cloud: local.Local, policy: str) -> dict[str, Any]:
    """A policy as `relayctl policy` fills it in for the stack."""
    environment = aws_environment(cloud.aws_endpoint_url)
    done = CliRunner(env=environment).invoke(main, ["policy", policy], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def actions(policy: str) -> list[str]:
    """All that a policy allows for a stack without a key of the operator's."""
    statements = iam_policies.template(policy)["Statement"]
    return [action for each in statements if each["Resource"] != "${KmsKeyArn}" for action in _actions(each)]


@pytest.fixture(scope="module")
def replayer(cloud: local.Local) -> Person:
    return Person(cloud, "replay")


@pytest.fixture(scope="module")
def keeper(cloud: local.Local) -> Person:
    return Person(cloud, "channels")


@pytest.fixture(scope="module")
def looker(cloud: local.Local) -> Person:
    return Person(cloud, "doctor")


class TestReplayPolicy:
    def test_it_is_enough_for_every_verb_of_dlq(self, operator: Operator, replayer: Person) -> None:
        replayer.may_do_all()
        operator.jobs(2)
        operator.script({"kind": "status", "status": 400})
        for verb in (["list"], ["show", operator.visible()[0].delivery_id], ["replay"]):
            done = replayer.run("dlq", *verb)
            assert done.exit_code == 0, done.output
        done = replayer.run("dlq", "replay", "--yes")
        assert done.stdout.splitlines()[-1] == "1 delivered, 1 dead-lettered again (refused 1), 0 left"
        assert [job.replays for job in operator.visible()] == [1]

    @pytest.mark.parametrize("action", actions("replay"))
    def test_every_action_of_it_is_needed(self, operator: Operator, replayer: Person, action: str) -> None:
        replayer.may_not(action)
        operator.jobs(2)
        done = replayer.run("dlq", "replay", "--limit", "1", "--yes")
        assert done.exit_code == 1
        assert "AccessDenied" in done.output
        assert len(done.stdout.splitlines()) in {0, 6, 7}, "either nothing was done, or it is told what was"

    @pytest.mark.parametrize("verb", [["show", local.CHANNEL], ["list"], ["remove", local.CHANNEL, "--yes"]])
    def test_whoever_replays_sees_and_changes_no_channel(
        self, operator: Operator, replayer: Person, verb: list[str]
    ) -> None:
        replayer.may_do_all()
        done = replayer.run("channel", *verb)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "AccessDenied" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_it_names_no_secret_and_no_other_stack(self, cloud: local.Local) -> None:
        policy = printed(cloud, "replay")
        assert [action for action in actions("replay") if "secret" in action or "*" in action] == []
        assert all("bigpanda-xmatters-relay" in each["Resource"] for each in policy["Statement"])


class TestChannelsPolicy:
    def test_it_is_enough_for_every_verb_of_channel(self, keeper: Person) -> None:
        keeper.may_do_all()
        for verb in (
            ["set", "policy-1", "--trigger-url", URL],
            ["set", "policy-1", "--recipient", "jdoe"],
            ["revoke", "policy-1", "--door", "inbound", "--yes"],
            ["set", "policy-1", "--no-overlap"],
            ["show", "policy-1"],
            ["list"],
            ["test", "policy-1"],
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
        ],
    )
    def test_every_action_of_it_is_needed(self, keeper: Person, action: str, verb: list[str]) -> None:
        assert action in actions("channels")
        keeper.may_do_all()
        for name in ("policy-2", "policy-4"):
            assert keeper.run("channel", "set", name, "--trigger-url", URL).exit_code == 0
        assert keeper.run("channel", "remove", "policy-4", "--yes", "--drop-owed").exit_code == 0
        keeper.may_not(action)
        done = keeper.run("channel", *verb)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "AccessDenied" in done.stderr

    @pytest.mark.parametrize("verb", [["list"], ["replay"]])
    def test_whoever_keeps_channels_sees_no_incident(self, keeper: Person, verb: list[str]) -> None:
        keeper.may_do_all()
        done = keeper.run("dlq", *verb)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "AccessDenied" in done.stderr


class TestDoctorPolicy:
    def test_it_is_enough_to_look_at_everything(self, operator: Operator, looker: Person) -> None:
        looker.may_do_all()
        done = looker.run("doctor", "--json")
        document = json.loads(done.stdout)
        assert "AccessDenied" not in done.output
        assert [each["check"] for each in document["checks"] if each["state"] == "failed"] == []
        assert local.CHANNEL in {each["channel"] for each in document["channels"]}
        assert looker.run("channel", "test", local.CHANNEL).exit_code in {0, 1}

    # The local cloud does not know GetAccountSettings, so it cannot refuse the call.
    @pytest.mark.parametrize("action", [each for each in actions("doctor") if each != "lambda:GetAccountSettings"])
    def test_every_action_of_it_is_needed(self, operator: Operator, looker: Person, action: str) -> None:
        looker.may_not(action)
        done = looker.run("doctor", "--json")
        if action == "dynamodb:GetItem":
            assert re.search("missed shares.*not known.*AccessDenied", done.output)
            return
        # SNS has another word for it.
        assert re.search("AWS refused .*(AccessDenied|AuthorizationError)", done.output)
        if action in {"sns:ListSubscriptionsByTopic", "secretsmanager:GetSecretValue"}:
            # Other tests' channels may fail.
            assert "failed" not in {each["state"] for each in json.loads(done.stdout)["checks"]}
        else:
            assert done.exit_code == 1

    @pytest.mark.parametrize(
        "verb", [["channel", "set", local.CHANNEL, "--recipient", "x"], ["dlq", "list"], ["dlq", "replay", "--yes"]]
    )
    def test_whoever_looks_changes_nothing_and_sees_no_incident(
        self, operator: Operator, looker: Person, verb: list[str]
    ) -> None:
        looker.may_do_all()
        operator.jobs(1)
        done = looker.run(*verb)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "AccessDenied" in done.stderr
