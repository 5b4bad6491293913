"""relayctl explain and relayctl bigpanda webhook, with AWS in memory."""

import json
from pathlib import Path
from typing import Any

import pytest

from relay.incidents.share import State, parse_share
from relay.ledger.entry import Entry
from tests.integration.relayctl_cloud import Operator
from tests.samples import API_KEY, TOKEN, body, secret

ROUTES = [
    {"when": {"status": "warning"}, "recipients": ["Day Shift"]},
    {"when": {"status": "critical"}, "recipients": ["Ops"], "priority": "HIGH"},
]


@pytest.fixture
def operator(operator: Operator) -> Operator:
    operator.keep("payments", policy={"routes": ROUTES, "body": "xmatters"})
    return operator


@pytest.fixture
def share(tmp_path: Path) -> str:
    path = tmp_path / "share.json"
    path.write_bytes(body())
    return str(path)


def written(tmp_path: Path, document: Any) -> str:
    path = tmp_path / "policy.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


class TestExplain:
    def test_share_is_explained_against_the_ledger_and_nothing_is_written(self, operator: Operator, share: str) -> None:
        state = State.of(parse_share(body(changedOn=1_700_000_000, status="warning")), operator.clock.now - 1000)
        operator.record("payments", "i1", Entry().announcing(state, "r1", operator.clock.now - 1000))
        before = operator.dynamodb.scan(TableName=operator.table)["Items"]
        found = operator.run_json("explain", share, "--channel", "payments")
        assert (found["verdict"]["action"], found["transition"], found["ledger_missing"]) == (
            "signal",
            "worsened",
            None,
        )
        assert found["compared_with"] == ["open, warning", "accepted by xMatters, no page confirmed"]
        results = ["did not match, status is critical, not warning", "matched, status is critical"]
        assert [each["result"] for each in found["routes"]] == results
        assert found["recipients"]["names"] == ["Ops"]
        assert json.loads(found["request"]["body"])["priority"] == "HIGH"
        assert operator.dynamodb.scan(TableName=operator.table)["Items"] == before
        assert operator.requested == []

    def test_text_fits_into_80_columns_and_shows_no_credential(
        self, operator: Operator, share: str, narrow: None
    ) -> None:
        done = operator.run("explain", share, "--channel", "payments", code=0)
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert "verdict               action signal, outcome delivered, why " in done.stdout
        assert "key policy.routes.0, result did not match, status is" in done.stdout
        assert TOKEN not in done.output
        assert API_KEY not in done.output

    def test_offline_asks_no_aws_service(self, operator: Operator, share: str, tmp_path: Path) -> None:
        operator.refused = dict.fromkeys(("DescribeStacks", "GetSecretValue", "GetItem"), "AccessDenied")
        whole = written(tmp_path, secret(policy={"routes": ROUTES}))
        found = operator.run_json("explain", share, "--channel", "new", "--policy", whole, "--offline")
        assert (found["source"], found["ledger_missing"]) == ("from the file", "--offline")
        assert TOKEN not in json.dumps(found)
        policy = written(tmp_path, {"routes": ROUTES})
        found = operator.run_json("explain", share, "--channel", "new", "--policy", policy)
        assert found["source"] == "policy from the file"
        assert "AccessDenied" in found["notes"][0]
        assert found["recipients"]["names"] == ["Ops"]


def test_v2_is_one_document_with_the_call_to_bigpandas_api(operator: Operator) -> None:
    access = {"api_key": "canary-key", "base_url": "https://eu-api.bigpanda.io", "app_key": "k", "callbacks": True}
    operator.keep("eu", bigpanda=access)
    found = operator.run_json("bigpanda", "webhook", "eu", "--v2", "--reveal")
    assert set(found) == {"channel", "v2"}
    assert found["v2"]["request"]["url"] == "https://eu-api.bigpanda.io/resources/v2.1/integrations"
    config = found["v2"]["request"]["body"]["workflow_config"]
    assert config["events"][0]["authorization"] == f"Bearer {TOKEN}"
    assert config["config"] == {
        "base_url": operator.outputs["BigPandaWebhookUrl"].replace("{channel}", "eu"),
        "expects_callbacks": True,
    }
    assert "canary" not in json.dumps(found)
