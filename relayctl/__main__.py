"""The entry of relayctl, and the errors that any verb may meet."""

import os
import traceback
from typing import Any

import click
from botocore.exceptions import NoCredentialsError, NoRegionError, ProfileNotFound

from relay.errors import InvalidChannel
from relayctl import terminal
from relayctl.commands.channel import channel
from relayctl.commands.channel_revoke import revoke
from relayctl.commands.channel_set import set_
from relayctl.commands.dlq import dlq
from relayctl.commands.doctor import doctor
from relayctl.commands.policy import policy
from relayctl.commands.test import test
from relayctl.outputs import StackMissingError
from relayctl.refusal import aws_failure
from relayctl.stack import EndpointUrlError
from relayctl.terminal import INTERRUPTED

# With this variable set to 1, a fault of relayctl's own ends with a traceback, which may show secrets.
TRACEBACK = "RELAYCTL_TRACEBACK"


class _Relayctl(click.Group):
    """Turn each error into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return self._invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            raise click.UsageError(terminal.folded(error.format_message(), "Error: "), error.ctx) from error
        except click.ClickException as error:
            raise click.ClickException(terminal.folded(error.format_message(), "Error: ")) from error

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            # Click itself knows what to do with them.
            raise
        except (KeyboardInterrupt, click.Abort) as error:
            # Click makes an Abort of Ctrl-C at a question, and of a "no", too.
            if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__context__, KeyboardInterrupt):
                raise
            click.echo("Aborted!", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if known := _known(error):
                raise known from error
            if os.environ.get(TRACEBACK) == "1":
                raise
            click.echo(_fault(error), err=True)
            ctx.exit(1)


def _known(error: Exception) -> click.ClickException | None:
    """Return what to say of an error that a person can mend; None for a fault of relayctl's own."""
    match error:
        case InvalidChannel() | ProfileNotFound() | EndpointUrlError():
            return click.UsageError(str(error))
        case StackMissingError():
            return click.ClickException(f"{error}; name it with --stack, and its region with --region")
        case NoCredentialsError():
            return click.ClickException("no AWS credentials: set AWS_PROFILE, or give --profile")
        case NoRegionError():
            return click.ClickException("no AWS region: set AWS_DEFAULT_REGION, or give --region")
    message = aws_failure(error)
    return click.ClickException(message) if message else None


def _fault(error: Exception) -> str:
    """Name the type of an unexpected error and the place; its own words may quote a secret."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    place = f"{frame.f_globals.get('__name__', '?')}, line {line}"
    return (
        f"relayctl failed: {type(error).__name__} in {place}; this is a fault of relayctl. {TRACEBACK}=1 shows more, "
        "maybe secrets, too"
    )


@click.group(cls=_Relayctl, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bigpanda-xmatters-relay", prog_name="relayctl")
def main() -> None:
    """Set up channels of the BigPanda to xMatters relay, see whether all is well, replay what was not delivered.

    Exit codes: 0 done, 1 some of it failed, 2 usage, 3 nothing matched, 130 interrupted.
    """


channel.add_command(set_)
channel.add_command(revoke)
channel.add_command(test)
main.add_command(channel)
main.add_command(dlq)
main.add_command(doctor)
main.add_command(policy)

if __name__ == "__main__":
    main(prog_name="relayctl")
