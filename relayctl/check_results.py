"""Results of checks, each as a line of text and as a JSON object."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

import click

from relay.failures import Reason, SendError
from relay.foreign_text import printable
from relayctl import terminal

# Failures of a vendor's call that may be over within a minute.
_TRANSIENT = {Reason.RATE_LIMITED, Reason.UPSTREAM}


class State(StrEnum):
    """State of a checked thing; WARNING if it works, but not fully, or cannot be checked now."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


_COLORS = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "red"}


class Check(NamedTuple):
    """Result of one check."""

    check: str  # The name of the checked thing
    detail: str  # The explanation in one line, without secrets
    state: State


ok = partial(Check, state=State.OK)
warning = partial(Check, state=State.WARNING)
failed = partial(Check, state=State.FAILED)


def of_failure(what: str, error: SendError) -> Check:
    """Return the result for a failed call to a vendor: WARNING if the failure is transient, else FAILED."""
    is_redirect = 300 <= (error.http_status or 0) < 400
    is_passing = error.reason in _TRANSIENT and not is_redirect
    return warning(what, f"not known now: {error}") if is_passing else failed(what, str(error))


# State and explanation of one check that is named elsewhere.
type Verdict = tuple[State, str]


def show(checks: Iterable[Check]) -> None:
    """Print a line for each result; on a terminal a long line is wrapped and indented."""
    for each in checks:
        line = f"{printable(each.check)}: {printable(each.detail)}"
        terminal.show_line(line, lead=f"{each.state:7}  ", color=_COLORS[each.state])


def listing(checks: Iterable[Check]) -> dict[str, Any]:
    return {"checks": [each._asdict() for each in checks]}


def conclude(what: str, checks: Iterable[Check], document: Mapping[str, Any] | None) -> None:
    """Print `document`, if any, with the numbers of failures and warnings; then write the numbers to stderr.

    Exit with code 1 if there are failures. `what` is the checked thing.
    """
    states = [each.state for each in checks]
    counts = {"failed": states.count(State.FAILED), "warnings": states.count(State.WARNING)}
    if document is not None:
        terminal.document({**document, **counts})
    click.echo(f"{what}: {counts['failed']} failed, {counts['warnings']} warnings", err=True)
    terminal.fail_if(counts["failed"])
