"""The entry of relayctl, and what any verb may run into."""

from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, ProfileNotFound

from relay.errors import InvalidChannel
from relayctl.commands.channel import channel
from relayctl.commands.dlq import dlq
from relayctl.outputs import StackMissingError

_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "ExpiredToken", "ExpiredTokenException"}


class _Relayctl(click.Group):
    """Turns what AWS and the library refuse into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
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
            raise click.ClickException(_refusal(error)) from error
        except BotoCoreError as error:
            raise click.ClickException(f"AWS could not be asked: {error}") from error


def _refusal(error: ClientError) -> str:
    code, text = error.response["Error"].get("Code", "?"), error.response["Error"].get("Message", "")
    hint = "; relayctl/policies/ has what each verb needs" if code in _DENIED else ""
    return f"AWS refused {error.operation_name}: {code}: {text}{hint}"


@click.group(cls=_Relayctl, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bigpanda-xmatters-relay", prog_name="relayctl")
def main() -> None:
    """Set up channels of the BigPanda to xMatters relay, and replay what could not be delivered.

    Exit codes: 0 done, 1 some of it failed, 2 usage, 3 nothing matched.
    """


main.add_command(channel)
main.add_command(dlq)

if __name__ == "__main__":
    main(prog_name="relayctl")
