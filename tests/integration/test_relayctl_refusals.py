"""Calls that relayctl refuses, and sources that AWS refuses: exit code, and one sentence that says why."""

import shlex
from pathlib import Path

import pytest

from tests import samples
from tests.integration.relayctl_cloud import Logs, Operator
from tests.samples import job

CANARY, INCIDENT = "canary-2d61", "65a1b2c3d4e5f60718293a4b"
BACK = f"{CANARY}-callback-token-of-24"
TRIGGER = "https://acme.xmatters.com/api/integration/1/functions/f1/triggers"
NEW = f"channel set new --trigger-url {TRIGGER}?apiKey={CANARY}&recipients=Ops"
PAUSE, TEN = "channel pause payments --until", "2027-01-15T10:00:00Z"
ROTATE = "channel rotate payments"
DROP = "dlq drop --reason old"

USAGE = [
    ("dlq list --since yesterday", "use an age such as 90m, 12h or 7d"),
    ("dlq list --reason bored", "'bored' is not one of 'rate_limited'"),
    ("dlq drop --all --yes", "Missing option '--reason'"),
    ("dlq drop --all --reason ' ' --yes", "1 to 200 printable characters"),
    ("dlq drop --all --reason 'a\x1b[2J' --yes", "1 to 200 printable characters"),
    ("dlq drop --channel noc --reason upstream --yes", "--failure-reason"),
    (f"{DROP} --yes", "at least one filter"),
    (f"{DROP} --all --channel noc --yes", "--all without a filter"),
    ("dlq show ' '", "the id is empty"),
    ("dlq export - --json", "give a FILE"),
    ("dlq export /", "exists, and is not replaced"),
    ("dlq import /no/such/file", "'/no/such/file': No such file"),
    ("explain nowhere.json --channel payments", "'nowhere.json': No such file"),
    ("explain -", "Missing option '--channel'"),
    ("explain - --channel payments --offline", "--offline needs --policy"),
    ("explain - --channel payments --policy README.md", "the policy file is not JSON"),
    ("channel set 'No Such Name'", "use 1 to 48 of a-z"),
    ("channel remove -- -x", "use 1 to 48 of a-z"),
    (f"{NEW} --set policy.max_per_minute={CANARY}", "policy.max_per_minute: must be of type integer"),
    (f"{NEW} --set inbound.secret={CANARY}", "inbound: unknown key secret"),
    (f"{NEW} --trigger-url http://acme.xmatters.com/{CANARY}", "xmatters.trigger_url: it is not https"),
    (f"{NEW} --trigger-url {TRIGGER}", "xmatters.recipients: nobody would be notified"),
    (f"{NEW} --set xmatters.callback={{}}", "xmatters.callback: needs basic or token"),
    (f"{NEW} --auth url --password {CANARY}", "xmatters.auth: unknown key password"),
    (f"{NEW} --auth basic --username u", "--password is needed with --auth basic"),
    (f"{NEW} --set {CANARY}", "--set takes KEY=VALUE, KEY=@FILE, KEY=- or KEY"),
    (f"{NEW} --set inbound.token {CANARY}", "1 too many arguments after NAME (not shown"),
    (f"{NEW} --set bigpanda.apikey=x", "did you mean bigpanda.api_key?"),
    (f"{NEW} -{CANARY}", "no such option (not shown, it may be a credential)"),
    (f"{NEW} --set inbound.token=twenty-three-characters", "inbound.token: a token has at least 24 characters"),
    (f"{NEW} --set inbound.token=bpr_{'a' * 38}", "was not made for this channel and endpoint, or was cut; make a new"),
    (
        f"channel set payments --set inbound.token={BACK}",
        "xmatters.callback.token: is also valid at BigPanda's endpoint (it is the same as inbound.token); make a new",
    ),
    ("channel set payments --unset policy.preset", "--unset policy.preset: the channel has no such key"),
    *(
        (f"channel {verb}", "unknown key newer")
        for verb in ("set newer --set policy.mode=live", "rotate newer inbound")
    ),
    (f"channel pause newer --until {TEN} --keep", "unknown key newer"),
    *((f"channel {verb}", "policy.pauses.0: ") for verb in (f"pause edited --until {TEN} --keep", "resume edited")),
    ("channel pause payments", "Missing option '--until'"),
    (f"{PAUSE} {TEN}", "give --keep"),
    (f"{PAUSE} {TEN} --keep --all", "give the name of a channel, or --all"),
    (f"{PAUSE} {TEN} --keep --reason 'a\x07'", "--reason"),
    (f"{PAUSE} soon --keep", "use a duration such as 90m"),
    (f"{PAUSE} 2027-01-15T07:00:00Z --keep", "--until: is not after the start"),
    (f"{PAUSE} 2027-02-15T08:00:00Z --keep", "14 days at most"),
    (f"{PAUSE} {TEN} --drop --from 2027-01-15T07:59:00Z", "--from: is in the past"),
    (f"{PAUSE} {TEN} --keep --when staging", "--when: takes FACT=PATTERN"),
    (f"{PAUSE} {TEN} --keep --when team=a", "policy.pauses.0.when: unknown key team"),
    (f"{ROTATE} bigpanda", "--api-key is needed: not a terminal: give @FILE, or -"),
    (f"{ROTATE} bigpanda --api-key plain", "a credential on the command line is visible"),
    (f"{ROTATE} bigpanda --password @f", "--password: not for bigpanda, which takes --api-key, --app-key"),
    (f"{ROTATE} bigpanda --overlap 12h", "--overlap: not for bigpanda"),
    (f"{ROTATE} rest --password @f", "channel payments has no xmatters.rest.auth"),
    (f"{ROTATE} inbound --password @f", "--password: not for inbound, which takes --overlap, --retire, --now"),
    (f"{ROTATE} inbound --now", "--now is only for --retire"),
    (f"{ROTATE} inbound --retire --overlap 1h", "--overlap only without it"),
    (f"{ROTATE} inbound --overlap 5m", "use a duration from 10m to 30d"),
    # What cannot be taken back needs a terminal, or --yes.
    *((f"channel {verb} payments", "give --yes") for verb in ("remove", "remove --drain", "undo", "test --ring")),
    ("channel revoke payments --endpoint inbound", "give --yes"),
    ("channel apply DIR", "give --yes"),
    *((f"{DROP} --all{json_}", "give --yes") for json_ in ("", " --json")),
]
MISSING = [
    *("show x", "test x", "remove x --yes", "remove x --drain --yes", "undo x --yes", f"pause x --until {TEN} --keep"),
    *("rotate x inbound", "rotate x callback --retire", "rotate x bigpanda --api-key @f"),
    *("revoke x --endpoint inbound --yes", "export /no/such/folder --channel x"),
]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        *((words, 2, said) for words, said in USAGE),
        *((f"channel {words}", 3, "there is no channel x") for words in MISSING),
    ],
)
def test_call_is_refused_in_a_sentence_and_nothing_is_changed(
    operator: Operator, tmp_path: Path, words: str, code: int, said: str
) -> None:
    (tmp_path / "payments.yaml").write_text(
        "xmatters: {trigger_url: {secret: stored}, auth: {type: url}, recipients: [a]}"
    )
    secret = samples.secret(bigpanda={"api_key": f"{CANARY}-key"}, policy={"max_per_minute": 30})
    secret["xmatters"] |= {"callback": {"token": BACK}}
    operator.store("payments", secret | {"policy": {}}, secret)
    operator.keep("newer", policy={"newer": 1})
    operator.keep("edited", policy={"pauses": [{}]})
    operator.put(job())
    done = operator.run(*shlex.split(words.replace("DIR", str(tmp_path))), typed="{}")
    assert (done.exit_code, said in " ".join(done.stderr.split())) == (code, True), done.output
    assert (done.stdout == "" or said == "give --yes", CANARY in done.output) == (True, False), done.output
    assert (operator.secret("payments"), operator.secret("newer")["policy"]) == (secret, {"newer": 1})
    assert len(operator.secrets.list_secrets()["SecretList"]) == 3
    assert (operator.visible(), operator.requested, operator.marks()) == (1, [], {})


SHOW = f"incident show {INCIDENT}"


@pytest.mark.parametrize(
    ("words", "operation", "source"),
    [
        *(("status", *row) for row in (("FilterLogEvents", "log bigpanda-webhook"), ("Query", "ledger"))),
        *(("status", *row) for row in (("GetQueueAttributes", "queues"), ("GetSecretValue", "secret of channel pay"))),
        *((SHOW, *row) for row in (("FilterLogEvents", "log job-worker"), ("ReceiveMessage", "dlq"))),
        *((words, "BatchGetItem", "ledger") for words in (SHOW, "incident list")),
        *((words, "GetItem", "ledger") for words in ("status", "channel list")),
    ],
)
def test_source_that_aws_refuses_is_named_and_the_rest_is_shown(
    operator: Operator, logs: Logs, narrow: None, words: str, operation: str, source: str
) -> None:
    operator.keep("payments")
    operator.parameters["BigPandaHosts"] = "eu-api.bigpanda.io"
    operator.owe("payments", INCIDENT, 10)
    operator.put(job(channel="payments", incident_id=INCIDENT))
    logs.share("payments", 10, "shadowed", incident_id=INCIDENT)
    operator.refused = {operation: "AccessDeniedException"}
    # A policy may give no right to secrets.
    done = operator.run(*words.split(), code=int(operation != "GetSecretValue"))
    assert done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert f"FAILED: {source}" in done.stderr
    assert "AccessDenied" in done.stderr


@pytest.mark.parametrize("words", ["incident list", "incident list --owed", SHOW, "shadow report payments", "report"])
def test_nothing_is_found_if_no_source_can_be_read(operator: Operator, logs: Logs, words: str) -> None:
    operator.keep("payments")
    operations = ("FilterLogEvents", "Query", "BatchGetItem", "ReceiveMessage")
    operator.refused = dict.fromkeys(operations, "AccessDeniedException")
    done = operator.run(*words.split(), code=1)
    assert (done.stdout, "AccessDenied" in done.stderr, "no incident" in done.stderr) == ("", True, False)
