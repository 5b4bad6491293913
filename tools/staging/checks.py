"""The fifteen checks, in their order; each yields what it saw."""

import json
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import requests

from tools.staging.report import Check, Seen, judged, noted, skipped
from tools.staging.target import CHANNEL, Target, seconds_until

type Run = Callable[[Target], Iterator[Seen]]

EVERYBODY, NOBODY = "0.0.0.0/1,128.0.0.0/1", "192.0.2.0/32"
# On AWS: the periods of an alarm and some minutes; the update of an API with a security policy.
ALARM_SECONDS, UPDATE_SECONDS = 900.0, 1200.0
# A critical is retried within a minute, which makes more than the 16 hops after which Lambda stops a loop.
OUTAGE_SECONDS = 1200.0
RINGS_WITHIN_SECONDS = 120.0
ONLY_AWS = "only AWS can answer"


def check(source: str, says: str) -> Callable[[Run], Check]:
    """Return a decorator that makes a function a check, named after the function."""
    return lambda run: Check(run.__name__.replace("_", " "), source, says, run)


@check("docs/install.md", "If this prints less than 50, ask for more")
def limits_of_the_account(target: Target) -> Iterator[Seen]:
    if not target.is_aws:
        yield skipped("concurrent executions, requests a second, security policy", ONLY_AWS)
        return
    limit = target.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    yield judged("concurrent executions", limit, holds=limit >= 50)
    yield noted("settings of API Gateway", target.client("apigateway").get_account().get("throttleSettings"))
    yield _security_policy(target)


@check("template.yaml", "A stage with access logs is refused until the account has a role for them")
def first_deployment(target: Target) -> Iterator[Seen]:
    if not target.is_aws:
        yield skipped("order of role, log group and stage; apiStatus", ONLY_AWS)
        return
    pages = target.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=target.stack)
    events = sorted((event for page in pages for event in page["StackEvents"]), key=lambda event: event["Timestamp"])
    made = [each["LogicalResourceId"] for each in events if each["ResourceStatus"] == "CREATE_COMPLETE"]
    wanted = ["ApiGatewayAccount", "AccessLogGroup", "Apiv1Stage"]
    found = [each for each in made if each in wanted]
    # An account that has a role already gets none.
    yield judged("order in the events", found, holds=found in (wanted, wanted[1:]))
    yield noted("apiStatus", target.api().get("apiStatus"))


@check("docs/install.md", "A change of it takes about 15 minutes, in which other deployments may be refused.")
def other_addresses_at_once(target: Target) -> Iterator[Seen]:
    if target.change is None:
        yield skipped("second deployment, with AllowedSourceCidrs", ONLY_AWS)
        return
    target.change(AllowedSourceCidrs=EVERYBODY)
    yield _security_policy(target)
    yield _timed("apiStatus is AVAILABLE", lambda: target.api().get("apiStatus") == "AVAILABLE", UPDATE_SECONDS)
    yield skipped("the same after 20 minutes, and the export of the deployed policy", "not written yet")


@check("docs/install.md", "wrong credentials, or no such channel: the same bytes")
def requests_to_the_api(target: Target) -> Iterator[Seen]:
    if target.is_aws:
        yield _tls_1_1(urlsplit(target.outputs["BigPandaWebhookUrl"]).netloc)
        yield _status("wrong path", target.post(b"{}", path="/no-such-path"), 403)
    else:
        yield skipped("TLS 1.1, wrong path", "the local cloud has no TLS, and another answer to a wrong path")
    yield _status("unknown channel", target.post(b"{}", path="/bigpanda/no-such-channel", bearer="made-up"), 401)
    yield _status("wrong token", target.post(b"{}", bearer="made-up"), 401)
    yield _status("5 MiB", target.post(b" " * (5 * 1024 * 1024)), 413)
    body = (
        f'{{\r\n\t"incident": {{"id": "{uuid.uuid4()}", "status": "warning", "title": "Größe 東京 🔔"}}\r\n}}'.encode()
    )
    target.post(body)
    yield _timed("UTF-8 with CRLF is unchanged at the receiver", lambda: body in target.xmatters.accepted())


@check("docs/operate.md", "403: a resource policy, a web ACL or a wrong path.")
def denied_address(target: Target) -> Iterator[Seen]:
    if target.change is None:
        yield skipped("403, line of the access log, alarm", ONLY_AWS)
        return
    target.change(AllowedSourceCidrs=NOBODY)
    try:
        yield _timed("403", lambda: target.post(b"{}").status_code == 403, UPDATE_SECONDS)
        log = f"/aws/apigateway/{target.stack}"
        yield _timed("line of the access log", lambda: target.lines(log, '"status":"403"'), ALARM_SECONDS)
        yield _alarm(target, "RefusedRequestsAlarm")  # the requests of an earlier check may have set it off
    finally:
        target.change(AllowedSourceCidrs="")
    yield _timed("no 403 any more", lambda: target.post(b"{}").status_code != 403, UPDATE_SECONDS)


@check("docs/install.md", "waits up to 90 seconds until the relay accepts the new credential")
def channel_verbs(target: Target) -> Iterator[Seen]:
    stored = target.set_channel()
    yield judged("channel set with a new token", stored["verified"], holds=stored["verified"] is True)
    yield _listed(target, "channel list at once")
    before = len(target.xmatters.accepted())
    target.relayctl("channel", "test", CHANNEL, "--ring", "--yes")
    signals = len(target.xmatters.accepted()) - before
    yield judged("channel test --ring: signals of the incident and its end", signals, holds=signals == 2)
    if target.is_aws:
        time.sleep(300)
        yield _listed(target, "channel list after five minutes")
    else:
        yield skipped("channel list after five minutes", "the local cloud lists secrets at once")


@check("docs/vendors.md", "boto3's version depends on runtime and region")
def runtime(target: Target) -> Iterator[Seen]:
    log = f"/aws/lambda/{target.stack}-bigpanda-webhook"
    for mark in ("unguarded", "marks_unread"):
        count = target.lines(log, mark)
        yield judged(f"lines of the webhook with {mark}", count, holds=count == 0)
    if not target.is_aws:
        yield skipped("boto3, sys.path, processors; REPORT lines", ONLY_AWS)
        return
    yield noted("boto3, sys.path, processors", target.xmatters.runtime())
    reports = target.client("logs").filter_log_events(logGroupName=log, filterPattern="REPORT")["events"]
    yield from (noted("REPORT", event["message"]) for event in reports[:3])
    yield skipped("REPORT after 20 idle minutes", "not written yet")


@check("docs/guarantees.md", "A critical rings within two minutes after nothing holds it any more")
def outage_of_xmatters(target: Target) -> Iterator[Seen]:
    target.xmatters.answer(503)
    try:
        incident_id, answer = target.share()
        yield _status("critical while xMatters fails", answer, 202)
        if target.is_aws:
            time.sleep(OUTAGE_SECONDS)
    finally:
        target.xmatters.answer(202)
    yield _timed("it rings after the recovery", lambda: target.rings(incident_id))
    yield judged("signals of it", target.rings(incident_id), holds=target.rings(incident_id) == 1)
    if target.is_aws:
        dropped = target.lambda_sum("RecursiveInvocationsDropped", target.outputs["JobWorkerFunction"])
        yield judged("RecursiveInvocationsDropped", dropped, holds=dropped == 0)
    else:
        yield skipped("20 minutes; RecursiveInvocationsDropped", ONLY_AWS)


@check("docs/guarantees.md", "What xMatters refuses, or what is owed for too long, is dead-lettered")
def dead_letters(target: Target) -> Iterator[Seen]:
    target.xmatters.answer(404)
    try:
        refused = [target.share()[0] for _ in range(2)]
    finally:
        target.xmatters.answer(202)
    listed = _dead_lettered(target)
    yield judged("the refused ones in dlq list", listed, holds=all(each in listed for each in refused))
    if target.is_aws:
        yield _alarm(target, "DeadLettersAlarm")
    else:
        yield skipped("time until the alarm", ONLY_AWS)
    target.relayctl("dlq", "replay", "--incident", refused[0], "--yes")
    yield _timed("dlq replay rings", lambda: target.rings(refused[0]))
    target.relayctl("dlq", "drop", "--incident", refused[1], "--reason", "staging", "--yes")
    listed = _dead_lettered(target)
    yield judged("dlq list after replay and drop", listed, holds=not any(each in listed for each in refused))
    yield skipped("a message that nobody can read; StartMessageMoveTask", "not written yet: 20 receives take an hour")


@check("docs/guarantees.md", "If no sweeper run ends: SweeperGoneAlarm.")
def schedule_off(target: Target) -> Iterator[Seen]:
    if target.is_aws:
        events, rule = target.client("events"), target.resource("SweeperFunctionEveryMinute")
        events.disable_rule(Name=rule)
        try:
            yield _alarm(target, "SweeperGoneAlarm")
        finally:
            events.enable_rule(Name=rule)
    else:
        yield skipped("the sweeper's alarm", ONLY_AWS)
    yield skipped("the same for reconcile", "not written yet: its alarm looks at half an hour")


@check("docs/guarantees.md", "While DynamoDB fails, pages are sent without the ledger")
def missing_rights(_: Target) -> Iterator[Seen]:
    yield skipped(
        "webhook without DynamoDB, without SQS", "not written yet; the local cloud's functions need no rights"
    )


@check("docs/operate.md", "The topic and each phone get a short number of their own; nobody is paged.")
def people(_: Target) -> Iterator[Seen]:
    yield skipped("e-mail, text, call", "a person has to type the number: relayctl fallback test")


@check("docs/guarantees.md", "above Lambda's concurrency, all channels get 503")
def storm(_: Target) -> Iterator[Seen]:
    yield skipped("200 shares a second for a minute", "not written yet")


@check("docs/install.md", "relayctl doctor # the whole stack, and every channel")
def tools_of_operators(target: Target) -> Iterator[Seen]:
    body = target.client("cloudwatch").get_dashboard(DashboardName=target.stack)["DashboardBody"]
    widgets = len(json.loads(body)["widgets"])
    yield judged("widgets of the dashboard", widgets, holds=widgets > 0)
    found = json.loads(target.relayctl("doctor", "--json", codes=(0, 1)))["checks"]
    failed = [f"{each['check']}: {each['detail']}" for each in found if each["state"] == "failed"]
    yield judged(f"{len(found)} checks of doctor; failed", failed, holds=bool(found) and not failed)
    yield skipped("saved queries; each policy under a role of its own", "not written yet; tests/e2e tries the policies")


@check("docs/install.md", "relayctl uninstall # counts what is left, and changes nothing")
def uninstallation(target: Target) -> Iterator[Seen]:
    found = json.loads(target.relayctl("uninstall", "--json", codes=(0, 1)))
    yield judged("uninstall", found["reasons"], holds=CHANNEL in found["channels"] and not found["can_be_deleted"])
    yield skipped(
        "uninstall --yes, and the same stack again", "not written yet; tests/e2e/test_adopted_stack.py does it"
    )


CHECKS = (
    limits_of_the_account,
    first_deployment,
    other_addresses_at_once,
    requests_to_the_api,
    denied_address,
    channel_verbs,
    runtime,
    outage_of_xmatters,
    dead_letters,
    schedule_off,
    missing_rights,
    people,
    storm,
    tools_of_operators,
    uninstallation,
)


def _timed(what: str, holds: Callable[[], object], within: float = RINGS_WITHIN_SECONDS) -> Seen:
    took = seconds_until(holds, within)
    said = f"not within {within:.0f} s" if took is None else f"after {took:.0f} s"
    return judged(what, said, holds=took is not None)


def _status(what: str, answer: requests.Response, wanted: int) -> Seen:
    return judged(what, f"HTTP {answer.status_code}", holds=answer.status_code == wanted)


def _alarm(target: Target, name: str) -> Seen:
    alarm = {"AlarmNames": [target.resource(name)], "StateValue": "ALARM"}
    return _timed(name, lambda: target.client("cloudwatch").describe_alarms(**alarm)["MetricAlarms"], ALARM_SECONDS)


def _security_policy(target: Target) -> Seen:
    found = str(target.api().get("securityPolicy"))
    return judged(f"security policy in {target.session.region_name}", found, holds=found.startswith("SecurityPolicy_"))


def _tls_1_1(host: str, port: int = 443) -> Seen:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent: a certificate that this machine does not know must not pass for a refusal.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # OpenSSL itself refuses TLS 1.1 at its usual level.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        with (
            socket.create_connection((host, port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return judged("TLS 1.1", "accepted", holds=False)
    except ConnectionResetError as error:
        return judged("TLS 1.1", f"refused: {error}", holds=True)
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return judged("TLS 1.1", f"refused: {error}", holds=True)
        return skipped("TLS 1.1", f"this machine cannot speak it: {error}")


def _listed(target: Target, what: str) -> Seen:
    names = [each["channel"] for each in json.loads(target.relayctl("channel", "list", "--json"))["channels"]]
    return judged(what, names, holds=CHANNEL in names)


def _dead_lettered(target: Target) -> list[str]:
    """Return the incidents of the channel's dead-lettered jobs."""
    said = target.relayctl("dlq", "list", "--channel", CHANNEL, "--json", codes=(0, 3))
    return [each["incident_id"] for each in json.loads(said)["messages"]] if said else []
