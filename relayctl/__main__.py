"""The entry of relayctl, and what any verb may run into."""

from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, ProfileNotFound

from relay.errors import InvalidChannel
from relayctl import terminal
from relayctl.commands.channel import channel
from relayctl.commands.channel_set import set_
from relayctl.commands.dlq import dlq
from relayctl.commands.doctor import doctor
from relayctl.commands.test import test
from relayctl.outputs import StackMissingError
from relayctl.refusal import refusal


class _Relayctl(click.Group):
    """Turns what AWS and the library refuse into one line and an exit code."""

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
        except (InvalidChannel, ProfileNotFound) as error:
            raise click.UsageError(str(error)) from error
        except StackMissingError as error:
            raise click.ClickException(f"{error}; name it with --stack, and its region with --region") from error
        except NoCredentialsError as error:
            raise click.ClickException("no AWS credentials: set AWS_PROFILE, or give --profile") from error
        except NoRegionError as error:
            raise click.ClickException("no AWS region: set AWS_DEFAULT_REGION, or give --region") from error
        except ClientError as error:
            raise click.ClickException(refusal(error)) from error
        except BotoCoreError as error:
            raise click.ClickException(f"AWS could not be asked: {error}") from error


@click.group(cls=_Relayctl, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bigpanda-xmatters-relay", prog_name="relayctl")
def main() -> None:
    """Set up channels of the BigPanda to xMatters relay, see whether all is well, replay what was not delivered.

    Exit codes: 0 done, 1 some of it failed, 2 usage, 3 nothing matched.
    """


channel.add_command(set_)
channel.add_command(test)
main.add_command(channel)
main.add_command(dlq)
main.add_command(doctor)

if __name__ == "__main__":
    main(prog_name="relayctl")
