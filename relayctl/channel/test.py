"""relayctl channel test: check one channel, and on request share a test incident, resolved at once."""

import json
import uuid
from collections.abc import Iterator

import click

from relay.channels.channel import header_for
from relay.channels.parsing import parse_channel
from relay.channels.routes import chosen
from relay.failures import NoAnswer
from relay.foreign_text import printable
from relay.http.client import json_object
from relay.incidents.share import TEST_PREFIX, parse_share, scalar
from relayctl import check_results, terminal
from relayctl.channel import checks, endpoints
from relayctl.channel.store import NAME, ChannelStore
from relayctl.check_results import Check, State, failed, ok, warning
from relayctl.stack.deployed import Stack, on_stack

# API Gateway answers within 29 s.
SECONDS = 35.0
DESCRIPTION = "TEST by relayctl: nothing is wrong and nothing is to be done. It is resolved at once."
# Members of the relay's answer that are shown.
_SHOWN = ("outcome", "reason", "queue", "transition", "error", "detail", "message", "request_id", "delivery_id")
_MAX_SHOWN = 200


def _body(incident_id: str, status: str, started: int, now: int) -> bytes:
    """Return the share of a test incident; the status `ok` resolves it. Times are epoch seconds."""
    is_open = status != "ok"
    state = {"status": status, "active": is_open, "startedOn": started, "changedOn": now}
    alert = state | {"id": f"{incident_id}-alert", "source_system": "relayctl", "description": DESCRIPTION}
    incident = state | {"id": incident_id, "severity": "warning", "resolved": not is_open, "alerts": [alert]}
    return json.dumps({"incident": incident}).encode()


@click.command()
@NAME
@click.option("--ring", "rings", is_flag=True, help="Share a test incident with the channel: it notifies people.")
@click.option("--yes", is_flag=True, help="With --ring: do not ask.")
@on_stack
def test(stack: Stack, name: str, rings: bool, yes: bool, as_json: bool) -> None:
    """Check a channel: its secret, hosts, credentials and recipients.

    Without --ring, nobody is notified. A warning is for what works, but not fully, or cannot be checked now.

    With --ring, relayctl shares a test incident of status warning as BigPanda would, and its resolve at once. The
    check fails unless the incident is delivered. Do not answer its page: BigPanda has no such incident.

    \b
    Example:
      relayctl channel test payments
      relayctl channel test payments --ring
    """
    store = ChannelStore(stack)
    if not store.exists(name):
        terminal.nothing(f"there is no channel {name}")
    if yes and not rings:
        raise click.UsageError("--yes is only for --ring")
    if rings:
        terminal.refuse_unasked("share a test incident", yes=yes)
    with terminal.status(f"checking channel {name} …"):
        found = list(checks.of(store, name))
    if not as_json:
        check_results.show(found)
    if rings:
        is_usable = not any(each.state == State.FAILED for each in found if each.what == "secret")
        refusal = failed("test incident", "not shared: the relay itself could not use the channel")
        rung = list(_ring(store, name, yes=yes)) if is_usable else [refusal]
        if not as_json:
            check_results.show(rung)
        found += rung
    if as_json:
        terminal.document({"channel": name, **check_results.listing(found), **check_results.counts(found)})
    check_results.conclude(f"channel {name}", found)


def _ring(store: ChannelStore, name: str, *, yes: bool) -> Iterator[Check]:
    """Share a test incident, then its resolve, and yield a result for each; after 4xx, the resolve is not shared.

    The first result is FAILED unless xMatters accepted the signal.
    """
    stack, document = store.stack, store.existing(name)
    channel = parse_channel(name, document.text(), stack.hosts)
    route = chosen(channel.policy.routes, parse_share(_body("test", "warning", 1, 1)), is_open=True)
    named = (*channel.trigger_recipients, *(route.recipients if route else channel.recipients))
    recipients = ", ".join(map(printable, named)) or "the recipients of xMatters' form"
    terminal.confirm(f"Notify {recipients} now, by a test incident in channel {name}?", yes=yes)
    url, header = endpoints.urls(stack, name, document)["inbound"], header_for(document.get("inbound"))
    outward, incident_id = stack.effects.outward(stack.api_host(url)), f"{TEST_PREFIX}{uuid.uuid4().hex[:12]}"
    headers = {"Content-Type": "application/json", header["name"]: header["value"]}

    def post(status: str, now: int) -> tuple[int, str, str]:
        """Return the HTTP status of the answer, the outcome in it, and the answer in words; 0 without an answer."""
        try:
            content = _body(incident_id, status, started, now)
            answer = outward.ask("POST", url, content, headers, stack.deadline(SECONDS))
        except NoAnswer as error:
            return 0, "", f"the relay gave no answer: {error}"
        said = {name: scalar(json_object(answer.body).get(name)) or "" for name in _SHOWN}
        words = (f"{name} {text[:_MAX_SHOWN]}" for name, text in said.items() if text)
        return answer.status, said["outcome"], ", ".join([f"HTTP {answer.status}", *words])

    started, what = int(stack.effects.clock()), f"test incident {incident_id}"
    with terminal.status("sharing a test incident …"):
        status, outcome, said = post("warning", started)
    is_delivered = status == 200 and outcome == "delivered"
    yield ok(what, f"delivered: {said}") if is_delivered else failed(what, f"not delivered: {said}")
    if 400 <= status < 500:
        return
    # An undelivered share may still be delivered later, or may have been: the resolve is shared in any case.
    with terminal.status("sharing its end …"):
        status, _, said = post("ok", max(int(stack.effects.clock()), started + 1))
    judged = {200: ok, 202: warning}.get(status, failed)
    yield judged("its end", said if status else f"{said}; the page may still be active")
