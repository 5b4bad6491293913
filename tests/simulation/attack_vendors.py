"""BigPanda and xMatters in an attack: stand-ins that work, but for outages, and keep what the relay asks of them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import Call
from tests.simulation.attack_plans import ATTACKED, ENVIRONMENT, WEBHOOK, Outage, Plan

# An environment of another team, which the key of BigPanda's API can read, too.
OTHER_ENVIRONMENT, INCIDENT_ELSEWHERE = "e-of-a-stranger", "i-of-a-stranger"
# The only user that BigPanda knows. xMatters knows nobody of that name.
FORGED_PERSON = "ceo"
_OF_ENVIRONMENT = re.compile(r"/resources/v2\.0/environments/([^/]+)/incidents(?:/([^/]+))?(?:/(\w+))?")


@dataclass(frozen=True)
class Signal:
    """A signal that xMatters accepted, `at` seconds since the beginning.

    Attributes:
        recipients: names that the workflow rings.
        is_of_reconcile: True if a reconcile run found the state.
        trail: correlation id of the share that the signal is about.
        page_key: key of the pages that the workflow ends, if the incident is over.
    """

    at: float
    incident: str
    is_open: bool
    recipients: frozenset[str]
    is_of_reconcile: bool
    trail: str
    page_key: str


@dataclass
class Vendors:
    """BigPanda and xMatters.

    Attributes:
        now: returns the time in epoch seconds.
        say: called with each event, for the words of a failed schedule.
        page_ends: time (seconds since the beginning) of each page's end, and place of its signal in `signals`.
        comments: time (seconds since the beginning), incident and text of each comment.
        changes: requests that would change an incident of BigPanda: resolve, snooze or assign it.
        strange: URLs of BigPanda's API that are of no use for the incidents of the environment.
    """

    plan: Plan
    now: Callable[[], float]
    began: float
    say: Callable[[str], object]
    signals: list[Signal] = field(default_factory=list)
    page_ends: list[tuple[float, int]] = field(default_factory=list)
    comments: list[tuple[float, str, str]] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)

    def of(self, incident: str) -> list[Signal]:
        """Return the signals of an incident, oldest first."""
        return [signal for signal in self.signals if signal.incident == incident]

    # ---- xMatters ----------------------------------------------------------------------------------------------------

    def take_signal(self, call: Call) -> HttpAnswer:
        """Answer a signal. The workflow acts on the relay's decision, as docs/xmatters/trigger.js does."""
        if self._outage("xmatters"):
            return samples.refused(503)
        decision: Mapping[str, Any] = json.loads(call.headers["X-Relay-Decision"])
        trail, recipients = call.headers["X-Relay-Correlation-Id"], frozenset(decision["recipients"])
        incident, is_open, page_key = decision["incident_id"], not decision["is_over"], decision["page_key"]
        self.say(f"RINGS {', '.join(sorted(recipients))}: {incident} is {'open' if is_open else 'over'} ({trail})")
        is_of_reconcile = trail.startswith("reconcile-")
        self.signals.append(Signal(self._seconds(), incident, is_open, recipients, is_of_reconcile, trail, page_key))
        return samples.accepted(f"r{len(self.signals)}")

    def page_of(self, incident: str) -> str | None:
        """Return the page of an incident's last signal; None if there is none."""
        places = [place for place, signal in enumerate(self.signals) if signal.incident == incident]
        return f"page-r{places[-1] + 1}" if places else None

    def rest(self, call: Call) -> HttpAnswer:
        """Answer a call of xMatters' REST API: nobody is known, and each signal has one active page."""
        if "/people/" in call.url:
            return HttpAnswer(404, {}, b'{"code": 404}')
        if call.method == "POST":
            page = json.loads(call.body)["id"]
            self.say(f"xMatters ends {page}")
            self.page_ends.append((self._seconds(), int(page.removeprefix("page-r")) - 1))
            return HttpAnswer(200, {}, b"{}")
        request = call.url.partition("requestId=")[2].partition("&")[0]
        return _answer({"data": [{"id": f"page-{request}", "status": "ACTIVE"}]})

    # ---- BigPanda ----------------------------------------------------------------------------------------------------

    def bigpanda(self, call: Call) -> HttpAnswer:
        """Answer a call of BigPanda's API."""
        if outage := self._outage("bigpanda"):
            return samples.refused(429 if outage.is_rate_limit else 503)
        parts = urlsplit(call.url)
        if found := _OF_ENVIRONMENT.fullmatch(parts.path):
            environment, incident, deed = map(unquote, found.groups(default=""))
            if environment not in self.plan.environment_ids:
                self.strange.append(call.url)
            if call.method != "GET":
                return self._write(incident, deed, json.loads(call.body))
            shown = {each["id"]: each for each in self._incidents(environment)}
            if not incident:
                return _answer(_listed(list(shown.values()), parse_qs(parts.query)))
            return _answer(shown[incident]) if incident in shown else samples.refused(404)
        if parts.path.endswith("/activities") and "incident_shared" in parts.query:
            return _answer([{"type": "incident_shared", "params": {"share_target": WEBHOOK}}])
        if parts.path.endswith("/activities"):
            return _answer({"items": [{"params": {"comment": text}} for _, _, text in self.comments]})
        if parts.path == "/scim/v2/Users":
            return _answer({"Resources": [{"id": "u1", "userName": FORGED_PERSON}]})
        self.strange.append(call.url)
        return samples.refused(404)

    def _write(self, incident: str, deed: str, document: dict[str, Any]) -> HttpAnswer:
        self.say(f"BigPanda is told: {deed} of {incident}: {document}")
        if deed == "comments":
            self.comments.append((self._seconds(), incident, document["comment"]))
        else:
            self.changes.append(f"{deed} of {incident} at {self._seconds():.0f} s")
        return HttpAnswer(204, {}, b"")

    def _incidents(self, environment: str) -> Iterator[dict[str, Any]]:
        """Yield the incidents of an environment as BigPanda's API shows them."""
        if environment == OTHER_ENVIRONMENT:
            yield _shown(INCIDENT_ELSEWHERE, self.began, is_open=True)
        if environment == ENVIRONMENT:
            now = self._seconds() - self.plan.lag
            for truth in self.plan.truths:
                if truth.opened <= now and truth.channel == ATTACKED:
                    is_open = truth.is_open(now)
                    yield _shown(truth.id, self.began + (truth.opened if is_open else truth.over), is_open=is_open)

    def _outage(self, vendor: str) -> Outage | None:
        now = self._seconds()
        found = (each for each in self.plan.outages if each.vendor == vendor and each.begins <= now < each.ends)
        return next(found, None)

    def _seconds(self) -> float:
        return self.now() - self.began


def _shown(name: str, changed: float, *, is_open: bool) -> dict[str, Any]:
    status, stamp = "critical" if is_open else "ok", int(changed)
    shown = {"id": name, "status": status, "active": is_open, "shared": True, "snooze": {"snoozed": False}}
    return shown | {"start": stamp, "changed_at": stamp, "updated_at": stamp}


def _listed(shown: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
    folder, since = query["folder"][0], int(query.get("from", ["0"])[0])
    listed = [each for each in shown if folder == ("shared" if each["active"] else "resolved")]
    listed = [each for each in listed if each["changed_at"] >= since]
    return {"items": listed, "total": len(listed)}


def _answer(document: Any) -> HttpAnswer:
    return HttpAnswer(200, {}, json.dumps(document).encode())
