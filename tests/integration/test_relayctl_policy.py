"""relayctl policy: IAM policies for operators, filled in for one stack."""

import json
import re
from typing import Any

import pytest

from relayctl.stack.policy import ABOUT
from tests import iam
from tests.integration.relayctl_cloud import REGION, STACK, Operator

KEY = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d-0000-4000-8000-000000000000"
TOPIC = f"arn:aws:sns:{REGION}:210987654321:on-call"
ANY_SECRET = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:team/relay/*"
ANY_ID = f"arn:aws:cloudformation:{REGION}:123456789012:stack/{STACK}/*"
# Actions that AWS cannot limit to a resource.
WITHOUT_RESOURCE = {
    "secretsmanager:ListSecrets",
    "lambda:ListEventSourceMappings",
    "lambda:GetAccountSettings",
    # It can; AWS checks a list of groups against all of the account's.
    "logs:DescribeLogGroups",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricStatistics",
    "sms-voice:DescribeAccountAttributes",
    "sms-voice:DescribeSpendLimits",
    # It can, to some of the numbers; doctor asks for all.
    "sms-voice:DescribeVerifiedDestinationNumbers",
}


@pytest.fixture
def operator(operator: Operator) -> Operator:
    operator.outputs["FallbackTopicArn"] = TOPIC
    operator.parameters["KmsKeyArn"] = KEY
    return operator


def printed(operator: Operator, name: str) -> dict[str, dict[str, Any]]:
    """Return the statements of a printed policy by their ids."""
    done = operator.run("policy", name, code=0)
    document = json.loads(done.stdout)
    assert document["Version"] == "2012-10-17"
    return {each["Sid"]: each for each in document["Statement"]}


class TestFilledIn:
    @pytest.mark.parametrize("name", ABOUT)
    def test_policy_has_no_placeholder_and_no_wildcard_but_for_ids(self, operator: Operator, name: str) -> None:
        statements = printed(operator, name)
        assert "${" not in json.dumps(statements)
        for statement in statements.values():
            assert not [action for action in iam.listed(statement["Action"]) if "*" in action]
            wild = {resource for resource in iam.listed(statement["Resource"]) if "*" in resource}
            if statement["Action"] == "logs:FilterLogEvents":
                # AWS names a log group with ":*" at the end.
                wild = {resource for resource in wild if "*" in resource.removesuffix(":*")}
            assert wild <= ({"*"} if set(iam.listed(statement["Action"])) <= WITHOUT_RESOURCE else {ANY_SECRET, ANY_ID})

    @pytest.mark.parametrize("name", ABOUT)
    def test_aws_knows_each_action_resource_and_condition_key_of_a_policy(self, operator: Operator, name: str) -> None:
        document = json.loads(operator.run("policy", name, "--secrets").stdout)
        assert {each["Sid"]: found for each in document["Statement"] if (found := iam.faults(each))} == {}

    @pytest.mark.parametrize("name", ABOUT)
    def test_kms_key_is_allowed_only_through_aws_services(self, operator: Operator, name: str) -> None:
        keys = [each for each in printed(operator, name).values() if "kms" in json.dumps(each["Action"])]
        # The sweeper has the rights that a test needs.
        assert {each["Resource"] for each in keys} == ({KEY} if name != "fallback" else set())
        for each in keys:
            service = each["Condition"]["StringEquals"]["kms:ViaService"]
            assert re.fullmatch(rf"(sqs|dynamodb|secretsmanager)\.{REGION}\.amazonaws\.com", service)
        del operator.parameters["KmsKeyArn"]
        assert "kms" not in json.dumps(printed(operator, name))

    @pytest.mark.parametrize("name", ["doctor", "observe"])
    def test_policies_for_looking_allow_no_secret_unless_asked_for(self, operator: Operator, name: str) -> None:
        read = '"secretsmanager:GetSecretValue"'
        plain, full = (operator.run("policy", name, *option).stdout for option in ((), ("--secrets",)))
        assert read not in plain
        assert f"secretsmanager.{REGION}.amazonaws.com" not in plain
        assert read in full
        assert f"secretsmanager.{REGION}.amazonaws.com" in full


def test_policy_without_name_lists_each_policy_with_its_purpose_and_calls_no_aws(operator: Operator) -> None:
    operator.refused = {"DescribeStacks": "AccessDenied"}
    assert operator.run("policy").stdout.splitlines() == [f"{name:22}{about}" for name, about in ABOUT.items()]
    document = operator.run_json("policy")
    assert document["policies"] == [{"policy": name, "about": about} for name, about in ABOUT.items()]
