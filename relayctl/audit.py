"""Audit of a change, as one JSON line on stderr for the operator's own log; AWS's record of the calls is CloudTrail."""

import json
from collections.abc import Mapping
from typing import Any

import click
from botocore.config import Config

from relayctl import moments
from relayctl.failed_calls import tried
from relayctl.stack.deployed import Stack

MAX_REASON = 200
# A network without a way to STS must not stop a replay: it answers or fails within seconds.
_STS_LIMITS = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1})


def begin(stack: Stack, verb: str, **details: Any) -> dict[str, Any]:
    """Return the audit of a change that starts now, without the counts of its outcome. `who` is None if STS fails."""
    caller, problem = tried(stack.session.client("sts", config=_STS_LIMITS).get_caller_identity)
    return {
        "at": moments.iso(stack.effects.clock()),
        "who": caller["Arn"] if caller else None,
        **({"who_problem": problem} if problem else {}),
        "verb": verb,
        "stack": stack.name,
        "region": stack.session.region_name,
        **details,
    }


def reason(value: str, what: str) -> str:
    """Return --reason on one line. Raises BadParameter, with the hint `what`, if it is empty, long or not printable."""
    text = " ".join(value.split())
    if not text or len(text) > MAX_REASON or not text.isprintable():
        raise click.BadParameter(f"give a text of 1 to {MAX_REASON} printable characters: {what}")
    return text


def say(document: Mapping[str, Any]) -> None:
    """Write an audit to stderr as one line of JSON, which is never wrapped."""
    click.echo(json.dumps({"audit": document}), err=True)
