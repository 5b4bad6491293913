"""Workflow behind the triggers: makes a page of each accepted signal.

A signal makes no page if the flow fails, or is set to make none. The facts, and the guesses, are in
`sandbox.xmatters.flow`.
"""

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sandbox.http.schema import compiled
from sandbox.xmatters import flow
from sandbox.xmatters.notifying import Notifier
from sandbox.xmatters.pages import Pages
from sandbox.xmatters.signals import Signal

# What becomes of accepted signals: a page; none; none, since flood control suppresses it; a page of which nobody is
# ever notified; a page, while everybody is absent without a replacement; and a page, while all notifications fail, also
# those of earlier pages.
MODES = ["page", "no_page", "suppressed", "notifies_nobody", "all_absent", "devices_fail"]
MOST_LOGGED = 500
_SETTINGS = compiled({"mode": {"enum": MODES}})


class Workflow:
    """The flow of all triggers, and its setting. Safe to use from several threads."""

    def __init__(self, pages: Pages, notifier: Notifier, now: Callable[[], datetime]) -> None:
        self._pages = pages
        self._notifier = notifier
        self._now = now
        self._mode = "page"
        self._without_page: deque[dict[str, str]] = deque(maxlen=MOST_LOGGED)

    def set(self, document: object) -> None:
        """Change the workflow's setting from a JSON object: ``mode`` is one of `MODES`.

        Raises InvalidError if the setting is invalid; the message names the key, and nothing has changed.
        """
        self._set(_SETTINGS(document, "flow")["mode"])

    def settings(self) -> dict[str, Any]:
        """Return the setting that `set` changes: ``mode``."""
        return {"mode": self._mode}

    def without_page(self) -> list[dict[str, str]]:
        """Return the newest accepted signals that made no page, oldest first, each with the reason in a sentence."""
        with self._pages.lock:
            return list(self._without_page)

    def clear(self) -> None:
        """Forget the signals that made no page; later signals make pages."""
        with self._pages.lock:
            self._without_page.clear()
            self._set("page")

    def take(self, signal: Signal) -> None:
        """Make the page of an accepted signal, and notify its recipients; a refused signal makes none."""
        if signal.request_id is None:
            return
        order = flow.read(signal)
        with self._pages.lock:
            if order is None:
                self._leave(signal, "The flow failed: the body is not JSON.")
            elif self._mode == "no_page":
                self._leave(signal, "The flow made no page.")
            elif self._mode == "suppressed":
                self._pages.suppress()
                self._leave(signal, "Flood control suppressed the page.")
            else:
                page = self._pages.make(signal.request_id, signal.function, order)
                self._notifier.start(page, notifies=self._mode != "notifies_nobody")

    def _set(self, mode: str) -> None:
        self._mode, self._notifier.reaches_devices = mode, mode != "devices_fail"
        self._notifier.set_absent(is_absent=mode == "all_absent")

    def _leave(self, signal: Signal, text: str) -> None:
        self._without_page.append(
            {
                "at": self._now().isoformat(),
                "request_id": signal.request_id or "",
                "incident_id": signal.incident_id or "",
                "text": text,
            }
        )
