"""The whole story in a real browser: both vendors' stand-ins, and the relay in the local cloud, by clicks alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from sandbox import local
from sandbox.server.client import StandIn
from tests.stand_in import session
from tools import chromium

ROOT = Path(__file__).resolve().parents[2]
# Longest wait for anything on the page (milliseconds).
PATIENCE = 30_000
PEOPLE = [
    {"name": "kim", "full_name": "Kim Lee", "devices": [{"name": "Work Email", "kind": "EMAIL"}]},
    {"name": "jo", "full_name": "Jo Park", "devices": [{"name": "Phone app", "kind": "APPLE_PUSH"}]},
]
GROUPS = [
    {
        "name": local.RECIPIENTS[0],
        "members": [{"name": "kim", "after_seconds": 0}, {"name": "jo", "after_seconds": 300}],
    }
]
expect.set_options(timeout=PATIENCE)


@pytest.fixture
def vendors(cloud: local.Local, xmatters: StandIn) -> Iterator[StandIn]:
    """Both vendors' stand-ins, with people, groups and a channel, set up to call the deployed relay."""
    cloud.purge()
    xmatters.have_phones(PEOPLE, GROUPS)
    xmatters.send_callbacks(f"{cloud.api_url}/xmatters/demo", ("x-api-key", local.CALLBACK_TOKEN))
    xmatters.share_with(f"{cloud.api_url}/bigpanda/demo", ("x-api-key", local.INBOUND_TOKEN))
    yield xmatters
    with session() as http:
        normal = {"xmatters": "normal", "denied": []}
        http.put(f"{xmatters.control_url}/page/faults", json=normal, timeout=60).raise_for_status()
    cloud.purge()


@pytest.fixture
def page(vendors: StandIn) -> Iterator[Page]:
    """The sandbox's web page in headless Chromium."""
    path = chromium.executable(ROOT)
    if path is None:
        pytest.skip("no Chromium: none is installed, and `make checks` got none from the npm registry")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(chromium.ARGUMENTS))
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(vendors.control_url)
        page.locator(".person").first.wait_for()
        yield page
        browser.close()


def test_escalated_page_is_acknowledged_and_bigpanda_hears_of_it(page: Page) -> None:
    _open(page, "Replica lag on pay-db-1")
    _ringing(page, "Kim Lee", "Replica lag").get_by_role("button", name="Escalate").click()
    _ringing(page, "Jo Park", "Replica lag").get_by_role("button", name="Acknowledge").click()
    expect(_phone(page, "Jo Park")).to_contain_text("answered Acknowledge")
    page.locator("#incidents").get_by_role("button", name="Replica lag on pay-db-1", exact=True).click()
    for step in (
        "Opened as critical",
        "Sent to xMatters",
        "Kim Lee answered Escalate",
        "Jo Park answered Acknowledge",
        "The page ended",
        "acknowledged xMatters page",
    ):
        expect(page.locator("#timeline")).to_contain_text(step)
    # The incident is critical, so its receipt has all four steps.
    expect(page.locator("#receipt li[data-state=done]")).to_have_count(4)
    expect(page.locator("#receipt li").last).to_contain_text("by Jo Park")


def test_outage_leaves_an_owed_state_and_a_refusal_a_dead_letter_that_is_replayed(page: Page) -> None:
    page.locator("#xmatters-answers").select_option("down")
    expect(page.locator("#trouble-sum")).to_contain_text("is down")
    _open(page, "Disk is full on log-3")
    expect(page.locator("#owed")).to_contain_text("xMatters could not be reached")
    page.locator("#xmatters-answers").select_option("refuses")
    expect(page.locator("#trouble-sum")).to_contain_text("refuses")
    _open(page, "Certificate expires")
    expect(page.locator("#dead")).to_contain_text("Certificate expires")
    expect(page.locator("#owed")).not_to_contain_text("Certificate expires")
    page.locator("#xmatters-answers").select_option("normal")
    expect(page.locator("#trouble-sum")).not_to_contain_text("refuses")
    # The other incident may be tried again and refused before the switch is back.
    page.get_by_role("button", name="Replay the dead letter of Certificate expires").click()
    _ringing(page, "Kim Lee", "Certificate expires").wait_for()
    expect(page.locator("#dead")).not_to_contain_text("Certificate expires")


def _open(page: Page, title: str) -> None:
    page.get_by_label("New incident").fill(title)
    page.get_by_role("button", name="Open", exact=True).click()
    page.locator("#incidents > li").filter(has_text=title).first.wait_for()


def _phone(page: Page, name: str) -> Locator:
    return page.locator(".person").filter(has=page.get_by_role("heading", name=name))


def _ringing(page: Page, name: str, title: str) -> Locator:
    return _phone(page, name).locator(".notice[data-state=ringing]").filter(has_text=title).first
