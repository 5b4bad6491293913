"""Errors of every verb when the stack cannot be reached, and the options and variables that select the stack."""

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from botocore.exceptions import TokenRetrievalError
from click.testing import CliRunner, Result

from relayctl.__main__ import main
from relayctl.failed_calls import aws_failure
from relayctl.stack.deployed import Effects
from tests.integration.live import site
from tests.integration.relayctl_cloud import STACK, STACK_ARN, Logs, Operator, new_session

# A verb that asks CloudFormation itself, and one that reads a queue.
VERBS = [
    ["channel", "set", "x", "--trigger-url", "https://acme.xmatters.com/api/integration/1/functions/f1/triggers"],
    ["dlq", "list"],
]
a_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: " ".join(verb[:2]))


@a_verb
def test_missing_stack_is_one_line_with_advice(operator: Operator, verb: list[str]) -> None:
    expected = "Error: there is no stack named 'nope' here; name it with --stack, and its region with --region\n"
    for options in ([], ["--json"]):
        done = operator.run(*verb, "--stack", "nope", *options)
        assert (done.exit_code, done.stdout, done.stderr) == (1, "", expected)


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
    # The other region has no ledger.
    operator.run("channel", "list", code=1)
    operator.run("channel", "list", "--region", "us-east-1", code=0)
    operator.run("channel", "list", "--profile", "ops", code=0)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    operator.run("channel", "list", code=0)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert operator.run("channel", "list").exit_code == 1, "AWS_REGION comes before AWS_DEFAULT_REGION"
    operator.run("channel", "list", "--region", "us-east-1", code=0)
    monkeypatch.setenv("AWS_REGION", "")
    assert operator.run("channel", "list").exit_code == 0, "an empty variable counts as none"
    missing = operator.run("channel", "list", "--profile", "none")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "The config profile (none) could not be found" in missing.stderr


@pytest.mark.parametrize(
    ("code", "advice"), [("AccessDenied", "`relayctl policy` prints"), ("ExpiredToken", "over: sign in again")]
)
def test_refused_call_has_the_advice_that_helps(operator: Operator, code: str, advice: str) -> None:
    operator.refused = {"GetQueueAttributes": code}
    assert operator.run("dlq", "list", code=1).stderr.count("; ") == 1
    assert advice in operator.run("dlq", "list").stderr


def test_single_sign_on_that_is_over_has_the_advice_to_sign_in() -> None:
    over = aws_failure(TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"))
    assert over == (
        "AWS could not be asked: Error when retrieving token from sso: Token has expired and refresh failed; "
        "the credentials are over: sign in again"
    )


def test_arn_of_a_stack_stands_for_its_name(operator: Operator, logs: Logs) -> None:
    operator.keep("noc")
    logs.share("noc", 5)
    found = operator.run_json("status", "--stack", STACK_ARN)
    assert (found["stack"], found["channels"][0]["shares_last_hour"]) == (STACK, 1)


def test_closed_stdin_is_no_terminal(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    operator.keep("noc")
    assert operator.typed("channel", "remove", "noc", answers=None) == 2
    assert "give --yes" in capsys.readouterr().err


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs relayctl with real clients and its own environment."""
    settings = {"AWS_SECRET_ACCESS_KEY": "canary-key", "AWS_MAX_ATTEMPTS": "1"}
    monkeypatch.delenv("RELAYCTL_TRACEBACK", raising=False)

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
    bare: Callable[..., Result], verb: list[str], status: int, body: bytes
) -> None:
    with site(lambda _: (status, {}, body)) as impostor:
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
        (
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"},
            "Error: no AWS credentials: set AWS_PROFILE, or give --profile",
            {1},
        ),
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


def fails(bare: Callable[..., Result], error: BaseException) -> Result:
    """Run a verb that raises an error which no verb expects."""

    @main.command("faulty")
    def faulty() -> None:
        raise error

    try:
        return bare(["faulty"])
    finally:
        del main.commands["faulty"]


def test_unexpected_error_is_one_line_with_its_place_and_without_its_message(bare: Callable[..., Result]) -> None:
    done = fails(bare, LookupError("canary-secret\nand more"))
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("relayctl failed: LookupError in ")
    assert "this is a fault of relayctl" in line
    assert "RELAYCTL_TRACEBACK=1" in line
    assert "canary" not in line


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (click.Abort(), 1)], ids=["Ctrl-C", "no"])
def test_ctrl_c_is_exit_code_130_and_the_answer_no_is_1(
    bare: Callable[..., Result], error: BaseException, code: int
) -> None:
    done = fails(bare, error)
    assert (done.exit_code, done.stderr) == (code, "Aborted!\n")
