"""relayctl policy: IAM policies for operators, filled in for the stack, from policies/operators.yaml."""

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from string import Template
from typing import Any

import click
import yaml

from relayctl import terminal
from relayctl.stack.deployed import Stack, on_stack

# Policies of people who look: without secrets, unless they are asked for.
LOOKING = frozenset({"doctor", "observe"})
_TABLE: dict[str, Any] = yaml.safe_load((files("relayctl") / "policies" / "operators.yaml").read_text())
# Purpose of each policy.
ABOUT: dict[str, str] = _TABLE["about"]
# Actions for which AWS uses the stack's key.
_READS = ("secretsmanager:GetSecretValue", "sqs:ReceiveMessage", "dynamodb:GetItem", "dynamodb:Query")
_WRITES = ("secretsmanager:PutSecretValue", "sqs:SendMessage", "dynamodb:UpdateItem")


def template(name: str) -> dict[str, Any]:
    """Return an IAM policy with placeholders such as ${LedgerTableArn}. `name` is a key of `ABOUT`."""
    grants = [each for each in _TABLE["grants"] if name in each["for"].split()]
    statements = [{"Effect": "Allow"} | {name: each[name] for name in ("Sid", "Action", "Resource")} for each in grants]
    for grant, statement in zip(grants, statements, strict=True):
        if "keys" in grant:
            statement["Condition"] = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": grant["keys"]}}
    return {"Version": "2012-10-17", "Statement": [*statements, *_for_the_key(grants)]}


def _for_the_key(grants: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    text = json.dumps(grants)
    for service, uses in _TABLE["with_the_key"].items():
        reads, writes = (
            any(each in text for each in actions if each.startswith(service)) for actions in (_READS, _WRITES)
        )
        if reads or writes:
            via = {"StringEquals": {"kms:ViaService": f"{service}.${{Region}}.amazonaws.com"}}
            actions = {"Action": uses["writes" if writes else "reads"], "Resource": "${KmsKeyArn}"}
            yield {"Sid": uses["Sid"], "Effect": "Allow", **actions, "Condition": via}


def filled_in(name: str, stack: Stack, *, with_secrets: bool) -> dict[str, Any]:
    """Return a policy with the values of one stack. Statements about a part that the stack lacks are left out.

    `with_secrets` lets people who look (`LOOKING`) read the channels' secrets, too.
    """
    names = _names(stack)
    document = template(name)
    left_out = {"ReadChannels", "KeyForChannels"} if name in LOOKING and not with_secrets else set[str]()
    statements = []
    for each in document["Statement"]:
        text = Template(json.dumps(each))
        values = {name: names[name] for name in text.get_identifiers()}
        if each["Sid"] not in left_out and None not in values.values():
            statements.append(json.loads(text.substitute(values)))
    return document | {"Statement": statements}


def _names(stack: Stack) -> dict[str, str | None]:
    _, partition, _, region, account, _ = stack.arn.split(":", 5)

    def arn(service: str, resource: str) -> str:
        return f"arn:{partition}:{service}:{region}:{account}:{resource}"

    queues = {name: stack.output(f"{name}Url") for name in ("RetryQueue", "ChoreQueue", "DeadLetterQueue")}
    functions = {name: stack.output(f"{name}Function") for name in ("JobWorker", "ChoreWorker", "Sweeper")}
    return {
        "Region": region,
        # DescribeStacks by name needs the right to every id: the operator does not know the stack's id yet.
        "StackArn": arn("cloudformation", f"stack/{stack.name}/*"),
        # Secrets Manager adds six characters to a secret's name, and channels are made and removed.
        "ChannelArns": arn("secretsmanager", f"secret:{stack.output('SecretPrefix')}/*"),
        **{f"{name}Arn": arn("sqs", url.rpartition("/")[2]) for name, url in queues.items()},
        "LedgerTableArn": arn("dynamodb", f"table/{stack.output('LedgerTableName')}"),
        **{f"{name}Arn": arn("lambda", f"function:{function}") for name, function in functions.items()},
        "LogGroupArnPrefix": arn("logs", f"log-group:/aws/lambda/{stack.name}"),
        "FallbackTopicArn": stack.output("FallbackTopicArn"),
        **{name: stack.parameters.get(name) or None for name in ("AlarmTopicArn", "NoticeTopicArn")},
        "KmsKeyArn": stack.key_arn,
    }


@click.command()
@click.argument("name", required=False, type=click.Choice(list(ABOUT)), metavar="[NAME]")
@click.option("--secrets", "with_secrets", is_flag=True, help="Let doctor or observe read the channels' secrets, too.")
@on_stack
def policy(stack: Stack, name: str | None, with_secrets: bool, as_json: bool) -> None:
    """Print an IAM policy for operators, filled in for the stack. Without NAME, list the policies.

    The policy names the stack's own queues, table, functions and topic, in its account, region and partition. Those
    for people who look, doctor and observe, have no right to secrets without --secrets.

    \b
    Example:
      relayctl policy
      relayctl policy doctor --secrets > ci.json
    """
    if name is not None:
        click.echo(json.dumps(filled_in(name, stack, with_secrets=with_secrets), indent=2))
    elif as_json:
        terminal.document({"policies": [{"policy": each, "about": about} for each, about in ABOUT.items()]})
    else:
        terminal.members(ABOUT)
