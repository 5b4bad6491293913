"""The stand-ins for xMatters and BigPanda as a process of its own, and what one asks of it from outside."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from sandbox import processes
from sandbox.cloud import SandboxError, without_aws

START_SECONDS = 20.0
ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class StandIn:
    """Running stand-ins: the relay calls `xmatters_url` and `bigpanda_url`; people and tests ask `control_url`."""

    control_url: str
    xmatters_url: str
    bigpanda_url: str
    process: processes.Process

    def check_health(self) -> None:
        """Ask whether it is well; SandboxError if not."""
        self._call("GET", "/health")

    def signals(self) -> list[dict[str, Any]]:
        """Every try that reached it, oldest first, whether it was accepted or not."""
        found: list[dict[str, Any]] = self._call("GET", "/signals")["signals"]
        return found

    def listen(self, *, is_open: bool) -> None:
        """Open xMatters' port or close it; closed, connections to it are refused."""
        self._call("PUT", "/listening", {"open": is_open})

    def script(self, *faults: dict[str, Any]) -> None:
        """What goes wrong from now on, in place of what was scripted before; see `sandbox.faults` for the entries."""
        self._call("PUT", "/faults", faults)

    def add_function(self, uuid: str, api_key: str) -> str:
        """Make a trigger that takes `api_key` in its URL; that URL."""
        self._call("PUT", f"/functions/{uuid}", {"auth": {"type": "url", "api_key": api_key}})
        return f"{self.xmatters_url}/api/integration/1/functions/{uuid}/triggers?apiKey={api_key}"

    def let_into_rest(self, auth: dict[str, str], token_seconds: int = 900) -> None:
        """Let xMatters' REST API be called with these credentials, and with no others."""
        self._call("PUT", "/events/credentials", {"auth": auth, "token_seconds": token_seconds})

    def make_events(self, *, per_signal: int = 1, delay_seconds: float = 0) -> None:
        """Let each signal from now on make so many events, or none, which can be found only so long after it."""
        self._call("PUT", "/events/making", {"per_signal": per_signal, "delay_seconds": delay_seconds})

    def events(self, incident_id: str) -> list[dict[str, Any]]:
        """What the signals of an incident made in xMatters, found already or not, the oldest first."""
        return list(self._call("GET", f"/events?incident_id={quote(incident_id)}")["events"])

    def event_calls(self) -> list[dict[str, Any]]:
        """All that was asked of xMatters about events, whether it was done or not, the oldest first."""
        return list(self._call("GET", "/events/calls")["calls"])

    def have(self, people: Sequence[Mapping[str, Any]] = (), groups: Sequence[Mapping[str, Any]] = ()) -> None:
        """Have these people and groups in xMatters, and no others; see `sandbox.directory` for the entries."""
        self._call("PUT", "/directory", {"people": list(people), "groups": list(groups)})

    def let_into_bigpanda(self, api_key: str) -> None:
        """Let BigPanda's API be called with this key, too."""
        self._call("PUT", "/bigpanda/keys", {"api_key": api_key})

    def comments(self, incident_id: str) -> list[dict[str, Any]]:
        """The comments that stand on an incident in BigPanda, the oldest first."""
        return list(self._call("GET", f"/bigpanda/comments?incident_id={quote(incident_id)}")["comments"])

    def assignments(self, incident_id: str) -> list[dict[str, Any]]:
        """To whom an incident was given in BigPanda, the oldest first."""
        return list(self._call("GET", f"/bigpanda/assignments?incident_id={quote(incident_id)}")["assignments"])

    def have_incidents(self, environment_id: str, incidents: Sequence[Mapping[str, Any]]) -> None:
        """Have these incidents in an environment of BigPanda's, and no others; nobody is told of them.

        See `sandbox.incidents` for the entries.
        """
        self._call("PUT", "/bigpanda/incidents", {"environment_id": environment_id, "incidents": list(incidents)})

    def let_app_into_bigpanda(self, app_key: str) -> None:
        """Let BigPanda's callback service be called for this app, too."""
        self._call("PUT", "/bigpanda/apps", {"app_key": app_key})

    def releases(self, incident_id: str) -> list[dict[str, Any]]:
        """The calls after which BigPanda holds an incident's updates no longer, the oldest first."""
        return list(self._call("GET", f"/bigpanda/releases?incident_id={quote(incident_id)}")["releases"])

    def calls(self, incident_id: str) -> list[dict[str, Any]]:
        """All that was asked of BigPanda about an incident, whether it was done or not, the oldest first."""
        return list(self._call("GET", f"/bigpanda/calls?incident_id={quote(incident_id)}")["calls"])

    def _call(self, method: str, path: str, body: object = None) -> Any:
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.request(method, f"{self.control_url}{path}", json=body, timeout=ANSWER_SECONDS)
                answer.raise_for_status()
                return answer.json() if answer.content else None
        except requests.RequestException as error:
            raise SandboxError(f"the stand-ins for xMatters and BigPanda did not do as asked: {error}") from error


def start(folder: Path, root: Path) -> StandIn:
    """Start the stand-ins on free ports of 127.0.0.1, from the clone at `root`, and wait until it is ready.

    Its log is `folder` with `.log` after it, and stays when the folder goes. Raises SandboxError when it does
    not come up, with the end of that log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    _ready(folder).unlink(missing_ok=True)
    ports = ("--port", "0", "--xmatters-port", "0", "--bigpanda-port", "0")
    process = processes.start(
        [sys.executable, "-m", "sandbox.server", *ports, "--ready-file", str(_ready(folder))],
        env=without_aws(os.environ) | {"HOME": str(folder), "TMPDIR": str(folder)},
        cwd=root,
        log=log,
        record=_record(folder),
    )
    deadline = time.monotonic() + START_SECONDS
    while processes.is_running(process) and time.monotonic() < deadline:
        if found := running(folder):
            return found
        time.sleep(processes.POLL_SECONDS)
    processes.stop(process)
    raise SandboxError(
        f"the stand-ins for xMatters and BigPanda did not start; the end of {log}:\n{processes.tail(log)}"
    )


def running(folder: Path) -> StandIn | None:
    """The stand-in that was started in `folder`, if it is still there and ready."""
    process = processes.recorded(_record(folder))
    if process is None:
        return None
    try:
        ready = json.loads(_ready(folder).read_text())
        found = StandIn(ready["control_url"], ready["xmatters_url"], ready["bigpanda_url"], process)
        found.check_health()
    except (OSError, ValueError, KeyError, SandboxError):
        return None
    return found


def stop(folder: Path) -> bool:
    """Stop the stand-in of `folder` and remove the folder; whether there was one running."""
    process = processes.recorded(_record(folder))
    if process:
        processes.stop(process)
    processes.remove(folder)
    return process is not None


def _record(folder: Path) -> Path:
    return folder / "process.json"


def _ready(folder: Path) -> Path:
    return folder / "ready.json"
