"""The sandbox's web page in a real browser: its content, the routes that its controls call, and its accessibility."""

from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import story
from tests.browser.conftest import PATIENCE, ROOT, Stage, opened
from tools import chromium

WIDTHS = (360, 800, 1280, 1600)
expect.set_options(timeout=PATIENCE)


def card(page: Page, title: str) -> Any:
    return page.locator("#incidents > li").filter(has_text=title)


def phone(page: Page, name: str) -> Any:
    return page.locator(".person").filter(has=page.get_by_role("heading", name=name))


def expect_calls(page: Page, stage: Stage, *wanted: tuple[str, str, Any]) -> None:
    """Wait until the web page has made exactly these HTTP calls."""
    for _ in range(PATIENCE // 50):
        if len(stage.calls) >= len(wanted):
            break
        page.wait_for_timeout(50)
    assert stage.calls == list(wanted)


class TestStory:
    def test_each_part_shows_its_side_in_words(self, page: Page) -> None:
        expect(card(page, "Replica lag")).to_contain_text("critical")
        expect(card(page, "Checkout latency")).to_contain_text("snoozed until 18:59:00")
        expect(page.locator("#shares > li").nth(2)).to_contain_text("Signalled")
        expect(page.locator("#shares > li").nth(2)).to_contain_text("nothing of this open incident was announced")
        expect(page.locator("#owed")).to_contain_text("next attempt in")
        expect(page.locator("#owed")).to_contain_text("xMatters could not be reached")
        expect(page.locator("#dead")).to_contain_text("xMatters refused the signal (HTTP 404).")
        expect(page.locator("#dead")).to_contain_text("channel demo")
        expect(page.locator("#dead .chip")).to_have_text("critical")
        expect(phone(page, "Kim Lee")).to_contain_text("Voice call, ringing")
        expect(phone(page, "Jo Park")).to_contain_text("answered Acknowledge")
        expect(page.locator("#groups")).to_have_text("database-oncall rings Kim Lee first, Jo Park after 5 min.")
        expect(page.locator("#calls strong")).to_have_text(["SMS to +14255550100", "Voice call to +14255550100"])
        expect(page.locator("#calls .why").first).to_have_text(f"CRITICAL demo: {story.HOSTILE}")
        expect(page.locator("#calls time").nth(1)).to_have_text("18:01:00")
        # The title of an incident is never read as markup.
        expect(card(page, "Checkout latency")).to_contain_text(story.HOSTILE)
        assert page.locator("main img").count() == 0
        expect(page).to_have_title("Sandbox: BigPanda → relay → xMatters")

    def test_receipt_shows_how_far_it_is_proven_that_people_know(self, page: Page) -> None:
        steps = page.get_by_role("list", name="Receipt").locator("li")
        page.get_by_role("button", name="Replica lag on pay-db-1", exact=True).first.click()
        expect(steps).to_have_text(["Signal18:00:00", "Page18:00:01", "Notified18:00:02", "Answeredawaited"])
        expect(page.locator("#unheard")).to_be_hidden()
        page.get_by_role("button", name="Disk is full on log-3", exact=True).first.click()
        expect(steps.nth(2)).to_have_text("Notifiedmissed")
        told = "Unheard: nobody was notified. The fallback topic was notified at 18:01:00."
        expect(page.locator("#unheard")).to_have_text(told)
        page.get_by_role("button", name="Checkout latency").first.click()
        expect(steps).to_have_count(0)

    def test_change_is_shown_and_announced_without_a_reload(self, page: Page, stage: Stage) -> None:
        stage.state["bigpanda"]["incidents"][0] |= {"status": "warning"}
        answered = stage.state["xmatters"]["notifications"][-1]
        stage.state["xmatters"]["notifications"].append(answered | {"id": 9, "state": "ringing", "answer": None})
        expect(card(page, "Replica lag").locator(".chip")).to_have_text("warning")
        expect(phone(page, "Jo Park")).to_contain_text("ringing")
        expect(page.get_by_role("status")).to_have_text(
            "Jo Park's Phone app rings. Replica lag on pay-db-1 is warning."
        )

    def test_missing_relay_is_explained(self, context: BrowserContext, stage: Stage) -> None:
        problem = "The local cloud does not answer."
        stage.state["relay"] = {"is_there": False, "shares": [], "owed": [], "dead_letters": [], "problem": problem}
        page = opened(context, stage)
        expect(page.locator("#relay-problem")).to_have_text(problem)
        expect(page.get_by_label("its queues (SQS)")).to_be_disabled()

    def test_missing_parts_show_an_explanation_instead_of_an_error(self, context: BrowserContext, stage: Stage) -> None:
        failures: list[str] = []
        stage.state |= {"bigpanda": {}, "relay": {}, "xmatters": {}}
        page = context.new_page()
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(stage.url)
        expect(page.locator("#xmatters-empty")).to_be_visible()
        expect(page.locator("#bigpanda-empty")).to_be_visible()
        assert failures == []


class TestClicks:
    def test_each_button_changes_its_incident_and_an_impossible_one_calls_nothing(
        self, page: Page, stage: Stage
    ) -> None:
        impossible = card(page, "Replica lag").get_by_role("button", name="Worsen")
        expect(impossible).to_have_attribute("aria-disabled", "true")
        impossible.click(force=True)
        wanted = list[tuple[str, str, Any]]()
        for title, ident, button, action in (
            ("Replica lag", story.LAG, "Ease", "ease"),
            ("Replica lag", story.LAG, "Add alert", "gain_alert"),
            ("Replica lag", story.LAG, "Snooze", "snooze"),
            ("Replica lag", story.LAG, "Flap", "flap"),
            ("Replica lag", story.LAG, "Resolve", "resolve"),
            ("Checkout latency", story.LATENCY, "Worsen", "worsen"),
            ("Checkout latency", story.LATENCY, "End snooze", "unsnooze"),
            ("Disk is full", story.DISK, "Reopen", "reopen"),
        ):
            card(page, title).locator(".buttons").get_by_text(button, exact=False).first.click()
            wanted.append(("POST", f"/bigpanda/live/incidents/{ident}/{action}", {}))
            expect_calls(page, stage, *wanted)

    def test_comment_goes_with_the_next_answer_that_is_taken(self, page: Page, stage: Stage) -> None:
        stage.error = "It can no longer be answered."
        comment = page.get_by_label("Comment with the next answer")
        comment.fill("  restarting it  ")
        button = page.get_by_role("button", name="Acknowledge page 1001 on Kim Lee's Mobile")
        button.click()
        expect(page.get_by_role("alert")).to_have_text("It can no longer be answered.")
        expect(comment).to_have_value("  restarting it  ")
        stage.error = None
        button.click()
        expect(comment).to_have_value("")
        button.click()
        bare = {"notification": 2, "response": "Acknowledge"}
        said = ("POST", "/phones/answer", bare | {"comment": "restarting it"})
        expect_calls(page, stage, said, said, ("POST", "/phones/answer", bare))

    def test_switches_and_clock_call_their_routes(self, page: Page, stage: Stage) -> None:
        # Clicked, not checked: a state of the stage may come just then, and shows the switch as it was.
        page.get_by_label("xMatters", exact=False).first.select_option("rings_then_504")
        page.get_by_label("Pages of accepted signals").select_option("notifies_nobody")
        page.get_by_label("BigPanda sends nothing").click()
        page.get_by_label("BigPanda shares with another team").click()
        page.get_by_role("button", name="5 min", exact=True).click()
        page.get_by_label("its ledger (DynamoDB)").click()
        for _ in range(100):
            if len(stage.calls) == 6:
                break
            page.wait_for_timeout(50)
        assert sorted(stage.calls, key=str) == [
            ("POST", "/clock", {"seconds": 300}),
            ("PUT", "/bigpanda/live/elsewhere", {"elsewhere": True}),
            ("PUT", "/bigpanda/live/silent", {"silent": True}),
            ("PUT", "/flow", {"mode": "notifies_nobody"}),
            ("PUT", "/page/faults", {"denied": ["dynamodb"]}),
            ("PUT", "/page/faults", {"xmatters": "rings_then_504"}),
        ]
        expect(page.locator("#trouble-sum")).to_contain_text("xMatters rings, then answers 504")


class TestKeyboard:
    def test_whole_story_needs_no_mouse(self, page: Page, stage: Stage) -> None:
        page.get_by_label("New incident").focus()
        page.keyboard.type("Queue is full")
        page.keyboard.press("Enter")
        reached = card(page, "Replica lag").get_by_role("button", name="Ease")
        _tab_to(page, reached)
        page.keyboard.press("Space")
        answer = page.get_by_role("button", name="Acknowledge page 1001 on Kim Lee's Mobile")
        _tab_to(page, answer)
        page.keyboard.press("Enter")
        expect_calls(
            page,
            stage,
            ("POST", "/bigpanda/live/incidents", {"status": "critical", "title": "Queue is full"}),
            ("POST", f"/bigpanda/live/incidents/{story.LAG}/ease", {}),
            ("POST", "/phones/answer", {"notification": 2, "response": "Acknowledge"}),
        )

    def test_focus_stays_on_a_button_while_the_lists_change(self, page: Page, stage: Stage) -> None:
        button = card(page, "Replica lag").get_by_role("button", name="Ease")
        button.focus()
        known = stage.state["bigpanda"]["incidents"]
        newer = known[0] | {"id": "new", "title": "A newer incident", "opened_at": known[0]["opened_at"] + 500}
        stage.state["bigpanda"]["incidents"] = [newer, *reversed(known)]
        expect(page.locator("#incidents > li").first).to_contain_text("A newer incident")
        expect(button).to_be_focused()


class TestLook:
    @pytest.mark.parametrize("width", WIDTHS)
    def test_no_width_needs_sideways_scrolling(self, browser: Browser, stage: Stage, width: int) -> None:
        context = browser.new_context(viewport={"width": width, "height": 800})
        page = opened(context, stage)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        context.close()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [360, 1280])
    @pytest.mark.parametrize("state", ["evening", "empty"])
    def test_axe_finds_no_barrier(self, browser: Browser, stage: Stage, scheme: Any, width: int, state: str) -> None:
        axe = ROOT / chromium.FOLDER / "node_modules/axe-core/axe.min.js"
        if not axe.exists():
            pytest.skip("axe-core is not installed; `make checks` installs it")
        stage.state = getattr(story, state)()
        # The page's own policy keeps the checker's script out.
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True, reduced_motion="reduce"
        )
        page = opened(context, stage)
        page.evaluate(axe.read_text())
        found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []
        context.close()


class TestSecurity:
    def test_nothing_is_loaded_from_elsewhere_and_the_policy_is_kept(
        self, context: BrowserContext, stage: Stage
    ) -> None:
        asked: list[str] = []
        said: list[str] = []
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(stage.url)
        page.locator(".person").first.wait_for()
        assert {url for url in asked if not url.startswith(stage.url)} == set()
        assert said == []

    def test_other_sites_page_cannot_change_anything(self, context: BrowserContext, stage: Stage) -> None:
        page = context.new_page()
        page.route("http://elsewhere.example/", lambda route: route.fulfill(content_type="text/html", body="<p>hi"))
        page.goto("http://elsewhere.example/")
        sent = "fetch(url, {method: 'POST', mode: 'no-cors', body: '{}'}).then(() => 'sent', () => 'kept')"
        page.evaluate(f"url => {sent}", f"{stage.url}bigpanda/live/incidents")
        assert stage.calls == []


def _tab_to(page: Page, wanted: Any) -> None:
    for _ in range(80):
        page.keyboard.press("Tab")
        if wanted.evaluate("each => each === document.activeElement"):
            return
    raise AssertionError("the Tab key never reached it")
