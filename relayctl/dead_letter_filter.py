"""Filters of the verbs of `relayctl dlq`: options, and their description for the audit line."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from relay.failures.reasons import Reason
from relay.jobs.job import JobKind
from relayctl import moments, name_completion
from relayctl.dead_letter_mover import NO_STATUS, Filter
from relayctl.moments import Ago, Since

_KINDS = click.Choice([kind.value for kind in JobKind])
_REASONS = click.Choice([reason.value for reason in Reason])


def filtered(reason_option: str = "--reason") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the filter options to a verb.

    The verb gets the filter as `wanted`, and the maximum number of jobs (None: all) as `limit`. `reason_option` is the
    name of the option that filters by the reason of a failure.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--channel",
            metavar="NAME",
            shell_complete=name_completion.complete,
            help="Only jobs of this channel.",
        )
        @click.option("--incident", metavar="ID", help="Only jobs of this incident.")
        @click.option("--kind", type=_KINDS, metavar="KIND", help=f"Only jobs of this kind: {', '.join(JobKind)}.")
        @click.option(
            "--status",
            metavar="STATUS",
            help=f"Only jobs of shares with this status of the incident, such as critical; {NO_STATUS} for none.",
        )
        @click.option(
            reason_option,
            "wanted_reason",
            type=_REASONS,
            metavar="REASON",
            help=f"Only jobs with this reason: {', '.join(Reason)}.",
        )
        @click.option(
            "--since", type=Since(), metavar="AGE|TIME", help="Only jobs of shares since: 90m, 12h, 7d or a time."
        )
        @click.option("--newer-than", type=Ago(), metavar="DURATION", help="Only jobs of shares that came later: 90m.")
        @click.option("--older-than", type=Ago(), metavar="DURATION", help="Only jobs of shares that came before: 7d.")
        @click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N jobs, the oldest first.")
        @wraps(verb)
        def wrapped(**arguments: Any) -> None:
            verb(wanted=_filter(arguments), **arguments)

        return wrapped

    return decorate


def _filter(arguments: dict[str, Any]) -> Filter:
    """Remove the filter options from a verb's `arguments`, and return them as one filter."""
    moments_since = [each for each in (arguments.pop("since"), arguments.pop("newer_than")) if each is not None]
    status = arguments.pop("status")
    return Filter(
        channel=arguments.pop("channel"),
        incident=arguments.pop("incident"),
        kind=arguments.pop("kind"),
        status=None if status is None else status.strip().lower(),
        reason=arguments.pop("wanted_reason"),
        since=max(moments_since, default=None),
        until=arguments.pop("older_than"),
    )


def described(wanted: Filter, limit: int | None) -> dict[str, Any]:
    """Return a JSON object of the filters that the operator gave; times are ISO 8601 in UTC."""
    times = {"since": moments.iso_or_none(wanted.since), "until": moments.iso_or_none(wanted.until)}
    found = {**vars(wanted), **times, "limit": limit}
    return {name: value for name, value in found.items() if value is not None}
