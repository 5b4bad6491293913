"""The guard of `make staging`, and its report."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from samtranslator.yaml_helper import yaml_parse

from sandbox.errors import SandboxError
from tools.staging import account
from tools.staging.checks import CHECKS
from tools.staging.report import Check, Checked, Seen, judged, markdown, noted
from tools.staging.target import Target, XMatters

ACCOUNT = "123456789012"


class Sts:
    """The service that says whose credentials these are."""

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": ACCOUNT}


def only_sts(service: str) -> Any:
    assert service == "sts", f"the guard let {service} be called"
    return Sts()


def checked(*seen: Seen, error: Exception | None = None) -> Checked:
    """Run a check that sees this, and then may raise an error."""

    def run(_: Target) -> Iterator[Seen]:
        yield from seen
        if error:
            raise error

    world = Target("a stack", {}, boto3.Session(), XMatters(None, ""), lambda **_: None)
    return Check("a check", "docs/sky.md", "The sky is blue.", run).checked(world)


def test_another_account_than_the_named_one_is_refused() -> None:
    account.confirm(only_sts, ACCOUNT)
    with pytest.raises(SandboxError, match=f"of account {ACCOUNT}, and you named 210987654321: nothing was done"):
        account.confirm(only_sts, "210987654321")


def test_whatever_the_stack_would_retain_goes_with_it_but_the_accounts_role() -> None:
    resources = account.removable(yaml_parse((account.ROOT / "template.yaml").read_text()))["Resources"]
    retained = {name for name, each in resources.items() if each.get("DeletionPolicy") == "Retain"}
    assert retained == {"ApiGatewayRole", "ApiGatewayAccount"}
    assert "DeletionProtectionEnabled" not in resources["LedgerTable"]["Properties"]


def test_report_has_the_documents_sentence_what_was_seen_and_what_was_left() -> None:
    seen = [judged("wrong token", "HTTP 401", holds=True), noted("processors", 2)]
    text = markdown("us-east-1", [checked(*seen)], ["stack x"])
    assert "| 1. a check | **held** |" in text
    assert "docs/sky.md says: The sky is blue." in text
    assert "- *held*: wrong token: HTTP 401\n- *noted*: processors: 2" in text
    assert "- **left behind**: stack x" in text


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        ([judged("x", 1, holds=True), judged("y", 2, holds=False), noted("z", 3)], "differs"),
        ([noted("x", 1), judged("y", 2, holds=True)], "held"),
    ],
)
def test_check_differs_if_anything_does_and_holds_if_anything_held(seen: list[Seen], verdict: str) -> None:
    assert checked(*seen).verdict == verdict


def test_check_that_fails_keeps_what_it_saw_before_and_differs() -> None:
    found = checked(judged("x", 1, holds=True), error=OSError("no route"))
    assert [each.verdict for each in found.seen] == ["held", "differs"]
    assert "OSError: no route" in found.seen[1].said


@pytest.mark.parametrize("each", CHECKS, ids=lambda each: each.name)
def test_check_quotes_its_document(each: Check) -> None:
    document = (account.ROOT / each.source).read_text()
    assert each.says in " ".join(document.split())
