"""State of pages that have not ended: delayed actions, and progress through groups."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from sandbox.clock import Alarm, Clock
from sandbox.xmatters.pages import Page, Pages
from sandbox.xmatters.people import Group, Person


@dataclass
class Escalation:
    """Progress of a page through the members of a group.

    Attributes:
        left: The active members who are still to be notified, each with the wait after the previous one, in seconds.
        next_step: Alarm that notifies the next member; None before the first member was notified.
    """

    group: Group
    left: list[tuple[Person, float]]
    next_step: Alarm | None = None


@dataclass
class OpenPage:
    """State of a page that has not ended.

    Attributes:
        alarms: Actions that wait for their time, and those that have run.
        stopped: People who escalated, each with the group; their further devices stay silent.
        escalations: Progress through the groups that the page notifies, by the group's name.
        waiting_devices: Number of devices that are to be notified after a delay.
    """

    alarms: list[Alarm] = field(default_factory=list)
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
        for alarm in open_page.alarms if open_page else ():
            alarm.cancel()

    def clear(self) -> None:
        """Cancel the actions of all pages, and remove their state."""
        for page_id in list(self._all):
            self.stop(page_id)

    def after(self, page: Page, seconds: float, action: Callable[[], object]) -> Alarm:
        """Run `action` after `seconds`, unless the page has ended by then."""

        def run() -> None:
            with self._pages.lock:
                if page.id in self._all:
                    action()

        alarm = self._clock.call_at(self._clock.now() + timedelta(seconds=seconds), run)
        self._all[page.id].alarms.append(alarm)
        return alarm
