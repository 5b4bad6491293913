"""What every verb of relayctl says when it can't reach its stack, and how it is told where that is."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from relayctl.__main__ import main
from tests.integration.relayctl_cloud import Operator, account
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
    ["doctor"],
]
each_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: " ".join(verb[:2]))


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    with account(monkeypatch) as its_operator:
        yield its_operator


def complaint(operator: Operator, *arguments: str) -> str:
    """The one line that is all a verb says when it fails."""
    done = operator.run(*arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    return line


@each_verb
def test_no_such_stack(operator: Operator, verb: list[str]) -> None:
    expected = "Error: there is no stack named 'nope' here; name it with --stack, and its region with --region"
    assert complaint(operator, *verb, "--stack", "nope") == expected
    assert complaint(operator, *verb, "--stack", "nope", "--json") == expected


@each_verb
def test_a_stack_that_is_another(operator: Operator, verb: list[str]) -> None:
    operator.outputs = {}
    assert "the stack 'bigpanda-xmatters-relay' is not a relay: it has no output" in complaint(operator, *verb)


@each_verb
def test_no_region(operator: Operator, verb: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert complaint(operator, *verb) == "Error: no AWS region: set AWS_DEFAULT_REGION, or give --region"


@each_verb
def test_no_credentials(verb: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    done = CliRunner().invoke(main, [*verb, "--region", "eu-central-1"], catch_exceptions=False)
    expected = "Error: no AWS credentials: set AWS_PROFILE, or give --profile\n"
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", expected)


@each_verb
def test_access_denied_to_the_stack(operator: Operator, verb: list[str]) -> None:
    operator.refused = {"DescribeStacks": "AccessDenied"}
    assert complaint(operator, *verb) == (
        "Error: AWS refused DescribeStacks: AccessDenied: jdoe may not DescribeStacks; "
        "relayctl/policies/ has what each verb needs"
    )


@pytest.mark.parametrize(
    ("operation", "verb"),
    [
        ("CreateSecret", ["channel", "set", "x", "--trigger-url", TRIGGER]),
        ("GetSecretValue", ["channel", "show", "x"]),
        ("GetSecretValue", ["channel", "remove", "x", "--yes"]),
        ("GetSecretValue", ["channel", "test", "x"]),
        ("ListSecrets", ["channel", "list"]),
        ("GetQueueAttributes", ["dlq", "list"]),
        ("ReceiveMessage", ["dlq", "show", "x"]),
        ("ReceiveMessage", ["dlq", "replay", "--yes"]),
        ("ChangeMessageVisibilityBatch", ["dlq", "list", "--json"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_access_denied_later(operator: Operator, operation: str, verb: list[str]) -> None:
    operator.put(job())
    operator.refused = {operation: "AccessDeniedException"}
    assert f"AWS refused {operation}: AccessDeniedException: jdoe may not" in complaint(operator, *verb)


def test_another_refusal_gives_no_advice_on_permissions(operator: Operator) -> None:
    operator.refused = {"DescribeStacks": "Throttling"}
    assert (
        complaint(operator, "dlq", "list")
        == "Error: AWS refused DescribeStacks: Throttling: jdoe may not DescribeStacks"
    )


def test_the_stack_can_be_named_by_the_environment_too(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_STACK", "other")
    assert "no stack named 'other'" in complaint(operator, "dlq", "list")
    assert operator.run("dlq", "list", "--stack", "bigpanda-xmatters-relay").exit_code == 3


def test_profile_and_region_are_taken_as_the_aws_cli_takes_them(
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
    assert operator.run("channel", "list").exit_code == 3
    assert operator.run("channel", "list", "--region", "us-east-1").exit_code == 0
    assert operator.run("channel", "list", "--profile", "ops").exit_code == 0
    missing = operator.run("channel", "list", "--profile", "none")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "The config profile (none) could not be found" in missing.stderr


def test_the_endpoint_of_the_environment_is_asked_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        done = CliRunner().invoke(main, ["dlq", "list", "--region", "us-east-1"], catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (1, "")
    expected = f'Error: AWS could not be asked: Could not connect to the endpoint URL: "{endpoint}/"\n'
    assert done.stderr == expected


def test_with_an_endpoint_the_urls_shown_are_that_clouds(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.run("channel", "set", "x", "--trigger-url", TRIGGER)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    shown = operator.run_json("channel", "show", "x")
    assert shown["callback_url"] == "http://127.0.0.1:4566/_aws/execute-api/a1b2c3d4e5/v1/bigpanda/x"
