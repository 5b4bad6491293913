import json
import re
import secrets

import pytest

from relay.channels import token
from relay.channels.authentication import RefusalBudgets, Request
from relay.channels.token import PATTERN
from relay.failures import BadRequest
from tests import samples
from tests.fakes import Clock, FakeSession, Relay


class TestAdmit:
    @pytest.mark.parametrize(
        "request_",
        [
            samples.request(headers={}),
            samples.request(headers={"authorization": ""}),
            samples.request(headers={"authorization": "Basic !"}),
            samples.request(channel=""),
            samples.request(channel="../noc"),
            samples.request(channel="NOC"),
        ],
    )
    def test_impossible_request_is_refused_without_reading_a_secret(self, request_: Request) -> None:
        relay = Relay(FakeSession())
        with pytest.raises(BadRequest) as caught:
            relay.webhook.authenticator.authenticate(request_)
        assert caught.value.status == 401
        assert relay.secrets.reads == []

    def test_credentials_changed_two_seconds_ago_are_admitted_and_the_old_ones_refused(self) -> None:
        relay = Relay(FakeSession())
        relay.channels.get("noc")
        relay.secrets.texts["noc"] = json.dumps(samples.secret(inbound={"token": "new-token"}))
        new = samples.request(headers={"x-api-key": "new-token"})
        with pytest.raises(BadRequest):
            relay.webhook.authenticator.authenticate(new)
        relay.clock.now += 2
        assert relay.webhook.authenticator.authenticate(new).name == "noc"
        with pytest.raises(BadRequest):
            relay.webhook.authenticator.authenticate(samples.request())


def taken(budgets: RefusalBudgets, address: str) -> int:
    return sum(budgets.take(address, is_checked=False) for _ in range(1000))


def test_budget_is_refilled_by_one_a_second_until_it_is_whole() -> None:
    clock, found = Clock(), []
    budgets = RefusalBudgets(clock)
    for seconds in (0, 3, 900):
        clock.now += seconds
        found.append(taken(budgets, "192.0.2.1"))
    assert found == [20, 3, 20]


def test_budget_is_whole_after_requests_that_were_not_refused() -> None:
    budgets = RefusalBudgets(Clock())
    for _ in range(100):
        assert budgets.take("192.0.2.1", is_checked=False)
        budgets.give_back("192.0.2.1", is_checked=False)
    assert taken(budgets, "192.0.2.1") == 20


def test_budgets_are_bounded_and_the_oldest_source_is_forgotten() -> None:
    budgets = RefusalBudgets(Clock())
    for number in range(2048 + 10):
        budgets.take(f"10.0.{number // 256}.{number % 256}", is_checked=False)
    assert len(budgets._buckets) == 2048
    assert ("10.0.0.0", False) not in budgets._buckets


def test_secret_scanners_find_a_token_by_its_pattern() -> None:
    text = token.make("noc", "inbound", secrets.choice)
    assert re.fullmatch(PATTERN, text)
    assert re.findall(rf"\b{PATTERN}\b", f'header: "Bearer {text}", x') == [text]


def test_checksum_of_a_token_is_the_same_in_every_version() -> None:
    # Stored tokens must stay valid.
    assert token.make("noc", "inbound", lambda _: "a") == EXPECTED


EXPECTED = "bpr_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaZDQc4H"
