"""The sandbox's web page in a real browser, beside the stand-ins: its content, its controls, and its accessibility."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from sandbox.cloud.deployment import StackFile
from sandbox.page.site import joining
from sandbox.server.in_process import Box, running
from tests.stand_in import TENANT, session, signal
from tools import chromium

ROOT = Path(__file__).resolve().parents[2]
# Longest wait for anything on the page (milliseconds). Playwright keeps the last one that a module of the tests sets.
PATIENCE = 30_000
HOSTILE = '<img src=x onerror="document.title=1"> & "quotes"'
AT = "2030-01-15T18:01:00Z"
# What the relay's view returns of a critical that nobody heard of, and that is owed and dead-lettered besides.
RELAY: dict[str, Any] = {
    "is_there": True,
    "problem": None,
    "shares": [
        {"at": AT, "kind": "share", "outcome": "delivered", "transition": "opened", "why": "Sent to xMatters: new."}
    ],
    "owed": [{"is_critical": True, "since": AT, "transition": "opened", "next_attempt": AT, "reason": HOSTILE}],
    "dead_letters": [
        {"id": "m1", "kind": "signal", "status": "critical", "reason": "xMatters refused it", "since": AT}
    ],
    "dead_letters_total": 1,
    "receipts": [
        {
            "steps": [
                {"name": "signal", "state": "done", "at": AT, "by": ""},
                {"name": "notified", "state": "missed", "at": None, "by": ""},
            ],
            "unheard": "nobody was notified",
            "told_at": AT,
        }
    ],
    "calls": [{"at": AT, "kind": "text", "to": "+14255550100", "text": f"CRITICAL demo: {HOSTILE}"}],
}
expect.set_options(timeout=PATIENCE)

type Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def running_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """Both stand-ins with people, and without a local cloud."""
    missing = tmp_path_factory.mktemp("local") / "stack.json"
    with running(joining=joining(StackFile(missing).find)) as box:
        yield box


@pytest.fixture
def box(running_box: Box) -> Box:
    running_box.clear()
    running_box.xmatters.people.declare(TENANT)
    return running_box


@pytest.fixture(scope="module")
def browser(running_box: Box) -> Iterator[Browser]:
    """Headless Chromium, within the life of the stand-ins: while Playwright runs, no other event loop can end."""
    path = chromium.executable(ROOT)
    if path is None:
        pytest.skip("no Chromium: none is installed, and `make checks` got none from the npm registry")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(chromium.ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Browser, box: Box) -> Open:
    """A function that opens the page for a `with` block, in a context with these options."""

    @contextmanager
    def open_page(prepare: Callable[[Page], object] = lambda _: None, **options: Any) -> Iterator[Page]:
        context = browser.new_context(timezone_id="UTC", **options)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        prepare(page)
        page.goto(f"{box.control_url}/")
        page.locator(".person").first.wait_for()
        yield page
        context.close()

    return open_page


@pytest.fixture
def page(opened: Open) -> Iterator[Page]:
    with opened() as page:
        yield page


def open_incident(box: Box, title: str = "Replica lag", status: str = "critical") -> str:
    return str(box.bigpanda.live.open({"title": title, "status": status})["id"])


def with_relay(box: Box, incident_id: str) -> Callable[[Page], object]:
    """Let the page show the relay's part as in RELAY, about one incident."""
    about = {"incident_id": incident_id, "channel": "demo", "delivery_id": "d1"}
    relay = {name: [each | about for each in part] if isinstance(part, list) else part for name, part in RELAY.items()}
    with session() as http:
        state = http.get(f"{box.control_url}/page/state", timeout=60).json() | {"relay": relay}
    event = f"retry: 600000\ndata: {json.dumps(state)}\n\n"
    return lambda page: page.route(
        "**/page/events", lambda route: route.fulfill(content_type="text/event-stream", body=event)
    )


def card(page: Page, title: str) -> Locator:
    return page.locator("#incidents > li").filter(has_text=title)


def test_each_part_shows_its_side_in_words_and_no_text_is_read_as_markup(box: Box, opened: Open) -> None:
    incident_id = open_incident(box, HOSTILE)
    with opened(with_relay(box, incident_id)) as page:
        page.get_by_role("button", name=HOSTILE, exact=True).first.click()
        for part, words in {
            "#incidents": HOSTILE,
            "#shares": "Signalled",
            "#owed": HOSTILE,
            "#dead": "xMatters refused it.",
            "#calls": f"CRITICAL demo: {HOSTILE}",
            "#groups": "dba rings away first, Kim Lee after 5 min, Jo Roe after 7 min.",
            "#receipt": "Notifiedmissed",
            "#unheard": "Unheard: nobody was notified. The fallback topic was notified at 18:01:00.",
            "#timeline": "Sent to xMatters: new.",
        }.items():
            expect(page.locator(part)).to_contain_text(words)
        assert page.locator("main img").count() == 0
        expect(page).to_have_title("Sandbox: BigPanda → relay → xMatters")


def test_missing_relay_is_explained(page: Page) -> None:
    expect(page.locator("#relay-problem")).to_contain_text("cloud")
    expect(page.get_by_label("its queues (SQS)")).to_be_disabled()


def test_each_button_changes_its_incident_and_an_impossible_one_does_nothing(box: Box, page: Page) -> None:
    open_incident(box)
    mine = card(page, "Replica lag")
    expect(mine.get_by_role("button", name="Worsen")).to_have_attribute("aria-disabled", "true")
    mine.get_by_role("button", name="Worsen").click(force=True)
    for button, words in (
        ("Ease", "warning"),
        ("Worsen", "critical"),
        ("Add alert", "2 alerts"),
        ("Snooze", "snoozed until"),
        ("End snooze", "2 alerts · not shared"),
        ("Flap", "flapping"),
        ("Resolve", "resolved"),
        ("Reopen", "critical"),
    ):
        mine.get_by_role("button", name=button).click()
        expect(mine).to_contain_text(words)
    expect(page.get_by_role("status")).to_contain_text("Replica lag is critical")


def test_switches_and_clock_are_set_and_shown(page: Page) -> None:
    # Clicked, not checked: a state of the server may come just then, and shows the switch as it was.
    page.get_by_label("xMatters", exact=False).first.select_option("rings_then_504")
    page.get_by_label("Pages of accepted signals").select_option("notifies_nobody")
    page.get_by_label("BigPanda sends nothing").click()
    page.get_by_label("BigPanda shares with another team").click()
    page.get_by_role("button", name="5 min", exact=True).click()
    for words in (
        "xMatters rings, then answers 504",
        "BigPanda sends nothing; BigPanda shares with another team",
        "xMatters' clock is 5 min ahead",
    ):
        expect(page.locator("#trouble-sum")).to_contain_text(words)
    expect(page.locator("#flow-mode")).to_have_value("notifies_nobody")


def test_whole_story_needs_no_mouse_and_focus_stays_while_lists_change(box: Box, page: Page) -> None:
    page.get_by_label("New incident").focus()
    page.keyboard.type("Queue is full")
    page.keyboard.press("Enter")
    ease = card(page, "Queue is full").get_by_role("button", name="Ease")
    _tab_to(page, ease)
    open_incident(box, "A newer incident")
    expect(page.locator("#incidents > li").first).to_contain_text("A newer incident")
    expect(ease).to_be_focused()
    page.keyboard.press("Space")
    expect(card(page, "Queue is full")).to_contain_text("warning")
    signal(box)
    comment = page.get_by_label("Comment with the next answer")
    comment.fill("  restarting it  ")
    acknowledge = page.get_by_role("button", name="Acknowledge page").first
    _tab_to(page, acknowledge)
    page.keyboard.press("Enter")
    expect(page.locator(".person").filter(has_text="Kim Lee")).to_contain_text("answered Acknowledge")
    expect(comment).to_have_value("")


def test_refused_click_is_explained(page: Page) -> None:
    refused = json.dumps({"error": "It can no longer be changed."})
    page.route("**/bigpanda/live/incidents", lambda route: route.fulfill(status=400, body=refused))
    page.get_by_role("button", name="Open", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("It can no longer be changed.")


# A width of each layout.
@pytest.mark.parametrize("width", [360, 800, 1280])
@pytest.mark.parametrize("is_empty", [True, False])
def test_axe_finds_no_barrier_and_no_width_needs_sideways_scrolling(
    box: Box, opened: Open, width: int, is_empty: bool
) -> None:
    axe = ROOT / chromium.FOLDER / "node_modules/axe-core/axe.min.js"
    if not axe.exists():
        pytest.skip("axe-core is not installed; `make checks` installs it")
    story = {} if is_empty else {"prepare": with_relay(box, open_incident(box, "Checkout latency is high"))}
    if not is_empty:
        signal(box)
    # The page's own policy keeps the checker's script out.
    with opened(**story, viewport={"width": width, "height": 900}, bypass_csp=True, reduced_motion="reduce") as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(axe.read_text())
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
            assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []


def test_nothing_is_loaded_from_elsewhere_and_the_policy_is_kept(box: Box, opened: Open) -> None:
    asked: list[str] = []
    said: list[str] = []

    def listen(page: Page) -> None:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))

    with opened(listen):
        assert {url for url in asked if not url.startswith(box.control_url)} == set()
        assert (len(asked) > 4, said) == (True, [])


def _tab_to(page: Page, wanted: Locator) -> None:
    for _ in range(80):
        page.keyboard.press("Tab")
        if wanted.evaluate("each => each === document.activeElement"):
            return
    raise AssertionError("the Tab key never reached it")
