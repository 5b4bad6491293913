"""Requests to channels' webhooks that were refused for a wrong credential, counted from the log lines of a day.

A request counts if it had a body and named a channel that exists: it may be a share of BigPanda's. Any stranger who
knows the URL can send one.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from relay.delivery.channel_health import age
from relayctl.log_lines import WEBHOOK, Budget, LogReader

PATTERN = '{ $.message = "request refused" }'
DAY = 86_400.0
# Ends of the parts of the day that are read one by one (seconds ago), so that a budget that ends leaves out the oldest.
_PARTS = (0.0, 3600.0, 6 * 3600.0, DAY)
# Answers of FilterLogEvents in one reading.
MAX_ANSWERS = 30


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


def read(reader: LogReader, now: float) -> Mapping[str, Refused]:
    """Return the refused requests of the day before `now` (epoch seconds), by channel.

    Raises botocore's exceptions.
    """
    budget, found = Budget(MAX_ANSWERS), dict[str, Refused]()
    for newest, oldest in pairwise(_PARTS):
        if budget.left <= 0:
            break
        for line in reader.scan(WEBHOOK, PATTERN, now - oldest, now - newest, budget):
            name = line.text("channel")
            if line.message == "request refused" and line.fields.get("may_be_share") is True:
                known = found.get(name, Refused(0, 0.0))
                found[name] = Refused(known.number + 1, max(known.last_at, line.at))
    return found
