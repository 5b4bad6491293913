"""Audit of changes: who changed which dead-lettered jobs, when, and why, as one JSON line on stderr.

The line is a record for the operator's own log or ticket. AWS's record of the calls is CloudTrail.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from relayctl import moments
from relayctl.aws_errors import aws_failure
from relayctl.stack.deployed import Stack

MAX_REASON = 200


@dataclass(frozen=True)
class Audit:
    """Audit record of one change, without the counts of its outcome.

    Attributes:
        at: When the change started (ISO 8601 in UTC).
        verb: The verb of relayctl.
        stack: Name of the stack.
        region: AWS region of the stack.
        who: ARN of the caller; None if the call to STS failed.
        problem: The error if the call to STS failed, else None.
        details: The operator's request, such as filters and a reason.
    """

    at: str
    verb: str
    stack: str
    region: str | None
    who: str | None
    problem: str | None
    details: Mapping[str, Any]

    @classmethod
    def begin(cls, stack: Stack, verb: str, **details: Any) -> "Audit":
        """Ask STS who the caller is, and return the audit of a change that starts now.

        A change does not depend on STS: if the call fails, `problem` has the error.
        """
        who = problem = None
        try:
            who = str(stack.sts.get_caller_identity()["Arn"])
        except Exception as error:
            if (problem := aws_failure(error)) is None:
                raise
        at = moments.iso(stack.effects.clock())
        return cls(at, verb, stack.name, stack.session.region_name, who, problem, details)

    def document(self, counts: Mapping[str, int]) -> dict[str, Any]:
        """Return the audit as a JSON object; `counts` has the numbers of jobs by outcome."""
        problem = {"who_problem": self.problem} if self.problem else {}
        return {
            "at": self.at,
            "who": self.who,
            **problem,
            "verb": self.verb,
            "stack": self.stack,
            "region": self.region,
            **self.details,
            "counts": dict(counts),
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
