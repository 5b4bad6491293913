"""Ownership of incidents of which no share came: with which webhook BigPanda shared them, by their activities.

The name of a channel's webhook in BigPanda is learned from incidents whose shares came. Facts and open questions:
docs/vendors.md, "BigPanda's API".
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Self

from relay.bigpanda.listing import Lister
from relay.deadline import Clock
from relay.failures import Reason, SendError
from relay.ledger.table import Table, parsed
from relay.reconcile.findings import Progress, Seen
from relay.reconcile.history import Member

OWN_KEY = "reconcile/own/"
# The name is learnt again after this time: an operator may have replaced the webhook in BigPanda.
LEARNT_SECONDS = 3600.0
# Known incidents from which a run learns the name, at most.
LEARNT_FROM = 3
# Begins BigPanda's names of webhooks, of both versions.
WEBHOOK = "webhook"
# Unknown incidents of a listing whose activities a run reads: at BigPanda's limit it takes minutes. With less time left
# in the run, it reads none. The next run reads those of the others.
MAX_JUDGED, RESERVED_SECONDS = 1000, 30.0


class Learnt(NamedTuple):
    """Knowledge about a channel's webhook in BigPanda.

    Attributes:
        names: BigPanda's names of webhooks, of which one is the channel's; empty if none was learnt.
        at: Time at which `names` were learnt (epoch seconds).
    """

    names: tuple[str, ...] = ()
    at: float = 0.0

    @property
    def is_sure(self) -> bool:
        return len(self.names) == 1

    @classmethod
    def read(cls, table: Table, channel: str) -> Self:
        """Read what is known of a channel's webhook; no names if nothing valid is stored. Raises LedgerError."""
        return parsed(table.read(OWN_KEY + channel), lambda said: cls(tuple(map(str, said[0])), float(said[1])), cls())

    def store(self, table: Table, channel: str) -> None:
        table.change(OWN_KEY + channel, lambda _: json.dumps([self.names, self.at]))


@dataclass(frozen=True)
class Ownership:
    """Decides if an incident of which no share came is a channel's own, so that the channel may signal it."""

    lister: Lister
    table: Table
    clock: Clock

    def learn(self, run: Progress) -> dict[str, frozenset[str]]:
        """Return BigPanda's names of webhooks, of which one is the channel's own, for each channel that signals.

        BigPanda shared the channel's latest known incidents (at most LEARNT_FROM) with all of these webhooks. A channel
        has no names if BigPanda's activities of these incidents name no webhook. Raises LedgerError.
        """
        return {each.name: self._learnt(run, each) for each in run.listing.members if each.signals}

    def judge(self, run: Progress, names: Mapping[str, frozenset[str]], *, criticals_alone: bool) -> None:
        """Decide if the incidents in `run.firsts` belong to their channels. `names` is the result of `learn`.

        | BigPanda shared the incident | action |
        | --- | --- |
        | with all of the channel's `names` | It becomes a finding, which is signalled. |
        | with other targets only | It is ignored for an hour. |
        | with targets that do not decide, or are unknown | It stays in `run.unjudged`, to be reported to people. |

        With `criticals_alone`, only criticals are judged. Raises LedgerError.
        """
        for place, finding in list(run.firsts.items()):
            channel, name = place
            if not names[channel] or (criticals_alone and not finding.seen.state.is_critical):
                continue
            del run.firsts[place]
            run.go_on()
            targets = self._targets_once(run, finding.seen)
            if targets is None:
                del run.unjudged[place]
            elif names[channel] <= targets:
                del run.unjudged[place]
                # If this channel signals the incident, no other channel has to report it.
                run.known.add(name)
                run.findings[place] = [finding]
            elif targets and not names[channel] & targets:
                del run.unjudged[place]
                run.history.channels[channel].others[name] = self.clock()

    def _targets_once(self, run: Progress, seen: Seen) -> frozenset[str] | None:
        """Return BigPanda's names of the targets with which it shared an incident; empty if BigPanda does not say.

        None if this run has no time, calls or rate limit left to ask.
        """
        if seen.name not in run.targets:
            if len(run.targets) == MAX_JUDGED or run.deadline.remaining() < RESERVED_SECONDS:
                return None
            try:
                run.targets[seen.name] = self._targets(run, seen)
            except SendError as error:
                # After a call that hung, BigPanda is left alone for some time: it was not asked.
                if error.reason in {Reason.PACED, Reason.CIRCUIT_OPEN}:
                    return None
                run.targets[seen.name] = frozenset()
        return run.targets[seen.name]

    def _learnt(self, run: Progress, member: Member) -> frozenset[str]:
        learnt, now = Learnt.read(self.table, member.name), self.clock()
        if learnt.is_sure and now - learnt.at < LEARNT_SECONDS:
            return frozenset(learnt.names)
        known = sorted(run.known_to.get(member.name, ()), key=lambda each: each.state.version or (0, 0), reverse=True)
        for seen in known[:LEARNT_FROM]:
            with suppress(SendError):
                # BigPanda shares with people and chats, too.
                shared = self._targets(run, seen)
                if targets := frozenset(each for each in shared if each.lower().startswith(WEBHOOK)):
                    # Not of an earlier time: of a webhook that was replaced since, the one beside it would be left.
                    kept = targets & {*learnt.names} if learnt.at == now else targets
                    learnt = Learnt(tuple(sorted(kept)), now)
            if learnt.is_sure and learnt.at == now:
                break
        if learnt.at == now:
            learnt.store(self.table, member.name)
        return frozenset(learnt.names)

    def _targets(self, run: Progress, seen: Seen) -> frozenset[str]:
        return self.lister.share_targets(run.access, seen.share.incident_id, run.deadline)
