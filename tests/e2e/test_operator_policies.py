"""The operators' policies: each is sufficient, as the local cloud checks IAM policies like AWS, and has no action that
its verbs do not use.
"""

import json
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
from relayctl.stack.deployed import Effects
from relayctl.stack.policy import template
from sandbox import local
from sandbox.environment import REGION, aws_environment
from tests.e2e.relayctl_operator import Operator

URL = "http://127.0.0.1:9/api/integration/1/functions/f1/triggers?apiKey=k&recipients=Ops"


def give_up(operator: Operator) -> tuple[Ledger, str]:
    """Record in the ledger that the first job of the dead-letter queue was given up; return the ledger and the key."""
    job = operator.visible()[0]
    ledger, name = Ledger(operator.channel.ledger()), entry_key_of(job)
    state = State.of(parse_share(job.body), seconds_of(job.received_at))
    entry = Entry().owing(state).dead_lettering(state, seconds_of(job.received_at), "refused", plan=1)
    assert ledger.write(name, ledger.read(name), entry)
    return ledger, name


# IAM's names of calls for which it has another one.
OTHER_NAMES = {"lambda:Invoke": "lambda:InvokeFunction"}


class Person:
    """An operator with an access key and one policy."""

    def __init__(self, cloud: local.Local, policy: str) -> None:
        self._cloud = cloud
        self._iam = boto3.client("iam", region_name=REGION, endpoint_url=cloud.aws_endpoint_url)
        self._policy = policy
        self.name = f"operator-{uuid.uuid4().hex[:8]}"
        self._iam.create_user(UserName=self.name)
        key = self._iam.create_access_key(UserName=self.name)["AccessKey"]
        self._key = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        self._used = set[str]()
        self._attach()

    def run(self, *arguments: str) -> Result:
        environment = self._key | {"AWS_ENDPOINT_URL": self._cloud.aws_endpoint_url}
        effects = Effects(sessions=self._session)
        return CliRunner(env=environment).invoke(main, arguments, obj=effects, catch_exceptions=False)

    def may(self, *arguments: str) -> str:
        """Run relayctl, and assert that it succeeds; return its output."""
        done = self.run(*arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    def unused(self) -> set[str]:
        """Return the actions of the policy that no run used."""
        return set(actions(self._policy)) - self._used

    def _session(self, *, profile_name: str | None, region_name: str | None) -> boto3.Session:
        session = boto3.Session(profile_name=profile_name, region_name=region_name)
        events: Any = session.events
        events.register("before-call", self._note)
        return session

    def _note(self, model: Any, **_: Any) -> None:
        action = f"{model.service_model.service_name}:{model.name.removesuffix('Batch')}"
        self._used.add(OTHER_NAMES.get(action, action.replace("pinpoint-sms-voice-v2:", "sms-voice:")))

    def _attach(self) -> None:
        document = printed(self._cloud, self._policy)
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
        """Run relayctl, and assert that AWS denies it, without a traceback."""
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


class TestReplayPolicy:
    def test_replay_policy_has_what_every_dlq_verb_needs_and_no_more(
        self, operator: Operator, replayer: Person, tmp_path: Path
    ) -> None:
        operator.jobs(2)
        operator.script({"kind": "status", "status": 400})
        for verb in (["list"], ["show", operator.visible()[0].delivery_id], ["replay"]):
            replayer.may("dlq", *verb)
        said = replayer.run("dlq", "replay", "--yes").stdout.splitlines()
        assert said[-1] == "1 delivered, 1 dead-lettered again (refused 1), 0 left"
        assert [job.stamps.replays for job in operator.visible()] == [1]
        replayer.may("dlq", "export", str(tmp_path / "jobs.jsonl"))
        ledger, name = give_up(operator)
        said = replayer.may("dlq", "drop", "--all", "--reason", "a test", "--yes").splitlines()
        assert (said[-1], operator.visible(), ledger.read(name).debt.row) == ("1 dropped", [], None)
        assert replayer.unused() == set()

    def test_replay_policy_does_not_allow_an_import(self, operator: Operator, replayer: Person, tmp_path: Path) -> None:
        operator.jobs(1)
        replayer.may("dlq", "export", str(tmp_path / "jobs.jsonl"))
        done = replayer.run("dlq", "import", str(tmp_path / "jobs.jsonl"))
        assert done.exit_code == 1
        assert "AccessDenied" in done.stderr
        assert len(operator.visible()) == 1

    def test_replay_policy_gives_no_access_to_channels(self, replayer: Person) -> None:
        for verb in (["show", local.CHANNEL], ["list"], ["remove", local.CHANNEL, "--yes"]):
            replayer.is_denied("channel", *verb)

    def test_replay_policy_names_no_secret_and_no_other_stack(self, cloud: local.Local) -> None:
        policy = printed(cloud, "replay")
        assert [action for action in actions("replay") if "secret" in action or "*" in action] == []
        assert all("bigpanda-xmatters-relay" in each["Resource"] for each in policy["Statement"])


class TestImportPolicy:
    def test_import_policy_has_what_an_import_needs_and_no_more(
        self, operator: Operator, replayer: Person, importer: Person, tmp_path: Path
    ) -> None:
        operator.jobs(2)
        replayer.may("dlq", "export", str(tmp_path / "jobs.jsonl"))
        importer.may("dlq", "import", str(tmp_path / "jobs.jsonl"))
        assert len(operator.visible()) == 4
        assert importer.unused() == set()

    def test_import_policy_gives_no_access_to_incidents(self, operator: Operator, importer: Person) -> None:
        operator.jobs(1)
        for verb in (["list"], ["replay", "--yes"], ["drop", "--all", "--reason", "x", "--yes"]):
            importer.is_denied("dlq", *verb)
        assert len(operator.visible()) == 1


class TestChannelsPolicy:
    def test_channels_policy_has_what_every_channel_verb_needs_and_no_more(
        self, keeper: Person, tmp_path: Path
    ) -> None:
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
            keeper.may("channel", *verb)
        # With work of other channels on the queues it is refused, after it counted that work.
        assert keeper.run("channel", "remove", "policy-1", "--yes").exit_code in {0, 1}
        # It is needed in a stack with tags, which new secrets get.
        assert keeper.unused() == {"secretsmanager:TagResource"}

    def test_channels_policy_gives_no_access_to_incidents(self, keeper: Person) -> None:
        for verb in ("list", "replay"):
            keeper.is_denied("dlq", verb)


def test_fallback_policy_is_enough_for_a_test_and_has_no_more(cloud: local.Local) -> None:
    tester = Person(cloud, "fallback")
    document = json.loads(tester.run("fallback", "test", "--yes", "--json").stdout)
    assert [each["state"] for each in document["checks"]] == ["warning"] * 3, document
    assert tester.unused() == set()


class TestDoctorPolicy:
    def test_doctor_policy_has_what_every_check_of_doctor_needs_and_no_more(
        self, operator: Operator, looker: Person, tmp_path: Path
    ) -> None:
        for verb in ("export", "plan"):
            looker.may("channel", verb, str(tmp_path), "--channel", local.CHANNEL)
        done = looker.run("doctor", "--json")
        document = json.loads(done.stdout)
        assert "AccessDenied" not in done.output
        assert [each["check"] for each in document["checks"] if each["state"] == "failed"] == []
        assert local.CHANNEL in {each["channel"] for each in document["channels"]}
        assert looker.run("channel", "test", local.CHANNEL).exit_code in {0, 1}
        assert looker.unused() == set()

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
