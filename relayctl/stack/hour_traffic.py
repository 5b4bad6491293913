"""Shares and signals of the last hour, and refused requests of a day, by channel, counted from log lines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from relay.delivery.channel_health import age
from relay.incidents.share import TEST_PREFIX
from relayctl.log_lines import AHEAD_SECONDS, JOB_WORKER, WEBHOOK, Budget, LogReader

HOUR, DAY = 3600.0, 86_400.0
# Answers of FilterLogEvents for one function's traffic, and for the refused requests.
MAX_ANSWERS = 60
MAX_REFUSED_ANSWERS = 30
PATTERNS = {WEBHOOK: '{ $.message = "share" }', JOB_WORKER: '{ ($.message = "job") && ($.outcome = "delivered") }'}
_REFUSED = '{ $.message = "request refused" }'


class Refused(NamedTuple):
    """Refused requests of a channel in the last day.

    Attributes:
        number: Number of requests.
        last_at: Time of the last one (epoch seconds).
    """

    number: int
    last_at: float

    def words(self, now: float) -> str:
        """Return the number of requests and the age of the last one in words."""
        requests = "1 request" if self.number == 1 else f"{self.number} requests"
        return f"{requests} with a wrong credential refused in a day, the last {age(now - self.last_at)} ago"


def read_refused(reader: LogReader, now: float) -> Mapping[str, Refused]:
    """Return the refused requests of the day before `now` (epoch seconds), by channel.

    Raises botocore's exceptions.
    """
    found = dict[str, Refused]()
    for line in reader.scan(WEBHOOK, _REFUSED, now - DAY, now + AHEAD_SECONDS, Budget(MAX_REFUSED_ANSWERS)):
        name = line.text("channel")
        if line.message == "request refused" and line.fields.get("may_be_share") is True:
            known = found.get(name, Refused(0, 0.0))
            found[name] = Refused(known.number + 1, max(known.last_at, line.at))
    return found


@dataclass
class Traffic:
    """Traffic of a channel in the last hour.

    Attributes:
        shares: Number of shares.
        signals: Number of signals that xMatters accepted.
        last_share: Time of the last share, other than of a test incident (epoch seconds); None if there was none.
        last_signal: Time of the last accepted signal (epoch seconds); None if there was none.
    """

    shares: int = 0
    signals: int = 0
    last_share: float | None = None
    last_signal: float | None = None


def count(reader: LogReader, function: str, now: float, found: dict[str, Traffic]) -> bool:
    """Add the shares and signals of a function's log lines, of the hour before `now` (epoch seconds), to `found`.

    `found` has the traffic by channel. Return False if there are more lines than are read, so that the counts are too
    low. Raises botocore's exceptions.
    """
    budget = Budget(MAX_ANSWERS)
    for line in reader.scan(function, PATTERNS[function], now - HOUR, now + AHEAD_SECONDS, budget):
        name, is_share = line.text("channel"), line.message == "share"
        if not name or line.message not in {"share", "job"}:
            continue
        traffic = found.setdefault(name, Traffic())
        if is_share:
            traffic.shares += 1
            if not line.text("incident_id").startswith(TEST_PREFIX):
                traffic.last_share = max(traffic.last_share or 0.0, line.at)
        if line.text("outcome") == "delivered" and (is_share or line.text("kind") in {"signal", ""}):
            traffic.signals += 1
            traffic.last_signal = max(traffic.last_signal or 0.0, line.at)
    return not budget.is_cut
