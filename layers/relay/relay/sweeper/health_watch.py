"""Watch over channels' health: judges them in each run of the sweeper, and tells people when one gets sick or well.

The watch has a deadline of its own, after debts were woken and the fallback topic was notified. The next run repeats a
message that SNS did not accept. A silent channel that owes nothing has no row in the ledger's `due` index. So each
channel's policy is read when its credentials are probed, about once an hour.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.channels.channel import Channel, Rest
from relay.channels.policy import Policy
from relay.deadline import Deadline
from relay.failures import ChannelError, LedgerError, UnknownChannel
from relay.health.announcement import ChannelState, Told
from relay.health.judgement import (
    ChannelNotice,
    Debts,
    Health,
    HealthTopics,
    ShareWatch,
    refusals,
    sick_reasons,
)
from relay.ledger.credentials import newest_use, use_key
from relay.ledger.entry import Entry
from relay.ledger.rate_limit_and_circuit import Circuit, circuit_of
from relay.ledger.table import Table, parsed
from relay.sweeper.canary import MAX_CANARIES, Canary, CanaryWatch
from relay.sweeper.credential_probe import CredentialProbe
from relay.sweeper.run import SweeperRun, Tools
from relay.telemetry import channel_list

if TYPE_CHECKING:
    from relay.xmatters.directory import Directory

# Channels that expect shares, which the sweeper remembers in one item of the table.
MAX_EXPECTED = 1000


@dataclass(frozen=True)
class ShareSurvey:
    """Finds silent channels, to which no share came for too long. `uses` is the table with last uses of credentials."""

    tools: Tools
    uses: Table

    def silent(self, run: SweeperRun, deadline: Deadline) -> dict[str, ShareWatch]:
        """Return each channel to which no share came for too long, with its `ShareWatch`. Raises LedgerError."""
        now = self.tools.clock()
        # The time of a last share only grows, so it is read only when the known one is too old.
        overdue = [name for name, each in run.expected.items() if each.is_silent(now)]
        reads = self.tools.at_once([partial(self._read, run, name, deadline) for name in overdue])
        # For a channel that can't be read, the last message to people decides.
        plain = ChannelState()
        sure = [
            name for name, is_read in zip(overdue, reads, strict=True) if is_read or run.health.get(name, plain).told
        ]
        expected = {name: run.expected[name] for name in sure if name in run.expected}
        return {name: each for name, each in expected.items() if each.is_silent(now)}

    def learn(
        self, run: SweeperRun, probed: Sequence[str], deadline: Deadline, *, among: Collection[str] | None
    ) -> None:
        """Record in `run` how often each `probed` channel expects shares, its last share, and its canary.

        A channel that can't be read keeps its record. `among` has the names of all channels: the records of others are
        dropped. With None, all records stay. Raises LedgerError.
        """
        if among is not None:
            run.expected = {name: each for name, each in run.expected.items() if name in among}
            run.canaries = {name: each for name, each in run.canaries.items() if name in among}
        self.tools.at_once([partial(self._read, run, name, deadline) for name in probed])

    def _read(self, run: SweeperRun, name: str, deadline: Deadline) -> bool:
        """Read a channel into `run`, as `learn` says. Return False if the channel can't be read, or no time is left.

        Raises LedgerError.
        """
        if not deadline.remaining():
            return False
        try:
            policy = self.tools.channels.get(name).policy
        except UnknownChannel:
            policy = Policy()
        except ChannelError:
            return False
        except Exception as error:  # noqa: BLE001 - a fault in one channel must not stop the others
            self.tools.telemetry.crashed(error)
            return False
        if not policy.canary:
            run.canaries.pop(name, None)
        elif len(run.canaries) < MAX_CANARIES:
            run.canaries.setdefault(name, Canary())
        every = policy.expect_share_every
        if every is None:
            run.expected.pop(name, None)
        elif name in run.expected or len(run.expected) < MAX_EXPECTED:
            run.expected[name] = ShareWatch(every, self._last_share(name, run.expected.get(name)))
        return True

    def _last_share(self, name: str, known: ShareWatch | None) -> float:
        """Return the time of the last known share; for a channel without one, the time from which one is expected."""
        fingerprints = self.tools.channels.get(name).fingerprints("inbound")
        try:
            newest = newest_use(self.uses, [use_key(name, "inbound", fingerprint) for *_, fingerprint in fingerprints])
        except LedgerError:
            if known:
                raise
            newest = None
        if known is None:
            return self.tools.clock() if newest is None else newest
        return max(known.since, newest or 0.0)


# Keys of the table's items: time and number of each channel's last check, and whom people were told of, for a channel.
CHECKS_KEY, TOLD_KEY = "channels/checks", "recipients/"
KEPT_SECONDS = 7 * 86_400.0
CHECK_SECONDS = 3600.0
# Recipients in a check; the next check has the next ones. xMatters' limits are not published.
MAX_CHECKED = 10
# Time after which people are told again of a recipient who was all right meanwhile.
TOLD_AGAIN_SECONDS = 86_400.0


@dataclass(frozen=True)
class RecipientWatch:
    """Checks recipients once an hour, and tells people the names of those whom xMatters would not notify.

    Such a recipient is a person who is absent, inactive or without devices, or a group without anybody on call. Only
    channels with access to xMatters' REST API are checked.
    """

    tools: Tools
    directory: "Callable[[], Directory]"
    topics: HealthTopics

    def run(self, names: Iterable[str], deadline: Deadline) -> None:
        """Check the recipients of one channel of `names`: the one whose check is due longest. Raises LedgerError."""
        known, now = self._read(CHECKS_KEY), self.tools.clock()
        checks = {name: tuple(known.get(name, (0.0, 0))) for name in names}
        name = min(checks, key=lambda each: checks[each], default=None)
        if name is None or now - checks[name][0] < CHECK_SECONDS:
            return
        number = int(checks[name][1])
        # Stored first: a channel whose check fails must not keep the others from theirs.
        self._store(CHECKS_KEY, checks | {name: (now, number + 1)})
        with suppress(ChannelError):
            channel = self.tools.channels.get(name)
            if channel.rest and channel.named_recipients:
                self._check(channel, channel.rest, number, deadline)

    def _check(self, channel: Channel, rest: Rest, number: int, deadline: Deadline) -> None:
        now, names = self.tools.clock(), sorted(channel.named_recipients)
        start = number * MAX_CHECKED % len(names)
        checked = [*names[start:], *names[:start]][:MAX_CHECKED]
        hindrances = self.directory().hindrances(rest, checked, now, deadline)
        found = {name: why for name, why in hindrances.items() if why}
        known, lasting = self._read(TOLD_KEY + channel.name), {*names} - {*checked} | hindrances.keys()
        told = {name: at for name, at in known.items() if name in lasting or now - at < TOLD_AGAIN_SECONDS}
        if found.keys() - told.keys() and self.topics.tell_unreachable(channel.name, found):
            told = dict.fromkeys(found, now) | told
        # Also if nothing changed: it must not expire, or people were told again.
        if told or known:
            self._store(TOLD_KEY + channel.name, told)

    def _read(self, key: str) -> dict[str, Any]:
        none: dict[str, Any] = {}
        return parsed(self.tools.table.read(key), dict, none)

    def _store(self, key: str, times: dict[str, Any]) -> None:
        self.tools.table.store(key, json.dumps(times, separators=(",", ":")), lasts=KEPT_SECONDS)


# If at least this many channels get sick (or well) in one run, people get one message about all of them.
MANY = 5
# Sick channels that the sweeper remembers. Their states are in one item of the table, which takes 400 KB. Without that
# item no run begins.
MAX_WATCHED = 300
# Time limit of one message: two tries of the SNS client fit into it.
PUBLISH_SECONDS = 5.0


class Message(NamedTuple):
    """A health message that is due. Its channels are all sick, or all well again."""

    health: Health
    notices: Sequence[ChannelNotice]

    @property
    def is_urgent(self) -> bool:
        """True if the message is to wake a person."""
        return any(each.is_urgent for each in self.notices)


@dataclass(frozen=True)
class HealthWatch:
    """Judges all channels' health, and tells people of changes. `canaries` is None if the webhook's URL is unknown."""

    tools: Tools
    survey: ShareSurvey
    probe: CredentialProbe
    recipients: RecipientWatch
    canaries: CanaryWatch | None
    topics: HealthTopics

    def judge(
        self,
        run: SweeperRun,
        owed: Mapping[str, Sequence[Entry]],
        deadline: Deadline,
        *,
        paused: Collection[str],
    ) -> None:
        """Judge the channels' health, and tell people of changes. Raises LedgerError.

        `owed` has the entries of the ledger's `due` index, by channel. No channel is judged well if the run could not
        read the whole index (`SweeperRun.is_whole`), nor is a channel in `paused`.
        """
        debts = {name: Debts.of(entries) for name, entries in owed.items()}
        silent = self.survey.silent(run, deadline)
        refused = {name: refusals(name, kinds) for name, kinds in self.probe.refused().items()}
        failed = {name: each.failure for name, each in run.canaries.items() if each.failure}
        names = list(dict.fromkeys([*debts, *silent, *refused, *failed, *run.health]))
        circuits = dict(
            zip(names, self.tools.at_once([partial(self._circuit, each, deadline) for each in names]), strict=True)
        )
        now = self.tools.clock()
        for name in names:
            reasons = sick_reasons(
                debts.get(name, Debts()),
                circuits[name],
                silent.get(name),
                now,
                refused=refused.get(name, ()),
                canary=failed.get(name, ""),
            )
            owed_by = debts.get(name, Debts())
            is_urgent = name in silent or owed_by.unpaged_criticals > 0
            state = run.health.get(name, ChannelState())
            if name in paused and not reasons:
                run.health[name] = state.unjudged(now)
            elif run.is_whole or reasons:
                run.health[name] = state.judged(now, reasons, is_urgent=is_urgent)
        run.health = self._kept(run.health, now)
        self._publish(run, debts, deadline)

    def _kept(self, states: Mapping[str, ChannelState], now: float) -> dict[str, ChannelState]:
        """Return the health states that later runs need: of more than MAX_WATCHED, those with the latest messages."""
        needed = [(name, state) for name, state in states.items() if not state.is_over(now)]
        if len(needed) > MAX_WATCHED:
            self.tools.telemetry.notice("health_failed", f"{len(needed)} channels are sick: {MAX_WATCHED} are watched")
            needed.sort(key=lambda each: (-each[1].told_at, -each[1].sick_runs, each[0]))
        return dict(needed[:MAX_WATCHED])

    def _circuit(self, channel: str, deadline: Deadline) -> Circuit | None:
        if not deadline.remaining():
            return None
        try:
            return circuit_of(self.tools.table, channel)
        except LedgerError:
            return None

    def _publish(self, run: SweeperRun, debts: Mapping[str, Debts], deadline: Deadline) -> None:
        failed: set[str] = set()
        for message in self._messages(run, debts):
            arn = self.topics.arn(is_urgent=message.is_urgent)
            # A topic that failed is not called again in this run, since each call can take seconds.
            if arn in failed or not deadline.remaining():
                continue
            fields = {
                "channel": channel_list([each.channel for each in message.notices]),
                "count": len(message.notices),
                "why": "; ".join(dict.fromkeys(each.why for each in message.notices)),
            }
            if self._publish_one(message, deadline):
                text = "channel is sick" if message.health == "sick" else "channel is well again"
                self.tools.telemetry.logger.warning(text, extra=fields)
                # Written at once: a run that dies later must not repeat the message.
                run.health |= self._states(run, message)
                run.record(self.tools.table)
            else:
                self.tools.telemetry.count("health_failed")
                text = f"people could not be told that a channel is {message.health}"
                self.tools.telemetry.logger.error(text, extra=fields)
                failed.add(arn)

    def _publish_one(self, message: Message, deadline: Deadline) -> bool:
        call = partial(self.topics.tell, message.health, message.notices, self.tools.clock())
        try:
            return deadline.run(call, part="health", at_most=PUBLISH_SECONDS)
        except TimeoutError:
            return False
        except Exception as error:  # noqa: BLE001 - a fault in one message must not stop the others
            self.tools.telemetry.crashed(error)
            return False

    def _messages(self, run: SweeperRun, debts: Mapping[str, Debts]) -> list[Message]:
        now = self.tools.clock()
        sick = [_notice(name, each, debts) for name, each in run.health.items() if each.is_to_tell_sick(now)]
        well = [_notice(name, each, debts) for name, each in run.health.items() if each.is_to_tell_well(now)]
        messages = [
            *(Message("sick", each) for each in _together(sick)),
            *(Message("well", each) for each in _together(well)),
        ]
        return sorted(messages, key=lambda each: not each.is_urgent)

    def _states(self, run: SweeperRun, message: Message) -> dict[str, ChannelState]:
        now = self.tools.clock()
        if message.health == "well":
            return {each.channel: run.health[each.channel].told_well(now) for each in message.notices}
        told = Told.ALARM if message.is_urgent else Told.NOTICE
        return {each.channel: run.health[each.channel].told_sick(told, now) for each in message.notices}


def _notice(name: str, state: ChannelState, debts: Mapping[str, Debts]) -> ChannelNotice:
    return ChannelNotice(name, state.since, state.why, debts.get(name, Debts()), state.is_urgent)


def _together(notices: Sequence[ChannelNotice]) -> list[Sequence[ChannelNotice]]:
    """Return the notices for each message, urgent ones first. From MANY notices on, one message has all of them."""
    ordered = sorted(notices, key=lambda each: (not each.is_urgent, -each.debts.unpaged_criticals, each.channel))
    return [ordered] if len(ordered) >= MANY else [[each] for each in ordered]
