"""Entry point of relayctl: groups that import a verb at its first use, and the errors that all verbs have in common.

So `relayctl --help` does not import the AWS SDK, which would take most of its time.
"""

import os
import traceback
from importlib import import_module
from typing import Any

import click

from relayctl import terminal

# If this environment variable is 1, an unexpected error ends with a traceback, which may show secrets.
TRACEBACK = "RELAYCTL_TRACEBACK"

# The place of each command by its name, and its line in the help.
_VERBS = {
    "bigpanda": ("relayctl.channel.bigpanda:bigpanda", "Print what to set up in BigPanda."),
    "channel": ("relayctl.channel.group:channel", "Make, change, check, show and remove channels."),
    "dlq": ("relayctl.dlq.group:dlq", "List, show, replay, drop, export and import dead-lettered jobs."),
    "doctor": ("relayctl.stack.status:doctor", "Check the whole stack, and every channel."),
    "explain": ("relayctl.report.explain:explain", "Explain what a share would do."),
    "fallback": ("relayctl.stack.last_resort:fallback", "Test the last resort: the fallback topic, and phones."),
    "incident": ("relayctl.incident.verbs:incident", "List the last incidents; show what happened to one."),
    "policy": ("relayctl.stack.policy:policy", "Print an IAM policy for operators, filled in for the stack."),
    "rehearse": ("relayctl.rehearse.rehearse:rehearse_", "Show what the relay would have done to your own past."),
    "report": ("relayctl.report.report:report", "Report how the relay did: signals, answers, what nobody heard."),
    "shadow": ("relayctl.report.report:shadow", "Report what a channel in shadow mode would have sent."),
    "status": (
        "relayctl.stack.status:status",
        "Show the channels: traffic, debts, circuit, rate, credentials.",
    ),
    "uninstall": (
        "relayctl.stack.draining:uninstall",
        "Prepare the deletion of the stack, and print the commands for it.",
    ),
}


class _Relayctl(click.Group):
    """The top-level group: it imports a verb at its first use, and turns each error into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        return sorted(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _VERBS and cmd_name not in self.commands:
            module, _, name = _VERBS[cmd_name][0].partition(":")
            self.add_command(getattr(import_module(module), name), cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in sorted(_VERBS.items())])

    def main(self, *arguments: Any, **options: Any) -> Any:
        terminal.open_streams()
        return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.NoArgsIsHelpError, click.exceptions.Exit, BrokenPipeError):
            # Click handles these itself.
            raise
        except click.ClickException as error:
            raise _folded(error) from error
        except (KeyboardInterrupt, click.Abort) as error:
            # Click raises Abort for Ctrl-C at a prompt, and for the answer "no".
            if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__context__, KeyboardInterrupt):
                raise
            click.echo("Aborted!", err=True)
            # The exit code of shells for a program that Ctrl-C ended.
            ctx.exit(130)
        except Exception as error:
            if known := _known(error):
                raise _folded(known) from error
            if os.environ.get(TRACEBACK) == "1":
                raise
            click.echo(_fault(error), err=True)
            ctx.exit(1)


def _folded(error: click.ClickException) -> click.ClickException:
    text = terminal.folded(error.format_message(), "Error: ")
    return click.UsageError(text, error.ctx) if isinstance(error, click.UsageError) else click.ClickException(text)


def _known(error: Exception) -> click.ClickException | None:
    # Imported here: `relayctl --help` must not import the AWS SDK, and has no error of it.
    from botocore.exceptions import NoCredentialsError, NoRegionError, ProfileNotFound  # noqa: PLC0415

    from relay.failures import InvalidChannel  # noqa: PLC0415
    from relayctl.failed_calls import aws_failure  # noqa: PLC0415
    from relayctl.stack.deployed import StackMissingError  # noqa: PLC0415

    match error:
        case InvalidChannel() | ProfileNotFound():
            return click.UsageError(str(error))
        case StackMissingError():
            return click.ClickException(f"{error}; name it with --stack, and its region with --region")
        case NoCredentialsError():
            return click.ClickException("no AWS credentials: set AWS_PROFILE, or give --profile")
        case NoRegionError():
            return click.ClickException("no AWS region: set AWS_REGION, or give --region")
    message = aws_failure(error)
    return click.ClickException(message) if message else None


def _fault(error: Exception) -> str:
    """Return an unexpected error's type and place in the code. Its own text is left out: it may quote a secret."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    place = f"{frame.f_globals.get('__name__', '?')}, line {line}"
    return (
        f"relayctl failed: {type(error).__name__} in {place}; this is a fault of relayctl. {TRACEBACK}=1 shows more, "
        "maybe secrets, too"
    )


@click.group(cls=_Relayctl, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bigpanda-xmatters-relay", prog_name="relayctl")
def main() -> None:
    """Set up channels of the BigPanda to xMatters relay, see what they do, and replay dead-lettered jobs.

    Results are printed on stdout. A source that fails is named on stderr. Times without Z are local.

    Exit codes: 0 done, 1 all or a part failed, 2 usage, 3 nothing matched, 4 changes pending, 130 interrupted.
    """


if __name__ == "__main__":
    main(prog_name="relayctl")
