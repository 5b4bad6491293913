"""Credentials that relayctl reads from files, standard input and the command line, and credentials that it prints."""

from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from relay.jobs.queue import envelope_of
from relayctl.channel.credential_input import MAX_BYTES
from relayctl.dlq.file import line_of
from tests import samples
from tests.integration.relayctl_cloud import Operator, failing
from tests.samples import job

CANARY = "canary-3f7d-of-24-characters"
TRIGGER = "https://acme.xmatters.com/api/integration/1/functions/f1/triggers"
WARNING = "a credential on the command line is visible in the process list and in the shell's history; give @FILE"
# By option: the arguments before the value, the value, and the key of the secret that stores it.
PLACES: dict[str, tuple[list[str], str, str]] = {
    "--trigger-url": (["--trigger-url"], f"{TRIGGER}?apiKey={CANARY}", "xmatters.trigger_url"),
    "--password": (["--auth", "basic", "--username", "u", "--password"], CANARY, "xmatters.auth.password"),
    "--key": (["--auth", "api_key", "--secret", "@{other}", "--key"], f"x-api-key-{CANARY}", "xmatters.auth.key"),
    "--set inbound.token": (["--set", "inbound.token"], CANARY, "inbound.token"),
}
each_option = pytest.mark.parametrize("option", PLACES)


def private(folder: Path, name: str, content: str | bytes) -> Path:
    """Make a file that only its owner can read."""
    path = folder / name
    path.touch(mode=0o600)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def give(operator: Operator, folder: Path, option: str, text: str | None, typed: str | None = None) -> Result:
    """Run `channel set` for a new channel with this option and the options that it needs."""
    other = private(folder, "other", "x-api-key-other")
    *before, last = [each.format(other=other) for each in PLACES[option][0]]
    value = [last] if text is None else [f"{last}={text}"] if before and before[-1] == "--set" else [last, text]
    trigger = [] if option == "--trigger-url" else ["--trigger-url", f"{TRIGGER}?recipients=Ops"]
    return operator.run("channel", "set", "payments", "--recipient", "Ops", *trigger, *before, *value, typed=typed)


def warnings(done: Result) -> list[str]:
    """Return the warning lines, without the warning that the recipients were not checked."""
    lines = [line for line in done.stderr.splitlines() if "warning" in line]
    return [line for line in lines if "the recipients were not checked" not in line]


def refused(operator: Operator, done: Result, *words: str) -> None:
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert all(each in done.stderr for each in words), done.stderr
    assert CANARY not in done.output
    assert operator.secrets.list_secrets()["SecretList"] == []


@each_option
@pytest.mark.parametrize("way", ["file", "file with a BOM", "standard input", "command line"])
def test_credential_is_stored_as_it_is_given_and_one_on_the_command_line_is_a_warning(
    operator: Operator, tmp_path: Path, option: str, way: str
) -> None:
    _, value, place = PLACES[option]
    file = private(tmp_path, "file", f"{'\ufeff' if 'BOM' in way else ''}{value}\n")
    text = {"standard input": "-", "command line": value}.get(way, f"@{file}")
    done = give(operator, tmp_path, option, text, typed=f"{value}\nmore\n")
    assert done.exit_code == 0, done.output
    assert reduce(getitem, place.split("."), operator.secret("payments")) == value
    warned = [f"warning: {option}: {WARNING}"] if way == "command line" else []
    assert [line.partition(", or -")[0] for line in warnings(done)] == warned
    assert CANARY not in done.stderr


@pytest.mark.parametrize("option", ["--password", "--set inbound.token"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            None,
            "cannot read the file that @ names: No such file or directory; a value that begins with @ is written @@",
        ),
        (b"\n", "the file that @ names is empty"),
        (b"\xff\xfe", "the file that @ names is not UTF-8 text"),
        (b"x" * (MAX_BYTES + 1), f"the file that @ names has more than {MAX_BYTES:,} bytes"),
        (f"{CANARY}\nsecond".encode(), "the file that @ names has more than one line"),
    ],
    ids=["missing", "blank", "binary", "too large", "two lines"],
)
def test_file_that_cannot_be_a_credential_is_refused(
    operator: Operator, tmp_path: Path, option: str, content: bytes | None, words: str
) -> None:
    place = tmp_path / CANARY if content is None else private(tmp_path, "file", content)
    refused(operator, give(operator, tmp_path, option, f"@{place}"), f"{option}: {words}")


def test_credential_file_that_others_can_read_is_a_warning(operator: Operator, tmp_path: Path) -> None:
    file = private(tmp_path, "file", CANARY)
    file.chmod(0o640)
    done = give(operator, tmp_path, "--password", f"@{file}")
    assert done.exit_code == 0
    assert "warning: --password: other users may read the file that @ names; chmod 600 it" in done.stderr


@each_option
def test_credential_option_without_value_and_terminal_is_refused(
    operator: Operator, tmp_path: Path, option: str
) -> None:
    done = give(operator, tmp_path, option, None)
    refused(operator, done, f"{option}: not a terminal: give @FILE, or - for a line of standard input")


# --- Output of the verbs.

BASIC = {"username": "user", "password": f"{CANARY}-password"}
PREVIOUS = {"token": f"{CANARY}-previous", "expires_at": "2030-01-31T12:00:00Z"}
BASIC_BACK = BASIC | {"username": "xmatters"}
PREVIOUS_BACK = PREVIOUS | {"token": f"{CANARY}-previous-callback"}
DOCUMENT: dict[str, Any] = {
    "inbound": {"token": f"{CANARY}-inbound", "basic": BASIC, "previous": PREVIOUS},
    "xmatters": {
        "trigger_url": f"{TRIGGER}?apiKey={CANARY}-url",
        "auth": {"type": "api_key", "key": f"x-api-key-{CANARY}", "secret": f"{CANARY}-secret"},
        "recipients": ["Ops"],
        "callback": {"token": f"{CANARY}-callback", "basic": BASIC_BACK, "previous": PREVIOUS_BACK},
    },
    "bigpanda": {"api_key": f"{CANARY}-api-key", "app_key": f"{CANARY}-app-key", "callbacks": True},
}
# A settings file that changes the channel.
SETTINGS = "xmatters: {trigger_url: {secret: stored}, auth: {type: url}, recipients: [jdoe]}"
# Credentials that --reveal prints: the headers of both endpoints.
REVEALED = {"inbound": f"Bearer {CANARY}-inbound", "callback": f"Bearer {CANARY}-callback"}
QUIET = [
    ["channel", "show", "payments"],
    ["channel", "list"],
    ["channel", "test", "payments"],
    ["channel", "test", "payments", "--ring", "--yes"],
    ["channel", "set", "payments"],
    ["channel", "set", "payments", "--recipient", "jdoe"],
    ["channel", "rotate", "payments", "inbound", "--retire", "--now"],
    ["channel", "rotate", "payments", "callback", "--retire"],
    ["channel", "rotate", "payments", "trigger", "--api-key"],
    ["channel", "set", "payments", "--unset", "xmatters.callback.basic"],
    ["channel", "set", "payments", "--unset", "bigpanda.app_key", "--unset", "bigpanda.callbacks"],
    ["channel", "set", "payments", "--auth", "url"],
    ["channel", "set", "payments", "--recipient", "a,b"],
    ["channel", "revoke", "payments", "--endpoint", "inbound", "--yes"],
    ["channel", "remove", "payments", "--yes", "--drop-owed"],
    ["channel", "remove", "payments", "--yes", "--drain"],
    ["channel", "undo", "payments", "--yes"],
    ["channel", "pause", "payments", "--until", "2027-01-15T10:00:00Z", "--keep"],
    ["channel", "resume", "payments"],
    ["channel", "plan", "DIR"],
    ["channel", "apply", "DIR", "--yes"],
    ["channel", "export", "DIR", "--overwrite"],
    ["dlq", "list"],
    ["dlq", "show", job(channel="payments").delivery_id],
    ["dlq", "replay"],
    ["dlq", "replay", "--yes"],
    ["dlq", "drop", "--channel", "payments", "--reason", "old", "--yes"],
    ["dlq", "export", "DIR/jobs.jsonl"],
    ["dlq", "import", "DIR/jobs.jsonl"],
    ["doctor"],
    ["fallback", "test", "--yes"],
    ["rehearse", "--environment", "5f3c1a2b9d8e7f6a5b4c3d2e"],
    ["report"],
    ["shadow", "report", "payments"],
    ["bigpanda", "webhook", "payments"],
    ["bigpanda", "webhook", "payments", "--v2"],
    ["explain", "docs/bigpanda-webhook-v2.json", "--channel", "payments"],
    ["incident", "show", "i1"],
    ["incident", "list"],
    ["policy"],
    ["policy", "replay"],
    ["status"],
    ["uninstall"],
    ["uninstall", "--yes", "--export", "DIR/dead.jsonl"],
]


@pytest.fixture
def furnished(operator: Operator) -> Operator:
    """Operator of an account with a canary in every credential of a channel, and a dead-lettered job."""
    operator.store("payments", DOCUMENT | {"policy": {"preset": "oncall"}}, DOCUMENT)
    operator.put(job(channel="payments"))
    operator.worker = lambda _: failing
    return operator


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("verb", QUIET, ids=" ".join)
def test_no_verb_prints_a_stored_credential(
    furnished: Operator, tmp_path: Path, verb: list[str], as_json: list[str]
) -> None:
    (tmp_path / "payments.yaml").write_text(SETTINGS)
    if verb[0] == "incident":
        # So that BigPanda is not called. What vendors answer is in test_relayctl_incident.py.
        furnished.parameters["BigPandaHosts"] = "eu-api.bigpanda.io"
    if verb[:2] == ["dlq", "import"]:
        (tmp_path / "jobs.jsonl").write_text(
            line_of("m1", job(channel="payments"), envelope_of(job(channel="payments")))
        )
    done = furnished.run(*(part.replace("DIR", str(tmp_path)) for part in verb), *as_json)
    assert done.output
    assert [trace for trace in samples.traces(CANARY) if trace in done.output] == []


def test_every_verb_is_checked_for_printed_credentials() -> None:
    from relayctl.__main__ import main  # noqa: PLC0415 - only here

    nouns = {"bigpanda", "channel", "dlq", "fallback", "incident", "shadow"}
    context = click.Context(main)
    assert set(main.list_commands(context)) == {verb[0] for verb in QUIET}
    nested = {(noun, verb) for noun in nouns for verb in main.get_command(context, noun).commands}  # type: ignore[union-attr]
    assert nested == {(verb[0], verb[1]) for verb in QUIET if verb[0] in nouns}


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_reveal_prints_the_headers_of_both_endpoints_and_no_other_credential(
    furnished: Operator, as_json: list[str]
) -> None:
    done = furnished.run("channel", "set", "payments", "--reveal", *as_json, code=0)
    left = done.output
    for header in REVEALED.values():
        assert left.count(header) == 1
        left = left.replace(header, "")
    assert [trace for trace in samples.traces(CANARY) if trace in left] == []
