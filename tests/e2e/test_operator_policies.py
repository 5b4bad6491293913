"""The operators' policies: each is sufficient, as the local cloud checks IAM policies like AWS, and has no action that
its verbs do not use.
"""

import base64
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
from sandbox.environment import aws_environment
from tests import iam
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
        self._iam = cloud.client("iam")
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
        environment = aws_environment(self._cloud.aws_endpoint_url)
        printed = CliRunner(env=environment).invoke(main, ["policy", self._policy, "--secrets"], catch_exceptions=False)
        assert printed.exit_code == 0, printed.output
        document = json.loads(printed.stdout)
        for statement in document["Statement"]:
            for action in ("sqs:ChangeMessageVisibility", "sqs:SendMessage", "sqs:DeleteMessage"):
                if action in iam.listed(statement["Action"]):
                    # On AWS this action also covers the batch call; the local cloud has separate actions.
                    statement["Action"] = [*iam.listed(statement["Action"]), f"{action}Batch"]
            if "lambda:GetFunctionRecursionConfig" in iam.listed(statement["Action"]):
                # The local cloud checks the call as this action.
                statement["Action"] = [*iam.listed(statement["Action"]), "lambda:GetFunction"]
            if "logs:FilterLogEvents" in iam.listed(statement["Action"]):
                # AWS asks for the ARN with `:*`; the local cloud leaves that out.
                statement["Resource"] = [each.removesuffix(":*") for each in statement["Resource"]]
        self._iam.put_user_policy(UserName=self.name, PolicyName="relay", PolicyDocument=json.dumps(document))


def actions(policy: str) -> list[str]:
    """Return the actions that a policy allows for a stack without a customer KMS key."""
    statements = template(policy)["Statement"]
    return [
        action for each in statements if each["Resource"] != "${KmsKeyArn}" for action in iam.listed(each["Action"])
    ]


# Verbs that a policy is enough for, and its actions that no verb here uses.
POLICIES: dict[str, tuple[list[str], set[str]]] = {
    "replay": (["dlq list", "dlq show FIRST", "dlq replay", "dlq export FILE"], set()),
    "import": (["dlq import FILE"], set()),
    "channels": (
        [
            f"channel set policy-1 --trigger-url {URL}",
            "channel set policy-1 --recipient jdoe",
            "channel revoke policy-1 --endpoint inbound --yes",
            "channel rotate policy-1 inbound",
            "channel rotate policy-1 inbound --retire --now",
            "channel show policy-1",
            "channel test policy-1",
            "channel export FOLDER --channel policy-1",
            "channel plan FOLDER",
            "channel set policy-1 --set policy.max_per_minute=30",
            "channel apply FOLDER --yes",
            "channel undo policy-1 --yes",
            "channel remove policy-1 --yes --drop-owed",
            f"channel set policy-1 --trigger-url {URL}",
        ],
        # It is needed in a stack with tags, which new secrets get.
        {"secretsmanager:TagResource"},
    ),
    "fallback": (["fallback test --yes --json"], set()),
    "doctor": ([f"channel export FOLDER --channel {local.CHANNEL}", "channel plan FOLDER"], set()),
}
# Verbs of a policy whose exit code depends on the cloud's other channels and messages.
EITHER = {
    # With work of other channels on the queues it is refused, after it counted that work. A list has no right to debts.
    "channels": ["channel remove policy-1 --yes", "channel list"],
    "doctor": [f"channel test {local.CHANNEL}", "doctor --json"],
}


@pytest.mark.parametrize("policy", POLICIES)
def test_policy_has_what_its_verbs_need_and_no_more(
    cloud: local.Local, operator: Operator, policy: str, tmp_path: Path
) -> None:
    allowed, unused = POLICIES[policy]
    file, person = tmp_path / "jobs.jsonl", Person(cloud, policy)
    operator.jobs(2)
    operator.run("dlq", "export", str(file))
    places = {"FIRST": operator.visible()[0].delivery_id, "FILE": str(file), "FOLDER": str(tmp_path / "channels")}
    operator.script({"kind": "status", "status": 400})

    def words(line: str) -> list[str]:
        return [places.get(word, word) for word in line.split()]

    if policy == "replay":
        # The local cloud denies what a policy does not allow.
        done = person.run("dlq", "import", str(file))
        assert (done.exit_code, "AccessDenied" in done.stderr, len(operator.visible())) == (1, True, 2)
        file.unlink()
    said = {line: person.may(*words(line)) for line in allowed}
    for line in EITHER.get(policy, []):
        done = person.run(*words(line))
        assert policy != "doctor" or "AccessDenied" not in done.output
        said[line] = done.stdout
    if policy == "replay":
        replay_and_drop(operator, person)
    elif policy == "import":
        assert len(operator.visible()) == 4
    elif policy == "fallback":
        document = json.loads(said["fallback test --yes --json"])
        assert [each["state"] for each in document["checks"]] == ["warning"] * 3, document
    elif policy == "doctor":
        document = json.loads(said["doctor --json"])
        assert [each["check"] for each in document["checks"] if each["state"] == "failed"] == []
        assert local.CHANNEL in {each["channel"] for each in document["channels"]}
    assert person.unused() == unused


def replay_and_drop(operator: Operator, person: Person) -> None:
    """Replay two jobs, one of which xMatters refuses; then drop the incident of a job that was given up."""
    jobs = {job.delivery_id: job for job in operator.visible()}
    said = [" ".join(line.split()) for line in person.run("dlq", "replay", "--yes").stdout.splitlines()]
    assert {"delivered 1", "dead lettered 1"} <= {*said}
    assert [job.stamps.replays for job in operator.visible()] == [1]
    # The delivered one kept its id and its bytes.
    [signal] = operator.signals()
    assert base64.b64decode(signal["body_base64"]) == jobs[signal["headers"]["x-relay-delivery-id"]].body
    ledger, name = give_up(operator)
    said = person.may("dlq", "drop", "--all", "--reason", "a test", "--yes").split()
    assert ("dropped 1" in " ".join(said), operator.visible(), ledger.read(name).debt.row) == (True, [], None)
