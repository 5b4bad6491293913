"""relayctl policy: IAM policies for operators, filled in for a stack."""

import json

import click

from relay.foreign_text import printable
from relayctl import iam_policies, terminal
from relayctl.iam_policies import ABOUT
from relayctl.stack import Stack, on_stack


@click.command()
@click.argument(
    "name",
    required=False,
    metavar="[NAME]",
    shell_complete=lambda _, __, incomplete: [each for each in ABOUT if each.startswith(incomplete)],
)
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
    if name is None:
        _list(as_json=as_json)
        return
    if name not in ABOUT:
        raise click.UsageError(f"there is no policy {printable(name)}; there are {', '.join(ABOUT)}")
    click.echo(json.dumps(iam_policies.filled_in(name, stack, with_secrets=with_secrets), indent=2))


def _list(*, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"policies": [{"policy": name, "about": about} for name, about in ABOUT.items()]}))
        return
    for name, about in ABOUT.items():
        terminal.show_line(f"{name}: {about}")
