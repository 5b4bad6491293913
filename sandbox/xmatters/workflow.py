"""Workflow behind the triggers: makes pages of accepted signals.

A signal makes no page if the flow fails or is set to make none, or if a flood control suppresses the signal.

The facts, and the guesses, are in `sandbox.xmatters.flow` and `sandbox.xmatters.floods`. One more fact is inferred:
xMatters accepts a signal with 202 before a flood control suppresses it (docs/vendors.md, "Flood control").
"""

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sandbox.http.schema import compiled
from sandbox.xmatters import flow
from sandbox.xmatters.floods import Floods
from sandbox.xmatters.notifying import Notifier
from sandbox.xmatters.pages import Pages
from sandbox.xmatters.signals import Signal

MODES = ["page", "no_page"]
MOST_LOGGED = 500
_SETTINGS = compiled({}, {"mode": {"enum": MODES}, "floods": {"type": "boolean"}})


class Workflow:
    """The flow of all triggers, and its settings. Safe to use from several threads.

    `per_signal` returns the number of pages that a signal makes.
    """

    def __init__(
        self,
        pages: Pages,
        notifier: Notifier,
        floods: Floods,
        now: Callable[[], datetime],
        per_signal: Callable[[], int],
    ) -> None:
        self._pages = pages
        self._notifier = notifier
        self._floods = floods
        self._now = now
        self._per_signal = per_signal
        self._mode = "page"
        self._without_page: deque[dict[str, str]] = deque(maxlen=MOST_LOGGED)

    def set(self, document: object) -> None:
        """Change the workflow's settings from a JSON object: ``mode`` is page or no_page, ``floods`` true or false.

        ``floods`` switches the flood controls on or off. A setting that the object does not have stays as it is.

        Raises
        ------
        InvalidError
            If a setting is invalid; the message names the key, and nothing has changed.
        """
        wanted = _SETTINGS(document, "flow")
        with self._pages.lock:
            self._mode = wanted.get("mode", self._mode)
            if wanted.get("floods", self._floods.are_on) != self._floods.are_on:
                self._floods.clear()
                self._floods.are_on = wanted["floods"]

    def reset(self) -> None:
        """Set the defaults again: signals make pages, without flood control."""
        self.set({"mode": "page", "floods": False})

    def settings(self) -> Mapping[str, Any]:
        """Return the settings that `set` changes: ``mode`` and ``floods``."""
        with self._pages.lock:
            return {"mode": self._mode, "floods": self._floods.are_on}

    def without_page(self) -> list[dict[str, str]]:
        """Return the newest accepted signals that made no page, oldest first, each with the reason in a sentence."""
        with self._pages.lock:
            return list(self._without_page)

    def clear(self) -> None:
        """Forget the signals that made no page."""
        with self._pages.lock:
            self._without_page.clear()

    def take(self, signal: Signal) -> None:
        """Make the pages of an accepted signal, and notify their recipients; a refused signal makes none."""
        if signal.request_id is None:
            return
        order = flow.read(signal)
        with self._pages.lock:
            if order is None:
                self._leave(signal, "The flow failed: the body is not JSON.")
                return
            suppressing = self._floods.control_against(signal.function.lower(), order)
            if self._mode == "no_page":
                self._leave(signal, "The flow made no page.")
                return
            if suppressing:
                self._leave(signal, f"The signal was suppressed by {suppressing}.")
                return
            for _ in range(self._per_signal()):
                self._notifier.start(self._pages.make(signal.request_id, signal.function, order))

    def _leave(self, signal: Signal, text: str) -> None:
        self._without_page.append(
            {
                "at": self._now().isoformat(),
                "request_id": signal.request_id or "",
                "incident_id": signal.incident_id or "",
                "text": text,
            }
        )
