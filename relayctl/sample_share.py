"""Test incident of `channel test --ring`: shared with the relay as BigPanda would, and resolved at once."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from relay.channels.channel import Channel
from relay.channels.routes import chosen
from relay.deadline import Deadline
from relay.failures.errors import NoAnswer
from relay.http.client import HttpClient, json_object
from relay.http.session import HttpAnswer
from relay.incidents.json_fields import scalar
from relay.incidents.share import parse_share
from relayctl.check_results import Check, failed, ok, warning

# API Gateway answers within 29 s.
SECONDS = 35.0
DESCRIPTION = "TEST by relayctl: nothing is wrong and nothing is to be done. It is resolved at once."
# Members of the relay's answer that are shown.
_SHOWN = ("outcome", "reason", "queue", "transition", "error", "detail", "message", "request_id", "delivery_id")
_MAX_SHOWN = 200


def body(incident_id: str, status: str, started: int, now: int) -> bytes:
    """Return the share of a test incident; the status `ok` resolves it. Times are epoch seconds."""
    is_over = status == "ok"
    times = {"startedOn": started, "changedOn": now, "updatedOn": now, "endedOn": now if is_over else None}
    alert = {
        "id": f"{incident_id}-alert",
        "status": status,
        "active": not is_over,
        **times,
        "primary_property": "host",
        "secondary_property": "check",
        "source_system": "relayctl",
        "description": DESCRIPTION,
        "tags": [{"name": "host", "value": "relayctl"}, {"name": "check", "value": "channel test"}],
    }
    whole = {
        "id": incident_id,
        "status": status,
        "severity": "warning",
        "active": not is_over,
        "resolved": is_over,
        "flapping": False,
        "snooze": {"snoozed": False},
        **times,
        "alerts": [alert],
    }
    return json.dumps({"incident": whole}).encode()


def recipients_of(channel: Channel) -> tuple[str, ...]:
    """Return the recipients in the channel's secret that the test incident would notify."""
    route = chosen(channel.policy.routes, parse_share(body("test", "warning", 1, 1)), is_open=True)
    return route.recipients if route else channel.recipients


@dataclass(frozen=True)
class SampleShare:
    """Posts a test incident to the relay.

    Attributes:
        outward: The HTTP client.
        url: The channel's URL for BigPanda's webhook.
        header: `name` and `value` of the header with BigPanda's credential.
        deadlines: Makes a deadline of a number of seconds.
        clock: Returns epoch seconds.
    """

    outward: HttpClient
    url: str
    header: Mapping[str, str]
    deadlines: Callable[[float], Deadline]
    clock: Callable[[], float]

    def ring(self, incident_id: str) -> Iterator[Check]:
        """Share the incident, then its resolve, and yield a result for each.

        The first result is FAILED unless xMatters accepted the signal. If the relay answers 4xx, the resolve is not
        shared, and there is no second result.
        """
        started = int(self.clock())
        shared = self._post(body(incident_id, "warning", started, started))
        yield _shared(incident_id, shared)
        if isinstance(shared, HttpAnswer) and 400 <= shared.status < 500:
            return
        # An undelivered share may still be delivered later, or may have been: the resolve is shared in any case.
        yield _resolved(self._post(body(incident_id, "ok", started, max(int(self.clock()), started + 1))))

    def _post(self, content: bytes) -> HttpAnswer | NoAnswer:
        headers = {"Content-Type": "application/json", self.header["name"]: self.header["value"]}
        try:
            return self.outward.ask("POST", self.url, content, headers, self.deadlines(SECONDS))
        except NoAnswer as error:
            return error


def _shared(incident_id: str, answer: HttpAnswer | NoAnswer) -> Check:
    what = f"test incident {incident_id}"
    if isinstance(answer, NoAnswer):
        return failed(what, f"the relay gave no answer: {answer}")
    if answer.status == 200 and _document(answer).get("outcome") == "delivered":
        return ok(what, f"delivered: {_said(answer)}")
    return failed(what, f"not delivered: {_said(answer)}")


def _resolved(answer: HttpAnswer | NoAnswer) -> Check:
    what = "its end"
    if isinstance(answer, NoAnswer):
        return failed(what, f"the relay gave no answer, so the page may still be active: {answer}")
    if answer.status == 200:
        return ok(what, _said(answer))
    return (warning if answer.status == 202 else failed)(what, _said(answer))


def _document(answer: HttpAnswer) -> dict[str, Any]:
    return json_object(answer.body)


def _said(answer: HttpAnswer) -> str:
    document = _document(answer)
    said = [(name, scalar(document.get(name))) for name in _SHOWN]
    return ", ".join([f"HTTP {answer.status}", *(f"{name} {text[:_MAX_SHOWN]}" for name, text in said if text)])
