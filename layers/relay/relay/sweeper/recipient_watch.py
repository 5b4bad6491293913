"""Watch over recipients: once an hour, tells people by name of recipients whom xMatters would not notify.

A person can be absent, inactive or without devices, and a group without anybody on call. Nobody sees that before a page
is needed. Only channels with access to xMatters' REST API are checked, one in a run of the sweeper.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.channels.channel import Channel, Rest
from relay.deadline import Deadline
from relay.delivery.channel_health import HealthTopics
from relay.failures import ChannelError

if TYPE_CHECKING:
    from relay.sweeper.run import Tools
    from relay.xmatters.directory import Directory

# Keys of the table's items: the times of all channels' last checks, and whom people were told of, for a channel.
TIMES_KEY, TOLD_KEY = "channels/recipients", "recipients/"
KEPT_SECONDS = 7 * 86_400.0
CHECK_SECONDS = 3600.0
# Recipients in a check; the next check has the next ones. xMatters' limits are not published.
MAX_CHECKED = 10
# Time after which people are told again of a recipient who was all right meanwhile.
TOLD_AGAIN_SECONDS = 86_400.0


@dataclass(frozen=True)
class RecipientWatch:
    """Checks the recipients of the channel whose check is due for longest, and tells people of what is new."""

    tools: "Tools"
    directory: "Callable[[], Directory]"
    topics: HealthTopics

    def run(self, names: Iterable[str], deadline: Deadline) -> None:
        """Check the channel that is due, of those named. Raises LedgerError."""
        known, now = self._read(TIMES_KEY), self.tools.clock()
        times = {name: known.get(name, 0.0) for name in names}
        name = min(times, key=lambda each: times[each], default=None)
        if name is None or now - times[name] < CHECK_SECONDS:
            return
        # Stored first: a channel whose check fails must not keep the others from theirs.
        self._store(TIMES_KEY, times | {name: now})
        with suppress(ChannelError):
            channel = self.tools.channels.get(name)
            if channel.rest and channel.named_recipients:
                self._check(channel, channel.rest, deadline)

    def _check(self, channel: Channel, rest: Rest, deadline: Deadline) -> None:
        now, names = self.tools.clock(), sorted(channel.named_recipients)
        start = int(now // CHECK_SECONDS) * MAX_CHECKED % len(names)
        checked = [*names[start:], *names[:start]][:MAX_CHECKED]
        hindrances = self.directory().hindrances(rest, checked, now, deadline)
        found = {name: why for name, why in hindrances.items() if why}
        known, lasting = self._read(TOLD_KEY + channel.name), {*names} - {*checked} | hindrances.keys()
        told = {name: at for name, at in known.items() if name in lasting or now - at < TOLD_AGAIN_SECONDS}
        if found.keys() - told.keys() and self.topics.unreachable(channel.name, found):
            told = dict.fromkeys(found, now) | told
        if told != known:
            self._store(TOLD_KEY + channel.name, told)

    def _read(self, key: str) -> dict[str, float]:
        found = self.tools.table.read(key)
        # What cannot be read counts as none.
        with suppress(ValueError):
            return dict(json.loads(found.text)) if found else {}
        return {}

    def _store(self, key: str, times: dict[str, float]) -> None:
        self.tools.table.store(key, json.dumps(times, separators=(",", ":")), lasts=KEPT_SECONDS)
