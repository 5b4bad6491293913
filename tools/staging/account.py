"""A run's stacks in an account: deployed by the install guide's commands, and removed by their names."""

import json
import secrets
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError, WaiterError
from samtranslator.yaml_helper import yaml_parse

from relayctl.stack.deployed import describe, outputs_in
from sandbox.errors import SandboxError
from tools.release import KEPT
from tools.staging.target import XMatters

ROOT = Path(__file__).resolve().parents[2]
AWS_CLI = ROOT / ".venv-installers/bin/aws"
XMATTERS = Path(__file__).with_name("xmatters.yaml")
# All names of a run begin with this; the time of its start follows.
PREFIX = "relay-two-hours-"
# Path of the roles that a run makes to try the policies of operators.
ROLES = "/relay-two-hours/"

type Clients = Callable[[str], Any]


def confirm(clients: Clients, account_id: str) -> None:
    """Raise SandboxError unless the credentials are of the account that a person named."""
    found = clients("sts").get_caller_identity()["Account"]
    if found != account_id:
        raise SandboxError(f"these credentials are of account {found}, and you named {account_id}: nothing was done")


class Deployment:
    """The stacks of one run.

    Attributes:
        stack: Name of the relay's stack.
        xmatters: The stand-in of xMatters, which has a stack of its own.
        stays: What the removal leaves behind on purpose.
    """

    def __init__(self, session: boto3.Session, environment: dict[str, str], dist: Path, folder: Path) -> None:
        """Deploy both stacks; `dist` has the release, and `folder` is for its files. Raises SandboxError."""
        self.stack = f"{PREFIX}{time.time():.0f}"
        self._environment, self._template = environment, folder / "staging.json"
        self._parameters = dict[str, str]()
        key, name = secrets.token_urlsafe(24), f"{self.stack}-xmatters"
        self._aws("s3", "mb", f"s3://{self.stack}")
        self._deploy(XMATTERS, name, ApiKey=key)
        outputs = outputs_in(describe(session.client("cloudformation"), name), None)
        trigger_url = f"{outputs['Url']}api/integration/1/functions/{uuid.uuid4()}/triggers?apiKey={key}"
        self.xmatters = XMatters(session.resource("dynamodb").Table(outputs["Table"]), trigger_url)
        self._package(dist, folder)
        has_role = session.client("apigateway").get_account().get("cloudwatchRoleArn")
        self.stays = [] if has_role else ["the account's role for access logs, which other APIs may use by now"]
        self.change(
            XMattersHosts=urlsplit(outputs["Url"]).netloc,
            ApiGatewayLogging="role-exists" if has_role else "create-role",
            WorkerConcurrency="2",
        )

    def change(self, **parameters: str) -> None:
        """Deploy the relay with these parameters, and with those of former deployments."""
        self._parameters |= parameters
        self._deploy(self._template, self.stack, **self._parameters)

    def _package(self, dist: Path, folder: Path) -> None:
        [archive] = dist.glob("*.zip")
        shutil.unpack_archive(archive, folder)
        template, packaged = folder / archive.stem / "template.yaml", folder / "packaged.yaml"
        options = ("--s3-bucket", self.stack, "--output-template-file", str(packaged))
        self._aws("cloudformation", "package", "--template-file", str(template), *options)
        self._template.write_text(json.dumps(removable(yaml_parse(packaged.read_text()))))

    def _deploy(self, template: Path, stack: str, **parameters: str) -> None:
        options = ("--stack-name", stack, "--s3-bucket", self.stack, "--no-fail-on-empty-changeset")
        capabilities = ("--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")
        overrides = (f"{name}={value}" for name, value in parameters.items())
        command = ("cloudformation", "deploy", "--template-file", str(template), *options, *capabilities)
        self._aws(*command, "--parameter-overrides", *overrides)

    def _aws(self, *arguments: str) -> None:
        done = subprocess.run(
            [AWS_CLI, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SandboxError(f"aws {' '.join(arguments[:2])}: {done.stderr}{done.stdout}")


def removable(template: dict[str, Any]) -> dict[str, Any]:
    """Let table, queues and topic go with their stack, which retains them otherwise; return the template."""
    for resource in template["Resources"].values():
        if resource["Type"] in KEPT:
            resource["DeletionPolicy"] = "Delete"
            resource.get("Properties", {}).pop("DeletionProtectionEnabled", None)
    return template


def left(clients: Clients) -> list[str]:
    """Return what runs left in the account and region: stacks, buckets, secrets and roles."""
    return [what for what, _ in _found(clients)]


def remove(clients: Clients) -> None:
    """Remove what runs left in the account and region; what AWS does not let go stays in `left`."""
    for _, delete in list(_found(clients)):
        with suppress(ClientError, WaiterError):
            delete()


def _found(clients: Clients) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what runs left, in words, and the call that removes it."""
    cloudformation, s3, manager = clients("cloudformation"), clients("s3"), clients("secretsmanager")
    stacks = [each for page in _pages(cloudformation, "describe_stacks") for each in page["Stacks"]]
    for name in _own(each["StackName"] for each in stacks):
        yield f"stack {name}", partial(_delete_stack, cloudformation, name)
    for name in _own(each["Name"] for each in s3.list_buckets()["Buckets"]):
        yield f"bucket {name}", partial(_delete_bucket, s3, name)
    channels = [each for page in _pages(manager, "list_secrets") for each in page["SecretList"]]
    for name in _own(each["Name"] for each in channels):
        yield f"secret {name}", partial(manager.delete_secret, SecretId=name, ForceDeleteWithoutRecovery=True)
    iam = clients("iam")
    for role in [each for page in _pages(iam, "list_roles", PathPrefix=ROLES) for each in page["Roles"]]:
        yield f"role {role['RoleName']}", partial(_delete_role, iam, role["RoleName"])


def _own(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(PREFIX)]


def _pages(client: Any, operation: str, **arguments: str) -> Any:
    return client.get_paginator(operation).paginate(**arguments)


def _delete_stack(cloudformation: Any, name: str) -> None:
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 5})


def _delete_bucket(s3: Any, name: str) -> None:
    for page in _pages(s3, "list_objects_v2", Bucket=name):
        for each in page.get("Contents", []):
            s3.delete_object(Bucket=name, Key=each["Key"])
    s3.delete_bucket(Bucket=name)


def _delete_role(iam: Any, name: str) -> None:
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    iam.delete_role(RoleName=name)
