"""Audit of changes: who changed which dead-lettered jobs, when, and why, as one JSON line on stderr.

The line is a record for the operator's own log or ticket. AWS's record of the calls is CloudTrail.
"""

import json
from collections.abc import Mapping
from typing import Any

import click

from relayctl import moments
from relayctl.failed_calls import tried
from relayctl.stack.deployed import Stack

MAX_REASON = 200


def begin(stack: Stack, verb: str, **details: Any) -> dict[str, Any]:
    """Ask STS who the caller is, and return the audit of a change that starts now, without the counts of its outcome.

    `details` has the operator's request, such as filters and a reason. A change does not depend on STS: if the call
    fails, `who` is None, and `who_problem` has the error.
    """
    who, problem = tried(lambda: str(stack.sts.get_caller_identity()["Arn"]))
    return {
        "at": moments.iso(stack.effects.clock()),
        "who": who,
        **({"who_problem": problem} if problem else {}),
        "verb": verb,
        "stack": stack.name,
        "region": stack.session.region_name,
        **details,
    }


def reason(value: str, what: str) -> str:
    """Return the text of --reason on one line; `what` says what the reason is for.

    Raises BadParameter if it is empty, too long or not printable.
    """
    text = " ".join(value.split())
    if not text or len(text) > MAX_REASON or not text.isprintable():
        raise click.BadParameter(f"give a text of 1 to {MAX_REASON} printable characters: {what}")
    return text


def say(document: Mapping[str, Any]) -> None:
    """Write an audit to stderr as one line of JSON, which is never wrapped."""
    click.echo(json.dumps({"audit": document}), err=True)
