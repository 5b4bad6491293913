"""The fourteen checks, in their order; each yields what it saw."""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from tempfile import TemporaryDirectory
from time import time

import requests
from botocore.exceptions import ClientError

from tools.staging.account import ROLES
from tools.staging.report import Check, Seen, judged, noted
from tools.staging.target import CHANNEL, Target

# In the order of the file, and of a run.
CHECKS = list[Check]()

EVERYBODY, NOBODY = "0.0.0.0/1,128.0.0.0/1", "192.0.2.0/32"
# The periods of an alarm and some minutes; the update of an API with a security policy.
ALARM_SECONDS, UPDATE_SECONDS = 900.0, 1200.0
# A critical is retried within a minute, which makes more than the 16 hops after which Lambda stops a loop.
OUTAGE_SECONDS = 1200.0
RINGS_WITHIN_SECONDS = 120.0
# In this time without requests, Lambda may end the webhook's environments.
IDLE_SECONDS = 1200.0
# SQS receives a message 20 times, three minutes apart, before it dead-letters it.
UNREADABLE_SECONDS = 4500.0
# Six schedules of reconcile runs, and their metrics.
RECONCILE_ALARM_SECONDS = 3600.0
SHARES_A_SECOND, STORM_SECONDS, STORM_INCIDENTS, DRAINED_SECONDS = 200, 60, 50, 900.0
STORM = f"{SHARES_A_SECOND} shares a second for a minute"
# Policies of operators, and a verb that each is for.
POLICIES = {
    "channels": ("channel", "list"),
    "doctor": ("doctor",),
    "observe": ("status",),
    "replay": ("dlq", "list"),
    "uninstall": ("uninstall",),
}


def check(source: str, says: str) -> Callable[[Callable[[Target], Iterator[Seen]]], None]:
    """Return a decorator that makes a function the next check, named after the function."""
    return lambda run: CHECKS.append(Check(run.__name__.replace("_", " "), source, says, run))


@check(
    "docs/install.md",
    "If this prints less than 50, ask for more",
)
def limits_of_the_account(target: Target) -> Iterator[Seen]:
    limit = _executions(target)
    yield judged("concurrent executions", limit, holds=limit >= 50)
    yield noted("settings of API Gateway", target.client("apigateway").get_account().get("throttleSettings"))
    yield _security_policy(target)


@check(
    "template.yaml",
    "A stage with access logs is refused until the account has a role for them",
)
def first_deployment(target: Target) -> Iterator[Seen]:
    pages = target.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=target.stack)
    events = sorted((event for page in pages for event in page["StackEvents"]), key=lambda event: event["Timestamp"])
    made = [each["LogicalResourceId"] for each in events if each["ResourceStatus"] == "CREATE_COMPLETE"]
    wanted = ["ApiGatewayAccount", "AccessLogGroup", "Apiv1Stage"]
    found = [each for each in made if each in wanted]
    # An account that has a role already gets none.
    yield judged("order in the events", found, holds=found in (wanted, wanted[1:]))
    yield noted("apiStatus", target.api().get("apiStatus"))
    target.send_unreadable()


@check(
    "docs/install.md",
    "A change of it takes about 15 minutes, in which other deployments may be refused.",
)
def other_addresses_at_once(target: Target) -> Iterator[Seen]:
    target.change(AllowedSourceCidrs=EVERYBODY)
    yield _security_policy(target)
    yield _is_deployed(target, "apiStatus is AVAILABLE", lambda: target.api().get("apiStatus") == "AVAILABLE")
    yield _is_deployed(target, "the deployed policy has the addresses", lambda: "128.0.0.0/1" in _policy(target))
    target.sleep(IDLE_SECONDS)
    yield _security_policy(target)
    yield judged("the deployed policy after 20 minutes", policy := _policy(target), holds="128.0.0.0/1" in policy)
    yield noted("log line of the first share after 20 idle minutes", _first_line(target))


@check("docs/install.md", "wrong credentials, or no such channel: the same bytes")
def requests_to_the_api(target: Target) -> Iterator[Seen]:
    yield _status("wrong path", target.post(b"{}", path="/no-such-path"), 403)
    yield _status("unknown channel", target.post(b"{}", path="/bigpanda/no-such-channel", bearer="made-up"), 401)
    yield _status("wrong token", target.post(b"{}", bearer="made-up"), 401)
    yield _status("5 MiB", target.post(b" " * (5 * 1024 * 1024)), 413)
    body = (
        f'{{\r\n\t"incident": {{"id": "{uuid.uuid4()}", "status": "warning", "title": "Größe 東京 🔔"}}\r\n}}'.encode()
    )
    target.post(body)
    yield _timed(target, "UTF-8 with CRLF is unchanged at the receiver", lambda: body in target.xmatters.accepted())


@check(
    "docs/operate.md",
    "403: a resource policy, a web ACL or a wrong path.",
)
def denied_address(target: Target) -> Iterator[Seen]:
    target.change(AllowedSourceCidrs=NOBODY)
    try:
        yield _is_deployed(target, "403", lambda: target.post(b"{}").status_code == 403)
        log = f"/aws/apigateway/{target.stack}"
        yield _timed(target, "line of the access log", lambda: target.lines(log, '"status":"403"'), ALARM_SECONDS)
        yield _alarm(target, "RefusedRequestsAlarm")  # the requests of an earlier check may have set it off
    finally:
        target.change(AllowedSourceCidrs="")
    yield _is_deployed(target, "no 403 any more", lambda: target.post(b"{}").status_code != 403)


@check("docs/install.md", "waits up to 90 seconds until the relay accepts the new credential")
def channel_verbs(target: Target) -> Iterator[Seen]:
    stored = target.set_channel()
    yield judged("channel set with a new token", stored["verified"], holds=stored["verified"] is True)
    yield _listed(target, "channel list at once")
    before = len(target.xmatters.accepted())
    target.relayctl("channel", "test", CHANNEL, "--ring", "--yes")
    signals = len(target.xmatters.accepted()) - before
    yield judged("channel test --ring: signals of the incident and its end", signals, holds=signals == 2)
    target.sleep(300)
    yield _listed(target, "channel list after five minutes")


@check("docs/vendors.md", "boto3's version depends on runtime and region")
def runtime(target: Target) -> Iterator[Seen]:
    log = _webhook_log(target)
    # Lambda's own lines of runs that succeeded are switched off by the template.
    for mark in ("unguarded", "marks_unread", "platform.report", "REPORT"):
        count = target.lines(log, mark)
        yield judged(f"lines of the webhook with {mark}", count, holds=count == 0)
    yield noted("boto3, sys.path, processors", target.xmatters.runtime())


@check("docs/guarantees.md", "A critical rings within two minutes after nothing holds it any more")
def outage_of_xmatters(target: Target) -> Iterator[Seen]:
    target.xmatters.answer(503)
    try:
        incident_id, answer = target.share()
        yield _status("critical while xMatters fails", answer, 202)
        target.sleep(OUTAGE_SECONDS)
    finally:
        target.xmatters.answer(202)
    yield _timed(target, "it rings after the recovery", lambda: target.rings(incident_id))
    yield judged("signals of it", target.rings(incident_id), holds=target.rings(incident_id) == 1)
    worker = target.outputs["JobWorkerFunction"]
    dropped = target.metric_sum("AWS/Lambda", "RecursiveInvocationsDropped", FunctionName=worker)
    yield judged("RecursiveInvocationsDropped", dropped, holds=dropped == 0)


@check("docs/guarantees.md", "What xMatters refuses, or what is owed for too long, is dead-lettered")
def dead_letters(target: Target) -> Iterator[Seen]:
    target.xmatters.answer(400)
    try:
        # The third is for AWS's own move task.
        refused = [target.share()[0] for _ in range(3)]
    finally:
        target.xmatters.answer(202)
    listed = _dead_lettered(target)
    yield judged("the refused ones in dlq list", listed, holds=all(each in listed for each in refused))
    yield _alarm(target, "DeadLettersAlarm")
    target.relayctl("dlq", "replay", "--incident", refused[0], "--yes")
    yield _timed(target, "dlq replay rings", lambda: target.rings(refused[0]))
    target.relayctl("dlq", "drop", "--incident", refused[1], "--reason", "staging", "--yes")
    listed = _dead_lettered(target)
    yield judged("dlq list after replay and drop", listed, holds=not any(each in listed for each in refused[:2]))
    sqs, url = target.client("sqs"), target.outputs["DeadLetterQueueUrl"]
    source = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.start_message_move_task(SourceArn=source)
    yield _timed(target, "StartMessageMoveTask rings", lambda: target.rings(refused[2]))
    yield _timed(
        target,
        "dlq list shows a message that nobody can read",
        lambda: target.unreadable in target.relayctl("dlq", "list", "--json", codes=(0, 3)),
        UNREADABLE_SECONDS,
    )
    target.relayctl("dlq", "drop", "--all", "--reason", "staging", "--yes")


@check(
    "docs/guarantees.md",
    "If no sweeper run ends: SweeperGoneAlarm.",
)
def schedules_off(target: Target) -> Iterator[Seen]:
    with target.without_schedule("ReconcileFunctionEvery"):
        with target.without_schedule("SweeperFunctionEveryMinute"):
            yield _alarm(target, "SweeperGoneAlarm")
        yield _alarm(target, "ReconcileAlarm", RECONCILE_ALARM_SECONDS)


@check(
    "docs/guarantees.md",
    "While DynamoDB fails, pages are sent without the ledger",
)
def missing_rights(target: Target) -> Iterator[Seen]:
    role, topic = "BigPandaWebhookRole", target.outputs["FallbackTopicArn"].rpartition(":")[2]
    try:
        with target.without_rights(role, ["dynamodb:*"]):
            yield _timed(target, "share without the ledger", lambda: _is_unguarded(target, target.share()[1]))
            yield _status("the next one", target.share()[1], 200)
            yield _alarm(target, "LedgerAlarm")
            target.xmatters.answer(503)
            yield _status("critical while xMatters fails, too", target.share()[1], 202)
            with target.without_rights(role, ["dynamodb:*", "sqs:SendMessage"]):
                yield _timed(target, "503 without SQS", lambda: target.share()[1].status_code == 503)
                yield _alarm(target, "UnsafeAlarm")
        yield _timed(target, "message on the fallback topic", lambda: _published(target, topic), ALARM_SECONDS)
    finally:
        target.xmatters.answer(202)
    yield _timed(target, "200 with all rights", lambda: target.share()[1].status_code == 200)


@check("docs/guarantees.md", "above Lambda's concurrency, all channels get 503")
def storm(target: Target) -> Iterator[Seen]:
    if (limit := _executions(target)) < 100:
        yield noted(STORM, f"skipped: the account has {limit} concurrent executions, and others need some of them")
        return
    incidents = [target.share()[0] for _ in range(STORM_INCIDENTS)]
    answers = Counter[int | str]()
    with ThreadPoolExecutor(SHARES_A_SECOND) as pool:
        for second in range(STORM_SECONDS):
            shares = [incidents[(second + place) % STORM_INCIDENTS] for place in range(SHARES_A_SECOND)]
            answers.update(pool.map(lambda each: _answer(target, each), shares))
            target.sleep(1)
    yield judged("answers by status", dict(answers), holds=not any(400 <= int(each) < 500 for each in answers))
    yield _timed(target, "the retry queue is empty", lambda: _is_empty(target), DRAINED_SECONDS)
    once = sum(target.rings(each) == 1 for each in incidents)
    yield judged(f"incidents of {STORM_INCIDENTS} that rang once", once, holds=once == STORM_INCIDENTS)
    function, table = target.resource("BigPandaWebhookFunction"), target.outputs["LedgerTableName"]
    yield noted("throttled runs", target.metric_sum("AWS/Lambda", "Throttles", FunctionName=function))
    index = {"TableName": table, "GlobalSecondaryIndexName": "due"}
    yield noted("throttled writes", target.metric_sum("AWS/DynamoDB", "WriteThrottleEvents", TableName=table))
    yield noted("of the index", target.metric_sum("AWS/DynamoDB", "WriteThrottleEvents", **index))


@check("docs/install.md", "relayctl doctor # the whole stack, and every channel")
def tools_of_operators(target: Target) -> Iterator[Seen]:
    _, _, name = target.outputs["DashboardUrl"].rpartition("/")
    body = target.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]
    widgets = len(json.loads(body)["widgets"])
    yield judged("widgets of the dashboard", widgets, holds=widgets > 0)
    found = json.loads(target.relayctl("doctor", "--json", codes=(0, 1)))["checks"]
    failed = [f"{each['check']}: {each['detail']}" for each in found if each["state"] == "failed"]
    yield judged(f"{len(found)} checks of doctor; failed", failed, holds=bool(found) and not failed)
    yield from _saved_queries(target)
    for policy, verb in POLICIES.items():
        yield _under_policy(target, policy, verb)


@check("docs/install.md", "relayctl uninstall # counts what is left, and changes nothing")
def uninstallation(target: Target) -> Iterator[Seen]:
    found = json.loads(target.relayctl("uninstall", "--json", codes=(0, 1)))
    yield judged("uninstall", found["reasons"], holds=CHANNEL in found["channels"] and not found["can_be_deleted"])
    with TemporaryDirectory() as folder:
        options = ("--yes", "--json", "--quiet", "5m", "--export", f"{folder}/dead-letters.jsonl")
        said = json.loads(target.relayctl("uninstall", *options, codes=(0, 1)))
    yield judged("uninstall --yes", said["reasons"], holds=bool(said["can_be_deleted"]))
    target.deployed_again()
    stored = target.set_channel()
    yield judged("the same channel in the same stack", stored["verified"], holds=stored["verified"] is True)
    again, answer = target.share()
    yield _status("its first critical", answer, 200)
    yield judged("signals of it", target.rings(again), holds=target.rings(again) == 1)


def _timed(target: Target, what: str, holds: Callable[[], object], within: float = RINGS_WITHIN_SECONDS) -> Seen:
    took = target.seconds_until(holds, within)
    said = f"not within {within:.0f} s" if took is None else f"after {took:.0f} s"
    return judged(what, said, holds=took is not None)


def _is_deployed(target: Target, what: str, holds: Callable[[], object]) -> Seen:
    return _timed(target, what, holds, UPDATE_SECONDS)


def _status(what: str, answer: requests.Response, wanted: int) -> Seen:
    return judged(what, f"HTTP {answer.status_code}", holds=answer.status_code == wanted)


def _alarm(target: Target, name: str, within: float = ALARM_SECONDS) -> Seen:
    alarm = {"AlarmNames": [target.resource(name)], "StateValue": "ALARM"}
    return _timed(target, name, lambda: target.client("cloudwatch").describe_alarms(**alarm)["MetricAlarms"], within)


def _executions(target: Target) -> int:
    return int(target.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"])


def _policy(target: Target) -> str:
    """Return the API as it is deployed, with its resource policy, as OpenAPI text."""
    wanted = {"exportType": "oas30", "parameters": {"extensions": "apigateway"}, "accepts": "application/json"}
    exported = target.client("apigateway").get_export(restApiId=target.outputs["ApiId"], stageName="v1", **wanted)
    return str(json.loads(exported["body"].read()).get("x-amazon-apigateway-policy"))


def _webhook_log(target: Target) -> str:
    return f"/aws/lambda/{target.stack}-bigpanda-webhook"


def _first_line(target: Target) -> str:
    """Return the webhook's line about a share that is posted now, which has the time of each part."""
    since, lines = int(time() * 1000), list[str]()
    target.share()
    wanted = {"logGroupName": _webhook_log(target), "filterPattern": '{ $.message = "share" }', "startTime": since}

    def reported() -> bool:
        lines.extend(each["message"] for each in target.client("logs").filter_log_events(**wanted)["events"])
        return bool(lines)

    target.seconds_until(reported, RINGS_WITHIN_SECONDS)
    return lines[0] if lines else "none"


def _is_unguarded(target: Target, answer: requests.Response) -> bool:
    """True if a share was accepted, and one before it was sent without the ledger."""
    return answer.ok and target.lines(_webhook_log(target), "unguarded") > 0


def _published(target: Target, topic: str) -> bool:
    return target.metric_sum("AWS/SNS", "NumberOfMessagesPublished", TopicName=topic) > 0


def _is_empty(target: Target) -> bool:
    names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ]
    queue = {"QueueUrl": target.outputs["RetryQueueUrl"], "AttributeNames": names}
    found = target.client("sqs").get_queue_attributes(**queue)["Attributes"]
    return not any(int(found[name]) for name in names)


def _answer(target: Target, incident_id: str) -> int:
    """Share an incident again; return the status, or 0 without an answer."""
    try:
        return target.share(incident_id)[1].status_code
    except requests.RequestException:
        return 0


def _saved_queries(target: Target) -> Iterator[Seen]:
    logs, now = target.client("logs"), int(time())
    for query in logs.describe_query_definitions(queryDefinitionNamePrefix=f"{target.stack}/")["queryDefinitions"]:
        asked = {"logGroupNames": query["logGroupNames"], "queryString": query["queryString"]}
        started = logs.start_query(startTime=now - 7200, endTime=now, **asked)["queryId"]
        done = target.seconds_until(partial(_is_answered, target, started), RINGS_WITHIN_SECONDS)
        found = len(logs.get_query_results(queryId=started)["results"])
        yield judged(f"saved query {query['name']}: rows", found, holds=done is not None)


def _is_answered(target: Target, query_id: str) -> bool:
    return bool(target.client("logs").get_query_results(queryId=query_id)["status"] == "Complete")


def _under_policy(target: Target, policy: str, verb: tuple[str, ...]) -> Seen:
    """Run a verb of relayctl under a role that has one policy of operators and nothing else."""
    iam, sts, name = target.client("iam"), target.client("sts"), f"{target.stack}-{policy}"
    whoever = {"AWS": sts.get_caller_identity()["Account"]}
    trust = {"Effect": "Allow", "Principal": whoever, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(Path=ROLES, RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    allowed = target.relayctl("policy", policy, "--secrets")
    iam.put_role_policy(RoleName=name, PolicyName="relay", PolicyDocument=allowed)
    taken = list[dict[str, str]]()

    def is_taken() -> bool:
        try:
            taken.append(sts.assume_role(RoleArn=role, RoleSessionName="staging")["Credentials"])
        except ClientError:
            return False
        return True

    if target.seconds_until(is_taken, RINGS_WITHIN_SECONDS) is None:
        return judged(f"role with policy {policy}", "it could not be assumed", holds=False)
    keys = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey"}
    keys |= {"AWS_SESSION_TOKEN": "SessionToken"}
    environment = {name: str(taken[0][member]) for name, member in keys.items()}
    # Rights reach AWS's services some seconds after the role.
    target.sleep(15)
    said = target.relayctl(*verb, "--json", codes=(0, 3), **environment)
    return judged(f"{' '.join(verb)} with policy {policy} alone", f"{len(said)} bytes", holds=True)


def _security_policy(target: Target) -> Seen:
    found = str(target.api().get("securityPolicy"))
    return judged(f"security policy in {target.session.region_name}", found, holds=found.startswith("SecurityPolicy_"))


def _listed(target: Target, what: str) -> Seen:
    names = [each["channel"] for each in json.loads(target.relayctl("channel", "list", "--json"))["channels"]]
    return judged(what, names, holds=CHANNEL in names)


def _dead_lettered(target: Target) -> list[str]:
    """Return the incidents of the channel's dead-lettered jobs."""
    said = target.relayctl("dlq", "list", "--channel", CHANNEL, "--json", codes=(0, 3))
    return [each.get("incident_id", "") for each in json.loads(said)["messages"]] if said else []
