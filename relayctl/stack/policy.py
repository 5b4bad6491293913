"""relayctl policy: IAM policies for operators. `${Name}` in policies/operators.json stands for a value of the stack."""

import json
from importlib.resources import files
from string import Template
from typing import Any

import click

from relayctl import terminal
from relayctl.stack.deployed import Stack, on_stack

# Policies of people who look: without secrets, unless they are asked for.
LOOKING = frozenset({"doctor", "observe"})
_OF_SECRETS = frozenset({"ReadChannels", "KeyForChannels"})
_TABLE: dict[str, Any] = json.loads((files("relayctl") / "policies" / "operators.json").read_text())
# Purpose of each policy.
ABOUT: dict[str, str] = _TABLE["about"]


def template(name: str) -> dict[str, Any]:
    """Return the template of a policy; `name` is a key of `ABOUT`."""
    found = [each for each in _TABLE["statements"] if name in each["for"].split()]
    statements = [{key: value for key, value in each.items() if key != "for"} for each in found]
    return {"Version": "2012-10-17", "Statement": statements}


def filled_in(name: str, stack: Stack, *, with_secrets: bool) -> dict[str, Any]:
    """Return a policy with the values of one stack, without statements about something that it does not have.

    `with_secrets` lets people who look (`LOOKING`) read the channels' secrets, too.
    """
    names = _names(stack)
    document = template(name)
    left_out = _OF_SECRETS if name in LOOKING and not with_secrets else frozenset[str]()
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

    def queue(output: str) -> str:
        return arn("sqs", stack.output(output).rpartition("/")[2])

    return {
        "Region": region,
        # DescribeStacks by name needs the right to every id: the operator does not know the stack's id yet.
        "StackArn": arn("cloudformation", f"stack/{stack.name}/*"),
        # Secrets Manager adds six characters to a secret's name, and channels are made and removed.
        "ChannelArns": arn("secretsmanager", f"secret:{stack.output('SecretPrefix')}/*"),
        "RetryQueueArn": queue("RetryQueueUrl"),
        "ChoreQueueArn": queue("ChoreQueueUrl"),
        "DeadLetterQueueArn": queue("DeadLetterQueueUrl"),
        "LedgerTableArn": arn("dynamodb", f"table/{stack.output('LedgerTableName')}"),
        "JobWorkerArn": arn("lambda", f"function:{stack.output('JobWorkerFunction')}"),
        "ChoreWorkerArn": arn("lambda", f"function:{stack.output('ChoreWorkerFunction')}"),
        "SweeperArn": arn("lambda", f"function:{stack.output('SweeperFunction')}"),
        "LogGroupArnPrefix": arn("logs", f"log-group:/aws/lambda/{stack.name}"),
        "FallbackTopicArn": stack.output("FallbackTopicArn"),
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
      relayctl policy replay > replay.json
      relayctl policy doctor --secrets > ci.json
    """
    if name is not None:
        click.echo(json.dumps(filled_in(name, stack, with_secrets=with_secrets), indent=2))
    elif as_json:
        terminal.document({"policies": [{"policy": each, "about": about} for each, about in ABOUT.items()]})
    else:
        for each, about in ABOUT.items():
            terminal.show_line(f"{each}: {about}")
