"""Results of checks: for people a line each, for programs a document each."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, NamedTuple

from rich.text import Text

from relay.errors import Reason, SendError
from relay.foreign_text import printable
from relayctl import terminal
from relayctl.outputs import StackMissingError
from relayctl.refusal import aws_failure

# What is as it is now, and may be otherwise in a minute.
_PASSES = {Reason.RATE_LIMITED, Reason.UPSTREAM}


class State(StrEnum):
    """How it stands. WARNING: it works, but not as it could, or it can't be told."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


_STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red"}


class Check(NamedTuple):
    """One thing that was looked at; `detail` is a line for people, without anything secret."""

    what: str
    state: State
    detail: str

    def document(self) -> dict[str, str]:
        """The same for programs."""
        return {"check": self.what, "state": self.state, "detail": self.detail}


def ok(what: str, detail: str) -> Check:
    """It is as it must be."""
    return Check(what, State.OK, detail)


def warning(what: str, detail: str) -> Check:
    """It works, but not as it could, or it can't be told."""
    return Check(what, State.WARNING, detail)


def failed(what: str, detail: str) -> Check:
    """It does not work."""
    return Check(what, State.FAILED, detail)


def of_failure(what: str, error: SendError) -> Check:
    """A vendor that was asked gave another answer than it must, or none."""
    return warning(what, f"not known now: {error}") if error.reason in _PASSES else failed(what, str(error))


def of_aws(what: str, look: Callable[[], Check]) -> Check:
    """Return what `look` finds; failed where AWS refuses the call or can't be asked."""
    try:
        return look()
    except StackMissingError as error:
        return failed(what, f"not checked: {error}")
    except Exception as error:
        if message := aws_failure(error):
            return failed(what, f"not checked: {message}")
        raise


def show(checks: Iterable[Check]) -> None:
    """Print a line for each; on a terminal what does not fit goes on below its beginning."""
    for each in checks:
        state = Text(f"{each.state:7}  ", style=_STYLES[each.state])
        terminal.show_line(f"{printable(each.what)}: {printable(each.detail)}", lead=state)


def listing(checks: Iterable[Check]) -> dict[str, Any]:
    """All of them for programs."""
    return {"checks": [each.document() for each in checks]}


def counts(checks: Iterable[Check]) -> dict[str, int]:
    """How many failed, and how many were warnings."""
    states = [each.state for each in checks]
    return {"failed": states.count(State.FAILED), "warnings": states.count(State.WARNING)}


def summary(checks: Iterable[Check]) -> str:
    """The same for people."""
    found = counts(checks)
    words = [f"{found['failed']} failed"] if found["failed"] else []
    words += [f"{found['warnings']} warning{'s' if found['warnings'] > 1 else ''}"] if found["warnings"] else []
    return ", ".join(words) or "all well"
