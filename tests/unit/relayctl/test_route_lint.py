"""Lint of routes."""

import itertools
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayctl.report.route_lint import Finding, includes, lint
from tests.samples import parsed, secret


def linted(
    *routes: dict[str, Any], is_whole: bool = True, recipients: list[str] | None = None, **policy: Any
) -> list[Finding]:
    """Return the lint of a channel with these routes."""
    document = secret(policy={"routes": list(routes), **policy})
    if recipients is not None:
        document["xmatters"].pop("recipients_in")
        document["xmatters"]["recipients"] = recipients
    return lint(parsed(document), is_whole=is_whole)


def route(*recipients: str, **when: Any) -> dict[str, Any]:
    """Return a route; a condition on a tag is written `tag_NAME`."""
    conditions = {fact.replace("tag_", "tag."): patterns for fact, patterns in when.items()}
    return {"when": conditions, "recipients": list(recipients or ("Ops",))}


def keys(found: list[Finding]) -> list[tuple[str, str]]:
    return [(each.key, each.problem) for each in found]


def test_routes_that_can_all_match_have_no_findings() -> None:
    assert not linted(
        route(status="critical", tag_team="pay*"),
        route(status="critical"),
        route(status=["warning", "unknown"], environment="prod*"),
        route(severity="critical"),
        route(status="ok"),
    )


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ({"status": "critical"}, {"status": "critical", "tag_team": "pay"}),
        ({"status": "crit*"}, {"status": "CRITICAL"}),
        ({"tag_Team": "pay*"}, {"tag_team": ["payments", "pay-*"], "severity": "critical"}),
        ({"status": ["critical", "warning", "unknown", "ok"]}, {"status": "*"}),
        ({}, {"status": "critical"}),
    ],
)
def test_route_behind_a_wider_one_never_matches(first: dict[str, Any], later: dict[str, Any]) -> None:
    found = linted(route(**first), route(**later))
    assert ("policy.routes.1", "never_matches") in keys(found)
    assert "policy.routes.0 matches every incident" in str(found[-1])


@pytest.mark.parametrize(
    ("when", "complaint"),
    [
        ({"status": "critcal"}, "BigPanda's status is one of"),
        ({"severity": ["high", "low"]}, "BigPanda's severity is one of"),
    ],
)
def test_status_that_bigpanda_does_not_have_is_found(when: dict[str, Any], complaint: str) -> None:
    found = linted(route(**when))
    assert keys(found) == [("policy.routes.0", "never_matches")]
    assert complaint in found[0].detail


def test_critical_that_matches_no_route_and_no_transition_that_is_signalled_are_found() -> None:
    found = linted(route(status="warning"), recipients=[], notify_on=[])
    assert keys(found) == [("policy.notify_on", "notifies_nobody"), ("xmatters.recipients", "notifies_nobody")]


def test_policy_alone_has_no_findings_about_the_channel() -> None:
    assert not linted(route(status="warning"), recipients=[], is_whole=False)


TEXTS = ["".join(letters) for length in range(7) for letters in itertools.product("abz", repeat=length)]
patterns = st.text("ab*?", max_size=4) | st.sampled_from(["[ab]", "[!a]*", "a[", "[]a]", "[a-b]?"])


@given(patterns, patterns)
@settings(max_examples=300, deadline=None)
def test_inclusion_agrees_with_fnmatch_on_short_texts(wide: str, narrow: str) -> None:
    missed = [text for text in TEXTS if fnmatchcase(text, narrow) and not fnmatchcase(text, wide)]
    found = includes(wide, narrow)
    if found:
        assert missed == []
    if "[" not in wide + narrow:
        assert found is (not missed)
