"""Draining of channels: wait until nothing is owed and no more shares come. Nothing here changes anything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import click

from relay.deadline import Deadline
from relay.delivery.channel_health import age
from relay.failures import Reason
from relay.foreign_text import printable
from relayctl import moments, terminal
from relayctl.moments import Span
from relayctl.stack.channel_status import ChannelStatus
from relayctl.stack.deployed import Stack
from relayctl.stack.status_reading import StackStatus, StatusReader
from relayctl.terminal import progress

# Pause between two readings of the ledger and the logs.
PAUSE_SECONDS = 15.0
# A share that came so shortly before the drain began shows that shares still come.
STILL_COME_SECONDS = 60.0
# Follow-ups of a signal search for its page for three minutes, and BigPanda is asked about an end for ten.
QUIET = "10m"
TIMEOUT = "30m"
# The logs are read for an hour, so a longer quiet time could not be seen.
QUIET_SPAN = Span("1m", "55m")
TIMEOUT_SPAN = Span("1m", "1d")


def options(verb: Callable[..., None]) -> Callable[..., None]:
    """Add `--quiet` and `--timeout` to a verb that drains channels."""
    quiet = click.option(
        "--quiet",
        type=QUIET_SPAN,
        default=QUIET,
        show_default=True,
        metavar="DURATION",
        help="Drained is a channel without a share or a signal for so long, 1m to 55m. Less than 5m only without "
        "xmatters.rest.",
    )
    timeout = click.option(
        "--timeout",
        type=TIMEOUT_SPAN,
        default=TIMEOUT,
        show_default=True,
        metavar="DURATION",
        help="Give up the wait after this time, 1m to 1d.",
    )
    return quiet(timeout(verb))


def waits_for(status: ChannelStatus, now: float, quiet: float) -> list[str]:
    """Return the reasons why a channel is not drained at `now`, in words; an empty list if it is.

    `now` is in epoch seconds; `quiet` is the minimum seconds since the channel's last share or signal.
    """
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


@dataclass
class Drain:
    """A wait for channels of a stack.

    Attributes:
        stack: The stack.
        reader: Reads the status of the channels.
        quiet: Minimum seconds since the last share or signal for a channel to count as drained.
        timeout: Seconds after which the wait ends.
    """

    stack: Stack
    reader: StatusReader
    quiet: float
    timeout: float
    _is_announced: bool = field(default=False, init=False)

    @cached_property
    def _began(self) -> float:
        return self.stack.effects.clock()

    @cached_property
    def _deadline(self) -> Deadline:
        return self.stack.deadline(self.timeout)

    def check(self, names: Sequence[str]) -> StackStatus:
        """Return the status of the channels. Raises ClickException if shares still come, or a source cannot be read."""
        _ = self._began, self._deadline
        with terminal.status("reading the ledger and the logs …"):
            found = self.reader.read()
        unknown = [each.name for each in _of(found, names) if each.debts is None or each.traffic is None]
        if unknown or (found.problems and not found.channels):
            why = "; ".join(found.problems) or "no source could be read"
            raise click.ClickException(f"cannot tell what is owed: {printable(why)}; nothing was removed")
        self._refuse_shares(found, names)
        return found

    def wait(self, names: Sequence[str]) -> list[str]:
        """Wait until at least one of these channels is drained, and return all that are.

        A channel that was removed meanwhile counts as drained. Raises ClickException if a share came, or after
        `timeout`.
        """
        found = self.check(names)
        if ready := self._drained(found, names):
            return ready
        if not self._is_announced:
            self._is_announced = True
            for line in self._lines(found, names):
                terminal.say(line)
        with progress("draining", f"of {len(names)}", self.stack.effects.clock) as show:
            while not ready:
                if self._deadline.remaining() < PAUSE_SECONDS:
                    raise click.ClickException(
                        f"not drained after {self.timeout / 60:.0f} minutes; the rest is unchanged:\n"
                        + "\n".join(self._lines(found, names))
                        + "\nrelayctl status tells why; run the command again, with a longer --timeout"
                    )
                self.stack.effects.sleep(PAUSE_SECONDS)
                found = self.reader.read()
                self._refuse_shares(found, names)
                ready = self._drained(found, names)
                show(len(ready), "; ".join(self._lines(found, names)[:1]))
        return ready

    def _drained(self, found: StackStatus, names: Sequence[str]) -> list[str]:
        waiting = {each.name for each in found.channels if waits_for(each, found.at, self.quiet)}
        present = {each.name for each in found.channels}
        return [name for name in names if name not in waiting and (name in present or not found.problems)]

    def _lines(self, found: StackStatus, names: Sequence[str]) -> list[str]:
        judged = {each.name: waits_for(each, found.at, self.quiet) for each in _of(found, names)}
        return [f"channel {name} waits: {', '.join(why)}" for name, why in judged.items() if why]

    def _refuse_shares(self, found: StackStatus, names: Sequence[str]) -> None:
        """Raise ClickException if shares still come for a channel in `names`.

        That is so if the last share came after the drain began, or less than STILL_COME_SECONDS before.
        """
        since = self._began - STILL_COME_SECONDS
        for each in _of(found, names):
            came = each.traffic.last_share if each.traffic else None
            if came is not None and came > since:
                raise click.ClickException(
                    f"channel {each.name}: shares still come, the last one at {moments.iso(came)}; it was not removed. "
                    "Disable AutoShare in BigPanda first. Updates of incidents that were shared before still come, "
                    "until these are closed or the webhook integration is deleted there. Then run the command again"
                )


def _of(found: StackStatus, names: Sequence[str]) -> list[ChannelStatus]:
    return [each for each in found.channels if each.name in names]
