"""Switches that make a part of the story fail: xMatters' answers, and the relay's permissions in the local cloud.

The emulator can make a service of AWS fail for the relay in one realistic way: by an explicit Deny in the roles of all
functions, which it applies as AWS does. It cannot make outages or throttling of AWS's services.
"""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sandbox.cloud.deployment import Deployment, Find
from sandbox.errors import SandboxError
from sandbox.http.faults import Fault, Script
from sandbox.http.schema import compiled
from sandbox.server.listener import Listener

# xMatters' ways to answer a signal, and the scripted fault of each. "down" closes its port instead.
ANSWERS: Mapping[str, dict[str, Any] | None] = {
    "normal": None,
    "down": None,
    "slow": {"kind": "slow", "seconds": 3, "times": None},
    "rate_limited": {"kind": "status", "status": 429, "retry_after": "5", "times": None},
    "rings_then_504": {"kind": "accept_then_status", "status": 504, "times": None},
    "refuses": {"kind": "status", "status": 400, "times": None},
}
SERVICES = ("sqs", "dynamodb", "secretsmanager")
POLICY = "sandbox-switch"
_WANTED = compiled(
    {},
    {
        "xmatters": {"enum": list(ANSWERS)},
        "denied": {
            "type": "array",
            "items": {"enum": list(SERVICES)},
            "uniqueItems": True,
        },
    },
)


class Switches:
    """The switches of the sandbox's web page: they make xMatters' answers or AWS services fail, for a demonstration."""

    def __init__(self, script: Script, vendor: Listener, find: Find) -> None:
        self._script = script
        self._vendor = vendor
        self._find = find
        self._denied: tuple[Deployment | None, list[str]] = (None, [])

    def state(self) -> dict[str, Any]:
        """Return the positions of the switches: xMatters' way to answer, and the denied services.

        The way to answer is "scripted" while a fault applies that is none of `ANSWERS`, such as one set by a test.
        """
        deployment, denied = self._denied
        return {"xmatters": self._answer(), "denied": denied if deployment is self._find() else []}

    def parse(self, document: object) -> dict[str, Any]:
        """Return a valid change of the switches; raise InvalidError for any other document."""
        return _WANTED(document, "switches")

    async def answer(self, way: str) -> None:
        """Set xMatters' way to answer signals. Faults that were scripted for other routes stay."""
        entry = ANSWERS[way]
        others = [each.as_json() for each in self._script.left() if each.on != "trigger"]
        self._script.rewrite(([entry] if entry else []) + others)
        if way == "down":
            await self._vendor.close()
        else:
            await self._vendor.open()

    def deny(self, services: list[str]) -> None:
        """Deny the relay's functions these services, and no others. Raises SandboxError if the local cloud fails."""
        deployment = self._find()
        if deployment is None:
            raise SandboxError("there is no local cloud whose services could be denied")
        try:
            for role in _roles(deployment):
                _deny(deployment, role, services)
        except (BotoCoreError, ClientError) as error:
            raise SandboxError(f"the local cloud did not take the policy: {type(error).__name__}") from error
        self._denied = (deployment, services)

    def _answer(self) -> str:
        if not self._vendor.is_open:
            return "down"
        first = next((each for each in self._script.left() if each.on == "trigger"), None)
        if first is None:
            return "normal"
        return next((way for way, entry in ANSWERS.items() if entry and _is(first, entry)), "scripted")


def _is(fault: Fault, entry: Mapping[str, Any]) -> bool:
    return all(getattr(fault, name) == value for name, value in entry.items())


def _roles(deployment: Deployment) -> list[str]:
    pages = deployment.client("iam", is_quick=True).get_paginator("list_roles").paginate()
    names = [role["RoleName"] for page in pages for role in page["Roles"]]
    return [name for name in names if name.startswith(f"{deployment.stack_name}-")]


def _deny(deployment: Deployment, role: str, services: list[str]) -> None:
    if services:
        statement = {"Effect": "Deny", "Action": [f"{each}:*" for each in services], "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        deployment.client("iam", is_quick=True).put_role_policy(
            RoleName=role, PolicyName=POLICY, PolicyDocument=document
        )
        return
    try:
        deployment.client("iam", is_quick=True).delete_role_policy(RoleName=role, PolicyName=POLICY)
    except deployment.client("iam", is_quick=True).exceptions.NoSuchEntityException:
        return
