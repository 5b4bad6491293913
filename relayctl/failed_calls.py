"""Failed calls: one-line messages for those of AWS, and the sources of a report that could not be read."""

import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click
from botocore.exceptions import BotoCoreError, ClientError, SSOTokenLoadError, TokenRetrievalError

from relay.failures import InvalidChannel, LedgerError, SendError
from relay.foreign_text import one_line
from relayctl import terminal
from relayctl.log_lines import LinesCutError
from relayctl.stack.deployed import StackMissingError

# Longer than any message of AWS about a refused call.
MAX_LENGTH = 4000
DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}
_OVER = {"ExpiredToken", "ExpiredTokenException"}
_SIGN_IN = "; the credentials are over: sign in again"


def refusal(error: ClientError) -> str:
    """Return one line about a call that AWS refused. It advises if a permission is missing or credentials expired."""
    # An endpoint that is not AWS's may answer an error without these members.
    said = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "?")
    code, text = said.get("Code") or f"HTTP {status}", said.get("Message", "")
    hint = "; `relayctl policy` prints what each verb needs" if code in DENIED else ""
    hint = _SIGN_IN if code in _OVER else hint
    return _one_line(f"AWS refused {error.operation_name}: {code}: {text}{hint}")


def aws_failure(error: Exception) -> str | None:
    """Return a message for an exception of an AWS call; None if botocore did not raise the exception.

    If another server than AWS answers, botocore may raise errors of other kinds. Their text may quote the answer, so it
    is left out.
    """
    if isinstance(error, ClientError):
        return refusal(error)
    if isinstance(error, BotoCoreError):
        is_over = isinstance(error, (SSOTokenLoadError, TokenRetrievalError))
        return _one_line(f"AWS could not be asked: {error}{_SIGN_IN if is_over else ''}")
    frames = traceback.walk_tb(error.__traceback__)
    if any(frame.f_globals.get("__name__", "").partition(".")[0] == "botocore" for frame, _ in frames):
        kind = type(error).__name__
        return (
            f"AWS could not be asked: {kind}: the endpoint's URL or its answer is not AWS's; check AWS_ENDPOINT_URL "
            "and the region"
        )
    return None


def failure(error: Exception) -> str | None:
    """Return a message for an error of AWS, a vendor, the ledger, the logs or a secret; None for another exception."""
    match error:
        case InvalidChannel() | LedgerError() | LinesCutError() | StackMissingError():
            return str(error)
        case SendError():
            return f"{error} (HTTP {error.http_status})" if error.http_status else str(error)
    return aws_failure(error)


def tried[T](ask: Callable[[], T]) -> tuple[T | None, str | None]:
    """Call `ask`. Return its result and None; or None and the message of `failure`. Raise other exceptions."""
    try:
        return ask(), None
    except Exception as error:
        if message := failure(error):
            return None, message
        raise


def _one_line(text: str) -> str:
    """Return the text on one line, without the credentials that a URL may have in front of its host."""
    return re.sub(r"//[^/@\s]+@", "//…@", one_line(text, MAX_LENGTH))


@dataclass
class Readings:
    """Sources that a report could not read, and the reasons. The report goes on with its other sources."""

    unread: dict[str, str] = field(default_factory=dict)  # Why a source was not read, or only in part, by its name

    def note(self, source: str, problem: str) -> None:
        """Note why a source was not read, or only in part. Of several problems, the first one stays."""
        self.unread.setdefault(source, problem)

    @contextmanager
    def reading(self, source: str) -> Iterator[None]:
        """Context in which a source is read. A failure ends the block, and is noted. The code after it goes on."""
        try:
            yield
        except StackMissingError:
            # That is no source that failed.
            raise
        except Exception as error:
            if not (why := failure(error)):
                raise
            self.note(source, why)

    def read[T](self, source: str, read: Callable[[], T]) -> T | None:
        """Return the result of `read`, which reads a source; None if it fails. The failure is noted."""
        found = list[T]()
        with self.reading(source):
            found.append(read())
        return found[0] if found else None

    def every[T](self, source: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the items of a source. If reading it fails, the iteration ends, and the failure is noted."""
        with self.reading(source):
            yield from items

    @property
    def problems(self) -> list[str]:
        return [f"{source}: {problem}" for source, problem in self.unread.items()]

    def conclude(self, found: object, nothing: str, *, as_json: bool) -> None:
        """Exit with code 1 if a source was not read; else, if nothing was found, with code 3 and the message `nothing`.

        Say on stderr why each source was not read, unless `as_json`. A secret that the operator may not read is no
        failure. Raises ClickException if a source was not read and the others found nothing.
        """
        for each in () if as_json else self.problems:
            terminal.say(f"FAILED: {each}")
        if self.unread and not found:
            raise click.ClickException("not all sources could be read, and the others have nothing")
        # A secret that an operator has no right to read is no failure: most policies give none.
        withheld = [each for each in self.problems if re.match(rf"secret of .*({'|'.join(DENIED)})", each)]
        terminal.fail_if(len(self.problems) > len(withheld))
        if not found:
            terminal.nothing(nothing)
