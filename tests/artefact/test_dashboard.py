"""The dashboard and the saved queries of the template, against what the functions really write."""

import json
import re
from typing import Any

import pytest

from relay.jobs.job import JobKind
from relay.jobs.result import Outcome
from tests import samples
from tests.artefact.templates import TEMPLATE, Stack, of_clone, stack
from tests.fakes import new_relay
from tests.metrics import METRICS

# Fields of log lines, and those that Logs Insights adds.
FIELDS = {
    *("message", "channel", "incident_id", "outcome", "transition", "why", "reason", "http_status", "attempts"),
    *("request_id", "detail", "kind", "owed", "oldest_seconds", "milliseconds", "@timestamp"),
}
MESSAGES = {
    *("share", "job", "callback", "channel owes signals"),
    "channel overloaded: more arrives than its limit lets through",
}
SERVICES = {"AWS/ApiGateway", "AWS/Lambda", "AWS/SQS", "AWS/DynamoDB"}


@pytest.fixture(scope="module")
def widgets(on_aws: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(on_aws.only("AWS::CloudWatch::Dashboard")["DashboardBody"])["widgets"]
    return found


@pytest.fixture(scope="module")
def queries(on_aws: Stack, widgets: list[dict[str, Any]]) -> list[str]:
    """Queries of logs, saved ones and those of the dashboard, without the SOURCE command."""
    saved = [each["QueryString"] for each in on_aws.of_type("AWS::Logs::QueryDefinition").values()]
    shown = [each["properties"]["query"] for each in widgets if each["type"] == "log"]
    return saved + [" | ".join(each for each in query.split(" | ") if "SOURCE" not in each) for query in shown]


def test_dashboard_is_json_and_its_references_are_filled_in(on_aws: Stack) -> None:
    body = on_aws.only("AWS::CloudWatch::Dashboard")["DashboardBody"]
    references = set(re.findall(r"\$\{(\w+)", body))
    assert references <= on_aws.resources.keys()
    assert json.loads(body)["widgets"]


def test_stacks_of_one_name_in_two_regions_have_a_dashboard_each() -> None:
    """An account's dashboards are not regional, so a name can be taken once (docs/adopt.md)."""
    names = set[str]()
    for region in ("us-east-1", "eu-west-1"):
        elsewhere = stack(TEMPLATE, {}, {"AWS::Region": region})
        name = elsewhere.only("AWS::CloudWatch::Dashboard")["DashboardName"]
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name)
        assert elsewhere.outputs["DashboardUrl"]["Value"].endswith(f"#dashboards/dashboard/{name}")
        names.add(name)
    assert names == {"relay-us-east-1", "relay-eu-west-1"}


def test_widgets_have_views_that_cloudwatch_knows(widgets: list[dict[str, Any]]) -> None:
    # CloudWatch refuses a whole body with an unknown member value, and the deployment with it.
    views = {
        "log": {"table", "timeSeries", "bar", "pie"},
        "metric": {"timeSeries", "singleValue", "gauge", "bar", "pie", "table"},
    }
    for each in widgets:
        if each["type"] in views:
            assert each["properties"].get("view", "table") in views[each["type"]], each


def test_dashboard_shows_only_metrics_that_exist(widgets: list[dict[str, Any]]) -> None:
    rows = [row for each in widgets if each["type"] == "metric" for row in _whole(each["properties"]["metrics"])]
    ours = {row[1] for row in rows if row[0] == "relay"}
    assert {row[0] for row in rows} == SERVICES | {"relay"}
    assert ours
    assert ours <= METRICS
    assert all(row[2:4] == ["service", "relay"] for row in rows if row[0] == "relay")


def test_queries_read_only_fields_and_messages_that_are_logged(queries: list[str]) -> None:
    for query in queries:
        texts = set(re.findall(r'"([^"]*)"', query))
        assert texts <= MESSAGES | set(Outcome) | set(JobKind) | {"INCIDENT"}, query
        named = set(re.findall(r" as (\w+)", query))
        used = set(re.findall(r"@?[a-z_]+(?:\.[a-z]+)?", re.sub(r'"[^"]*"|/[^/]*/', "", query)))
        words = {
            *("filter", "fields", "stats", "sort", "limit", "by", "as", "desc", "asc", "and", "or", "in", "like"),
            *("count", "sum", "max", "latest", "bin", "ispresent", "strcontains", "h"),
        }
        assert {each.partition(".")[0] for each in used - named - words} <= FIELDS, query


def test_outcome_of_every_share_is_in_the_chart_of_outcomes(widgets: list[dict[str, Any]]) -> None:
    [query] = [
        each["properties"]["query"] for each in widgets if each["properties"].get("title", "").startswith("Shares by")
    ]
    assert set(re.findall(r" as is_(\w+)", query)) == set(Outcome)


def test_saved_queries_are_named_after_the_stack_and_left_out_of_the_local_cloud(on_aws: Stack) -> None:
    names = [each["Name"] for each in on_aws.of_type("AWS::Logs::QueryDefinition").values()]
    assert len(names) == len(set(names)) >= 5
    assert all(name.startswith("relay/") for name in names)
    local = of_clone(Profile="local")
    assert local.of_type("AWS::Logs::QueryDefinition") == {}
    assert local.only("AWS::CloudWatch::Dashboard")


def _whole(rows: list[list[Any]]) -> list[list[Any]]:
    """Return a widget's rows of metrics with CloudWatch's abbreviations `.` and `...` written out."""
    whole: list[list[Any]] = []
    for row in rows:
        plain = [each for each in row if not isinstance(each, dict)]
        before = whole[-1] if whole else []
        if plain[0] == "...":
            plain = before[: len(before) - len(plain) + 1] + plain[1:]
        whole.append([before[place] if each == "." else each for place, each in enumerate(plain)])
    return whole


def test_queries_ask_only_for_the_times_of_parts_that_a_share_logs(queries: list[str]) -> None:
    parts = {part for query in queries for part in re.findall(r"milliseconds\.(\w+)", query)}
    relay = new_relay()
    relay.webhook.serve(samples.request(samples.body()))
    [line] = [each for each in relay.recorder.lines() if each["message"] == "share"]
    # The secret's read is that of the real adapter, which calls Secrets Manager.
    assert parts - {"secret"} <= line["milliseconds"].keys()
    assert parts == {"send", "ledger", "secret", "enqueue"}
