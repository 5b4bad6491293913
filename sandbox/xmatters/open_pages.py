"""State of pages that have not ended: delayed actions, progress through groups, actions that a suspended page holds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from sandbox.clock import Alarm, Clock
from sandbox.xmatters.groups import Group
from sandbox.xmatters.pages import Page, Pages
from sandbox.xmatters.people import Person


@dataclass
class DelayedAction:
    """A waiting action of a page. It waits for its planned time, and longer while the page is suspended."""

    alarm: Alarm | None = None
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Forget the action; no effect if it has run."""
        self.is_cancelled = True
        if self.alarm:
            self.alarm.cancel()


@dataclass
class Escalation:
    """Progress of a page through the members of a group.

    Attributes
    ----------
    left
        The active members who are still to be notified, each with the wait after the previous one, in seconds.
    next_step
        Delayed action that notifies the next member; None before the first member was notified.
    """

    group: Group
    left: list[tuple[Person, float]]
    next_step: DelayedAction | None = None


@dataclass
class OpenPage:
    """State of a page that has not ended.

    Attributes
    ----------
    delayed_actions
        Actions that wait for their time, and those that have run.
    held
        Actions that came due while the page was suspended.
    stopped
        People who escalated, each with the group; their further devices stay silent.
    escalations
        Progress through the groups that the page notifies, by the group's name.
    waiting_devices
        Number of devices that are to be notified after a delay.
    """

    delayed_actions: list[DelayedAction] = field(default_factory=list)
    held: list[Callable[[], None]] = field(default_factory=list)
    stopped: set[tuple[str, str | None]] = field(default_factory=set)
    escalations: dict[str, Escalation] = field(default_factory=dict)
    waiting_devices: int = 0


class OpenPages:
    """The pages that have not ended. Callers must hold `Pages.lock`."""

    def __init__(self, clock: Clock, pages: Pages) -> None:
        self._clock = clock
        self._pages = pages
        self._all: dict[str, OpenPage] = {}

    def start(self, page: Page) -> None:
        """Add a new page."""
        self._all[page.id] = OpenPage()

    def of(self, page_id: str) -> OpenPage | None:
        """Return the state of a page; None if the page has ended."""
        return self._all.get(page_id)

    def stop(self, page_id: str) -> None:
        """Cancel the actions of a page, and remove its state."""
        open_page = self._all.pop(page_id, None)
        for delayed in open_page.delayed_actions if open_page else ():
            delayed.cancel()

    def clear(self) -> None:
        """Cancel the actions of all pages, and remove their state."""
        for page_id in list(self._all):
            self.stop(page_id)

    def after(
        self, page: Page, seconds: float, action: Callable[[], None], *, if_suspended: bool = False
    ) -> DelayedAction:
        """Run `action` after `seconds`, unless the page has ended by then; a suspended page holds the action back.

        With `if_suspended`, the action runs for a suspended page, too.
        """
        delayed = DelayedAction()

        def act() -> None:
            # Checked when the action runs: while a suspended page holds the action back, an answer may cancel it.
            if not delayed.is_cancelled:
                action()

        def run() -> None:
            with self._pages.lock:
                self.do(page, act, if_suspended=if_suspended)

        delayed.alarm = self._clock.call_at(self._clock.now() + timedelta(seconds=seconds), run)
        self._all[page.id].delayed_actions.append(delayed)
        return delayed

    def do(self, page: Page, action: Callable[[], None], *, if_suspended: bool = False) -> None:
        """Run `action` now, unless the page has ended; a suspended page holds the action back."""
        now, open_page = self._pages.get(page.id), self._all.get(page.id)
        if now is None or open_page is None:
            return
        if now.status == "SUSPENDED" and not if_suspended:
            open_page.held.append(action)
        else:
            action()

    def resume(self, page: Page) -> None:
        """Run the actions that the page held back while it was suspended."""
        open_page = self._all[page.id]
        held, open_page.held = open_page.held, []
        for action in held:
            self.do(page, action)
