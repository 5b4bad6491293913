"""Client of the sandbox's control API, for use from outside of its process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from sandbox import processes
from sandbox.errors import SandboxError

ANSWER_SECONDS = 5.0
# Invalid input, an unknown name, and an action that is not possible now; each says why.
_REFUSALS = {400, 404, 409}


@dataclass(frozen=True)
class StandIn:
    """Running stand-ins of both vendors; every method raises SandboxError if the control API fails.

    Attributes:
        control_url: Base URL of the control API, for people and tests.
        xmatters_url, bigpanda_url: Base URLs of the two vendors, for the relay.
        process: The process that serves all three.
    """

    control_url: str
    xmatters_url: str
    bigpanda_url: str
    process: processes.Process

    def check_health(self) -> None:
        """Raise SandboxError unless the stand-ins answer."""
        self._call("GET", "/health")

    def signals(self) -> list[dict[str, Any]]:
        """Return every request to a trigger, oldest first, refused requests included."""
        found: list[dict[str, Any]] = self._call("GET", "/signals")["signals"]
        return found

    def listen(self, *, is_open: bool) -> None:
        """Open or close xMatters' port; a closed port refuses connections."""
        self._call("PUT", "/listening", {"open": is_open})

    def script(self, *faults: dict[str, Any]) -> None:
        """Replace the scripted faults; `sandbox.http.faults` describes the entries."""
        self._call("PUT", "/faults", faults)

    def add_function(self, uuid: str, api_key: str) -> str:
        """Make a trigger that takes `api_key` in its URL, and return that URL."""
        self._call("PUT", f"/functions/{uuid}", {"auth": {"type": "url", "api_key": api_key}})
        return f"{self.xmatters_url}/api/integration/1/functions/{uuid}/triggers?apiKey={api_key}"

    def let_into_rest(self, auth: dict[str, str]) -> None:
        """Set the only credentials that xMatters' REST API takes."""
        self._call("PUT", "/events/credentials", {"auth": auth})

    def calls(self) -> list[dict[str, Any]]:
        """Return every request to xMatters' events API, and to BigPanda's API, refused requests included."""
        return list(self._call("GET", "/calls")["calls"])

    def phones(self) -> dict[str, Any]:
        """Return xMatters' people, groups, pages, notifications and callbacks."""
        story: dict[str, Any] = self._call("GET", "/phones")
        return story

    def have_phones(self, people: Sequence[Mapping[str, Any]] = (), groups: Sequence[Mapping[str, Any]] = ()) -> None:
        """Replace xMatters' people and groups, given with devices and delays, as `People.declare` describes."""
        self._call("PUT", "/phones", {"people": list(people), "groups": list(groups)})

    def answer(self, notification: int, response: str, comment: str | None = None) -> dict[str, Any]:
        """Answer a notification as the person whose device it is; return the notification."""
        document = {"notification": notification, "response": response, "comment": comment}
        return dict(self._call("POST", "/phones/answer", document))

    def send_callbacks(self, url: str, header: tuple[str, str], function: str | None = None) -> None:
        """Set the URL that xMatters' callbacks are posted to, and the name and value of a header with credentials.

        With `function`, the UUID of a trigger, the call concerns the pages of that trigger only.
        """
        shown = {"name": header[0], "value": header[1]}
        self._call("PUT", "/phones/callbacks", {"url": url, "header": shown, "function": function})

    def turn_clock(self, seconds: float) -> None:
        """Turn xMatters' clock ahead."""
        self._call("POST", "/clock", {"seconds": seconds})

    def set_flow(self, mode: str) -> None:
        """Set what becomes of accepted signals: one of `sandbox.xmatters.workflow.MODES`."""
        self._call("PUT", "/flow", {"mode": mode})

    def let_into_bigpanda(self, api_key: str) -> None:
        """Add an API key that BigPanda takes."""
        self._call("PUT", "/bigpanda/keys", {"api_key": api_key})

    def comments(self, incident_id: str) -> list[dict[str, Any]]:
        """Return the comments on an incident in BigPanda, oldest first."""
        return list(self._call("GET", f"/bigpanda/comments?incident_id={quote(incident_id)}")["comments"])

    def have_incidents(self, environment_id: str, incidents: Sequence[Mapping[str, Any]]) -> None:
        """Replace the incidents of a BigPanda environment; no webhook is sent for them.

        `sandbox.bigpanda.incidents` describes the entries.
        """
        self._call("PUT", "/bigpanda/incidents", {"environment_id": environment_id, "incidents": list(incidents)})

    def live(self) -> dict[str, Any]:
        """Return BigPanda's channel, incidents and webhooks, as `Live.story` returns them."""
        return dict(self._call("GET", "/bigpanda/live"))

    def share_with(self, url: str, header: tuple[str, str], **settings: Any) -> None:
        """Declare the sharing channel: the URL that BigPanda posts to, and the name and value of its header.

        `settings` may be `resend_seconds`, which `sandbox.bigpanda.sharing` describes.
        """
        channel = {"url": url, "header": {"name": header[0], "value": header[1]}}
        self._call("PUT", "/bigpanda/live/channel", channel | settings)

    def open_incident(self, **members: Any) -> dict[str, Any]:
        """Open an incident in BigPanda, and return it; `members` may be title, status and alerts."""
        return dict(self._call("POST", "/bigpanda/live/incidents", members))

    def act_on_incident(self, incident_id: str, action: str) -> dict[str, Any]:
        """Do an action on an incident in BigPanda, such as `worsen`, and return the incident."""
        path = f"/bigpanda/live/incidents/{quote(incident_id, safe='')}/{quote(action, safe='')}"
        return dict(self._call("POST", path))

    def _call(self, method: str, path: str, body: object = None) -> Any:
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.request(method, f"{self.control_url}{path}", json=body, timeout=ANSWER_SECONDS)
                if answer.status_code in _REFUSALS and (why := _error(answer)):
                    raise SandboxError(why)
                answer.raise_for_status()
                return answer.json() if answer.content else None
        except requests.RequestException as error:
            raise SandboxError(f"the stand-ins for xMatters and BigPanda failed at {method} {path}: {error}") from error


def _error(answer: requests.Response) -> str:
    """Return the reason in a refusal's body; "" if the body has none."""
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return ""
