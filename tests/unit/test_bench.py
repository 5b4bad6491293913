"""Tests of the benchmarks' pure parts: ratios, aims, tables, use of AWS and costs."""

import contextlib
import io
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from bench import cost, stranger

ROOT = Path(__file__).parents[2]
TEMPLATE = (ROOT / "template.yaml").read_text()
INSTALL = (ROOT / "docs/install.md").read_text()


def test_readme_has_the_dollars_of_a_million_shares_and_of_a_month() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    million, month = cost.section().figures[-1], cost.month_section(TEMPLATE).figures[-1]
    assert million.is_met
    assert month.is_met
    assert f"about **${month.values[0]:.0f}** for five channels and 20,000 shares" in readme
    assert f"about **${million.values[0]:.0f} for a million owed shares**" in readme


def test_month_and_install_guide_have_the_same_price_of_a_canary() -> None:
    price = f"{cost.canary_bill(cost.section().figures[-1].values[0]):.2f}"
    notes = " ".join(cost.month_section(TEMPLATE).notes)
    assert f"A canary, off by default and not included, adds ${price}" in notes
    assert f"about ${price} a month" in " ".join(INSTALL.split())


@pytest.fixture(scope="module")
def bills() -> dict[str, float]:
    """Cost of a day of a stranger's requests (dollars), by the kind of requests."""
    with contextlib.redirect_stdout(io.StringIO()):
        return stranger.bills()


class TestStranger:
    def test_install_guide_has_the_strangers_costs_that_the_benchmark_computes(self, bills: dict[str, float]) -> None:
        section = INSTALL.partition("### What a stranger can cost\n")[2].partition("\n### ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
        assert rows == stranger.table(bills)
        assert f"${stranger.WAF_REQUESTS:.2f} a million requests" in section

    def test_install_guide_has_the_shares_and_refusals_that_a_reservation_of_twenty_admits(self) -> None:
        share, _ = stranger.forged(stranger.SMALL)
        shares = 20 / cost.billed_seconds(share, cost.SHARE_CPU)
        refusals = 20 / cost.billed_seconds(stranger.refused(), stranger.REFUSED_CPU)
        said = "With 20, it takes about 400 small shares a second, or refuses about 2,900 requests a second."
        assert said in " ".join(INSTALL.split())
        assert (round(shares, -2), round(refusals, -2)) == (400, 2900)

    def test_strangers_rate_is_the_templates_throttle_and_workers_are_its_default(self) -> None:
        template = yaml_parse(TEMPLATE)
        [setting] = template["Resources"]["Api"]["Properties"]["MethodSettings"]
        assert setting["ThrottlingRateLimit"] == stranger.REQUESTS_A_SECOND
        assert template["Parameters"]["WorkerConcurrency"]["Default"] == stranger.WORKERS

    def test_refusal_costs_no_call_of_aws_but_a_bounded_number_of_look_ups(self) -> None:
        found = stranger.refused()
        assert (found.read_units, found.write_units, found.sqs_requests) == (0, 0, 0)
        assert 0 < found.secret_reads < 0.01
        assert found.log_bytes > 100
