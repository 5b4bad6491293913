"""Draining of channels: wait until nothing is owed and no more shares come. Nothing here changes anything."""

from collections.abc import Callable, Iterator, Sequence

import click

from relay.delivery.channel_health import age
from relay.failures import Reason
from relay.foreign_text import printable
from relayctl import moments, terminal
from relayctl.stack.channel_status import ChannelStatus
from relayctl.stack.status_reading import StackStatus, StatusReader
from relayctl.terminal import progress

# Pause between two readings of the ledger and the logs.
PAUSE_SECONDS = 15.0
# A share that came so shortly before the drain began shows that shares still come.
STILL_COME_SECONDS = 60.0
# Follow-ups of a signal search for its page for three minutes, and BigPanda is asked about an end for ten.
QUIET = "10m"
TIMEOUT = "30m"


def options(verb: Callable[..., None]) -> Callable[..., None]:
    """Add `--quiet` and `--timeout` to a verb that drains channels."""
    # The logs are read for an hour, so a longer quiet time could not be seen.
    quiet = click.option(
        "--quiet",
        type=moments.span("1m", "55m"),
        default=QUIET,
        show_default=True,
        metavar="DURATION",
        help="Drained is a channel without a share or a signal for so long, 1m to 55m. Less than 5m only without "
        "xmatters.rest.",
    )
    timeout = click.option(
        "--timeout",
        type=moments.span("1m", "1d"),
        default=TIMEOUT,
        show_default=True,
        metavar="DURATION",
        help="Give up the wait after this time, 1m to 1d.",
    )
    return quiet(timeout(verb))


def waits_for(status: ChannelStatus, now: float, quiet: float) -> list[str]:
    """Return the reasons why a channel is not drained, in words; an empty list if it is."""
    debts, traffic = status.debts, status.traffic
    if debts is None or traffic is None:
        return ["the ledger and the logs to be readable"]
    found = []
    if debts.owed:
        since = f", the oldest for {age(now - debts.oldest)}" if debts.oldest is not None else ""
        paused = debts.reasons[Reason.PAUSED]
        resume = f", {paused} paused: relayctl channel resume {status.name}" if paused else ""
        found.append(f"{debts.owed} owed{since}{resume}")
    # While the channel sends nothing, the sweeper notifies of nothing. It does so once the channel is removed.
    is_silent = status.policy is not None and status.policy.stops_all(now)
    if not is_silent and (notices := debts.unnotified + debts.pages_missing):
        found.append(f"{notices} to be notified of")
    last = max((at for at in (traffic.last_share, traffic.last_signal) if at is not None), default=None)
    if last is not None and last + quiet > now:
        found.append(f"quiet until {moments.clock_in_zones(last + quiet)}")
    return found


def check(reader: StatusReader, names: Sequence[str], quiet: float, began: float) -> tuple[list[str], list[str]]:
    """Return the channels that are drained, and why the others are not, in words.

    Raises ClickException if shares still come, or a source cannot be read.
    """
    terminal.begin("reading the ledger and the logs …")
    found = reader.read()
    wanted = [each for each in found.channels if each.name in names]
    unknown = [each.name for each in wanted if each.debts is None or each.traffic is None]
    if unknown or (found.problems and not found.channels):
        why = "; ".join(found.problems) or "no source could be read"
        raise click.ClickException(f"cannot tell what is owed: {printable(why)}; nothing was removed")
    return _judged(found, names, quiet, began)


def drained(reader: StatusReader, names: Sequence[str], quiet: float, timeout: float) -> Iterator[str]:
    """Wait for channels, and yield each once it is drained, or removed by others.

    `quiet` is the least time since the last share or signal. Raises ClickException if a share comes, or at `timeout`.
    """
    stack, left = reader.stack, list(names)
    began, deadline = stack.effects.clock(), stack.deadline(timeout)
    while left:
        ready, why = check(reader, left, quiet, began)
        for line in () if ready else why:
            terminal.say(line)
        show = progress("draining", f"of {len(left)}", stack.effects.clock)
        while not ready:
            if deadline.remaining() < PAUSE_SECONDS:
                raise click.ClickException(
                    f"not drained after {timeout / 60:.0f} minutes; the rest is unchanged:\n"
                    + "\n".join(why)
                    + "\nrelayctl status tells why; run the command again, with a longer --timeout"
                )
            stack.effects.sleep(PAUSE_SECONDS)
            ready, why = _judged(reader.read(), left, quiet, began)
            show(len(ready), "; ".join(why[:1]))
        left = [name for name in left if name not in ready]
        yield from ready


def _judged(found: StackStatus, names: Sequence[str], quiet: float, began: float) -> tuple[list[str], list[str]]:
    """Return the channels that are drained, and why the others are not. Raises ClickException if shares still come."""
    wanted = [each for each in found.channels if each.name in names]
    for each in wanted:
        came = each.traffic.last_share if each.traffic else None
        if came is not None and came > began - STILL_COME_SECONDS:
            raise click.ClickException(
                f"channel {each.name}: shares still come, the last one at {moments.iso(came)}; it was not removed. "
                "Disable AutoShare in BigPanda first. Updates of incidents that were shared before still come, "
                "until these are closed or the webhook integration is deleted there. Then run the command again"
            )
    waiting = {each.name: waits_for(each, found.at, quiet) for each in wanted}
    ready = [name for name in names if not waiting.get(name, found.problems)]
    return ready, [f"channel {name} waits: {', '.join(why)}" for name, why in waiting.items() if why]
