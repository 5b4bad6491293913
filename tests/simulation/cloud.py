"""Conditions of a schedule's cloud: expiry, index lag, partial answers, clocks, log-ins, a rolled back version."""

import base64
import json
from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import parse_qs

from relay.failures import Reason
from relay.http.session import HttpAnswer
from relay.jobs.queue import SCHEMA

# The largest difference of two functions' clocks in most schedules.
USUAL_CLOCKS_DIFFER = 0.6
# The user of the triggers, whose password may change, and the one of xMatters' REST API, whose password stays.
TRIGGER_USER, REST_USER, REST_PASSWORD = "relay", "reader", "p"
# Members of a ledger entry that a newer version may write longer: it knows more of each of them.
_STATES, _GROWS = ("newest", "announced", "eased", "dead_lettered"), ("flap", "slot", "lease")
# Length of a state's list in the present version. It leaves out the last members if they are empty.
_STATE = (None, "", 0, 0, None, "", 0)


@dataclass(frozen=True)
class Cloud:
    """Conditions of AWS and of xMatters' log-in, apart from faults. Times are in seconds.

    Attributes:
        job_margin: time from the end of a stored job's use to its expiry, in place of two days; None for two days.
        deleted_late: DynamoDB deletes an expired item up to so long after its expiry.
        index_lag: the index `due` shows a write up to so long after it.
        answers_in_part: fraction of batch reads that are answered in part, and of queries whose pages are short.
        clocks_differ: the largest difference of two functions' clocks.
        login: kind of the first channel's credentials: "url", "basic", "api_key" or "oauth".
        revoked_at: times at which xMatters revokes all OAuth tokens, since the beginning.
        cache_seconds: time for which a function uses its copy of a channel's secret.
        rolled_back_at: time at which a newer version of the relay is rolled back to this one, since the beginning; 0
            without a newer version.
        newer_schema: schema number of the newer version's messages.
        has_both: True if about every other process is of this version already before that: both work side by side.
    """

    job_margin: float | None = None
    deleted_late: float = 0.0
    index_lag: float = 0.0
    answers_in_part: float = 0.0
    clocks_differ: float = USUAL_CLOCKS_DIFFER
    login: str = "url"
    token_lasts: float = 3600.0
    revoked_at: tuple[float, ...] = ()
    cache_seconds: float = 60.0
    rolled_back_at: float = 0.0
    newer_schema: int = SCHEMA
    has_both: bool = False

    @property
    def clock_margin(self) -> float:
        """The largest difference of two functions' clocks, with a margin."""
        return self.clocks_differ + 0.1

    @property
    def remembered_seconds(self) -> float:
        """Time for which a function uses its copy of a channel's secret, with a margin."""
        return self.cache_seconds + 2

    @property
    def has_newer_schema(self) -> bool:
        """True if the version that is rolled back wrote messages that this version can't read."""
        return self.rolled_back_at > 0 and self.newer_schema != SCHEMA


USUAL = Cloud()


def clouds(seed: int) -> Cloud:
    """Return the cloud of a seed: the usual one for most seeds."""
    random, often = Random(f"platform of {seed}"), (0.04, 0.04, 0.04, 0.05, 0.09, 0.04, 0.06)
    expires, lags, is_partial, differs, logs_in, caches, is_newer = (random.random() < each for each in often)
    found: dict[str, Any] = {}
    if expires:
        # The sweeper acts on a state for some minutes after its age.
        found |= {"job_margin": random.choice([900.0, 1800.0]), "deleted_late": random.choice([0.0, 300.0, 3600.0])}
    if lags:
        found["index_lag"] = random.choice([2.0, 5.0, 20.0])
    if is_partial:
        found["answers_in_part"] = random.choice([0.3, 1.0])
    if differs:
        found["clocks_differ"] = 2.0
    if logs_in:
        found["revoked_at"] = tuple(sorted(random.uniform(5, 600) for _ in range(random.choice([0, 0, 1, 3]))))
        found["login"] = random.choice(["basic", "api_key", "oauth", "oauth", "oauth", "oauth"])
        found["token_lasts"] = random.choice([20.0, 45.0, 90.0, 3600.0])
    if caches:
        # The template's default.
        found["cache_seconds"] = 300.0
    if is_newer:
        found["newer_schema"] = SCHEMA + random.choice([0, 0, 0, 1])
        found |= {"rolled_back_at": random.uniform(20, 400), "has_both": random.random() < 0.5}
    return replace(USUAL, **found)


@dataclass
class Logins:
    """The credentials that the simulated xMatters accepts for its triggers and its REST API.

    Attributes:
        password: present password of the triggers' user, which is the key of a key's kind.
        _tokens: user, password and time of issue of each OAuth token.
    """

    cloud: Cloud
    began: float
    password: str

    def __post_init__(self) -> None:
        self._tokens: dict[str, tuple[str, str, float]] = {}

    def auth(self, user: str, password: str) -> dict[str, str]:
        """Return `auth` of a channel's secret, for one of the two users."""
        match self.cloud.login:
            case "oauth":
                return {"type": "oauth", "client_id": "c", "username": user, "password": password}
            case "api_key":
                return {"type": "api_key", "key": user, "secret": password}
            case _:
                return {"type": "basic", "username": user, "password": password}

    def grant(self, form: str, now: float) -> HttpAnswer:
        """Answer a request for an OAuth token."""
        asked = {name: values[0] for name, values in parse_qs(form).items()}
        user, password = asked["username"], asked["password"]
        if password != self._password(user):
            return HttpAnswer(400, {}, b'{"error": "invalid_grant"}')
        token = f"token-{len(self._tokens)}"
        self._tokens[token] = (user, password, now)
        return HttpAnswer(200, {}, json.dumps({"access_token": token, "expires_in": self.cloud.token_lasts}).encode())

    def refusal(self, user: str, headers: Mapping[str, str], now: float) -> str:
        """Return why a request is refused: "credentials", or "token" for a token that is over; empty if it is not."""
        kind, _, shown = headers.get("Authorization", "").partition(" ")
        if self.cloud.login != "oauth":
            expected = base64.b64encode(f"{user}:{self._password(user)}".encode()).decode()
            return "" if (kind, shown) == ("Basic", expected) else "credentials"
        owner, password, issued_at = self._tokens.get(shown, ("", "", 0.0))
        if (owner, password) != (user, self._password(user)):
            return "credentials"
        ends = [issued_at + self.cloud.token_lasts, *(self.began + at for at in self.cloud.revoked_at)]
        return "token" if any(issued_at < end <= now for end in ends) else ""

    def _password(self, user: str) -> str:
        return self.password if user == TRIGGER_USER else REST_PASSWORD


# ---- A newer version -------------------------------------------------------------------------------------------------


def newer_envelope(envelope: str, schema: int) -> str:
    """Return an envelope as a newer version writes it: with members, a flag and a reason unknown to this one."""
    members = json.loads(envelope)
    stamps = {**members["stamps"], "reason": _newer_reason(members["stamps"]["reason"]), "newer": 1}
    flags = sorted({*members["flags"], "newer"})
    return json.dumps({**members, "stamps": stamps, "flags": flags, "schema": schema, "newer": [1]})


def as_read_by_newer(envelope: str) -> str:
    """Return an envelope in the form that this version reads, in place of a newer version that reads its own."""
    return json.dumps({**json.loads(envelope), "schema": SCHEMA})


def newer_document(text: str) -> str:
    """Return a document of the table as a newer version writes it: with more members, in longer lists."""
    members: Any = json.loads(text)
    if not isinstance(members, dict):
        return text
    for name in _STATES:
        if members.get(name):
            members[name] = _newer_state(members[name])
    for name in _GROWS:
        if members.get(name):
            members[name] = [*members[name], 1]
    for name, longer in (("doubtful", _newer_state), ("accepted", lambda signal: [*signal, 1])):
        if members.get(name):
            members[name] = [longer(each) for each in members[name]]
    if "reason" in members:
        members["reason"] = _newer_reason(members["reason"])
    return json.dumps(members | {"newer": [1]})


def _newer_reason(reason: str) -> str:
    """Return the reason that a newer version has for a failure: it tells apart what this one calls `upstream`."""
    return "newer" if reason == Reason.UPSTREAM else reason


def _newer_state(state: list[Any]) -> list[Any]:
    return [*state, *_STATE[len(state) :], 1]
