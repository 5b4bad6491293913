"""One-line messages for failed AWS calls."""

import re
import traceback
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from relay.failures import LedgerError
from relay.foreign_text import one_line
from relayctl.stack.deployed import StackMissingError

# Longer than any message of AWS about a refused call.
MAX_LENGTH = 4000
DENIED = {
    *("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"),
    *("ExpiredToken", "ExpiredTokenException"),
}


def refusal(error: ClientError) -> str:
    """Return one line about a call that AWS refused: the operation, the error code and AWS's message.

    If a permission is missing, the line also names `relayctl policy`, which prints the permissions of each verb.
    """
    # An endpoint that is not AWS's may answer an error without these members.
    said = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "?")
    code, text = said.get("Code") or f"HTTP {status}", said.get("Message", "")
    hint = "; `relayctl policy` prints what each verb needs" if code in DENIED else ""
    return _one_line(f"AWS refused {error.operation_name}: {code}: {text}{hint}")


def aws_failure(error: Exception) -> str | None:
    """Return a message for an exception of an AWS call; None if botocore did not raise the exception.

    If AWS_ENDPOINT_URL or the region is wrong, or another server than AWS answers, botocore may raise an exception that
    is neither a ClientError nor a BotoCoreError. Its text may quote the answer, so the message has only its type.
    """
    if isinstance(error, ClientError):
        return refusal(error)
    if isinstance(error, BotoCoreError):
        return _one_line(f"AWS could not be asked: {error}")
    if _came_out_of_botocore(error):
        kind = type(error).__name__
        return (
            f"AWS could not be asked: {kind}: the endpoint's URL or its answer is not AWS's; check AWS_ENDPOINT_URL "
            "and the region"
        )
    return None


def tried[T](ask: Callable[[], T]) -> tuple[T | None, str | None]:
    """Return the result of `ask`, which calls AWS, and None; or None and the reason why the call failed."""
    try:
        return ask(), None
    except (StackMissingError, LedgerError) as error:
        return None, str(error)
    except Exception as error:
        if message := aws_failure(error):
            return None, message
        raise


def _came_out_of_botocore(error: Exception) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").partition(".")[0] == "botocore" for frame, _ in frames)


def _one_line(text: str) -> str:
    """Return the text on one line, without the credentials that a URL may have in front of its host."""
    return re.sub(r"//[^/@\s]+@", "//…@", one_line(text, MAX_LENGTH))
