"""Tests of the costs that the documents name."""

from pathlib import Path

from bench import cost

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
