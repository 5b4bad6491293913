"""State of what rings: the alarms of a page, progress through a group, and actions that a suspended page holds back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from sandbox.clock import Alarm, Clock
from sandbox.xmatters.groups import Group
from sandbox.xmatters.pages import Page, Pages
from sandbox.xmatters.people import Person


@dataclass
class Later:
    """An action that waits for its time, or is held back by a suspended page."""

    alarm: Alarm | None = None
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Forget the action; no effect if it has run."""
        self.is_cancelled = True
        if self.alarm:
            self.alarm.cancel()


@dataclass
class Escalation:
    """Progress through a group.

    Attributes
    ----------
    left
        The active members who are still to be notified, each with the wait after the previous one, in seconds.
    later
        The alarm that goes to the next member; None before the first.
    """

    group: Group
    left: list[tuple[Person, float]]
    later: Later | None = None


@dataclass
class Ringing:
    """State of a page that has not ended.

    Attributes
    ----------
    laters
        Everything that waits for its time.
    held
        Actions that came due while the page was suspended.
    stopped
        People who escalated, each with the group; their further devices stay silent.
    escalations
        Progress through the groups, by name.
    waiting_devices
        Number of devices that wait for their delay.
    """

    laters: list[Later] = field(default_factory=list)
    held: list[Callable[[], None]] = field(default_factory=list)
    stopped: set[tuple[str, str | None]] = field(default_factory=set)
    escalations: dict[str, Escalation] = field(default_factory=dict)
    waiting_devices: int = 0


class Bells:
    """All pages that have not ended. Callers hold the lock of the pages."""

    def __init__(self, clock: Clock, pages: Pages) -> None:
        self._clock = clock
        self._pages = pages
        self._all: dict[str, Ringing] = {}

    def start(self, page: Page) -> None:
        """Begin with a new page."""
        self._all[page.id] = Ringing()

    def of(self, page_id: str) -> Ringing | None:
        """Return the `Ringing` of a page; None if the page has ended."""
        return self._all.get(page_id)

    def stop(self, page_id: str) -> None:
        """Cancel everything that waits for a page."""
        ringing = self._all.pop(page_id, None)
        for later in ringing.laters if ringing else ():
            later.cancel()

    def clear(self) -> None:
        """Cancel everything that waits."""
        for page_id in list(self._all):
            self.stop(page_id)

    def after(self, page: Page, seconds: float, action: Callable[[], None], *, if_suspended: bool = False) -> Later:
        """Run `action` after so many seconds, unless the page has ended by then; a suspended page holds it back.

        With `if_suspended`, the action runs for a suspended page, too.
        """
        later = Later()

        def act() -> None:
            # Asked when the action runs: a suspended page may hold it back, and an answer cancel it meanwhile.
            if not later.is_cancelled:
                action()

        def run() -> None:
            with self._pages.lock:
                self.do(page, act, if_suspended=if_suspended)

        later.alarm = self._clock.call_at(self._clock.now() + timedelta(seconds=seconds), run)
        self._all[page.id].laters.append(later)
        return later

    def do(self, page: Page, action: Callable[[], None], *, if_suspended: bool = False) -> None:
        """Run `action` now, unless the page has ended; a suspended page holds it back."""
        now, ringing = self._pages.get(page.id), self._all.get(page.id)
        if now is None or ringing is None:
            return
        if now.status == "SUSPENDED" and not if_suspended:
            ringing.held.append(action)
        else:
            action()

    def resume(self, page: Page) -> None:
        """Run the actions that the page held back while it was suspended."""
        ringing = self._all[page.id]
        held, ringing.held = ringing.held, []
        for action in held:
            self.do(page, action)
