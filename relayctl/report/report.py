"""relayctl report: how the relay did in the last hours or days, from its functions' logs."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from relay.incidents.share import CANARY_PREFIX
from relayctl import moments, terminal
from relayctl.channel.store import checked_name
from relayctl.failed_calls import Readings
from relayctl.log_lines import CALLBACK, JOB_WORKER, SWEEPER, WEBHOOK, Budget, Line
from relayctl.report.figures import FIELDS, period_figures, spread_words
from relayctl.stack.deployed import Stack, on_stack
from relayctl.terminal import counted, progress

# The report begins this long ago, unless --since says otherwise.
DEFAULT_SECONDS = 24 * 3600.0
# Answers of FilterLogEvents that a report reads of each function.
MAX_ANSWERS = 1000
# The functions whose lines are read, each with the messages that count.
_READ: Mapping[str, tuple[str, ...]] = {
    WEBHOOK: ("share",),
    JOB_WORKER: ("job", "fallback notified", "dead_lettered"),
    CALLBACK: ("callback",),
    SWEEPER: ("fallback notified", "dead_lettered"),
}
_STEPS = {
    "page_missing": "no page",
    "page_suppressed": "page suppressed",
    "nobody_notified": "nobody notified",
    "nobody_answered": "nobody answered",
}


@click.command(short_help="Report how the relay did: signals, answers, what nobody heard.")
@click.option(
    "--since", type=moments.since, metavar="AGE|TIME", help="The time since: 12h, 7d or a time. 24h if left out."
)
@click.option("--channel", type=checked_name, metavar="NAME", help="One channel only.")
@click.option(
    "--objective",
    type=click.FloatRange(50, 100, max_open=True),
    default=99.9,
    show_default=True,
    help="Percentage of shares that have to be delivered or kept.",
)
@on_stack
def report(stack: Stack, since: float | None, channel: str | None, objective: float, as_json: bool) -> None:
    """Report how the relay did, from its logs.

    Shares and incidents; signals, and how soon after the share xMatters accepted them; repeats and stale states that
    rang nobody; answers, and how soon; criticals that nobody is known to have heard; messages to the fallback topic;
    dead letters. "Kept" is the part of the shares that were delivered or are safe; what is missing to 100 % of the
    objective is the error budget.

    Answers are those that xMatters called back. Canaries do not count. Times are local. A source that fails is named on
    stderr.

    Exit codes: 0 shown, 1 a source failed, 2 usage, 3 no share came, 130 interrupted.

    \b
    Example:
      relayctl report
      relayctl report --since 7d --channel payments
    """
    now = stack.effects.clock()
    since, readings = now - DEFAULT_SECONDS if since is None else since, Readings()
    found = period_figures(_lines(stack, readings, since, channel), since, now, objective / 100)
    document = {"channel": channel, **found, "sources": readings.documents()}
    if found["shares"] and as_json:
        terminal.document(document)
    elif found["shares"]:
        title = f"Relay {stack.name}" + (f", channel {channel}" if channel else "")
        terminal.show_line(f"{title}, {moments.moment(since)} to {moments.moment(now)}")
        for label, text, is_bad in _rows(document):
            terminal.show_line(text, lead=f"  {label:16}", color="red" if is_bad else None)
    for note in readings.notes() if not as_json or not found["shares"] else ():
        terminal.say(note)
    if not found["shares"] and not readings.has_failures:
        terminal.nothing(f"no share came since {moments.moment(since)}")
    terminal.fail_if(readings.has_failures)


def _lines(stack: Stack, readings: Readings, since: float, channel: str | None) -> list[Line]:
    found = list[Line]()
    with progress("reading the logs", "lines", stack.effects.ticks) as show:
        for function, messages in _READ.items():
            budget, source, before = Budget(MAX_ANSWERS), f"log {function}", len(found)
            wanted = " || ".join(f'($.message = "{each}")' for each in messages)
            with readings.reading(source):
                for line in stack.logs.scan(function, f"{{ {wanted} }}", since, budget):
                    is_canary = line.text("incident_id").startswith(CANARY_PREFIX)
                    if not is_canary and channel in {None, line.text("channel")}:
                        found.append(line.only(FIELDS))
                        show(len(found), function)
                problem = f"{budget.problem}; give a later --since" if budget.is_cut else None
                readings.add(source, len(found) - before, problem, is_failure=budget.is_cut)
    return found


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    yield (
        "came",
        f"{counted(report['shares'], 'share')} of {counted(report['incidents'], 'incident')}",
        False,
    )
    repeats, stale = (
        counted(report["repeats_not_rung"], "repeat"),
        counted(report["stale_not_rung"], "stale state"),
    )
    yield "rang", f"{counted(report['signals'], 'signal')}; {repeats} and {stale} did not", False
    if report["to_ring"]:
        yield "rang after", spread_words(report["to_ring"]), False
    answered = f"{report['answered_incidents']:,} of {report['rung_incidents']:,} times that an incident began to ring"
    after = f"; after {spread_words(report['to_answer'])}" if report["to_answer"] else ""
    yield "answered", answered + after, False
    unheard = report["unheard_criticals"]
    steps = ", ".join(f"{_STEPS.get(step, step)} {count}" for step, count in unheard.items())
    told = "; the fallback topic was told" if unheard else ""
    criticals = counted(sum(unheard.values()), "critical")
    yield "unheard", f"{criticals}{f': {steps}' if steps else ''}{told}", bool(unheard)
    yield "fallback", counted(report["fallback_messages"], "message"), report["fallback_messages"] > 0
    yield "dead letters", f"{report['dead_letters']}", report["dead_letters"] > 0
    used = f"{report['error_budget_used']:.0%} of the error budget used (objective {100 * report['objective']:.4g} %)"
    yield "kept", f"{report['kept']:.3%} of the shares; {used}", report["error_budget_used"] > 1
