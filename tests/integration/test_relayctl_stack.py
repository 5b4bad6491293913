"""Errors of every verb when the stack cannot be reached, and the options and variables that select the stack."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from relayctl.__main__ import main
from relayctl.stack.deployed import Effects
from tests.integration.live import site
from tests.integration.relayctl_cloud import Operator, new_session
from tests.samples import job

TRIGGER = "https://acme.xmatters.com/api/integration/1/functions/f1/triggers?recipients=Ops"
VERBS = [
    ["channel", "set", "x", "--trigger-url", TRIGGER],
    ["channel", "show", "x"],
    ["channel", "list"],
    ["channel", "remove", "x", "--yes"],
    ["channel", "test", "x"],
    ["dlq", "list"],
    ["dlq", "show", "x"],
    ["dlq", "replay", "--yes"],
    ["dlq", "drop", "--all", "--reason", "old", "--yes"],
    ["dlq", "export", "/no/such/folder/jobs.jsonl"],
    ["doctor"],
    ["bigpanda", "webhook", "x"],
    ["explain", "docs/bigpanda-webhook-v2.json", "--channel", "x"],
]
each_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: " ".join(verb[:2]))
# A verb that asks CloudFormation itself, and one that reads a queue.
a_verb = pytest.mark.parametrize("verb", [VERBS[0], VERBS[5]], ids=lambda verb: " ".join(verb[:2]))


def complaint(operator: Operator, *arguments: str) -> str:
    """Run a verb that fails with exit code 1; return its only line of output."""
    done = operator.run(*arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    return line


@each_verb
def test_missing_stack_is_one_line_with_advice(operator: Operator, verb: list[str]) -> None:
    expected = "Error: there is no stack named 'nope' here; name it with --stack, and its region with --region"
    assert complaint(operator, *verb, "--stack", "nope") == expected
    assert complaint(operator, *verb, "--stack", "nope", "--json") == expected


@a_verb
def test_missing_aws_credentials_are_one_line_with_advice(verb: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    done = CliRunner().invoke(main, [*verb, "--region", "eu-central-1"], catch_exceptions=False)
    expected = "Error: no AWS credentials: set AWS_PROFILE, or give --profile\n"
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", expected)


@pytest.mark.parametrize(
    "verb",
    [
        *(["show", "x"], ["test", "x"], ["remove", "x", "--yes"], ["remove", "x", "--drain", "--yes"]),
        *(["rotate", "x", "inbound"], ["rotate", "x", "callback", "--retire"], ["undo", "x", "--yes"]),
        *(["rotate", "x", "bigpanda", "--api-key", "@f"], ["revoke", "x", "--endpoint", "inbound", "--yes"]),
        ["pause", "x", "--until", "2027-01-15T10:00:00Z", "--keep"],
        ["export", "/no/such/folder", "--channel", "x"],
    ],
    ids=" ".join,
)
def test_unknown_channel_is_exit_code_3(operator: Operator, verb: list[str]) -> None:
    done = operator.run("channel", *verb)
    assert (done.exit_code, done.stdout, done.stderr) == (3, "", "there is no channel x\n")


@pytest.mark.parametrize(
    "verb",
    [
        *(["channel", "remove", "x"], ["channel", "remove", "x", "--drain"], ["channel", "undo", "x"]),
        *(["channel", "revoke", "x", "--endpoint", "inbound"], ["channel", "test", "x", "--ring"]),
        *(["channel", "apply", "DIR"], ["dlq", "drop", "--all", "--reason", "old"]),
        ["dlq", "drop", "--all", "--reason", "old", "--json"],
    ],
    ids=" ".join,
)
def test_verb_that_cannot_be_taken_back_needs_a_terminal_or_yes(
    operator: Operator, verb: list[str], tmp_path: Path
) -> None:
    (tmp_path / "y.yaml").write_text("xmatters: {trigger_url: {secret: stored}, auth: {type: url}}")
    operator.keep("x", "y")
    operator.run("channel", "set", "x", "--set", "policy.max_per_minute=7", code=0)
    operator.put(job())
    before = operator.secret("x"), operator.secret("y")
    done = operator.run(*(part.replace("DIR", str(tmp_path)) for part in verb), typed="y\n")
    assert (done.exit_code, "give --yes" in done.stderr) == (2, True), done.output
    assert (operator.secret("x"), operator.secret("y"), operator.visible()) == (*before, 1)
    assert operator.requested == []


def test_profile_and_region_are_found_as_by_the_aws_cli(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = "aws_access_key_id = k\naws_secret_access_key = s\n"
    regions = {"ops": "us-east-1", "far": "eu-west-1"}
    sections = [f"[profile {name}]\nregion = {region}\n{keys}" for name, region in regions.items()]
    (tmp_path / "config").write_text("".join(sections))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_PROFILE", "far")
    operator.secrets.create_secret(Name="team/relay/here", SecretString="{}")
    operator.run("channel", "list", code=3)
    operator.run("channel", "list", "--region", "us-east-1", code=0)
    operator.run("channel", "list", "--profile", "ops", code=0)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    operator.run("channel", "list", code=0)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert operator.run("channel", "list").exit_code == 3, "AWS_REGION comes before AWS_DEFAULT_REGION"
    operator.run("channel", "list", "--region", "us-east-1", code=0)
    monkeypatch.setenv("AWS_REGION", "")
    assert operator.run("channel", "list").exit_code == 0, "an empty variable counts as none"
    missing = operator.run("channel", "list", "--profile", "none")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "The config profile (none) could not be found" in missing.stderr


@dataclass
class Impostor:
    """A server that is not AWS: each answer has the same status and body."""

    url: str = ""
    status: int = 200
    body: bytes = b""


@pytest.fixture(scope="module")
def impostor() -> Iterator[Impostor]:
    told = Impostor()
    with site(lambda _: (told.status, {}, told.body)) as server:
        told.url = server.url
        yield told


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs relayctl with real clients and its own environment."""
    settings = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "canary-key", "AWS_DEFAULT_REGION": "us-east-1"}
    settings |= {"AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "RELAYCTL_TRACEBACK", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def run(verb: list[str], **changes: str) -> Result:
        for name, value in (settings | changes).items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(main, verb, obj=Effects(sessions=new_session), catch_exceptions=False)

    return run


def one_line(done: Result, codes: set[int]) -> str:
    """Return the only line of output; fail if it has a traceback or a secret."""
    assert done.exit_code in codes, done.output
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "Traceback" not in line
    assert "canary" not in line
    assert "fault of relayctl" not in line
    return line


@a_verb
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    "body",
    [b"canary: I am no AWS", b"<html><body>\n<h1>canary</h1></body></html>", b'["canary"]'],
    ids=["text", "html", "json"],
)
def test_answer_that_is_not_awss_is_one_line_without_the_answer(
    bare: Callable[..., Result], impostor: Impostor, verb: list[str], status: int, body: bytes
) -> None:
    impostor.status, impostor.body = status, body
    assert "AWS" in one_line(bare(verb, AWS_ENDPOINT_URL=impostor.url), {1})


@a_verb
@pytest.mark.parametrize(
    ("environment", "words", "codes"),
    [
        *(
            ({"AWS_ENDPOINT_URL": url}, "AWS_ENDPOINT_URL", {1, 2})
            for url in ("foo", "http://", "http://127.0.0.1:99999")
        ),
        ({"AWS_ENDPOINT_URL": "http://jdoe:canary@127.0.0.1:1"}, "Could not connect to the endpoint URL", {1}),
        ({"AWS_DEFAULT_REGION": ""}, "Error: no AWS region: set AWS_REGION, or give --region", {1}),
        ({"AWS_DEFAULT_REGION": "us east"}, "us east", {1}),
        ({"AWS_CONFIG_FILE": "FOLDER/config"}, "Unable to parse config file", {1}),
        ({"AWS_PROFILE": "nope"}, "(nope) could not be found", {2}),
    ],
)
def test_wrong_setting_of_the_environment_is_one_line(
    bare: Callable[..., Result],
    tmp_path: Path,
    verb: list[str],
    environment: dict[str, str],
    words: str,
    codes: set[int],
) -> None:
    (tmp_path / "config").write_text("canary\n[profile\n")
    found = {name: value.replace("FOLDER", str(tmp_path)) for name, value in environment.items()}
    assert words in one_line(bare(verb, **found), codes)


class TestUnexpectedError:
    """Errors that no verb expects: bugs of relayctl."""

    @pytest.fixture
    def faulty(self) -> Iterator[list[str]]:
        @main.command("faulty")
        def faulty() -> None:
            raise LookupError("canary-secret\nand more")

        yield ["faulty"]
        del main.commands["faulty"]

    def test_unexpected_error_is_one_line_with_its_place_and_without_its_message(
        self, bare: Callable[..., Result], faulty: list[str]
    ) -> None:
        done = bare(faulty)
        assert (done.exit_code, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("relayctl failed: LookupError in ")
        assert "this is a fault of relayctl" in line
        assert "RELAYCTL_TRACEBACK=1" in line
        assert "canary" not in line

    @pytest.mark.parametrize("module", ["relay.failures", "botocore.exceptions"])
    def test_missing_module_is_one_line_though_the_error_handler_needs_it(
        self, bare: Callable[..., Result], faulty: list[str], monkeypatch: pytest.MonkeyPatch, module: str
    ) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        line = one_line(bare(faulty), {1})
        assert line.startswith(f"Error: relayctl is not completely installed (import of {module} halted")

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()], ids=["interrupt", "refusal"])
    def test_ctrl_c_is_exit_code_130_and_the_answer_no_is_1(
        self, bare: Callable[..., Result], error: BaseException
    ) -> None:
        @main.command("stops")
        def stops() -> None:
            raise error

        try:
            done = bare(["stops"])
        finally:
            del main.commands["stops"]
        assert done.exit_code == (130 if isinstance(error, KeyboardInterrupt) else 1)
        assert done.stderr == "Aborted!\n"
