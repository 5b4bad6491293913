"""A relay with one channel, and a fake BigPanda for its reconcile runs."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from relay.channels.channel import BigPandaAccess
from relay.http.session import HttpAnswer
from relay.reconcile.history import ChannelHistory, History, listing_name
from relay.reconcile.ownership import Learnt
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Call, Clock, FakeSession, Relay, Step, new_relay
from tests.unit.xmatters_tenant import REST

ACCESS = {"api_key": "BPU-canary", "environment_id": "e1", "reconcile": "ring"}
# BigPanda's name of the channel's webhook.
OWN = "webhook.noc"
LIST_PATH = "/resources/v2.0/environments/e1/incidents"


def accepted(call: Call) -> HttpAnswer:
    """Accept a signal with 202 and a request id that contains the incident's status."""
    return samples.accepted(f"r-{json.loads(call.body)['incident']['status']}")


@dataclass(kw_only=True)
class Tenant:
    """BigPanda, which lists incidents by folder, in pages."""

    incidents: list[dict[str, Any]] = field(default_factory=list)
    # Answers to calls whose URL contains the text.
    faults: dict[str, Callable[[Call], HttpAnswer]] = field(default_factory=dict)
    # Incidents of a page, at most.
    page_size: int = 100
    # True if a page has the number of all incidents.
    has_total: bool = True
    # With whom incidents were shared, by id; the others were shared with the channel's webhook alone.
    targets: dict[str, list[str]] = field(default_factory=dict)
    # Called before each answer, for example to let time pass.
    before_answer: Callable[[], object] = lambda: None

    def __call__(self, call: Call) -> HttpAnswer:
        self.before_answer()
        fault = next((fault for text, fault in self.faults.items() if text in call.url), None)
        if fault:
            return fault(call)
        parts = urlsplit(call.url.replace("/environments/e0/", "/environments/e1/"))
        if parts.path == LIST_PATH:
            return self._listed({name: values[0] for name, values in parse_qs(parts.query).items()})
        if parts.path.endswith("/activities"):
            return answer(self._activities(parts.path.split("/")[-2]))
        found = [each for each in self.incidents if parts.path == f"{LIST_PATH}/{each['id']}"]
        return (
            answer(found[0] | {"alerts": [{"alert_id": "a1", "status": "Critical"}]})
            if found
            else HttpAnswer(404, {}, b"{}")
        )

    def _activities(self, name: str) -> list[dict[str, Any]]:
        shares = [
            {"type": "incident_shared", "params": {"share_target": target, "share_auto": True}}
            for target in self.targets.get(name, [OWN])
        ]
        return [{"type": "incident_commented", "params": {"share_target": "webhook.odd"}}, *shares]

    def _listed(self, query: dict[str, str]) -> HttpAnswer:
        since = int(query.get("from", 0))
        inside = [each for each in self.incidents if query["folder"] in _folders(each)]
        inside = [each for each in inside if each["active"] or each["changed_at"] >= since]
        size = min(self.page_size, int(query["page_size"]))
        start = (int(query["page"]) - 1) * size
        page = [{**each, "alerts": [{"alert_id": "a1"}]} for each in inside[start : start + size]]
        return answer({"items": page} | ({"total": len(inside)} if self.has_total else {}))


def _folders(each: dict[str, Any]) -> set[str]:
    if not each["active"]:
        return {"resolved"}
    return {"snoozed"} if each["snooze"]["snoozed"] else {"active", "shared"}


def answer(document: Any) -> HttpAnswer:
    return HttpAnswer(200, {}, json.dumps(document).encode())


def incident(clock: Clock, name: str = "i1", *, ago: float = 300, **members: Any) -> dict[str, Any]:
    """Return an incident as the API lists it, which changed `ago` seconds before; critical by default."""
    stamp = int(clock.now - ago)
    status = members.get("status", "Critical")
    plain = {"id": name, "status": status, "active": status != "Ok", "shared": True, "snooze": {"snoozed": False}}
    return plain | {"start": stamp, "changed_at": stamp, "updated_at": stamp} | members


@dataclass
class Scene:
    """A relay, and the BigPanda that it asks; the first reconcile run of its channel was a day ago."""

    relay: Relay
    tenant: Tenant

    def has(self, *incidents: dict[str, Any]) -> None:
        """Let BigPanda have these incidents, and no others."""
        self.tenant.incidents = list(incidents)

    def delay(self, seconds: float) -> None:
        """Let BigPanda take so long for each answer."""
        self.tenant.before_answer = lambda: self.relay.clock.sleep(seconds)

    def run_twice(self) -> dict[str, Any]:
        """Make a reconcile run, and a second one after differences had time to settle; return its findings."""
        self.run()
        self.relay.clock.now += 90
        return self.run()

    def run(self) -> dict[str, Any]:
        found = self.relay.reconcile().get("noc", {})
        return {name: value for name, value in found.items() if value or name in {"compared", "missed", "snooze_over"}}

    def shared(self, recipients: tuple[str, ...] = (), *, ago: float = 600, **said: Any) -> None:
        """Let BigPanda post a share of the incident `i1`, critical by default, that changed `ago` seconds before."""
        stamp = int(self.relay.clock.now - ago)
        content = samples.enveloped("e1", **{"status": "critical", "changedOn": stamp, "updatedOn": stamp} | said)
        self.relay.webhook.serve(samples.request(content, recipients=recipients))

    def signalled(self) -> list[str]:
        return [json.loads(call.body)["incident"]["status"] for call in self.relay.session.calls]


def make_scene(
    *steps: Step, since: float = 86_400, policy: dict[str, Any] | None = None, rest: bool = False, **access: Any
) -> Scene:
    """Return a scene. `steps` are the answers of xMatters' triggers; by default they accept every signal."""
    tenant, clock, table = Tenant(), Clock(), FakeDynamoDb()
    relay = new_relay(
        *steps or (accepted,),
        policy=policy,
        xmatters={"rest": REST} if rest else None,
        access={name: value for name, value in (ACCESS | access).items() if value is not None},
        bigpanda=FakeSession(tenant),
        clock=clock,
        dynamodb=table,
    )
    Learnt((OWN,), clock.now).store(relay.table, "noc")
    if since:
        for place in ("e0", "e1"):
            known = {"noc": ChannelHistory(clock.now - since, clock.now - min(since, 600))}
            History(known).write(relay.table, listing_name(access_of(relay), place))
    return Scene(relay, tenant)


def access_of(relay: Relay) -> BigPandaAccess:
    access = relay.channels.get("noc").bigpanda
    assert access
    return access


def history_of(scene: Scene) -> History:
    return History.read(scene.relay.table, listing_name(access_of(scene.relay), "e1"))


def with_channels(scene: Scene, **access: dict[str, Any]) -> None:
    """Add channels with the secret of `noc`. For each channel the given members of its BigPanda access are changed."""
    secret = json.loads(str(scene.relay.secrets.texts["noc"]))
    for name, changes in access.items():
        known = secret | {"bigpanda": secret["bigpanda"] | changes}
        scene.relay.secrets.texts[name] = json.dumps(known)
    history, now = history_of(scene), scene.relay.clock.now
    history.channels |= {name: ChannelHistory(now - 86_400, now - 600) for name in access}
    for name in access:
        Learnt((OWN,), now).store(scene.relay.table, name)
    history.write(scene.relay.table, listing_name(access_of(scene.relay), "e1"))


def listings(scene: Scene) -> int:
    """Count the pages of incidents that BigPanda was asked for."""
    return sum("folder=" in call.url for call in scene.relay.bigpanda.calls)
