"""relayctl channel test: checks of a channel, which notify nobody, and on request a test incident, resolved at once."""

import json
import uuid
from collections.abc import Iterator
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import click

from relay.bigpanda.client import BigPanda
from relay.channels import misconfiguration
from relay.channels.channel import BigPandaAccess, Channel, Rest, header_for
from relay.channels.parsing import parse_channel
from relay.channels.policy import Mode
from relay.channels.routes import chosen
from relay.channels.token import LEAST_TYPED_LENGTH
from relay.deadline import Deadline
from relay.failures import LedgerError, Reason, SendError
from relay.foreign_text import printable
from relay.http.client import HttpClient, json_object
from relay.incidents.share import TEST_PREFIX, parse_share, scalar
from relay.ledger.sources import Sources
from relay.sweeper.canary import EVERY_SECONDS
from relay.xmatters.directory import EVENTS_PATH, Directory, Kind, RecipientCheck, RestApi
from relayctl import check_results, terminal
from relayctl.channel import endpoints, pauses
from relayctl.channel.store import NAME, ChannelStore
from relayctl.check_results import Check, State, failed, of_failure, ok, warning
from relayctl.failed_calls import DENIED, tried
from relayctl.stack.deployed import Stack, on_stack

_UNSEEN = "So settings, hosts, credentials, recipients and missed shares of the channel are not checked"
MAX_SUGGESTED = 5
_ANYBODY = (
    "the holder of the webhook's token may notify anybody by ?recipients=; set policy.allowed_recipients ([]: nobody)"
)


def of(store: ChannelStore, name: str) -> Iterator[Check]:
    """Check a channel, and yield the result of each check. A check whose precondition failed is left out."""
    stack, (found, problem) = store.stack, tried(lambda: store.channel(name))
    if found is None:
        if problem and any(code in problem for code in DENIED):
            yield warning("secret", f"not seen: {problem}. {_UNSEEN}")
        else:
            yield failed("secret", problem or "the channel was removed meanwhile")
        return
    yield ok("secret", "it can be read, is valid, and has only hosts that the stack allows")
    yield from _modes(found, stack.effects.clock())
    yield from _tokens(found)
    yield from _settings(found)
    deadline = stack.deadline(VENDOR_SECONDS)
    if not found.named_recipients:
        yield warning("recipients", "the channel names none: the URLs or the workflow in xMatters name them")
    yield from xmatters(stack, found, deadline)
    yield bigpanda(stack, found.bigpanda, deadline)
    yield from _missed_shares(stack, found)
    if not found.callback:
        yield warning("answers", "off: without xmatters.callback the relay does not receive people's answers")
    yield _receipt(found)
    if found.policy.canary:
        yield _canary(stack, found)


def _missed_shares(stack: Stack, channel: Channel) -> Iterator[Check]:
    """Judge whether reconcile runs would find a share that never arrives, and whom they would notify."""
    what, access = "missed shares", channel.bigpanda
    if access is None:
        return
    if not access.reconcile:
        yield warning(what, "off: bigpanda.reconcile is false, so a share that never arrives is not noticed")
        return
    try:
        # Any holder of the webhook's token can send a share with an environment.
        suggested = Sources(stack.table(), stack.effects.clock).suggested(channel)
    except LedgerError as error:
        yield warning(what, f"not known, the ledger cannot be read: {error}")
        suggested = ()
    if suggested:
        named = ", ".join(suggested[:MAX_SUGGESTED])
        yield warning(what, f"shares came from {named}, too: add it to bigpanda.environments, if it is yours")
    if not access.environments:
        yield warning(what, "off: bigpanda.environments names no environment to list")
    elif access.reconcile == "ring" and misconfiguration.needs_url_recipients(channel):
        yield warning(what, "reported only: the secret names no recipients, so a missed share notifies nobody")


def _modes(channel: Channel, now: float) -> Iterator[Check]:
    if channel.policy.mode is Mode.SHADOW:
        would = f"`relayctl shadow report {channel.name}` says what it would send"
        ends = f"`relayctl channel set {channel.name} --set policy.mode=live` ends it"
        yield warning("mode", f"shadow: the channel sends nothing. {would}, {ends}")
    for each in pauses.open_pauses(channel.policy, now):
        yield warning("pause", pauses.pause_words(each, now))


def _tokens(channel: Channel) -> Iterator[Check]:
    for key, endpoint in (("inbound", channel.inbound), ("xmatters.callback", channel.callback)):
        if any(len(each.members["token"]) < LEAST_TYPED_LENGTH for each in endpoint if "token" in each.members):
            rotate = f"relayctl channel rotate {channel.name} {endpoints.ENDPOINTS[key].name}"
            yield warning("tokens", f"a token of {key} is short, and can be guessed: {rotate} makes a new one")


def _receipt(channel: Channel) -> Check:
    """Return the steps of a critical's receipt that the channel proves, and what to set for the others."""
    policy, source = channel.policy, "" if channel.rest or channel.callback else ", and xmatters.rest or callbacks"
    lacks = {
        "page": "" if channel.rest else "xmatters.rest",
        "notified": "" if policy.notified_within_seconds else f"policy.notified_within_seconds{source}",
        "answered": "" if policy.answered_within_seconds else f"policy.answered_within_seconds{source}",
    }
    proven = ", ".join(["signal", *(step for step, lack in lacks.items() if not lack)])
    others = "; ".join(f"{step} needs {lack}" for step, lack in lacks.items() if lack)
    said = f"of a critical, these steps are proven: {proven}" + (f"; {others}" if others else "")
    return ok("receipt", said) if policy.notified_within_seconds else warning("receipt", said)


def _canary(stack: Stack, channel: Channel) -> Check:
    what, parameters, policy, now = "canary", stack.parameters, channel.policy, stack.effects.clock()
    if not parameters.get("AlarmTopicArn") and not parameters.get("NoticeTopicArn"):
        return warning(what, "off: the stack has neither NoticeTopicArn nor AlarmTopicArn, so nobody could be told")
    if policy.mode is Mode.SHADOW or any(each.is_active(now) for each in policy.pauses):
        return warning(what, "off: the channel is paused, or in shadow mode")
    if parameters.get("AllowedSourceCidrs") or parameters.get("WebAclArn"):
        limits = "AllowedSourceCidrs or WebAclArn may refuse the sweeper, which calls from an address of AWS"
        return warning(what, f"{limits}: the canary fails with HTTP 403 then")
    minutes, recipients = f"{EVERY_SECONDS / 60:.0f}", ", ".join(sorted(channel.named_recipients))
    return ok(what, f"every {minutes} minutes an incident rings {recipients or 'the recipients of the form'}, and ends")


def _settings(channel: Channel) -> Iterator[Check]:
    problems = (*misconfiguration.problems(channel), *misconfiguration.unprovable(channel))
    yield from (failed("settings", str(each)) for each in problems)
    if may_notify_nobody(channel) and channel.named_recipients:
        yield failed("critical incidents", "one that matches no route notifies nobody: xmatters.recipients is empty")
    allowed = channel.policy.allowed_recipients
    if allowed is None:
        yield warning("recipients in the URL", _ANYBODY)
    elif not allowed and misconfiguration.needs_url_recipients(channel):
        yield failed("recipients in the URL", "policy.allowed_recipients allows none, and the secret names none")


# For all requests to the vendors of one channel.
VENDOR_SECONDS = 30.0


def may_notify_nobody(channel: Channel) -> bool:
    """True if a critical incident may match no route, and no recipient is named outside the routes.

    A route is certain to match only if all its conditions are on `status`, and `critical` meets them. Conditions on
    other properties may fail, since a share may lack the property.
    """

    def holds(fact: str, patterns: tuple[str, ...]) -> bool:
        return fact == "status" and any(fnmatchcase("critical", pattern) for pattern in patterns)

    return not misconfiguration.has_recipients(channel) and not any(
        route.recipients and route.when and all(holds(*condition) for condition in route.when)
        for route in channel.policy.routes
    )


def judged(finding: RecipientCheck, hindrance: str = "") -> Check:
    """Return a recipient's check: FAILED if a signal notifies nobody, WARNING for doubt or a `hindrance`, else OK."""
    what = f"recipient {finding.name}"
    if finding.detail:
        return warning(what, f"not known: {finding.detail}")
    if finding.kind == Kind.NOTHING or finding.is_active is False:
        return failed(what, finding.hindrance)
    if finding.hindrance or hindrance:
        return warning(what, finding.hindrance or f"{finding.kind}, active, but {hindrance}")
    return ok(what, f"{finding.kind}, active" + ("" if finding.on_call is None else f", {finding.on_call} on call now"))


def warn(stack: Stack, channel: Channel) -> None:
    """Check the recipients of a stored channel, and warn on stderr of each recipient whom a signal may not notify.

    No exception is raised: the channel is stored, and the caller must still print the URL and header to paste.
    """
    try:
        with terminal.status("checking the recipients …"):
            found = list(xmatters(stack, channel, stack.deadline(VENDOR_SECONDS))) if channel.rest else []
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        terminal.outlast(error)
        found = [warning("recipients", f"not checked: {type(error).__name__}")]
    for each in found:
        if each.state != State.OK:
            terminal.say(f"warning: {printable(each.check)}: {printable(each.detail)}")


def xmatters(stack: Stack, channel: Channel, deadline: Deadline) -> Iterator[Check]:
    """Check access to xMatters' REST API, and by it each recipient named in the channel's secret. Yield the results."""
    names = sorted(channel.named_recipients)
    if channel.rest is None:
        off = "off: without xmatters.rest every page is unconfirmed by design, and no recipient is checked"
        yield warning(_REST, off)
        return
    directory = Directory(stack.effects.outward(stack.hosts.xmatters))
    found = rest(directory, channel.rest, deadline)
    yield found
    if found.state != State.OK:
        if names:
            yield warning("recipients", "not checked: the REST API could not be used")
        return
    checked = directory.check(channel.rest, names, deadline)
    hindered = directory.personal_hindrances(channel.rest, checked, stack.effects.clock(), deadline)
    yield from (judged(each, hindered.get(each.name, "")) for each in checked)


_BIGPANDA = "BigPanda API"
_REST = "xMatters REST API"
_TRIGGER = "xMatters trigger"


def rest(directory: Directory, access: Rest, deadline: Deadline) -> Check:
    """Check the credentials for xMatters' REST API by asking it for a single page (which the API calls an event)."""
    try:
        directory.try_credentials(access, deadline)
    except SendError as error:
        return of_failure(_REST, error)
    return ok(_REST, f"{urlsplit(access.base_url).hostname or ''} lets the channel's user read pages")


def trigger(xmatters: HttpClient, channel: Channel, deadline: Deadline) -> Check:
    """Check the trigger's credentials at its host's REST API, which takes the same ones. No signal is sent."""
    if channel.auth.type == "url":
        return warning(_TRIGGER, "not checked: only a signal can tell if the key in the URL is right")
    parts = urlsplit(channel.trigger_url)
    access = Rest(f"{parts.scheme}://{parts.netloc}", channel.auth)
    try:
        # 403 is the answer to a known user who may not read pages, which a trigger does not need.
        RestApi(xmatters).ask(access, "GET", f"{EVENTS_PATH}?limit=1", None, deadline, also={403})
    except SendError as error:
        if error.reason == Reason.CREDENTIALS:
            return failed(_TRIGGER, str(error))
        return warning(_TRIGGER, f"not checked: {error}")
    return ok(_TRIGGER, f"{parts.hostname} knows the channel's user; whether it may start the trigger is not checked")


def bigpanda(stack: Stack, access: BigPandaAccess | None, deadline: Deadline) -> Check:
    """Check the key for BigPanda's API by reading one incident of each environment of the channel."""
    if access is None:
        return warning(_BIGPANDA, "off: without bigpanda.api_key people's answers are not written to BigPanda")
    client = BigPanda(stack.effects.outward(stack.hosts.bigpanda))
    if not access.environments:
        return warning(_BIGPANDA, "not checked: bigpanda.environments names no environment to read from")
    try:
        for each in access.environments:
            client.try_credentials(access, each, deadline)
    except SendError as error:
        return of_failure(_BIGPANDA, error)
    return ok(_BIGPANDA, "the key may read the channel's environments; whether it may write is not checked")


# API Gateway answers within 29 s.
RING_SECONDS = 35.0
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
    with terminal.status(f"checking channel {name} …"):
        found = list(of(store, name))
    check_results.show(() if as_json else found)
    if rings:
        is_usable = not any(each.state == State.FAILED for each in found if each.check == "secret")
        refusal = failed("test incident", "not shared: the relay itself could not use the channel")
        rung = list(_ring(store, name, yes=yes)) if is_usable else [refusal]
        check_results.show(() if as_json else rung)
        found += rung
    document = {"channel": name, **check_results.listing(found)}
    check_results.conclude(f"channel {name}", found, document if as_json else None)


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
        """Share the incident with this status. Return the answer's HTTP status (0: none came), outcome and words."""
        try:
            content = _body(incident_id, status, started, now)
            with terminal.status("sharing a test incident, and its end …"):
                answer = outward.ask("POST", url, content, headers, stack.deadline(RING_SECONDS))
        except SendError as error:
            return 0, "", f"the relay gave no answer: {error}"
        except KeyboardInterrupt as error:
            # The incident may ring: its end is still to be shared.
            terminal.outlast(error)
            return 0, "", "interrupted"
        said = {name: scalar(json_object(answer.body).get(name)) or "" for name in _SHOWN}
        words = (f"{name} {text[:_MAX_SHOWN]}" for name, text in said.items() if text)
        return answer.status, said["outcome"], ", ".join([f"HTTP {answer.status}", *words])

    started, what = int(stack.effects.clock()), f"test incident {incident_id}"
    status, outcome, said = post("warning", started)
    is_delivered = status == 200 and outcome == "delivered"
    yield ok(what, f"delivered: {said}") if is_delivered else failed(what, f"not delivered: {said}")
    if 400 <= status < 500:
        return
    # An undelivered share may still be delivered later, or may have been: the resolve is shared in any case.
    status, _, said = post("ok", max(int(stack.effects.clock()), started + 1))
    result = {200: ok, 202: warning}.get(status, failed)
    yield result("its end", said if status else f"{said}; the page of {incident_id} may still be active")
