"""Sweeper: works from the rows of all debts every minute.

The ledger's `due` index has a row for each state that waits, failed or was given up, and for each critical that awaits
proof that people heard of it (an open receipt).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from relay.deadline import Deadline
from relay.failures import LedgerError
from relay.jobs.job import MILLISECOND
from relay.ledger.debt import CRITICAL, OTHER
from relay.ledger.rate_limit_and_circuit import (
    CLOSED,
    HORIZON_SECONDS,
    PROBE_SECONDS,
    SPREAD_SECONDS,
    Gate,
    circuit_of,
    gate_of,
)
from relay.sweeper.bells import Bells
from relay.sweeper.fallback_notifier import FallbackNotifier, carry_out
from relay.sweeper.run import (
    DueRow,
    DueRows,
    SweeperRun,
    SweepPolicies,
    Tools,
    by_channel,
    each_once,
)

if TYPE_CHECKING:
    from relay.sweeper.health_watch import HealthWatch

# Time limit of a run. It ends before the function's time-out of 60 seconds and before the next run.
SWEEP_SECONDS = 45.0
# Time limit of the notifications in a run.
NOTIFY_SECONDS = 20.0
# Time limit of a recovery, and the table's key with the time of the last one.
RECOVER_SECONDS = 15.0
RECOVERY_KEY = "recovery"
# A channel with a debt of this age gets a log line in each run.
OWES_SECONDS = 120.0
# The run begins nothing new after this time: neither messages about channels' health nor the heartbeat. It leaves time
# for calls that are under way before the lease ends.
LATEST_SECONDS = 52.0
# Time limit of the judgement of channels' health. It is a deadline of its own, after healing.
HEALTH_SECONDS = 8.0
# Time limit of the probes of credentials. A run with less time left probes nothing.
PROBES_SECONDS = 6.0
# The same for the check of a channel's recipients: two requests for each, one after the other.
RECIPIENTS_SECONDS = 15.0
# The same for the canaries: the webhook may take so long to answer.
CANARIES_SECONDS = 9.0
HEARTBEAT_SECONDS = 2.0
MINUTE = 60.0
# Length of a full line, in minutes of the rate limit. Further signals get no slot.
FULL_MINUTES = HORIZON_SECONDS / MINUTE
# A channel counts as overloaded after this time above its limit. It covers three runs of the sweeper, whose schedule is
# not exact to the second.
OVERLOADED_SECONDS = 100.0


@dataclass(frozen=True)
class Sweeper:
    """The sweeper: notifies the fallback topic, wakes overdue debts, and judges channels, every minute.

    Attributes:
        health: Watch over channels' health; None without a topic for it.
        heartbeat: Calls an external dead man's switch within a number of seconds; returns the reason of a failure, or
            an empty text. None without a switch.
    """

    tools: Tools
    rows: DueRows
    policies: SweepPolicies
    notifier: FallbackNotifier
    bells: Bells
    health: "HealthWatch | None" = None
    heartbeat: Callable[[float], str] | None = None

    def handle(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Do one run; for an event with the member `fallback_test`, test the last resort instead (`carry_out`).

        Raises LedgerError if the run failed: Lambda counts that as an error, which SweeperGoneAlarm watches.
        """
        if "fallback_test" not in event:
            return self.sweep()
        return carry_out(event["fallback_test"], self.notifier.fallback, self.tools.table, self.tools.clock)

    def sweep(self) -> dict[str, Any]:
        """Do one run, and return its counts for the log; empty if another run has the lease. Raises LedgerError."""
        deadline, latest = self.tools.deadlines(SWEEP_SECONDS), self.tools.deadlines(LATEST_SECONDS)
        self.policies.begin_run()
        try:
            run = SweeperRun.begin(self.tools.table, self.tools.clock())
            if run is None:
                return {}
            critical = each_once(self.rows.read(run, CRITICAL))
            # With a deadline of its own, so that a topic that hangs leaves time for healing.
            notified = self.notifier.notify(run, critical, self.tools.deadlines(NOTIFY_SECONDS))
            found = each_once([*critical, *self.rows.read(run, OTHER)])
            rows = [each for each in found if each.is_waiting]
            # Before healing, which may use up the run's time during a flood.
            self._judge_loads(run, rows)
            healed = self.bells.ring_overdue(run, rows, deadline)
            self.tools.run_logging_failure(partial(self._judge_health, run, found, latest), otherwise=None)
            run.end(self.tools.table)
        except LedgerError as error:
            self.tools.telemetry.notice("sweeper_failed", str(error))
            raise
        self._report(rows, healed)
        # The answer does not matter. SQS stops the metrics of a queue that nobody calls for six hours, and the first
        # one after that comes up to 15 minutes late.
        self.bells.outbox.dead_letters.backlog()
        self._beat(latest)
        return {"owed": len(rows), "notified": notified, "healed": healed}

    def recover(self, closed_at: float) -> None:
        """Wake the overdue debts of all channels, after a channel's circuit closed at `closed_at` (epoch seconds).

        Does nothing if another call began after `closed_at`. A failure of the ledger is logged.
        """
        now = self.tools.clock()
        self.policies.begin_run()
        try:
            # One that began in the same millisecond may have read the rows before the circuit closed.
            since = closed_at + MILLISECOND
            # Few calls read the index after an outage of many channels.
            if self.tools.table.update(RECOVERY_KEY, put={"began": now}, below=("began", since)) is None:
                return
            deadline = self.tools.deadlines(RECOVER_SECONDS)
            run = SweeperRun(now)
            rows = each_once([*self.rows.read(run, CRITICAL), *self.rows.read(run, OTHER)])
            owed = [each for each in rows if each.is_waiting]
            # What came while the circuit was tested waits as if the test took its longest time, and some seconds more.
            ahead = PROBE_SECONDS + 2 * SPREAD_SECONDS
            channels = dict.fromkeys(each.channel for each in owed if each.entry.debt.due <= now + ahead)
            recovering = set(filter(self._begins_recovery, channels))
            rows = [each for each in owed if each.channel in recovering]
            self.bells.ring_overdue(run, rows, deadline, ahead=ahead)
        except LedgerError as error:
            self.tools.telemetry.notice("sweeper_failed", str(error))

    def _begins_recovery(self, channel: str) -> bool:
        """Return True at most once a minute for a channel, so that several recoveries do not exceed its rate limit."""
        # Few states are woken then: the channel's own recovery is still to come.
        if circuit_of(self.tools.table, channel).open_until is not None:
            return True
        now = self.tools.clock()
        begun = {"recovered_at": now}
        return self.tools.table.update(gate_of(channel), put=begun, below=("recovered_at", now - MINUTE)) is not None

    def _judge_loads(self, run: SweeperRun, rows: Sequence[DueRow]) -> None:
        self.policies.read(each.channel for each in rows)
        now = self.tools.clock()
        # What waits for the end of a pause or a flap does not wait for the rate limit.
        moving = by_channel(each for each in rows if self._delay_start(each, now) <= now)
        above = {name: load for name, some in moving.items() if (load := self._overload(name, some, now))}
        since = run.above_since(above.keys(), now)
        lasting = {name: now - began for name, began in since.items() if now - began >= OVERLOADED_SECONDS}
        if lasting:
            self.tools.telemetry.count("channels_overloaded", len(lasting))
        for name, seconds in lasting.items():
            self.tools.telemetry.logger.warning(
                "channel overloaded: more arrives than its limit lets through",
                extra=above[name] | {"above_seconds": round(seconds)},
            )

    def _overload(self, channel: str, rows: Sequence[DueRow], now: float) -> dict[str, Any] | None:
        """Return a channel's load in the last minute, for the log; None if the channel is within its rate limit.

        The channel is above its limit in two cases: more states became owed in the minute, or more wait than the limit
        lets through in five minutes. The second case counts only if the circuit is known to be closed, since they may
        wait because signals fail.
        """
        limit = self.policies.of(channel).max_per_minute
        since = [each.entry.debt.since for each in rows if each.entry.debt.job and not each.entry.is_unreadable]
        arrived = sum(moment is not None and now - MINUTE < moment <= now for moment in since)
        load = {"channel": channel, "arrived_per_minute": arrived, "max_per_minute": limit, "owed": len(since)}
        is_full = len(since) > limit * FULL_MINUTES
        if len(since) > limit:
            try:
                gate = Gate.of(self.tools.table.attributes(gate_of(channel)))
                load["critical_wait_seconds"] = round(max(gate.critical_line_end - now, 0.0))
                is_full = is_full and gate.circuit == CLOSED
            except LedgerError:
                is_full = False
        return load if arrived > limit or is_full else None

    def _judge_health(self, run: SweeperRun, rows: Iterable[DueRow], latest: Deadline) -> None:
        if self.health:
            # A removed channel is not sick of what it gave up: only `relayctl dlq drop` would end that.
            self.policies.read([*(each.channel for each in rows), *run.health])
            removed = self.policies.removed
            lasting = (each for each in rows if not (each.entry.debt.is_given_up and each.channel in removed))
            # A canary's incident is judged as a canary alone.
            real = (each for each in lasting if not each.is_canary)
            now = self.tools.clock()
            owed = {
                channel: [self.policies.with_holds(each, now) for each in some]
                for channel, some in by_channel(real).items()
            }
            paused = {name for name in run.health if self.policies.of(name).is_paused(now)}
            deadline = self.tools.deadlines(min(HEALTH_SECONDS, latest.remaining()))
            self.health.judge(run, owed, deadline, paused=paused)
            # After the messages, so that a vendor that hangs does not delay them.
            if latest.remaining() >= PROBES_SECONDS:
                deadline = self.tools.deadlines(PROBES_SECONDS)
                names, probed, is_listed = self.health.probe.run(deadline)
                self.health.survey.learn(run, probed, deadline, among=names if is_listed else None)
                if latest.remaining() >= RECIPIENTS_SECONDS:
                    self.health.recipients.run(names, self.tools.deadlines(RECIPIENTS_SECONDS))
            if self.health.canaries and latest.remaining() >= CANARIES_SECONDS:
                self.health.canaries.run(run, self.tools.deadlines(CANARIES_SECONDS))

    def _delay_start(self, row: DueRow, now: float) -> float:
        return self.policies.with_holds(row, now).delay_start or 0.0

    def _beat(self, latest: Deadline) -> None:
        if self.heartbeat:
            seconds = min(HEARTBEAT_SECONDS, latest.remaining())
            failure = self.heartbeat(seconds) if seconds else "no time was left"
            if failure:
                self.tools.telemetry.notice("heartbeat_failed", failure)

    def _report(self, rows: Sequence[DueRow], healed: int) -> None:
        """Log and count a run, and each channel that owes states for long."""
        telemetry, now = self.tools.telemetry, self.tools.clock()
        for channel, owed in by_channel(rows).items():
            telemetry.count_of_channel(channel, "debts_owed", len(owed))
            oldest = min(owed, key=lambda each: self._delay_start(each, now))
            seconds = now - self._delay_start(oldest, now)
            if seconds >= OWES_SECONDS:
                telemetry.logger.warning(
                    "channel owes signals",
                    channel=channel,
                    owed=len(owed),
                    oldest_seconds=round(seconds),
                    reason=oldest.entry.debt.reason or None,
                )
        overdue = max([0.0, *(now - each.entry.debt.due for each in rows if each.entry.debt.job)])
        if rows:
            telemetry.count("debts_owed", len(rows))
        if overdue:
            telemetry.count("debt_overdue_seconds", round(overdue))
        if healed:
            telemetry.count("debt_healed", healed)
        telemetry.logger.info("swept", owed=len(rows), overdue_seconds=round(overdue), healed=healed)
