"""The template after SAM's transform, as CloudFormation gets it, for given parameters."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "relay",
    "AWS::URLSuffix": "amazonaws.com",
}
# Parameters without a default.
ASKED = {"XMattersHosts": "acme.xmatters.com"}
# Each option of the stack at once.
ALL_OPTIONS = {
    "SecretPrefix": "ops",
    "XMattersHosts": "a.xmatters.com",
    "BigPandaHosts": "b.c",
    "SecretCacheSeconds": "61",
    "WorkerConcurrency": "41",
    "Architecture": "x86_64",
    "LogRetentionDays": "7",
    "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:alarms",
    "NoticeTopicArn": "arn:aws:sns:us-east-1:123456789012:notices",
    "FallbackTopicArn": "arn:aws:sns:us-east-1:123456789012:fallback",
    "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "AllowedSourceCidrs": "192.0.2.0/24,198.51.100.0/24",
    "WebAclArn": "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/relay/1234abcd-12ab-34cd-56ef-1234567890ab",
    "DomainName": "relay.example.com",
    "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/1234abcd-12ab-34cd-56ef-1234567890ab",
    "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/teams/boundary",
    "RolePath": "/teams/relay/",
    "CodeSigningConfigArn": "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0f6c334abcdea4d8b",
    "FallbackPhones": "+14255550100,+14255550101",
    "FallbackVoiceIdentity": "arn:aws:sms-voice:us-east-1:123456789012:phone-number/phone-1234",
    "FallbackTextIdentity": "arn:aws:sms-voice:us-east-1:123456789012:sender-id/RELAY/DE",
    "HeartbeatUrl": "https://example.com/heartbeat",
    "SilenceAlarmHours": "4",
    "Tracing": "Active",
    "ChannelMetrics": "on",
    "BigPandaWebhookReserved": "10",
    "XMattersCallbackReserved": "10",
    "JobWorkerReserved": "10",
    "ChoreWorkerReserved": "10",
    "SweeperReserved": "1",
    "ReconcileReserved": "1",
}
# A deployment into the local cloud.
LOCAL_ACCOUNT = {"AWS::AccountId": "000000000000"}
_NOTHING = object()
_CALLS = {"Fn::GetAtt", "Fn::Split", "Fn::FindInMap"}


@dataclass(frozen=True)
class Stack:
    """The stack of a deployment with certain parameters.

    Conditions are evaluated and parameters filled in. Values that only a deployment knows have Fn::Sub's form:
    `${Queue}` for a Ref, `${Queue.Arn}` for an attribute.

    Attributes:
        resources: resources by logical id.
        outputs: outputs by name.
    """

    resources: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of all resources of a type, by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def only(self, kind: str) -> dict[str, Any]:
        """Return the properties of the only resource of a type."""
        [properties] = self.of_type(kind).values()
        return properties


def read(path: Path) -> dict[str, Any]:
    """Return the template before any transform, with YAML's short tags such as `!Ref` in their long form."""
    return copy.deepcopy(_parsed(path.read_text()))


@cache
def _parsed(text: str) -> dict[str, Any]:
    """Parse a template, which takes longer than most tests."""
    return dict(yaml_parse(text))


def stack(path: Path, parameters: Mapping[str, str], known: Mapping[str, str] | None = None) -> Stack:
    """Transform the template, and evaluate its conditions and parameters.

    `known` maps resources' logical ids to the values of their Refs. A parameter that is not given has its default, and
    a parameter without a default has its value in `ASKED`. Raises KeyError for a parameter or condition that the
    template does not declare.
    """
    declared = read(path)["Parameters"]
    undeclared = parameters.keys() - declared.keys()
    if undeclared:
        raise KeyError(f"the template has no parameter {', '.join(undeclared)}")
    defaults = ASKED | {name: str(each["Default"]) for name, each in declared.items() if "Default" in each}
    translated = transformed(path, parameters)
    refs = PSEUDO_PARAMETERS | defaults | dict(parameters) | dict(known or {})
    settle = _Settler(refs, translated["Conditions"], translated["Mappings"])
    return Stack(settle.existing(translated["Resources"]), settle.existing(translated["Outputs"]))


def transformed(path: Path, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the template after SAM's transform, with its parameters and conditions."""
    document = read(path)
    for resource in document["Resources"].values():
        for uri in {"CodeUri", "ContentUri"} & resource["Properties"].keys():
            resource["Properties"][uri] = "s3://bucket/key"
    session = boto3.Session(region_name=PSEUDO_PARAMETERS["AWS::Region"])
    translator = Translator({}, Parser(), boto_session=session)
    return dict(translator.translate(document, parameter_values=ASKED | dict(parameters)))


@cache
def of_clone(**parameters: str) -> Stack:
    """Return the stack of this clone's template; parameters that are not given have their defaults."""
    return stack(TEMPLATE, parameters)


class _Settler:
    def __init__(self, refs: Mapping[str, str], conditions: Mapping[str, Any], mappings: Mapping[str, Any]) -> None:
        self._refs = refs
        self._conditions = conditions
        self._mappings = mappings

    def existing(self, members: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: self.settled(member)
            for name, member in members.items()
            if "Condition" not in member or self.holds(member["Condition"])
        }

    def holds(self, condition: Any) -> bool:
        if isinstance(condition, str):
            return self.holds(self._conditions[condition])
        match condition:
            case {"Fn::Not": [inner]}:
                return not self.holds(inner)
            case {"Condition": name}:
                return self.holds(name)
            case {"Fn::And": inner}:
                return all(self.holds(each) for each in inner)
            case {"Fn::Equals": [one, other]}:
                return bool(self.settled(one) == self.settled(other))
        raise NotImplementedError(f"a condition of another kind: {condition}")

    def settled(self, node: Any) -> Any:
        match node:
            case {"Ref": "AWS::NoValue"}:
                return _NOTHING
            case {"Ref": name}:
                return self._refs.get(name, f"${{{name}}}")
            case {"Fn::If": [condition, yes, no]}:
                return self.settled(yes if self.holds(condition) else no)
            case {"Fn::Sub": [text, names]}:
                return self._substituted(text, self.settled(names))
            case {"Fn::Sub": text}:
                return self._substituted(text, {})
            case dict() if _CALLS.intersection(node):
                return self._called(node)
            case dict():
                members = {name: self.settled(member) for name, member in node.items()}
                return {name: member for name, member in members.items() if member is not _NOTHING}
            case list():
                return [item for item in map(self.settled, node) if item is not _NOTHING]
        return node

    def _called(self, node: dict[str, Any]) -> Any:
        match node:
            case {"Fn::GetAtt": [name, attribute]}:
                return f"${{{name}.{attribute}}}"
            case {"Fn::Split": [separator, text]}:
                return self.settled(text).split(separator)
            case {"Fn::FindInMap": [name, first, second]}:
                return self._mappings[name][self.settled(first)][second]
        raise NotImplementedError(f"a function of another kind: {node}")

    def _substituted(self, text: str, names: Mapping[str, str]) -> str:
        values = {**self._refs, **names}
        return re.sub(r"\$\{([^}]+)\}", lambda found: values.get(found[1], found[0]), text)
