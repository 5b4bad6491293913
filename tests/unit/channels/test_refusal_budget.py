import pytest

from relay.channels.refusal_budget import RefusalBudgets, source
from tests.fakes import Clock


def taken(budgets: RefusalBudgets, address: str, *, is_checked: bool = False) -> int:
    count = 0
    while budgets.of(address, is_checked=is_checked).take():
        count += 1
    return count


def test_each_source_has_its_own_budget() -> None:
    budgets = RefusalBudgets(Clock())
    assert taken(budgets, "192.0.2.1") == 20
    assert taken(budgets, "192.0.2.1") == 0
    assert taken(budgets, "192.0.2.2") == 20


def test_tokens_with_a_valid_checksum_have_a_larger_budget_of_their_own() -> None:
    budgets = RefusalBudgets(Clock())
    assert taken(budgets, "192.0.2.1") < taken(budgets, "192.0.2.1", is_checked=True) == 100


def test_budget_is_refilled_by_one_a_second() -> None:
    clock = Clock()
    budgets = RefusalBudgets(clock)
    taken(budgets, "192.0.2.1")
    clock.now += 3
    assert taken(budgets, "192.0.2.1") == 3


def test_budgets_are_bounded_and_the_oldest_source_is_forgotten() -> None:
    budgets = RefusalBudgets(Clock())
    for number in range(2048 + 10):
        budgets.of(f"10.0.{number // 256}.{number % 256}", is_checked=False)
    assert len(budgets._budgets) == 2048
    assert ("10.0.0.0", False) not in budgets._budgets


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("test-invoke-source-ip", ""),
    ],
)
def test_addresses_of_one_ipv6_network_are_one_source_of_lookups(address: str, found: str) -> None:
    assert source(address) == found
