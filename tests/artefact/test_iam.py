"""The template's IAM policies: AWS's published list knows each action, resource and condition key."""

import json
import re
from typing import Any

import pytest

from tests import iam
from tests.artefact.templates import ALL_OPTIONS, Stack, of_clone

# Part of an ARN after the account, for a resource that a policy names by its Arn or Ref.
ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:us-east-1:123456789012:table/relay",
    "AWS::Lambda::Function": "lambda:us-east-1:123456789012:function:relay",
    "AWS::Logs::LogGroup": "logs:us-east-1:123456789012:log-group:/aws/lambda/relay:*",
    "AWS::SNS::Topic": "sns:us-east-1:123456789012:relay",
    "AWS::SQS::Queue": "sqs:us-east-1:123456789012:relay",
}


@pytest.mark.parametrize("options", [{}, ALL_OPTIONS], ids=["defaults", "all options"])
def test_aws_knows_each_action_resource_and_condition_key_of_the_template(options: dict[str, str]) -> None:
    stack = of_clone(**options)
    statements = [(name, each) for name, resource in stack.resources.items() for each in iam.statements(resource)]
    assert len(statements) > 40
    assert [(name, found) for name, each in statements if (found := iam.faults(with_arns(each, stack)))] == []


def with_arns(statement: Any, stack: Stack) -> Any:
    """Return a statement with an ARN for each resource of the stack that it names."""

    def arn(found: re.Match[str]) -> str:
        return f"arn:aws:{ARNS[stack.resources[found[1]]['Type']]}"

    # API Gateway completes the short form in an API's policy.
    text = json.dumps(statement).replace('"execute-api:/*"', '"arn:aws:execute-api:us-east-1:123456789012:id/*"')
    return json.loads(re.sub(r"\$\{(\w+)(?:\.Arn)?\}", arn, text))
