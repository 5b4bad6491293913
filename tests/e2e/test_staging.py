"""`make staging` against the local cloud, and what it would deploy into an account and remove again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3

from sandbox import local
from sandbox.environment import REGION
from sandbox.server.client import StandIn
from sandbox.steps import Steps
from tests import installed
from tools.staging import account
from tools.staging.__main__ import check, local_target
from tools.staging.report import Checked, Verdict, markdown
from tools.staging.target import CHANNEL, LocalXMatters, TableXMatters

RUN_HERE = {
    *("requests to the api", "channel verbs", "runtime", "outage of xmatters", "dead letters"),
    *("tools of operators", "uninstallation"),
}


def test_each_check_holds_in_the_local_cloud_or_is_skipped_by_name(
    cloud: local.Local, xmatters: StandIn, quiet: Steps
) -> None:
    found = list[Checked]()
    target = local_target(cloud, LocalXMatters(xmatters))
    try:
        check(target, quiet, found)
    finally:
        target.relayctl("channel", "remove", CHANNEL, "--yes", "--drop-owed", codes=(0, 3))
    report = markdown("the local cloud", found, [], {})
    assert [each for each in found if each.verdict is Verdict.DIFFERS] == [], report
    assert {each.check.name for each in found if each.verdict is Verdict.HELD} == RUN_HERE, report
    assert len(found) == 15


def test_run_in_another_account_than_the_named_one_does_nothing(cloud: local.Local) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.staging", "--account", "123456789012"],
        cwd=account.ROOT,
        env=installed.environment(cloud.aws_endpoint_url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("of account 000000000000, and you named 123456789012: nothing was done\n")


def test_stand_in_for_an_account_answers_as_told_keeps_bytes_and_is_removed(cloud: local.Local, tmp_path: Path) -> None:
    def clients(service: str) -> Any:
        return boto3.client(service, region_name=REGION, endpoint_url=cloud.aws_endpoint_url)  # type: ignore[call-overload]

    name = f"{account.PREFIX}test-xmatters"
    command = ("cloudformation", "deploy", "--template-file", str(account.XMATTERS), "--stack-name", name)
    options = ("--capabilities", "CAPABILITY_IAM", "--parameter-overrides", f"ApiKey={'k' * 20}")
    environment = installed.environment(cloud.aws_endpoint_url)
    installed.run(account.AWS_CLI, *command, *options, folder=tmp_path, environment=environment)
    clients("s3").create_bucket(Bucket=f"{account.PREFIX}test")
    clients("s3").put_object(Bucket=f"{account.PREFIX}test", Key="code", Body=b"")
    [stack] = clients("cloudformation").describe_stacks(StackName=name)["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}

    def status_of(body: bytes, key: str = "k" * 20) -> int:
        event = {"queryStringParameters": {"apiKey": key}, "body": body.decode(), "isBase64Encoded": False}
        answer = clients("lambda").invoke(FunctionName=outputs["Function"], Payload=json.dumps(event))
        return int(json.load(answer["Payload"])["statusCode"])

    table = boto3.resource("dynamodb", region_name=REGION, endpoint_url=cloud.aws_endpoint_url).Table(outputs["Table"])
    xmatters = TableXMatters(table, "")
    assert status_of(b"one\r\n") == 202
    xmatters.answer(503)
    assert status_of(b"two") == 503
    xmatters.answer(202)
    assert status_of(b"three", key="a stranger's") == 401
    assert xmatters.accepted() == [b"one\r\n"]
    assert "boto3" in xmatters.runtime()
    assert account.left(clients) == [f"stack {name}", f"bucket {account.PREFIX}test"]
    account.remove(clients)
    assert account.left(clients) == []
